"""Votes of a judge count nowhere until a lead takes them in, and then it is said everywhere."""

from dataclasses import asdict

import pytest

from core.annotation.annotators import leave_out, take_back
from core.annotation.leaderboard import leaderboard
from core.annotation.quality import quality
from core.exports import export_preview, export_stream
from core.overview import loop_state
from core.projects import update_project
from core.reward.data import summary
from storage import history, improvements, my_votes, selection
from storage.counting import machine_votes
from storage.exporting import Order
from storage.formats import FORMATS
from storage.ids import id_of, new_id
from storage.judges import make_judge
from storage.tables import Pair, Slot, Vote
from tests.annotation.judge.conftest import make_place

JUDGE = "judge-1"


def figures(here) -> dict:
    """Everything that is counted from votes, in one object that can be compared."""
    db, who, project = here.db, here.who, here.project.id
    said: dict = {"leaderboard": leaderboard(db, who, project)}
    said["quality"] = {k: v for k, v in quality(db, who, project).items() if k != "left_out"}
    said["reward"] = {name: asdict(item) for name, item in summary(db, who, project).items()}
    state = loop_state(db, who, project)
    said["overview"] = asdict(state) | {"votes_machine_out": 0}
    for name in FORMATS:
        for simulated in (False, True):
            order = Order(name, simulated)
            said[name, simulated] = list(export_stream(db, who, project, name, simulated, None))
            said[name, simulated, "account"] = asdict(export_preview(db, who, project, order).account)
    with db.read() as session:
        said["history"] = history.votes_by_day(session, project)
        said["labels"] = improvements.labels_by_period(session, project, [])
        said["open"] = selection.open_slots(session, project, 100)
        ann = id_of("annotator", project, "Ann")
        said["mine"] = my_votes.agreement(session, project, ann)
    return said


def machine_says(here, choices: dict[str, str]) -> None:
    pairs = {pair.id: pair for pair in here.pairs}

    def work(session) -> None:
        judge = make_judge(session, here.project.id, JUDGE, "far · m")
        for pair_id, choice in choices.items():
            pair: Pair = pairs[pair_id]
            session.add(
                Vote(
                    id=new_id(), project_id=here.project.id, pair_id=pair_id, annotator_id=judge.id,
                    outcome="win" if choice in ("a", "b") else choice,
                    winner={"a": pair.response_a, "b": pair.response_b}.get(choice), source="machine",
                )
            )  # fmt: skip

    here.db.write(work)


@pytest.fixture
def voted(any_db):
    here = make_place(any_db, pairs=9)
    ids = [pair.id for pair in here.pairs]
    here.vote("Ann", {key: "ab"[i % 2] for i, key in enumerate(ids[:6])})
    here.vote("Bob", {key: "abt"[i % 3].replace("t", "tie") for i, key in enumerate(ids[:4])})
    here.vote("Sim", {ids[6]: "a"}, simulated=True)
    return here


def test_no_figure_and_no_export_moves(voted):
    before = figures(voted)
    machine_says(voted, {pair.id: "b" for pair in voted.pairs})
    after = figures(voted)
    for name in before:
        assert after[name] == before[name], name
    with voted.db.read() as session:
        assert machine_votes(session, voted.project.id) == (0, 9)


def test_more_votes_a_pair_are_asked_of_people(voted):
    machine_says(voted, {pair.id: "b" for pair in voted.pairs})
    update_project(voted.db, voted.who, voted.project.id, votes_per_pair=3)
    rows = voted.rows(Slot)
    wanted = {
        pair.id: sum(slot.pair_id == pair.id and slot.status == "open" for slot in rows)
        for pair in voted.pairs
    }
    assert set(wanted.values()) == {3}  # as many as without the machine's (votes here filled no slot)


def test_taking_them_in_counts_and_says_so(voted):
    machine_says(voted, {pair.id: "b" for pair in voted.pairs})
    slots = [(slot.id, slot.status) for slot in voted.rows(Slot)]
    db, who, project = voted.db, voted.who, voted.project.id
    before = figures(voted)
    take_back(db, who, project, JUDGE)
    assert [(slot.id, slot.status) for slot in voted.rows(Slot)] == slots
    board = leaderboard(db, who, project)
    assert board["votes"] == before["leaderboard"]["votes"] + 9 and board["machine_votes"] == 9
    found = quality(db, who, project)
    assert found["votes"] == before["quality"]["votes"] + 9 and found["machine_votes"] == 9
    assert [one["machine"] for one in found["per_annotator"] if one["id"] == JUDGE] == [True]
    state = loop_state(db, who, project)
    assert (state.votes_machine, state.votes, state.annotators) == (9, before["overview"]["votes"], 2)
    train = summary(db, who, project)["exclude"]
    assert sum(counts.machine_votes for counts in train.splits.values()) == 9
    rows = list(export_stream(db, who, project, "comparisons", False, None))
    assert sum(bool(row.get("machine")) for row in rows) == 9
    assert all(row["annotator"] == "far · m" for row in rows if row.get("machine"))
    shown = export_preview(db, who, project, Order("trl")).account.tally
    assert (shown.machine_votes, shown.machine_annotators) == (9, 1)
    leave_out(db, who, project, JUDGE)
    after = figures(voted)
    assert [(slot.id, slot.status) for slot in voted.rows(Slot)] == slots
    for name in before:
        assert after[name] == before[name], name


def test_an_export_with_them_comes_back_as_a_judges_votes(voted):
    """Into another project: the judge is a judge there, left out, and its votes take no room."""
    from storage.importing import check_comparisons, store_comparisons
    from storage.tables import Annotator, Project

    machine_says(voted, {pair.id: "b" for pair in voted.pairs})
    take_back(voted.db, voted.who, voted.project.id, JUDGE)
    rows = list(export_stream(voted.db, voted.who, voted.project.id, "comparisons", False, None))
    rows = [{**row, "input": f"Input {row['response_a'].split()[-1]}"} for row in rows]
    other = Project(name="Other", votes_per_pair=2)
    checked, problems = check_comparisons(rows), []

    def work(session) -> None:
        session.add(other)
        session.flush()
        for report in (
            store_comparisons(session, other, checked),
            store_comparisons(session, other, checked),
        ):
            problems.extend(report.skipped)

    voted.db.write(work)
    assert problems == []
    (judge,) = [one for one in voted.rows(Annotator) if one.project_id == other.id and one.machine]
    assert judge.name == "far · m" and judge.excluded_at is not None
    votes = [vote for vote in voted.rows(Vote) if vote.project_id == other.id]
    assert sum(vote.source == "machine" for vote in votes) == 9 and len(votes) == len(rows)
    pairs = {pair.id for pair in voted.rows(Pair) if pair.project_id == other.id}
    people = {key: sum(vote.pair_id == key and vote.source != "machine" for vote in votes) for key in pairs}
    room = {
        key: sum(slot.pair_id == key and slot.status == "open" for slot in voted.rows(Slot)) for key in pairs
    }
    assert room == {key: 2 - people[key] for key in pairs}
    wrong = next(row for row in rows if row.get("machine")) | {"machine": False}

    def again(session):
        return store_comparisons(session, session.get(Project, other.id), check_comparisons([wrong]))

    (said,) = voted.db.write(again).skipped
    assert "is a machine judge here" in str(said)
