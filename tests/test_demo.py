"""The demo: made once, simulated votes marked, enough to train on, removed in one action."""

from collections import Counter

import pytest
from sqlmodel import func, select

from core import demo
from core.overview import loop_state
from core.projects import list_projects, purge_project
from demo.inputs import QUESTIONS
from demo.prompts import PROMPTS
from storage.tables import Annotator, Example, Pair, Prompt, Response, Slot, Vote


@pytest.fixture
def seeded(db) -> str:
    project_id = demo.seed_once(db)
    assert project_id is not None
    return project_id


def test_what_is_in_it(db, admin, seeded):
    state = loop_state(db, admin, seeded)
    assert sum(state.examples.values()) == len(set(QUESTIONS)) == 60
    assert set(state.examples) == {"train", "dev", "test"}
    assert state.prompts == len(PROMPTS) == 4 and state.champion == "plain v1"
    assert state.responses == 240
    assert state.decided >= 200, "enough to train on"
    assert state.open_slots >= 80, "pairs wait for people"


def test_every_vote_is_marked_as_simulated(db, seeded):
    with db.read() as session:
        votes = session.exec(select(Vote)).all()
        judges = session.exec(select(Annotator)).all()
        responses = {row.id: row for row in session.exec(select(Response))}
    assert votes and all(vote.simulated and vote.source == "simulated" for vote in votes)
    assert all(judge.simulated and judge.user_id is None and "simulated" in judge.name for judge in judges)
    assert all(vote.left in responses for vote in votes)
    assert all((vote.winner in responses) == (vote.outcome == "win") for vote in votes)


def test_pairs_have_three_votes_or_wait_for_one(db, seeded):
    with db.read() as session:
        votes = Counter(session.exec(select(Vote.pair_id)))
        slots = Counter(session.exec(select(Slot.pair_id).where(Slot.status == "open")))
        pairs = session.exec(select(Pair.id)).all()
    assert {(votes[pair], slots[pair]) for pair in pairs} == {(0, 1), (3, 0)}


def test_it_is_made_once_and_stays_deleted(db, admin, seeded):
    assert demo.seed_once(db) is None
    purge_project(db, admin, seeded)
    assert list_projects(db, admin) == []
    with db.read() as session:
        for table in (Example, Prompt, Response, Pair, Slot, Vote, Annotator):
            assert session.exec(select(func.count()).select_from(table)).one() == 0
    assert demo.seed_once(db) is None


def test_a_broken_file_leaves_nothing(db, admin):
    data = demo.read()
    data["votes"][3]["outcome"] = "x"
    data["votes"].append({**data["votes"][3], "outcome": "y"})  # the same judge says both
    with pytest.raises(ValueError, match=r"demo/data\.json, row \d+"):
        db.write(lambda session: demo.seed(session, data))
    assert list_projects(db, admin) == []
