"""How many pairs a desk holds: enough to go on offline, never so many that others wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from core.annotation import ahead, sitting, votes
from core.annotation.ahead import FEWEST, MOST, pairs_ahead, share
from storage.room import room
from storage.tables import Annotator, Slot
from tests.annotation.conftest import make_person, make_world


@pytest.fixture(autouse=True)
def counted_each_time(monkeypatch):
    monkeypatch.setattr(ahead, "FRESH_S", -1.0)


@given(st.integers(0, 10**7), st.integers(0, 10_000))
def test_all_desks_together_leave_most_to_others(open_slots, people):
    found = share(open_slots, people)
    assert FEWEST <= found <= MOST
    if found > FEWEST:
        assert found * max(1, people) <= open_slots / 4


@pytest.mark.parametrize(("open_slots", "people", "held"), [
    (1_000_000, 200, 5), (100, 5, 5), (99, 5, 4), (20, 1, 5), (15, 1, 3), (7, 1, 2), (0, 0, 2), (800, 200, 2),
])  # fmt: skip
def test_the_share(open_slots, people, held):
    assert share(open_slots, people) == held


def test_five_with_plenty_and_two_at_the_end(any_db):
    world = make_world(any_db, pairs=26, votes=1)
    who = make_person(any_db)
    held = sitting.pairs(any_db, who, world.project.id)
    assert len(held) == MOST and len({item["pair_id"] for item in held}) == MOST
    # After a reload they stand in the same order: the pair on the screen stays there.
    again = sitting.pairs(any_db, who, world.project.id)
    assert [item["lease"] for item in again] == [item["lease"] for item in held]
    counts = []
    while held:
        votes.cast(any_db, who, held[0]["pair_id"], held[0]["lease"], "left")
        held = sitting.pairs(any_db, who, world.project.id)
        counts.append(len(held))
    assert counts[0] == 5 and counts[-1] == 0 and sorted(counts, reverse=True) == counts
    with any_db.read() as session:
        assert {slot.status for slot in session.exec(select(Slot))} == {"voted"}


def test_nobody_hoards_what_is_kept_for_others(any_db):
    """Slots of an audience count only for those who may have them."""
    world = make_world(any_db, pairs=40, votes=1)
    who, expert = make_person(any_db, "a"), make_person(any_db, "b")
    votes.claim(any_db, who, world.project.id)
    votes.claim(any_db, expert, world.project.id)

    def work(session):
        for slot in session.exec(select(Slot).where(Slot.status == "open")):
            slot.audience = "experts"
            session.add(slot)
        found = session.exec(select(Annotator).where(Annotator.name == "b")).one()
        found.audiences = ["experts"]
        session.add(found)

    any_db.write(work)
    with any_db.read() as session:
        now = room(session, world.project.id)
    assert (now.open["experts"], now.people, now.open_to(())) == (38, 2, 0)
    assert pairs_ahead(any_db, who, world.project.id) == FEWEST
    assert pairs_ahead(any_db, expert, world.project.id) == 4
