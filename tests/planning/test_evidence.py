import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from core import demo
from core import warm as warm_module
from core.annotation.leaderboard import leaderboard
from core.annotation.quality import alpha_nominal, quality
from core.kept import Kept
from core.planning import evidence
from core.planning.evidence import alpha_of_blocks, gather, uses_per_month
from core.projects import list_projects
from core.warm import warm
from storage import evidence as facts
from storage.bulk import insert_many
from storage.tables import Example, Interaction, Pair, Project, Prompt, Response, Signal, Vote


@pytest.fixture
def demo_project(db, admin):
    demo.seed_once(db)
    return list_projects(db, admin)[0]


def test_the_demo_agrees_with_the_leaderboard_and_the_quality_page(db, person, demo_project):
    lead = person("lead")
    found = gather(db, lead, demo_project.id)
    assert found.champion.name == "plain" and found.simulated_only
    board = leaderboard(db, lead, demo_project.id)
    order = board["matrix"]["prompts"]
    i, j = order.index(found.champion.id), order.index(found.baseline.id)
    assert found.win_rate.n == board["matrix"]["n"][i][j]
    assert found.win_rate.value == pytest.approx(board["matrix"]["wins"][i][j] / found.win_rate.n)
    assert found.win_rate.low < found.win_rate.value < found.win_rate.high
    assert "simulated" in found.win_rate.source
    figures = quality(db, lead, demo_project.id)
    assert found.agreement.value == pytest.approx(figures["alpha_nominal"])
    # Another interval (jackknife over blocks, not bootstrap over pairs), about as wide.
    width = figures["alpha_high"] - figures["alpha_low"]
    assert found.agreement.high - found.agreement.low == pytest.approx(width, rel=0.5)
    assert found.pace.votes == figures["votes"]
    assert found.seconds_per_vote.value == pytest.approx(figures["median_duration_ms"] / 1000)
    assert found.seconds_per_vote.low <= found.seconds_per_vote.value <= found.seconds_per_vote.high


def test_alpha_of_blocks_is_alpha():
    rng = np.random.default_rng(3)
    counts = np.array([np.bincount(rng.integers(0, 4, rng.integers(2, 6)), minlength=4) for _ in range(300)])
    blocks = []
    for block in range(16):
        part = counts[block::16]
        n = part.sum(1)
        same = (part * (part - 1)).sum(1) / (n - 1)
        a, b, tie, bad = part.sum(0)
        blocks.append((int(n.sum()), float(same.sum()), int(a + b), int(tie), int(bad)))
    assert alpha_of_blocks(blocks).value == pytest.approx(alpha_nominal(counts)["alpha_nominal"])
    assert alpha_of_blocks([]) is None
    assert alpha_of_blocks([(4, 4.0, 0, 4, 0)]) is None  # everybody said the same


def test_an_empty_project_says_what_is_missing(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    found = gather(any_db, lead, project.id)
    assert found.win_rate is None and found.agreement is None and found.votes_per_day is None
    assert set(found.missing) == {"win_rate", "agreement", "seconds_per_vote", "interactions_per_month"}


def test_success_in_production(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    prompt = Prompt(project_id=project.id, name="plain", user="{{input}}")

    def work(session):
        session.add(prompt)
        for value in (1, 1, 1, -1):
            use = Interaction(project_id=project.id, prompt_id=prompt.id)
            session.add(use)
            session.add(Signal(project_id=project.id, interaction_id=use.id, kind="thumb", value=value))

    any_db.write(work)
    found = gather(any_db, lead, project.id).success[prompt.id]
    assert (found.value, found.n) == (0.75, 4)
    assert found.low < 0.75 < found.high


def test_figures_follow_the_votes(any_db, person_on):
    """What is kept is dropped with the next vote, with one undone, and with another champion."""
    lead, project = person_on(any_db, "lead")
    first = Prompt(project_id=project.id, name="first", user="{{input}}")
    second = Prompt(project_id=project.id, name="second", user="{{input}}")
    example = Example(project_id=project.id, content_hash="x")
    one, two = (
        Response(project_id=project.id, example_id=example.id, prompt_id=prompt.id, cache_key=prompt.id)
        for prompt in (first, second)
    )
    pair = Pair(project_id=project.id, example_id=example.id, response_a=one.id, response_b=two.id)

    def vote(judge: str, winner: str) -> Vote:
        return Vote(
            project_id=project.id, pair_id=pair.id, annotator_id=judge, outcome="win", winner=winner,
            duration_ms=4000,
        )  # fmt: skip

    given = vote("ann", one.id)

    def start(session):
        session.add_all([first, second, example, one, two, pair, given])
        session.get(Project, project.id).champion_prompt_id = first.id

    any_db.write(start)
    found = gather(any_db, lead, project.id)
    assert (found.win_rate.value, found.win_rate.n, found.seconds_per_vote.value) == (1, 1, 4)
    any_db.write(lambda session: session.add(vote("bob", two.id)))
    found = gather(any_db, lead, project.id)
    assert (found.win_rate.value, found.win_rate.n, found.agreement.n) == (0.5, 2, 2)
    any_db.write(lambda session: session.delete(session.get(Vote, given.id)))
    assert gather(any_db, lead, project.id).win_rate.value == 0

    def crown(session):
        session.get(Project, project.id).champion_prompt_id = second.id

    any_db.write(crown)
    assert gather(any_db, lead, project.id).win_rate.value == 1


def test_the_median_has_its_order_statistics(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    times = np.random.default_rng(0).permutation(np.arange(1, 402) * 100)

    def work(session):
        for place, when in enumerate(times):
            session.add(
                Vote(
                    project_id=project.id,
                    pair_id=str(place),
                    annotator_id="ann",
                    outcome="tie",
                    duration_ms=int(when),
                )
            )

    any_db.write(work)
    found = gather(any_db, lead, project.id).seconds_per_vote
    half = 0.98 / 401**0.5
    expected = np.quantile(times / 1000, [0.5 - half, 0.5, 0.5 + half])
    assert (found.low, found.value, found.high) == pytest.approx(tuple(expected))


def test_uses_by_month(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    days = [(1, 31)] + [(2, 1)] * 3 + [(2, 28)] + [(3, 1)] * 2 + [(4, 2)]

    def work(session):
        for month, day in days:
            at = datetime(2026, month, day, 23, 59, tzinfo=UTC)
            session.add(Interaction(project_id=project.id, created_at=at))

    any_db.write(work)
    found = gather(any_db, lead, project.id).interactions_per_month
    assert (found.value, found.n) == (3, 6)  # February and March are whole
    assert uses_per_month(any_db, lead, project.id) == found


def test_what_is_kept_belongs_to_a_state_and_the_oldest_goes():
    kept, made = Kept(most=2), []

    def make(value):
        made.append(value)
        return value

    assert [kept.get("a", 1, lambda: make("a1")), kept.get("a", 1, lambda: make("no"))] == ["a1", "a1"]
    assert kept.get("a", 2, lambda: make("a2")) == "a2"
    kept.get("b", 1, lambda: make("b"))
    kept.get("c", 1, lambda: make("c"))
    assert kept.get("a", 2, lambda: make("again")) == "again"
    assert made == ["a1", "a2", "b", "c", "again"]


def test_a_large_project_moves_by_a_thousandth(any_db, person_on, monkeypatch):
    lead, project = person_on(any_db, "lead")
    monkeypatch.setattr(facts, "MANY", 1000)
    monkeypatch.setattr(evidence, "_votes", Kept(pause_s=0))

    def add(start, count):
        rows = [
            {"id": f"{project.id}{n}", "project_id": project.id, "pair_id": str(n), "annotator_id": "a",
             "outcome": "tie", "source": "page"}
            for n in range(start, start + count)
        ]  # fmt: skip
        any_db.write(lambda session: insert_many(session, Vote, rows))

    add(0, 10_000)
    assert gather(any_db, lead, project.id).pace.votes == 10_000
    add(10_000, 9)
    assert gather(any_db, lead, project.id).pace.votes == 10_000
    add(10_009, 1)
    end = time.monotonic() + 20
    while gather(any_db, lead, project.id).pace.votes != 10_010 and time.monotonic() < end:
        time.sleep(0.02)  # a thread counts meanwhile
    assert gather(any_db, lead, project.id).pace.votes == 10_010


def test_a_large_project_gets_the_result_before_while_a_thread_counts():
    kept, may_go, asked = Kept(pause_s=0), threading.Event(), []

    def slowly():
        asked.append(1)
        may_go.wait(10)
        return "new"

    assert kept.get("a", 1, lambda: "old", meanwhile=True) == "old"  # nothing before: it waits
    assert kept.get("a", 2, slowly, meanwhile=True) == "old"
    assert kept.get("a", 2, slowly, meanwhile=True) == "old"
    may_go.set()
    end = time.monotonic() + 10
    while kept.get("a", 2, slowly, meanwhile=True) != "new" and time.monotonic() < end:
        time.sleep(0.01)
    assert kept.get("a", 2, lambda: "no") == "new" and len(asked) == 1  # one thread a key


def test_what_fails_in_the_thread_is_tried_again(caplog):
    kept = Kept(pause_s=0)
    kept.get("a", 1, lambda: "old")

    def fails():
        raise RuntimeError("no such table")

    end = time.monotonic() + 10
    while "could not be made anew" not in caplog.text and time.monotonic() < end:
        assert kept.get("a", 2, fails, meanwhile=True) == "old"
        time.sleep(0.01)
    while kept.get("a", 2, lambda: "new", meanwhile=True) != "new" and time.monotonic() < end:
        time.sleep(0.01)
    assert kept.get("a", 2, fails) == "new"


def test_large_projects_are_counted_ahead_and_small_ones_are_not(db, person, demo_project, monkeypatch):
    assert warm(db) == 0
    monkeypatch.setattr(warm_module, "MANY", 100)
    monkeypatch.setattr(facts, "MANY", 100)
    monkeypatch.setattr(evidence, "_votes", kept := Kept())
    assert warm(db) == 1
    assert [key[1] for key in kept._found] == [demo_project.id]
