"""What must hold whatever people do, in whatever order: hypothesis drives several
annotators through claims, claims ahead, heartbeats, votes, double votes, edits, undos, skips,
releases, closed pages and expiry."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlmodel import select

from core.annotation import marks, votes
from core.annotation.asked import annotator_id_of
from core.errors import Conflict, NotFound
from storage.database import Database
from storage.ids import now
from storage.tables import Annotator, Pair, Response, Skip, Slot, Vote, VoteHistory
from tests.annotation.conftest import make_person, make_world

PEOPLE = st.integers(0, 3)
CHOICES = st.sampled_from(marks.CHOICES)


class Labelling(RuleBasedStateMachine):
    database: Database  # one for all examples: each makes a project of its own

    @initialize(pairs=st.integers(1, 4), wanted=st.integers(1, 3))
    def begin(self, pairs, wanted):
        self.db = self.database
        self.world = make_world(self.db, pairs=pairs, votes=wanted)
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
        claim = votes.claim(self.db, self.people[i], self.world.project.id)
        if claim is None:
            assert before is None or self.lost(i, before)
            self.claims.pop(i, None)
            return
        if before is not None and not self.lost(i, before):
            assert claim.lease == before.lease and claim.left == before.left
        judged = {vote.pair_id for vote in self.table(Vote) if vote.annotator_id == self.annotator(i)}
        skipped = {item.pair_id for item in self.table(Skip) if item.annotator_id == self.annotator(i)}
        assert claim.pair_id not in judged | skipped
        self.claims[i] = claim

    def lost(self, i, claim):
        return not any(slot.lease == claim.lease and slot.status == "leased" for slot in self.table(Slot))

    @precondition(lambda self: self.claims)
    @rule(i=PEOPLE, choice=CHOICES)
    def vote(self, i, choice):
        if i not in self.claims:
            return
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
        stands = any(item.id == vote.id for item in self.table(Vote))
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
        stands = any(item.id == vote.id for item in self.table(Vote))
        if by != i:
            with pytest.raises(Exception, match=r"somebody else|no vote"):
                votes.undo(self.db, self.people[by], vote.id)
            return
        assert votes.undo(self.db, self.people[i], vote.id) == claim.pair_id
        if stands:
            self.undone += 1
            back = votes.claim(self.db, self.people[i], self.world.project.id)
            assert (back.pair_id, back.left, back.right) == (claim.pair_id, claim.left, claim.right)
            self.claims[i] = back

    @precondition(lambda self: self.claims)
    @rule(i=PEOPLE, keep=st.booleans())
    def skip_or_release(self, i, keep):
        if i not in self.claims:
            return
        claim = self.claims.pop(i)
        if keep:
            votes.release(self.db, self.people[i], claim.pair_id, claim.lease)
        elif not self.lost(i, claim):
            votes.skip(self.db, self.people[i], claim.pair_id, claim.lease)

    @rule(i=PEOPLE, wanted=st.integers(1, 3))
    def claim_ahead(self, i, wanted):
        """The page claims some: what is held comes first and keeps its lease and sides."""
        before = self.held_by(i)
        found = votes.claim_some(self.db, self.people[i], self.world.project.id, wanted)
        assert [claim.lease for claim in found][: len(before)] == before
        assert len(found) <= max(wanted, len(before))
        assert len({claim.pair_id for claim in found}) == len(found)
        judged = {v.pair_id for v in self.table(Vote) if v.annotator_id == self.annotator(i)}
        skipped = {s.pair_id for s in self.table(Skip) if s.annotator_id == self.annotator(i)}
        assert not {claim.pair_id for claim in found} & (judged | skipped)
        self.claims.pop(i, None)
        if found:
            self.claims[i] = found[0]
        self.ahead[i] = found[1:]

    def held_by(self, i):
        mine = [s for s in self.table(Slot) if s.status == "leased" and s.annotator_id == self.annotator(i)]
        return [slot.lease for slot in sorted(mine, key=lambda slot: (slot.leased_at, slot.id))]

    @rule(i=PEOPLE, leaving=st.booleans())
    def heartbeat_or_leave(self, i, leaving):
        """Alive are exactly the leases that still hold a pair; nobody else's are touched."""
        mine = [c.lease for c in [self.claims.get(i), *self.ahead.get(i, [])] if c]
        others = {s.lease: s.expires_at for s in self.table(Slot) if s.annotator_id != self.annotator(i)}
        call = votes.leave if leaving else votes.heartbeat
        stolen = [lease for lease in others if lease]
        alive = call(self.db, self.people[i], self.world.project.id, [*mine, *stolen, "made up"])
        assert alive == [lease for lease in mine if lease in self.held_by(i)]
        for slot in self.table(Slot):
            if slot.lease in others:
                assert slot.expires_at == others[slot.lease]
            elif slot.lease in alive:
                left = (slot.expires_at - now()).total_seconds()
                assert left <= votes.LEAVE_S if leaving else left > 60

    @precondition(lambda self: self.old)
    @rule(data=st.data(), choice=CHOICES)
    def edit(self, data, choice):
        i, claim, _, vote = data.draw(st.sampled_from(self.old))
        stands = next((item for item in self.table(Vote) if item.id == vote.id), None)
        if stands is None:
            with pytest.raises(NotFound):
                votes.edit(self.db, self.people[i], vote.id, choice)
            return
        was = marks.choice_of(stands)
        changed = votes.edit(self.db, self.people[i], vote.id, choice)
        assert (changed.id, changed.left, changed.slot_id) == (stands.id, stands.left, stands.slot_id)
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
        leases = [slot.lease for slot in slots if slot.lease]
        assert len(set(leases)) == len(leases)
        # Nobody holds two slots of one pair, and what was undone is kept.
        held = [(slot.pair_id, slot.annotator_id) for slot in slots if slot.status in ("leased", "voted")]
        assert len(set(held)) == len(held)
        assert len(self.table(VoteHistory)) == self.undone + self.replaced
        assert len(self.table(Annotator)) <= len(self.people)


def test_invariants(db):
    Labelling.database = db
    Labelling.TestCase.settings = settings(
        max_examples=10,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Labelling.TestCase("runTest").runTest()
