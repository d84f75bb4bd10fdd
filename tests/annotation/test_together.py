"""Claims and votes that are done together (DuckDB) answer as those done alone, whatever else
is written between them."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event

import pytest
from sqlmodel import col, select, update

from core.annotation import annotators, gold, marks, probing, snapshot, together, votes
from core.annotation.asked import VoteSent
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.projects import archive_project
from storage.ids import now
from storage.tables import Annotator, AuditEntry, Probe, Slot, Vote
from tests.annotation.conftest import make_person, make_world


@pytest.fixture
def at_once(db):
    """Run calls so that all of them are in one unit of work; answers their results or
    errors. `who` is somebody whose claim is the unit before."""

    def run(who, project_id, calls):
        votes.claim(db, who, project_id)
        commits = together._made[db]._commits
        original = commits._work
        units, hold, held = [], Event(), Event()

        def work(asked):
            if not units:
                held.set()
                hold.wait(10)  # until all the others are in the queue
            units.append(len(asked))
            return original(asked)

        commits._work = work
        with ThreadPoolExecutor(len(calls) + 1) as pool:
            first = pool.submit(votes.claim, db, who, project_id)
            assert held.wait(10)
            futures = [pool.submit(call) for call in calls]
            while len(commits._waiting) < len(calls):
                time.sleep(0.001)
            hold.set()
            first.result(20)
            found = []
            for future in futures:
                error = future.exception(20)
                found.append(error if error is not None else future.result())
        commits._work = original
        assert units == [1, len(calls)], units
        return found

    return run


@pytest.fixture
def alone(monkeypatch):
    """Which calls were done alone."""
    done = []
    for name in ("claims_alone", "cast_alone"):
        original = getattr(together, name)

        def noted(db, asked, original=original):
            done.append(asked)
            return original(db, asked)

        monkeypatch.setattr(together, name, noted)
    return done


def people_of(db, number):
    return [make_person(db, f"p{i}") for i in range(number)]


def test_claims_and_votes_in_one_unit(db, alone, at_once):
    made = make_world(db, pairs=30, votes=1)
    lead, *people = people_of(db, 9)
    first = {}
    for person in people:
        first[person.name] = votes.claim(db, person, made.project.id)
    alone.clear()

    def vote(i):
        claim = first[people[i].name]
        return votes.cast(db, people[i], claim.pair_id, claim.lease, marks.CHOICES[i % 4], reason=f"r{i}")

    cast = at_once(lead, made.project.id, [lambda i=i: vote(i) for i in range(8)])
    assert [marks.choice_of(vote) for vote in cast] == [marks.CHOICES[i % 4] for i in range(8)]
    claims = at_once(lead, made.project.id, [lambda p=p: votes.claim(db, p, made.project.id) for p in people])
    assert len({claim.pair_id for claim in claims}) == 8
    assert not {claim.pair_id for claim in claims} & {claim.pair_id for claim in first.values()}
    assert all(asked.who.user_id == lead.user_id for asked in alone), "none of these was done alone"
    with db.read() as session:
        stored = {vote.id: vote for vote in session.exec(select(Vote))}
        audited = session.exec(select(AuditEntry.entity_id).where(AuditEntry.action == "vote.cast")).all()
        status = dict(session.exec(select(Slot.id, Slot.status)).all())
    assert set(stored) == {vote.id for vote in cast} == set(audited)
    for i, vote in enumerate(cast):
        claim, kept = first[people[i].name], stored[vote.id]
        assert (kept.pair_id, kept.lease, kept.reason) == (claim.pair_id, claim.lease, f"r{i}")
        assert kept.left == claim.left.split()[1]
        assert status[kept.slot_id] == "voted"
    assert Counter(status.values()) == {"voted": 8, "leased": 9, "open": 13}


def test_what_is_wrong_with_one_is_not_the_others_trouble(db, at_once):
    made = make_world(db, pairs=12, votes=1)
    lead, good, twice, lost, odd, gone = people_of(db, 6)
    claims = {who.name: votes.claim(db, who, made.project.id) for who in (good, twice, lost, odd)}
    votes.cast(db, twice, claims[twice.name].pair_id, claims[twice.name].lease, "left")
    found = at_once(
        lead,
        made.project.id,
        [
            lambda: votes.cast(db, good, claims[good.name].pair_id, claims[good.name].lease, "tie"),
            lambda: votes.cast(db, twice, claims[twice.name].pair_id, claims[twice.name].lease, "right"),
            lambda: votes.cast(db, lost, claims[lost.name].pair_id, "no such lease", "left"),
            lambda: votes.cast(
                db,
                odd,
                claims[odd.name].pair_id,
                claims[odd.name].lease,
                "left",
                criteria={"nothing": "left"},
            ),
            lambda: votes.claim(db, gone, "no such project"),
        ],
    )
    assert found[0].outcome == "tie"
    assert [type(item) for item in found[1:]] == [Conflict, Conflict, Invalid, NotFound]
    assert "another choice" in str(found[1])


def test_somebody_elses_lease_is_of_no_use(db, at_once):
    made = make_world(db, pairs=4, votes=2)
    lead, owner, thief = people_of(db, 3)
    claim = votes.claim(db, owner, made.project.id)
    votes.claim(db, thief, made.project.id)
    (found,) = at_once(
        lead, made.project.id, [lambda: votes.cast(db, thief, claim.pair_id, claim.lease, "left")]
    )
    assert isinstance(found, Conflict)


def test_two_of_one_persons_claims_in_one_unit_are_the_same_pair(db, at_once):
    made = make_world(db, pairs=5, votes=1)
    lead, who = people_of(db, 2)
    found = at_once(lead, made.project.id, [lambda: votes.claim(db, who, made.project.id)] * 3)
    assert len({claim.lease for claim in found}) == 1


@pytest.mark.parametrize(
    "between", ["undo", "skip", "release", "votes", "pause", "archive", "front", "closed"]
)
def test_other_writes_between_units_are_seen_at_once(db, admin, between):
    """The snapshot must not outlive what somebody else writes."""
    made = make_world(db, pairs=6, votes=1)
    one, other = people_of(db, 2)
    claim, theirs = (votes.claim(db, who, made.project.id) for who in (one, other))
    if between == "undo":
        vote = votes.cast(db, one, claim.pair_id, claim.lease, "left")
        after = votes.claim(db, one, made.project.id)
        votes.undo(db, one, vote.id)
        assert votes.claim(db, one, made.project.id).pair_id == claim.pair_id != after.pair_id
    elif between == "skip":
        votes.skip(db, one, claim.pair_id, claim.lease)
        assert votes.claim(db, one, made.project.id).pair_id != claim.pair_id
        votes.cast(db, other, theirs.pair_id, theirs.lease, "left")
        assert votes.claim(db, other, made.project.id).pair_id == claim.pair_id, "first in line again"
    elif between == "release":
        votes.release(db, one, claim.pair_id, claim.lease)
        votes.cast(db, other, theirs.pair_id, theirs.lease, "left")
        assert votes.claim(db, other, made.project.id).pair_id == claim.pair_id
    elif between == "votes":
        with db.read() as session:
            rows = list(session.exec(select(Slot).where(Slot.status == "open").order_by(col(Slot.position))))
            annotator = session.exec(select(Annotator).where(Annotator.user_id == one.user_id)).one()
        first = rows[0]
        db.write(
            lambda session: session.add(
                Vote(
                    project_id=made.project.id,
                    pair_id=first.pair_id,
                    annotator_id=annotator.id,
                    outcome="tie",
                )
            )
        )
        votes.cast(db, one, claim.pair_id, claim.lease, "left")
        assert votes.claim(db, one, made.project.id).pair_id != first.pair_id
    elif between == "pause":
        with db.read() as session:
            annotator = session.exec(select(Annotator).where(Annotator.user_id == one.user_id)).one()
        annotators.pause(db, admin, made.project.id, annotator.id, "too fast")
        with pytest.raises(Forbidden, match="too fast"):
            votes.claim(db, one, made.project.id)
        assert votes.cast(db, one, claim.pair_id, claim.lease, "left").outcome == "win"
    elif between == "archive":
        archive_project(db, admin, made.project.id)
        with pytest.raises(NotFound):
            votes.claim(db, one, made.project.id)
    elif between == "front":
        with db.read() as session:
            last = session.exec(select(Slot).order_by(col(Slot.position).desc())).first()
        db.write(lambda session: session.exec(update(Slot).where(col(Slot.id) == last.id).values(front=0.0)))
        votes.cast(db, one, claim.pair_id, claim.lease, "left")
        assert votes.claim(db, one, made.project.id).pair_id == last.pair_id
    else:
        db.write(
            lambda session: session.exec(
                update(Slot).where(col(Slot.status) == "open").values(status="closed")
            )
        )
        votes.cast(db, one, claim.pair_id, claim.lease, "left")
        assert votes.claim(db, one, made.project.id) is None


def test_a_lease_that_runs_out_goes_to_somebody_else_though_nothing_is_written(db, monkeypatch):
    made = make_world(db, pairs=1, votes=1)
    one, other = people_of(db, 2)
    claim = votes.claim(db, one, made.project.id)
    votes.claim(db, other, made.project.id)  # both are known, and there is nothing
    assert votes.claim(db, other, made.project.id) is None
    later = now() + timedelta(hours=2)
    for module in ("core.annotation.together", "core.annotation.alone"):
        monkeypatch.setattr(f"{module}.now", lambda: later)
    taken = votes.claim(db, other, made.project.id)
    assert taken.pair_id == claim.pair_id and taken.lease != claim.lease
    with pytest.raises(Conflict):
        votes.cast(db, one, claim.pair_id, claim.lease, "left")
    assert votes.cast(db, other, taken.pair_id, taken.lease, "left").outcome == "win"


def test_what_ran_out_comes_before_what_is_further_back(db, monkeypatch):
    made = make_world(db, pairs=4, votes=1)
    one, other = people_of(db, 2)
    first = votes.claim(db, one, made.project.id)
    second = votes.claim(db, other, made.project.id)
    votes.cast(db, other, second.pair_id, second.lease, "left")
    later = now() + timedelta(hours=2)
    for module in ("core.annotation.together", "core.annotation.alone"):
        monkeypatch.setattr(f"{module}.now", lambda: later)
    assert votes.claim(db, other, made.project.id).pair_id == first.pair_id


def test_claimed_ahead_is_never_the_same_pair_twice(db, alone):
    made = make_world(db, pairs=2, votes=3)
    (who,) = people_of(db, 1)
    held = votes.claim_some(db, who, made.project.id, 2)
    assert {claim.pair_id for claim in held} == set(made.pairs) and not alone
    assert [claim.lease for claim in votes.claim_some(db, who, made.project.id, 5)] == [
        claim.lease for claim in held
    ]


def test_room_that_a_vote_itself_makes_is_seen_at_once(db, admin):
    """A vote that does not count asks somebody else, within its own unit of work."""
    made = make_world(db, pairs=1, votes=1)
    one, other = people_of(db, 2)
    claim = votes.claim(db, one, made.project.id)
    with db.read() as session:
        annotator = session.exec(select(Annotator).where(Annotator.user_id == one.user_id)).one()
    annotators.leave_out(db, admin, made.project.id, annotator.id, "in vain")
    assert votes.claim(db, other, made.project.id) is None
    votes.cast(db, one, claim.pair_id, claim.lease, "left")
    assert votes.claim(db, other, made.project.id).pair_id == claim.pair_id


def test_a_change_that_went_unnoticed_costs_nobody_a_vote(db):
    """Written past `Database.write`, so that the snapshot is stale: the guards must see it."""
    made = make_world(db, pairs=6, votes=1)
    one, other = people_of(db, 2)
    first = votes.claim(db, one, made.project.id)
    votes.claim(db, other, made.project.id)
    votes.cast(db, one, first.pair_id, first.lease, "left")
    again = votes.claim(db, one, made.project.id)
    with db.engine.begin() as connection:
        connection.execute(update(Slot).where(col(Slot.status) == "open").values(status="closed"))
        connection.execute(
            update(Slot).where(col(Slot.lease) == again.lease).values(status="open", lease=None)
        )
    with pytest.raises(Conflict):
        votes.cast(db, one, again.pair_id, again.lease, "left")
    with db.read() as session:
        assert len(list(session.exec(select(Vote)))) == 1


def test_sixty_four_at_once_and_clients_that_die(any_db):
    """Nobody is given a pair twice, no pair gets a vote too many, and what a dead client held
    is given to others."""
    pairs, wanted, number = 20, 3, 64
    made = make_world(any_db, pairs=pairs, votes=wanted)
    people = people_of(any_db, number)
    start = Barrier(number)

    def annotate(i):
        start.wait()
        seen = []
        while (claim := votes.claim(any_db, people[i], made.project.id)) is not None:
            seen.append(claim.pair_id)
            if i % 8 == 0:
                return seen  # dies with a claim in hand
            votes.cast(any_db, people[i], claim.pair_id, claim.lease, marks.CHOICES[i % 4])
        return seen

    with ThreadPoolExecutor(number) as pool:
        seen = list(pool.map(annotate, range(number)))
    assert all(len(set(mine)) == len(mine) for mine in seen)
    past = now() - timedelta(minutes=1)
    any_db.write(
        lambda session: session.exec(update(Slot).where(col(Slot.status) == "leased").values(expires_at=past))
    )
    alive = [i for i in range(number) if i % 8]
    with ThreadPoolExecutor(8) as pool:
        start = Barrier(8)
        list(pool.map(annotate, alive[:8]))
    for i in alive:  # whoever may still have one
        start = Barrier(1)
        annotate(i)
    with any_db.read() as session:
        cast = list(session.exec(select(Vote)))
        assert {slot.status for slot in session.exec(select(Slot))} == {"voted"}
    assert Counter(vote.pair_id for vote in cast) == dict.fromkeys(made.pairs, wanted)
    assert len({(vote.pair_id, vote.annotator_id) for vote in cast}) == len(cast)


def test_gold_checks_and_hidden_repeats_are_given_and_answered_together(db, alone, at_once):
    made, lead = make_world(db, pairs=60, votes=1), make_person(db, "lead", "lead")
    first, *people = people_of(db, 9)
    for pair_id in made.pairs[:5]:
        gold.mark(db, lead, made.project.id, pair_id, "check", "tie")
    probing.set_probing(db, lead, made.project.id, gold_rate=0.5, repeat_rate=0.5, repeat_after=1)
    for who in people:  # known, and with something to repeat
        for _ in range(2):
            claim = votes.claim(db, who, made.project.id)
            votes.cast(db, who, claim.pair_id, claim.lease, "left")
    for round_ in range(3):
        alone.clear()
        held = at_once(
            first, made.project.id, [lambda p=p: votes.claim_some(db, p, made.project.id, 3) for p in people]
        )
        again = at_once(
            first, made.project.id, [lambda p=p: votes.claim_some(db, p, made.project.id, 3) for p in people]
        )
        for before, after in zip(held, again, strict=True):
            assert [claim.lease for claim in before] == [claim.lease for claim in after]
            assert len({claim.pair_id for claim in before}) == len(before) == 3
        cast = at_once(
            first,
            made.project.id,
            [
                lambda p=p, c=c[0], r=str(round_): votes.cast(db, p, c.pair_id, c.lease, "tie", reason=r)
                for p, c in zip(people, held, strict=True)
            ],
        )
        assert [vote.pair_id for vote in cast] == [claims[0].pair_id for claims in held]
        assert all(asked.who.user_id == first.user_id for asked in alone), "none of it was done alone"
    with db.read() as session:
        probed = list(session.exec(select(Probe)))
        cast = list(session.exec(select(Vote)))
    answered = [probe for probe in probed if probe.outcome is not None]
    assert {probe.kind for probe in probed} == {"gold", "repeat"} and len(answered) >= 8
    assert all(probe.passed == (probe.kind == "gold") for probe in answered if probe.reason)
    assert not {probe.id for probe in probed} & {vote.id for vote in cast}
    assert not {vote.pair_id for vote in cast} & set(made.pairs[:5])


def test_who_fails_a_check_within_a_unit_is_paused_at_once(db, alone):
    made, lead = make_world(db, pairs=20, votes=1), make_person(db, "lead", "lead")
    (who,) = people_of(db, 1)
    for pair_id in made.pairs[:3]:
        gold.mark(db, lead, made.project.id, pair_id, "check", "tie")
    probing.set_probing(db, lead, made.project.id, gold_rate=0.5, failures=2, window=2, action="pause")
    votes.claim(db, who, made.project.id)
    alone.clear()
    with pytest.raises(Forbidden, match="control pairs"):
        for _ in range(12):
            claim = votes.claim(db, who, made.project.id)
            votes.cast(db, who, claim.pair_id, claim.lease, "left")
    assert not [asked for asked in alone if isinstance(asked, VoteSent)]


def test_slots_for_others_do_not_stand_in_the_way(db, alone, monkeypatch):
    """Everybody gets the first slot they may have, however few are read ahead and whoever the
    ones before it are for."""
    monkeypatch.setattr(snapshot, "LINE", 2)
    made = make_world(db, pairs=40, votes=1)
    people = people_of(db, 3)
    audiences = [None, "group:a", "group:b", "group:nobody"]
    rng = random.Random(3)

    def work(session):
        for slot in session.exec(select(Slot)):
            slot.audience = "group:nobody" if slot.position < 0.3 else rng.choice(audiences)
            slot.front = rng.choice([None, None, rng.random()])
            session.add(slot)

    for who in people:
        claim = votes.claim(db, who, made.project.id)
        votes.release(db, who, claim.pair_id, claim.lease)
    db.write(work)

    def join(session):
        for annotator in session.exec(select(Annotator)):
            annotator.audiences = {"p1": ["group:a"], "p2": ["group:a", "group:b"]}.get(annotator.name)
            session.add(annotator)

    db.write(join)
    alone.clear()
    for step in range(40):
        who = people[step % 3]
        with db.read() as session:
            (annotator,) = session.exec(select(Annotator).where(Annotator.user_id == who.user_id))
            rows = session.exec(
                select(Slot)
                .where(Slot.status == "open")
                .order_by(col(Slot.front).asc().nulls_last(), col(Slot.position), col(Slot.id))
            ).all()
        mine = [row for row in rows if row.audience is None or row.audience in (annotator.audiences or ())]
        claim = votes.claim(db, who, made.project.id)
        assert (claim and claim.pair_id) == (mine[0].pair_id if mine else None), step
        if claim:
            votes.cast(db, who, claim.pair_id, claim.lease, "tie")
    assert not alone
