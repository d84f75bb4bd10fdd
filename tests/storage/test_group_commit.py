"""Group commit: who shares a unit of work, who is answered when, and who gets which error."""

import threading
import time

import pytest

from storage import group_commit
from storage.group_commit import GroupCommit


@pytest.fixture
def gate():
    return threading.Event()


def test_what_is_asked_during_a_unit_is_done_together_in_the_next(gate):
    units = []

    def work(asked):
        units.append(list(asked))
        assert gate.wait(5)
        return [10 * one for one in asked]

    commits = GroupCommit(work, "test")
    first = commits.ask(1)
    while not units:
        time.sleep(0.001)
    others = [commits.ask(i) for i in range(2, 7)]
    assert not first.done() and not any(other.done() for other in others), "nobody before the commit"
    gate.set()
    assert [future.result(5) for future in (first, *others)] == [10, 20, 30, 40, 50, 60]
    assert units == [[1], [2, 3, 4, 5, 6]]


def test_an_error_is_for_whom_it_is_meant():
    def work(asked):
        if "all" in asked:
            raise OSError("the disk is full")
        return [ValueError(one) if one == "bad" else one for one in asked]

    commits = GroupCommit(work, "test")
    assert commits.ask("good").result(5) == "good"
    with pytest.raises(ValueError, match="bad"):
        commits.ask("bad").result(5)
    with pytest.raises(OSError, match="disk"):
        commits.ask("all").result(5)
    assert commits.ask("good").result(5) == "good", "it goes on"


def test_no_unit_is_larger_than_the_most(gate):
    units = []

    def work(asked):
        units.append(len(asked))
        gate.wait(5)
        return list(asked)

    commits = GroupCommit(work, "test")
    futures = [commits.ask(0)]
    while not units:
        time.sleep(0.001)
    futures += [commits.ask(i) for i in range(1, 2 * group_commit.MOST)]
    gate.set()
    assert [future.result(5) for future in futures] == list(range(2 * group_commit.MOST))
    assert max(units) == group_commit.MOST


def test_the_thread_ends_when_nobody_asks_and_comes_back(monkeypatch):
    monkeypatch.setattr(group_commit, "_IDLE_S", 0.01)
    threads = set()

    def work(asked):
        threads.add(threading.current_thread())
        return list(asked)

    commits = GroupCommit(work, "test")
    assert commits.ask(1).result(5) == 1
    (thread,) = threads
    thread.join(5)
    assert not thread.is_alive()
    assert commits.ask(2).result(5) == 2 and len(threads) == 2


def test_thousands_from_many_threads_are_each_answered_once():
    done = []

    def work(asked):
        done.extend(asked)
        return [one + 0.5 for one in asked]

    commits = GroupCommit(work, "test")
    answers = {}

    def ask(start):
        for one in range(start, start + 200):
            answers[one] = commits.ask(one).result(5)

    threads = [threading.Thread(target=ask, args=(200 * i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(3200))
    assert answers == {one: one + 0.5 for one in range(3200)}
