"""What must hold whatever a lead and annotators do in whatever order: nobody gets a slot of an
audience they do not belong to, and no pair is lost."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlmodel import select

from core.annotation import adjudication, annotators, groups, votes
from core.errors import Conflict
from storage.database import Database
from storage.groups import ADJUDICATOR, audience_of
from storage.ids import now
from storage.tables import Annotator, Example, Pair, Slot, Vote
from tests.annotation.conftest import make_person, make_world

PEOPLE, VOTES = 4, 2
MEMBERS = st.lists(st.integers(0, PEOPLE - 1), unique=True)
LANGUAGES = st.sampled_from(["de", "fr", "it", "none"])
RULES = st.lists(
    st.tuples(st.sampled_from(["One", "Two"]), st.sampled_from(["language", "text"]), LANGUAGES), max_size=3
)


class Assigning(RuleBasedStateMachine):
    database: Database  # one for all examples: each makes a project of its own

    @initialize(languages=st.lists(LANGUAGES, min_size=4, max_size=4))
    def begin(self, languages):
        self.db = self.database
        self.world = make_world(self.db, pairs=4, votes=VOTES)
        self.here = self.world.project.id
        self.lead = make_person(self.db, "lead", "lead")
        self.people = [make_person(self.db, f"p{i}") for i in range(PEOPLE)]
        self.members = {"One": [], "Two": []}
        self.rules: list[tuple[str, str, str]] = []
        self.adjudicators: list[int] = []
        self.held: dict[int, votes.Claim] = {}
        self.seen: set[str] = set()  # leases

        def work(session):
            examples = session.exec(select(Example).where(Example.project_id == self.here)).all()
            for example, language in zip(examples, languages, strict=True):
                example.fields, example.input = {"language": language}, f"{example.input} {language.upper()}"
                session.add(example)

        self.db.write(work)
        self.set(groups=[{"name": "One"}, {"name": "Two"}])

    def set(self, **values):
        saved = groups.set_assignment(self.db, self.lead, self.here, **values)
        self.audience = {group.name: audience_of(group.id) for group in saved.assignment.groups}

    @rule(one=MEMBERS, two=MEMBERS)
    def share_members(self, one, two):
        self.members = {"One": one, "Two": two}
        wanted = [
            {"name": name, "members": [self.people[i].user_id for i in members]}
            for name, members in self.members.items()
        ]
        self.set(groups=wanted)

    @rule(rules=RULES)
    def share_rules(self, rules):
        self.rules = rules
        conditions = [
            {"by": "field", "name": "language", "values": [value]}
            if by == "language"
            else {"by": "text", "values": [value]}
            for _, by, value in rules
        ]
        self.set(rules=[{"group": r[0], "conditions": [c]} for r, c in zip(rules, conditions, strict=True)])

    @rule(members=MEMBERS, automatic=st.booleans())
    def share_adjudicators(self, members, automatic):
        self.adjudicators = members
        adjudication.set_adjudication(
            self.db, self.lead, self.here, automatic=automatic,
            members=[self.people[i].user_id for i in members],
        )  # fmt: skip

    @rule()
    def send(self):
        adjudication.send(self.db, self.lead, self.here)

    @rule(i=st.integers(0, PEOPLE - 1))
    def claim(self, i):
        found = votes.claim(self.db, self.people[i], self.here)
        if found is None:
            self.held.pop(i, None)
            return
        if found.lease not in self.seen:  # newly claimed: by who they are now
            slot = self.slot_of(found.lease)
            mine = [self.audience[name] for name, members in self.members.items() if i in members]
            mine += [ADJUDICATOR] if i in self.adjudicators else []
            assert slot.audience is None or slot.audience in mine
            assert (found.reasons is not None) == (slot.audience == ADJUDICATOR)
        self.seen.add(found.lease)
        self.held[i] = found

    @rule(i=st.integers(0, PEOPLE - 1), choice=st.sampled_from(["left", "right", "tie"]))
    def vote(self, i, choice):
        claim = self.held.pop(i, None)
        if claim is None:
            return
        try:
            vote = votes.cast(self.db, self.people[i], claim.pair_id, claim.lease, choice)
        except Conflict:
            return
        with self.db.read() as session:
            slot = session.get(Slot, vote.slot_id)
        assert (vote.source == "adjudication") == (slot.audience == ADJUDICATOR)

    @rule(i=st.integers(0, PEOPLE - 1), out=st.booleans())
    def leave_out_or_take_back(self, i, out):
        key = votes.annotator_id_of(self.here, self.people[i])
        with self.db.read() as session:
            if session.get(Annotator, key) is None:
                return
        (annotators.leave_out if out else annotators.take_back)(self.db, self.lead, self.here, key)

    @rule()
    def time_passes(self):
        def work(session):
            for slot in session.exec(
                select(Slot).where(Slot.project_id == self.here, Slot.status == "leased")
            ):
                slot.expires_at = now() - timedelta(seconds=1)
                session.add(slot)

        # Who held one of these and finds it free keeps it, by the same lease; for others it is new.
        self.db.write(work)

    def slot_of(self, lease: str) -> Slot:
        with self.db.read() as session:
            return session.exec(select(Slot).where(Slot.lease == lease)).one()

    def table(self, table):
        with self.db.read() as session:
            return list(session.exec(select(table).where(table.project_id == self.here)))

    @invariant()
    def every_slot_is_where_the_first_rule_says(self):
        """Worked out here, from the examples."""
        if not hasattr(self, "here"):
            return
        examples = {example.id: example for example in self.table(Example)}
        of_pair = {pair.id: examples[pair.example_id] for pair in self.table(Pair)}
        for slot in self.table(Slot):
            if slot.audience == ADJUDICATOR:
                continue
            example = of_pair[slot.pair_id]
            expected = None
            for group, by, value in self.rules:
                if (
                    example.fields["language"] == value
                    if by == "language"
                    else value in example.input.lower()
                ):
                    expected = self.audience[group]
                    break
            assert slot.audience == expected

    @invariant()
    def no_pair_is_lost_and_none_is_asked_too_often(self):
        if not hasattr(self, "here"):
            return
        out = {one.id for one in self.table(Annotator) if one.excluded_at}
        counting = Counter(
            v.pair_id for v in self.table(Vote) if v.annotator_id not in out and v.source != "adjudication"
        )
        slots = self.table(Slot)
        ordinary = Counter(
            s.pair_id for s in slots if s.status in ("open", "leased") and s.audience != ADJUDICATOR
        )
        queued = Counter(
            s.pair_id for s in slots if s.status in ("open", "leased") and s.audience == ADJUDICATOR
        )
        for pair_id in self.world.pairs:
            assert ordinary[pair_id] == max(0, VOTES - counting[pair_id])
            assert queued[pair_id] <= 1


def test_nobody_gets_what_is_not_theirs_and_nothing_is_lost(any_db: Database, request: pytest.FixtureRequest):
    here = type("Here", (Assigning,), {"database": any_db})
    here.TestCase.settings = settings(
        max_examples=12 if any_db.is_duckdb else 6,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    here.TestCase("runTest").runTest()
