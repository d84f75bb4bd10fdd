"""Pairs whose votes are left out ask others instead, and no longer when they count again."""

import random
from collections import Counter

from sqlmodel import select

from core.annotation import annotators, votes
from core.projects import update_project
from storage.database import Database
from storage.ids import id_of, now
from storage.tables import Annotator, AuditEntry, Pair, Slot, Vote
from tests.annotation.conftest import World, make_person, make_world
from tests.annotation.test_figures import vote_on_everything


def key(made: World, who) -> str:
    return votes.annotator_id_of(made.project.id, who)


def open_slots(db: Database, made: World) -> Counter:
    with db.read() as session:
        slots = session.exec(select(Slot).where(Slot.project_id == made.project.id))
        return Counter(slot.pair_id for slot in slots if slot.status in ("open", "leased"))


def test_pairs_are_asked_of_others_and_back(any_db):
    lead, good, bad, third = (make_person(any_db, n, r) for n, r in (
        ("lead", "lead"), ("good", "annotator"), ("bad", "annotator"), ("third", "annotator")))  # fmt: skip
    made = make_world(any_db, pairs=5, votes=2)
    here = made.project.id
    vote_on_everything(any_db, made, good, "left")
    vote_on_everything(any_db, made, bad, "right")
    assert votes.claim(any_db, third, here) is None
    state = annotators.leave_out(any_db, lead, here, key(made, bad))
    assert (state.slots_opened, state.slots_closed) == (5, 0)
    assert set(open_slots(any_db, made).values()) == {1} and len(open_slots(any_db, made)) == 5
    assert annotators.leave_out(any_db, lead, here, key(made, bad)).slots_opened == 0  # again is as once
    claim = votes.claim(any_db, third, here)
    votes.cast(any_db, third, claim.pair_id, claim.lease, "tie")
    held = votes.claim(any_db, third, here)
    assert votes.claim(any_db, bad, here) is None  # not those who voted on them
    # What was voted on stays, and so does what somebody has on the screen.
    state = annotators.take_back(any_db, lead, here, key(made, bad))
    assert (state.slots_opened, state.slots_closed) == (0, 3)
    votes.cast(any_db, third, held.pair_id, held.lease, "tie")
    assert not open_slots(any_db, made)
    # A pair that has enough without them is not asked again.
    assert annotators.leave_out(any_db, lead, here, key(made, bad)).slots_opened == 3
    with any_db.read() as session:
        log = session.exec(
            select(AuditEntry).where(AuditEntry.action == "annotator.exclude").order_by(AuditEntry.id)
        )
        assert [entry.detail.get("slots_opened") for entry in log] == [5, 3]


def test_imported_votes_are_replaced_only_where_a_pair_has_too_few(any_db):
    lead = make_person(any_db, "lead", "lead")
    made = make_world(any_db, pairs=3, votes=0, votes_per_pair=0)
    here = made.project.id

    def work(session):
        for name in ("x", "y", "z"):
            session.add(Annotator(id=id_of(here, name), project_id=here, name=name))
        pairs = session.exec(select(Pair).where(Pair.project_id == here).order_by(Pair.id)).all()
        for pair, names in zip(pairs, ("x", "xy", "xyz"), strict=True):
            for name in names:
                session.add(Vote(
                    project_id=here, pair_id=pair.id, annotator_id=id_of(here, name), outcome="tie",
                    source="import", created_at=now(),
                ))  # fmt: skip
        return [pair.id for pair in pairs]

    ids = any_db.write(work)
    update_project(any_db, lead, here, votes_per_pair=2)
    assert open_slots(any_db, made) == {ids[0]: 1}
    assert annotators.leave_out(any_db, lead, here, id_of(here, "x")).slots_opened == 2
    assert open_slots(any_db, made) == {ids[0]: 2, ids[1]: 1}
    assert annotators.take_back(any_db, lead, here, id_of(here, "x")).slots_closed == 2
    assert open_slots(any_db, made) == {ids[0]: 1}


def test_in_any_order_no_pair_is_asked_too_often(db):
    """Whatever is left out and taken back in, voted and left: after everybody counts again, no
    more is open than before; and with all that is left out, every pair asks for what it misses."""
    for seed in range(3):
        rng = random.Random(seed)
        lead = make_person(db, f"lead {seed}", "lead")
        people = [make_person(db, f"p{seed}{i}") for i in range(5)]
        made = make_world(db, pairs=3, votes=2, name=f"World {seed}")
        here, out = made.project.id, set()
        for _ in range(40):
            who = rng.choice(people)
            what = rng.random()
            if what < 0.5:
                claim = votes.claim(db, who, here)
                if claim:
                    votes.cast(db, who, claim.pair_id, claim.lease, "left")
            elif what < 0.8 and who not in out and db_has(db, made, who):
                annotators.leave_out(db, lead, here, key(made, who))
                out.add(who)
            elif who in out:
                annotators.take_back(db, lead, here, key(made, who))
                out.discard(who)
            check(db, made, {key(made, one) for one in out})


def db_has(db: Database, made: World, who) -> bool:
    with db.read() as session:
        return session.get(Annotator, key(made, who)) is not None


def check(db: Database, made: World, out: set[str]) -> None:
    with db.read() as session:
        all_votes = session.exec(select(Vote).where(Vote.project_id == made.project.id)).all()
    counting = Counter(vote.pair_id for vote in all_votes if vote.annotator_id not in out)
    waiting = open_slots(db, made)
    for pair_id in made.pairs:
        assert waiting[pair_id] == max(0, 2 - counting[pair_id]), pair_id
