"""The queries, on both databases, against figures counted by hand."""

from datetime import timedelta

from core.planning.decision.evidence import found_against_written
from core.planning.decision.history import between
from storage import decisions
from storage.ids import now
from storage.judgements import Which
from storage.tables import Candidate, Example, Response, Run


def test_preferences_and_meetings(any_db, person_on, world):
    _, project = person_on(any_db, "lead")
    build = world(any_db, project)
    one, two, three = build.versions(3)
    build.meet(one, two, wins=4, even=2, losses=1, votes=2)
    build.meet(one, two, wins=5, split="train")
    build.meet(three, two, wins=1, losses=3, split="dev", simulated=True)
    with any_db.read() as session:
        met = decisions.meetings(session, Which(project.id))
        people = decisions.meetings(session, Which(project.id, "exclude"))
    assert (sum(row.decided for row in met), sum(row.decided_simulated for row in met)) == (14, 4)
    assert (sum(row.decided for row in people), sum(row.decided_simulated for row in people)) == (10, 0)
    line = [one, two, three]
    first, last = between(line, met, held_out=True)
    assert (first.earlier, first.later, first.n, first.wins, first.pairs, first.simulated) == (
        0, 1, 14, 10.0, 7, 0
    )  # fmt: skip
    assert (first.ss, first.sm, first.mm) == (4 * 4 + 2 * 1, 2 * 10, 7 * 4)
    assert (last.earlier, last.later, last.n, last.wins, last.simulated) == (1, 2, 4, 3.0, 4)
    (trained,) = between(line, met, held_out=False)
    assert (trained.n, trained.wins) == (5, 5)
    assert between([one, three], met, held_out=True) == []


def test_found_prompts_against_written_ones(any_db, person_on, world):
    _, project = person_on(any_db, "lead")
    build = world(any_db, project)
    (one, two) = build.versions(2)
    found = build.found(two)
    build.meet(two, found, wins=6, even=1, losses=2, host_id="h1")
    build.meet(found, one, wins=1, losses=3, host_id="h2")
    build.meet(one, two, wins=9)
    with any_db.read() as session:
        met = decisions.meetings(session, Which(project.id))
    rows = found_against_written(met, {prompt.id: prompt for prompt in (one, two, found)})
    assert [(row.host_id, row.wins, row.even, row.losses) for row in rows] == [
        ("h1", 6, 1, 2),
        ("h2", 3, 0, 1),
    ]


def test_searches_and_their_test_scores(any_db, person_on, world):
    _, project = person_on(any_db, "lead")
    one, two = world(any_db, project).versions(2)
    began = now()

    def run(score, low, prompt=one, reward="labels", status="succeeded", seconds=60):
        gain = None if score is None else {"score": score, "low": low, "high": score + 1, "n": 50}
        return Run(
            project_id=project.id, kind="optimize", status=status,
            config={"method": "grips", "reward": reward, "start": {"prompt_id": prompt.id}},
            result={"gain": gain}, started_at=began, finished_at=began + timedelta(seconds=seconds),
        )  # fmt: skip

    runs = [
        run(4.0, 1.0), run(2.0, -1.0, two, seconds=120), run(None, None, seconds=90),
        run(0.3, 0.1, reward="reward_model"), run(9.0, 8.0, status="failed"),
    ]  # fmt: skip

    def candidate(run, accuracy, number=0):
        test = {"score": 60.0, "accuracy": accuracy, "accuracy_low": 0.4, "accuracy_high": 0.8, "n": 50}
        return Candidate(project_id=project.id, run_id=run.id, number=number, scores={"test": test})

    rows = [candidate(runs[0], 0.6), candidate(runs[0], 0.9, 3), candidate(runs[1], 0.7)]
    rows.append(Candidate(project_id=project.id, run_id=runs[2].id, number=0, scores={"train": {}}))
    rows.append(candidate(runs[3], 0.1))
    any_db.write(lambda session: session.add_all([*runs, *rows]))
    with any_db.read() as session:
        labels, reward = decisions.searches(session, project.id)
        scores = decisions.label_scores(session, project.id, [one.id, two.id])
        assert decisions.label_scores(session, project.id, []) == {}
    assert (labels.method, labels.reward, labels.runs, labels.reported, labels.better) == (
        "grips", "labels", 3, 2, 1
    )  # fmt: skip
    assert (labels.gain, labels.median_s) == (3.0, 90.0)
    assert (reward.reward, reward.better) == ("reward_model", 1)
    assert {key: score["accuracy"] for key, score in scores.items()} == {one.id: 0.6, two.id: 0.7}


def test_hosts_and_labels(any_db, person_on, world):
    _, project = person_on(any_db, "lead")
    (one,) = world(any_db, project).versions(1)

    def work(session):
        for i in range(9):
            example = Example(
                project_id=project.id,
                content_hash=str(i),
                reference="yes" if i < 4 else "" if i < 6 else None,
            )
            session.add(example)
            session.add(
                Response(
                    project_id=project.id, example_id=example.id, prompt_id=one.id, cache_key=str(i),
                    host_id="h" if i < 7 else None, latency_ms=100.0 * (i + 1) if i < 5 else None,
                )
            )  # fmt: skip

    any_db.write(work)
    with any_db.read() as session:
        assert decisions.labelled_examples(session, project.id) == 4
        named, unnamed = decisions.answered(session, project.id)
        assert decisions.hosts(session) == []
    assert (named.host_id, named.responses, named.timed, named.median_ms) == ("h", 7, 5, 300.0)
    assert named.low_ms <= named.median_ms <= named.high_ms
    assert (unnamed.host_id, unnamed.responses, unnamed.median_ms) == (None, 2, None)
