"""Series from the database, on both kinds, against the same figures counted by hand."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from core import demo
from core.annotation.leaderboard import leaderboard
from core.planning.evidence import alpha_of_blocks, gather
from core.planning.milestones import metrics as live
from core.planning.milestones.metrics import first_activity, live_metrics
from core.projects import list_projects
from core.stats import wilson
from storage import evidence, history
from storage.judgements import Which
from storage.tables import Annotator, Interaction, Pair, Prompt, Response, RewardModel, Run, Signal, Vote

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
MONDAY = NOON.date()


def at(days: float) -> datetime:
    return NOON + timedelta(days=days)


@pytest.fixture
def filled(any_db, person_on):
    """Votes of two people over four weeks on three prompts, the champion being `b`."""
    lead, project = person_on(any_db, "lead")
    rng = np.random.default_rng(5)
    prompts = [Prompt(project_id=project.id, name=name, user="{{input}}") for name in "abc"]
    prompts[1].parent_id = prompts[0].id
    people = [Annotator(project_id=project.id, name=f"p{i}") for i in range(2)]
    rows, votes = [*prompts, *people], []
    for i in range(60):
        x, y = prompts[1], prompts[0 if i % 3 else 2]
        one, two = (
            Response(
                project_id=project.id,
                example_id=f"e{i}",
                prompt_id=p.id,
                cache_key=f"{project.id}{i}{p.name}",
            )
            for p in (x, y)
        )
        pair = Pair(project_id=project.id, example_id=f"e{i}", response_a=one.id, response_b=two.id)
        rows += [one, two, pair]
        for j in range(1 + i % 2):
            outcome = str(rng.choice(["win", "win", "win", "tie", "both_bad"]))
            winner = str(rng.choice([one.id, two.id])) if outcome == "win" else None
            day = i // 2.2 + float(rng.uniform(-0.4, 0.4))
            votes.append(
                Vote(
                    project_id=project.id, pair_id=pair.id, annotator_id=people[j].id, outcome=outcome,
                    winner=winner, created_at=at(day), simulated=i % 10 == 0,
                )
            )  # fmt: skip

    def work(session):
        session.add_all([*rows, *votes])
        project.champion_prompt_id = prompts[1].id
        session.merge(project)

    any_db.write(work)
    return lead, project, prompts, people, votes


def test_votes_by_day(any_db, filled):
    _, project, _, people, votes = filled
    expected: dict[date, list[int]] = defaultdict(lambda: [0, 0])
    for vote in votes:
        expected[vote.created_at.date()][vote.simulated] += 1
    with any_db.read() as session:
        found = history.votes_by_day(session, project.id)
    assert found == [(day, *counts) for day, counts in sorted(expected.items())]

    def leave_out(session):
        session.get(Annotator, people[1].id).excluded_at = NOON

    any_db.write(leave_out)
    with any_db.read() as session:
        kept = history.votes_by_day(session, project.id)
    assert sum(p + s for _, p, s in kept) == sum(vote.annotator_id == people[0].id for vote in votes)


@pytest.mark.parametrize("period", ["day", "week"])
def test_agreement_adds_up_to_that_of_all_votes(any_db, filled, period):
    _, project, _, _, votes = filled
    which = Which(project.id)
    with any_db.read() as session:
        rows = history.agreement_by_period(session, which, period)
        whole = evidence.agreement_blocks(session, which)
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(5))
    for _, block, values in rows:
        sums[block] += np.array(values)
    assert np.array([sums[key] for key in sorted(sums)]) == pytest.approx(np.array(whole))
    last = {vote.pair_id: vote.created_at.date() for vote in sorted(votes, key=lambda v: v.created_at)}
    days = {row[0] for row in rows}
    if period == "week":
        assert {day.weekday() for day in days} == {0}
        assert days <= {day - timedelta(days=day.weekday()) for day in last.values()}
    else:
        assert days <= set(last.values())


def test_meetings_by_week(any_db, filled):
    _, project, prompts, _, votes = filled
    which = Which(project.id, "exclude")
    with any_db.read() as session:
        rows = history.meetings_by_period(session, which, prompts[1].id, "week")
        whole = evidence.meetings(session, which, prompts[1].id)
    for total in whole:
        mine = [row for row in rows if row.other_id == total.other_id]
        assert sum(row.wins for row in mine) == total.wins
        assert sum(row.even for row in mine) == total.even
        assert sum(row.losses for row in mine) == total.losses
    per_week = defaultdict(int)
    for vote in votes:
        if not vote.simulated:
            per_week[vote.created_at.date() - timedelta(days=vote.created_at.weekday())] += 1
    counted = defaultdict(int)
    for row in rows:
        counted[row.day] += row.wins + row.even + row.losses
    assert counted == per_week


def test_runs_models_and_uses(any_db, person_on):
    lead, project = person_on(any_db, "lead")

    def run(kind, day, result=None, status="succeeded"):
        return Run(
            project_id=project.id,
            kind=kind,
            status=status,
            created_at=at(day),
            finished_at=at(day),
            result=result,
        )

    def gain(score, reward="reward_model"):
        return {"reward": reward, "gain": {"score": score, "low": score - 0.1, "high": score + 0.1, "n": 40}}

    def training(seconds, epochs=2):
        return {"n_train": 100, "settings": {"epochs": epochs}, "seconds": seconds}

    def model(day, accuracy, **more):
        metrics = {"accuracy": accuracy, "accuracy_low": 0.5, "accuracy_high": 0.8, "n_test": 50, **more}
        made = {"archived_at": at(day)} if more.get("archived") else {}
        name = f"m{day}{accuracy}"
        return RewardModel(
            project_id=project.id,
            run_id=name,
            name=name,
            folder="f",
            metrics=metrics,
            created_at=at(day),
            **made,
        )

    rows = [
        run("optimize", 0, gain(0.9, "labels")),  # another kind of reward: not comparable
        run("optimize", 1, gain(0.02)),
        run("optimize", 2, gain(0.01)),  # no record
        run("optimize", 3, gain(0.05)),
        run("optimize", 3.1, {"reward": "reward_model", "gain": None}),  # without a test split
        run("optimize", 3.2, None, "failed"),
        run("reward_model", 0, training(50.0)),  # 4 pairs a second
        run("reward_model", 0.1, training(200.0)),  # 1
        run("reward_model", 9, training(10.0, epochs=1)),  # 10
        run("reward_model", 9.1, None, "failed"),
        model(1, 0.6), model(1.1, 0.7), model(2, 0.99, partial=True), model(3, 0.95, archived=True), model(4, 0.65),
    ]  # fmt: skip
    for i in range(6):
        use = Interaction(project_id=project.id, prompt_id=None, created_at=at(i // 3))
        rows.append(use)
        if i != 5:  # one without any signal
            rows.append(
                Signal(project_id=project.id, interaction_id=use.id, kind="thumb", value=1 if i else -1)
            )
    rows.append(Signal(project_id=project.id, interaction_id=use.id, kind="seen", value=None))
    any_db.write(lambda session: session.add_all(rows))

    with any_db.read() as session:
        reward, runs, gains = history.best_gains(session, project.id)
        speeds = history.training_speed(session, project.id)
        accuracies = history.reward_accuracy(session, project.id)
        assert history.uses_by_day(session, project.id) == [
            (MONDAY, 2, 3),
            (MONDAY + timedelta(days=1), 2, 2),
        ]
        ended = history.runs_by_day(session, project.id)
        seen = history.activity(session, project.id)
    assert (reward, runs) == ("reward_model", 3)
    assert [(item.day, item.score, item.n) for item in gains] == [
        (at(1).date(), 0.02, 40), (at(3).date(), 0.05, 40)
    ]  # fmt: skip
    assert [(item.day, item.runs) for item in speeds] == [(MONDAY, 2), (at(9).date(), 1)]
    assert np.exp(speeds[0].mean_log) == pytest.approx(2)  # the geometric mean of 4 and 1
    assert speeds[0].sd_log == pytest.approx(np.std([np.log(4), 0], ddof=1))
    assert [(item.day, item.value) for item in accuracies] == [(at(1).date(), 0.7), (at(4).date(), 0.65)]
    assert sum(n for _, _, n in ended) == 10 and sum(ok for _, ok, _ in ended) == 8
    assert seen == {
        "training": (MONDAY, at(9).date()),
        "searches": (MONDAY, at(3).date()),
        "uses": (MONDAY, at(1).date()),
    }

    found = live_metrics(any_db, lead, project.id)
    assert found["gain"].current.value == 0.05 and "best of 3 searches" in found["gain"].basis
    stability = found["stability"]
    assert (stability.current.value, stability.current.n) == (0.8, 5)
    assert (stability.current.low, stability.current.high) == wilson(4, 5)
    assert "good signal" in stability.basis and "good signal" in stability.kind.title
    assert found["training_efficiency"].series[0].low < 2 < found["training_efficiency"].series[0].high
    assert first_activity(any_db, lead, project.id)["deployment"][0] == MONDAY


def test_without_signals_stability_is_of_runs_and_says_so(db, person, project):
    rows = [
        Run(project_id=project.id, kind="generate", status=status, finished_at=at(i))
        for i, status in enumerate(["succeeded", "failed", "succeeded", "cancelled"])
    ]
    db.write(lambda session: session.add_all(rows))
    found = live_metrics(db, person("lead"), project.id)["stability"]
    assert (found.current.value, found.current.n) == (pytest.approx(2 / 3), 3)
    assert "runs that succeeded (no signals yet)" in found.basis


def test_stability_looks_back_28_days(db, person, project):
    rows = [
        Run(
            project_id=project.id,
            kind="generate",
            status="failed" if i < 10 else "succeeded",
            finished_at=at(i),
        )
        for i in range(40)
    ]
    db.write(lambda session: session.add_all(rows))
    series = live_metrics(db, person("lead"), project.id)["stability"].series
    assert (series[-1].value, series[-1].n) == (1.0, 28)
    assert (series[0].value, series[0].n) == (0.0, 1)


def test_a_long_history_of_training_is_joined_into_weeks():
    rng = np.random.default_rng(0)
    days = []
    logs: dict[date, list[float]] = defaultdict(list)
    for i in range(0, 100, 3):
        mine = rng.normal(1, 0.3, int(rng.integers(1, 4)))
        day = at(i).date()
        logs[day - timedelta(days=day.weekday())] += list(mine)
        days.append(history.Speed(day, len(mine), mine.mean(), mine.std(ddof=1) if len(mine) > 1 else 0.0))
    for found, values in zip(live._by_week(days), logs.values(), strict=True):
        assert found.runs == len(values)
        assert found.mean_log == pytest.approx(np.mean(values))
        assert found.sd_log == pytest.approx(np.std(values, ddof=1) if len(values) > 1 else 0.0)


def test_the_live_figures_of_the_demo_are_those_of_the_other_pages(db, admin, person):
    demo.seed_once(db)
    project, lead = list_projects(db, admin)[0], person("lead")
    found, known = live_metrics(db, lead, project.id), gather(db, lead, project.id)
    for key, figure in (("win_rate", known.win_rate), ("agreement", known.agreement)):
        now = found[key].current
        assert (now.value, now.low, now.high, now.n) == pytest.approx(
            (figure.value, figure.low, figure.high, figure.n)
        )
    labels = found["labels"]
    assert (
        labels.current.value == leaderboard(db, lead, project.id)["all_simulated_votes"] == labels.simulated
    )
    assert "all simulated" in labels.basis and sum(labels.daily) == labels.current.value
    assert all(a.value <= b.value for a, b in zip(labels.series, labels.series[1:], strict=False))
    assert found["gain"].current is None and found["gain"].missing


def test_the_live_figures_follow_new_votes(any_db, filled):
    """People's votes count, simulated ones apart; what is kept is counted anew."""
    lead, project, _, people, votes = filled
    by_people = sum(not vote.simulated for vote in votes)
    before = live_metrics(any_db, lead, project.id)
    assert live_metrics(any_db, lead, project.id) is before
    assert before["labels"].current.value == by_people and before["labels"].simulated == 0
    assert before["labels"].periods[-1].value == len(votes) - by_people
    assert "a v1" in before["win_rate"].basis  # what it descends from, not what it met most
    with any_db.read() as session:
        blocks = evidence.agreement_blocks(session, Which(project.id, "exclude"))
    assert before["agreement"].current.value == pytest.approx(alpha_of_blocks(blocks).value)
    more = Vote(project_id=project.id, pair_id=votes[0].pair_id, annotator_id=people[1].id, outcome="tie")
    any_db.write(lambda session: session.add(more))
    assert live_metrics(any_db, lead, project.id)["labels"].current.value == by_people + 1
