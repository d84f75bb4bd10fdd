"""What must hold whatever people do, in whatever order: hypothesis drives several
annotators through claims, claims ahead, heartbeats, votes, double votes, edits, undos, skips,
releases, closed pages, pauses and expiry, with gold checks and hidden repeats among the pairs."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlmodel import select

from core.annotation import annotators, gold, marks, probes, probing, schedule, votes
from core.annotation.asked import annotator_id_of
from core.annotation.disguise import shown_vote_id
from core.errors import Conflict, Forbidden, NotFound
from storage.database import Database
from storage.ids import now
from storage.tables import Annotator, Pair, Probe, Response, Skip, Slot, Vote, VoteHistory
from tests.annotation.conftest import make_person, make_world

PEOPLE = st.integers(0, 3)
CHOICES = st.sampled_from(marks.CHOICES)


class Labelling(RuleBasedStateMachine):
    database: Database  # one for all examples: each makes a project of its own

    @initialize(
        pairs=st.integers(1, 4), wanted=st.integers(1, 3), checks=st.integers(0, 2), lot=st.integers(0, 99)
    )
    def begin(self, pairs, wanted, checks, lot):
        self.db = self.database
        self.world = make_world(self.db, pairs=pairs + checks, votes=wanted)
        self.lead = make_person(self.db, "lead", "lead")
        self.gold = set(self.world.pairs[:checks])
        for pair_id in self.gold:
            gold.mark(self.db, self.lead, self.world.project.id, pair_id, "check", "a")
        if checks:
            rates = {"gold_rate": 0.5, "repeat_rate": 0.5, "repeat_after": 1}
            probing.set_probing(self.db, self.lead, self.world.project.id, **rates)
        # The lot decides what is given, and hypothesis must be able to repeat a run.
        schedule._lot = random.Random(lot)
        probes._schedule = schedule.Schedule()
        self.paused = set()
        self.wanted = wanted
        self.people = [make_person(self.db, f"p{i}") for i in range(4)]
        self.claims = {}  # person -> the claim on their screen
        self.old = []  # (person, claim, choice, vote) already cast
        self.ahead = {}  # person -> claims behind that one
        self.undone = self.replaced = 0

    def annotator(self, i):
        return annotator_id_of(self.world.project.id, self.people[i])

    @rule(i=PEOPLE)
    def claim(self, i):
        before = self.claims.get(i)
        if i in self.paused:
            with pytest.raises(Forbidden, match="paused"):
                votes.claim(self.db, self.people[i], self.world.project.id)
            return
        claim = votes.claim(self.db, self.people[i], self.world.project.id)
        if claim is None:
            assert before is None or self.lost(i, before)
            self.claims.pop(i, None)
            return
        if before is not None and not self.lost(i, before):
            assert claim.lease == before.lease and claim.left == before.left
        self.check_given(i, claim)
        self.claims[i] = claim

    def check_given(self, i, claim):
        """An ordinary pair was neither judged nor skipped by this person, and is not gold."""
        if claim.lease in {probe.lease for probe in self.table(Probe)}:
            return
        judged = {vote.pair_id for vote in self.table(Vote) if vote.annotator_id == self.annotator(i)}
        skipped = {item.pair_id for item in self.table(Skip) if item.annotator_id == self.annotator(i)}
        assert claim.pair_id not in judged | skipped | self.gold

    def lost(self, i, claim):
        return claim.lease not in {item.lease for item in self.open_leases()}

    def stands(self, vote):
        """As it is stored now: a vote, or an answered probe; None when it was taken back."""
        answered = [probe for probe in self.table(Probe) if probe.outcome is not None]
        known = {item.id: item for item in self.table(Vote)} | {
            shown_vote_id(item): item for item in answered
        }
        return known.get(vote.id)

    @rule(i=PEOPLE, reason=st.sampled_from(["", "too fast"]))
    def pause_or_resume(self, i, reason):
        """No more pairs, or pairs again; what is held may still be voted on."""
        if not any(item.id == self.annotator(i) for item in self.table(Annotator)):
            return
        ids = (self.world.project.id, self.annotator(i))
        if i in self.paused:
            annotators.resume(self.db, self.lead, *ids)
        else:
            annotators.pause(self.db, self.lead, *ids, reason)
        self.paused ^= {i}

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), choice=CHOICES)
    def vote(self, data, choice):
        self.vote_of(data.draw(st.sampled_from(sorted(self.claims))), choice)

    @rule(i=PEOPLE, choices=st.lists(CHOICES, max_size=5))
    def work(self, i, choices):
        """Some pairs in a row, so that checks and repeats come up."""
        for choice in choices:
            self.claim(i)
            if i not in self.claims or i in self.paused:
                return
            self.vote_of(i, choice)

    def vote_of(self, i, choice):
        claim = self.claims.pop(i)
        if self.ahead.get(i):
            self.claims[i] = self.ahead[i].pop(0)
        lost = self.lost(i, claim)
        try:
            vote = votes.cast(self.db, self.people[i], claim.pair_id, claim.lease, choice)
        except Conflict:
            assert lost
            return
        assert not lost
        shown = {"left": claim.left, "right": claim.right}
        with self.db.read() as session:
            winner = session.get(Response, vote.winner).text if vote.winner else None
        assert winner == shown.get(choice)
        self.old.append((i, claim, choice, vote))

    @precondition(lambda self: self.old)
    @rule(data=st.data(), choice=CHOICES)
    def vote_again(self, data, choice):
        i, claim, was, vote = data.draw(st.sampled_from(self.old))
        stands = self.stands(vote) is not None
        try:
            again = votes.cast(self.db, self.people[i], claim.pair_id, claim.lease, choice)
        except Conflict:
            assert not stands or choice != was
        else:
            assert stands and choice == was and again.id == vote.id

    @precondition(lambda self: self.old)
    @rule(data=st.data(), by=PEOPLE)
    def undo(self, data, by):
        i, claim, _, vote = data.draw(st.sampled_from(self.old))
        stands = self.stands(vote) is not None
        if by != i:
            with pytest.raises(Exception, match=r"somebody else|no vote"):
                votes.undo(self.db, self.people[by], vote.id)
            return
        assert votes.undo(self.db, self.people[i], vote.id) == claim.pair_id
        if stands:
            self.undone += 1
            if i in self.paused:
                return
            back = votes.claim(self.db, self.people[i], self.world.project.id)
            assert (back.pair_id, back.left, back.right) == (claim.pair_id, claim.left, claim.right)
            self.claims[i] = back

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), keep=st.booleans())
    def skip_or_release(self, data, keep):
        i = data.draw(st.sampled_from(sorted(self.claims)))
        claim = self.claims.pop(i)
        if keep:
            votes.release(self.db, self.people[i], claim.pair_id, claim.lease)
        elif not self.lost(i, claim):
            votes.skip(self.db, self.people[i], claim.pair_id, claim.lease)

    @rule(i=PEOPLE)
    def skip_and_take_it_back(self, i):
        """What is on the screen is skipped, others work or not, and the skip is taken back: the
        pair stands first again, or others judge it and it stays skipped."""
        claim = self.claims.pop(i, None)
        if claim is None or i in self.paused or self.lost(i, claim):
            return
        votes.skip(self.db, self.people[i], claim.pair_id, claim.lease)
        self.work((i + 1) % 4, ["tie"])
        try:
            for _ in range(2):  # again is the same as once
                assert votes.unskip(self.db, self.people[i], claim.pair_id) == claim.pair_id
        except Conflict:
            assert claim.pair_id in {
                s.pair_id for s in self.table(Skip) if s.annotator_id == self.annotator(i)
            }
            return
        back = votes.claim(self.db, self.people[i], self.world.project.id)
        assert back.pair_id == claim.pair_id and back.lease != claim.lease
        assert (back.left, back.right) == (claim.left, claim.right)
        self.claims[i] = back

    @rule(i=PEOPLE, wanted=st.integers(1, 3))
    def claim_ahead(self, i, wanted):
        """The page claims some: what is held comes first and keeps its lease and sides."""
        before = self.held_by(i)
        if i in self.paused:
            with pytest.raises(Forbidden, match="paused"):
                votes.claim_some(self.db, self.people[i], self.world.project.id, wanted)
            return
        found = votes.claim_some(self.db, self.people[i], self.world.project.id, wanted)
        assert [claim.lease for claim in found][: len(before)] == before
        assert len(found) <= max(wanted, len(before))
        assert len({claim.pair_id for claim in found}) == len(found)
        for claim in found:
            self.check_given(i, claim)
        self.claims.pop(i, None)
        if found:
            self.claims[i] = found[0]
        self.ahead[i] = found[1:]

    def held_by(self, i):
        mine = [item for item in self.open_leases() if item.annotator_id == self.annotator(i)]
        return [item.lease for item in sorted(mine, key=lambda item: (item.leased_at, item.id))]

    def open_leases(self):
        slots = [slot for slot in self.table(Slot) if slot.status == "leased"]
        return slots + [probe for probe in self.table(Probe) if probe.answered_at is None]

    @rule(i=PEOPLE, leaving=st.booleans())
    def heartbeat_or_leave(self, i, leaving):
        """Alive are exactly the leases that still hold a pair; nobody else's are touched."""
        mine = [c.lease for c in [self.claims.get(i), *self.ahead.get(i, [])] if c]
        others = {s.lease: s.expires_at for s in self.open_leases() if s.annotator_id != self.annotator(i)}
        call = votes.leave if leaving else votes.heartbeat
        alive = call(self.db, self.people[i], self.world.project.id, [*mine, *others, "made up"])
        assert alive == [lease for lease in mine if lease in self.held_by(i)]
        for slot in self.open_leases():
            if slot.lease in others:
                assert slot.expires_at == others[slot.lease]
            elif slot.lease in alive:
                left = (slot.expires_at - now()).total_seconds()
                assert left <= votes.LEAVE_S if leaving else left > 60

    @precondition(lambda self: self.old)
    @rule(data=st.data(), choice=CHOICES)
    def edit(self, data, choice):
        i, claim, was, vote = data.draw(st.sampled_from(self.old))
        if self.stands(vote) is None:
            with pytest.raises(NotFound):
                votes.edit(self.db, self.people[i], vote.id, choice)
            return
        changed = votes.edit(self.db, self.people[i], vote.id, choice)
        assert (changed.id, changed.left, changed.slot_id) == (vote.id, vote.left, vote.slot_id)
        with self.db.read() as session:
            winner = session.get(Response, changed.winner).text if changed.winner else None
        assert winner == {"left": claim.left, "right": claim.right}.get(choice)
        self.replaced += was != choice
        self.old = [(*o[:2], choice, o[3]) if o[3].id == vote.id else o for o in self.old]

    @rule()
    def time_passes(self):
        def work(session):
            for slot in session.exec(select(Slot).where(Slot.project_id == self.world.project.id)):
                if slot.status == "leased":
                    slot.expires_at = now() - timedelta(seconds=1)
                    session.add(slot)
            for probe in session.exec(select(Probe).where(Probe.project_id == self.world.project.id)):
                if probe.answered_at is None:
                    probe.expires_at = now() - timedelta(seconds=1)
                    session.add(probe)

        self.db.write(work)

    def table(self, table):
        with self.db.read() as session:
            return list(session.exec(select(table).where(table.project_id == self.world.project.id)))

    @invariant()
    def holds(self):
        if not hasattr(self, "world"):
            return
        slots, cast = self.table(Slot), self.table(Vote)
        # Exactly one vote a voted slot, never more votes than a pair has room for.
        assert Counter(vote.slot_id for vote in cast) == Counter(s.id for s in slots if s.status == "voted")
        assert all(n <= self.wanted for n in Counter(vote.pair_id for vote in cast).values())
        assert len(slots) == self.wanted * len(self.world.pairs)
        # One vote a person and pair; by the person whose slot it is, never of a skipped pair.
        assert len({(vote.pair_id, vote.annotator_id) for vote in cast}) == len(cast)
        owner = {slot.id: slot.annotator_id for slot in slots}
        assert all(owner[vote.slot_id] == vote.annotator_id for vote in cast)
        assert not {(v.pair_id, v.annotator_id) for v in cast} & {
            (s.pair_id, s.annotator_id) for s in self.table(Skip)
        }
        # The winner and the left one are responses of the pair; a lease holds one slot.
        pairs = {pair.id: {pair.response_a, pair.response_b} for pair in self.table(Pair)}
        assert all({vote.left} | ({vote.winner} - {None}) <= pairs[vote.pair_id] for vote in cast)
        probed = self.table(Probe)
        leases = [item.lease for item in [*slots, *probed] if item.lease]
        assert len(set(leases)) == len(leases)
        # Nobody holds two slots of one pair, nor has it on the desk twice; what was undone is kept.
        held = [(slot.pair_id, slot.annotator_id) for slot in slots if slot.status in ("leased", "voted")]
        assert len(set(held)) == len(held)
        on_desks = [(item.pair_id, item.annotator_id) for item in self.open_leases()]
        assert len(set(on_desks)) == len(on_desks)
        changes = [item for item in self.table(VoteHistory) if item.what in ("undone", "replaced")]
        assert len(changes) == self.undone + self.replaced
        assert len(self.table(Annotator)) <= len(self.people)
        # A pair whose answer is known waits for no vote and gets none; an answer to a probe is
        # no vote, and nobody is given the same pair as a probe twice.
        assert not {vote.pair_id for vote in cast} & self.gold
        assert {slot.status for slot in slots if slot.pair_id in self.gold} <= {"closed"}
        assert not {probe.id for probe in probed} & {vote.id for vote in cast}
        given = [(probe.pair_id, probe.annotator_id) for probe in probed]
        assert len(set(given)) == len(given)
        assert all((probe.kind == "gold") == (probe.pair_id in self.gold) for probe in probed)


@pytest.fixture
def lot(monkeypatch):
    """What the machine seeds is put back."""
    monkeypatch.setattr(schedule, "_lot", schedule._lot)
    monkeypatch.setattr(probes, "_schedule", probes._schedule)


def test_invariants(db, lot):
    Labelling.database = db
    Labelling.TestCase.settings = settings(
        max_examples=10,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Labelling.TestCase("runTest").runTest()
