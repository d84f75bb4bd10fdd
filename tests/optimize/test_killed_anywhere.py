"""A judged search that is killed after any line it writes, or before, comes to the same end as one
that is not: candidates, scores, calls, and why it ended."""

import random

import pytest

from core.llm.protocol import HostSpec
from core.optimize import work
from core.optimize.answers import Answers
from core.optimize.rewards.kinds import price_of
from core.optimize.search import Search
from core.runs.folder import write_json
from tests.optimize.fakes import FakeHost, Killed, make_folder
from tests.optimize.rewards.test_composed import FakeJudge, Three, candidates, document
from tests.optimize.test_ending import IN_TEXT, SMALL
from tests.optimize.test_run import run, stable

JUDGED = [{"kind": "judge", "host": "far"}, {"kind": "length", "limit": 6, "margin": 6}]
TWO = [*JUDGED, {"kind": "judge", "host": "near", "rubric": "Is it near?", "name": "near"}]


class Fuse:
    """Kills at one of the next lines, just before it is written or just after; at times before a
    state is saved."""

    def __init__(self, monkeypatch, seed):
        self.rng, self.left, self.after, self.kills = random.Random(seed), 0, True, 0
        write, save = Answers._write, Search.save

        def write_or_die(answers, line):
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Killed
            write(answers, line)
            if self.left == 0:
                raise Killed

        def save_or_die(search):
            if self.left > 0 and self.rng.random() < 0.1:
                raise Killed
            save(search)

        monkeypatch.setattr(Answers, "_write", write_or_die)
        monkeypatch.setattr(Search, "save", save_or_die)

    def light(self):
        self.after = self.rng.random() < 0.7
        self.left = self.rng.randint(2, 9) + 3 * (not self.after)


def folder_of(path, name, parts, calls, sizes=(12, 6, 8), options=None, stop=None, **more):
    folder = make_folder(
        path, method=name, sizes=sizes, host=HostSpec(name="fake"), reward="reward_model", calls=calls,
        **(SMALL[name] if options is None else options), **more,
    )  # fmt: skip
    written, spec = document(parts), folder.spec
    for host in written["hosts"].values():
        host |= {"kind": "local"}
    price = sum(price_of(written["reward"]).values())
    spec["config"] |= {"reward": written["reward"], "stop": stop or {}}
    spec["config"]["plan"] |= {"reserve": spec["config"]["plan"]["reserve"] * price, "price": price}
    write_json(folder.path / "spec.json", spec)
    write_json(folder.inputs / "reward.json", written)
    return folder


@pytest.fixture
def hosts(monkeypatch):
    judge, host = FakeJudge(), FakeHost()
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: host if spec.name == "fake" else judge)
    monkeypatch.setattr(work, "open_scorer", lambda folder: Three())
    return host, judge


@pytest.mark.parametrize("name", IN_TEXT)
@pytest.mark.parametrize(
    ("parts", "limits"),
    [
        (JUDGED, {"calls": 250}),
        (JUDGED, {"calls": 335}),
        (JUDGED, {"calls": 2_000, "stop": {"tokens": 5_421}}),
        (JUDGED, {"calls": 2_000, "stop": {"cost": 1.5}}),
        (TWO, {"calls": 420}),
        (TWO, {"calls": 3_000, "stop": {"tokens": 8_300}}),
    ],
)
def test_it_ends_as_if_nothing_had_happened(tmp_path, hosts, monkeypatch, name, parts, limits):
    whole = folder_of(tmp_path / "whole", name, parts, **limits)
    end = run(whole)
    host, judge = hosts
    assert end["calls"] == host.calls + judge.asked <= limits["calls"]
    killed = folder_of(tmp_path / "killed", name, parts, **limits)
    assert stable(killed_at_random(killed, monkeypatch, f"{name}/{limits}")) == stable(end)
    assert candidates(killed) == candidates(whole)


def killed_at_random(folder, monkeypatch, seed):
    with monkeypatch.context() as patched:
        fuse, result = Fuse(patched, seed), None
        while result is None:
            fuse.light()
            try:
                result = run(folder)
            except Killed:
                fuse.kills += 1
                assert fuse.kills < 500
    assert fuse.kills
    return result


def test_what_closing_took_less_than_it_was_to_take_scores_no_more(tmp_path, hosts, monkeypatch):
    """It closes with as many of its proposals as fit by what an example takes on the mean. They take
    less, for many of their grades are known; so there is room for more of them, if it is killed then."""
    limits = {
        "calls": 415, "stop": {"tokens": 5_421}, "sizes": (8, 3, 3), "finalists": 2, "seed": 29, "options": {}
    }  # fmt: skip
    parts = [*JUDGED, {**JUDGED[0], "rubric": "Is it near?", "name": "near"}]
    whole = folder_of(tmp_path / "whole", "best_of_n", parts, **limits)
    end = run(whole)
    for seed in range(12):
        killed = folder_of(tmp_path / str(seed), "best_of_n", parts, **limits)
        assert stable(killed_at_random(killed, monkeypatch, seed)) == stable(end)
        assert candidates(killed) == candidates(whole)
