"""Claim, vote, undo, skip, expiry: one person or two, step by step, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from core.access import Scope
from core.annotation import annotators, marks, votes
from core.errors import Conflict, Forbidden, Invalid, NotFound
from storage.ids import now
from storage.tables import AuditEntry, Pair, Response, Skip, Slot, Vote, VoteHistory
from tests.annotation.conftest import make_person, make_world


def everything(db, table):
    with db.read() as session:
        return list(session.exec(select(table)))


def expire(db, lease=None):
    """Let leases run out."""

    def work(session):
        for slot in session.exec(select(Slot).where(Slot.status == "leased")):
            if lease is None or slot.lease == lease:
                slot.expires_at = now() - timedelta(minutes=1)
                session.add(slot)

    db.write(work)


def text_of(db, response_id):
    with db.read() as session:
        return session.get(Response, response_id).text


def test_a_claim_shows_both_texts_and_nothing_that_unblinds(any_db):
    made, who = make_world(any_db), make_person(any_db)
    claim = votes.claim(any_db, who, made.project.id)
    slot = next(item for item in everything(any_db, Slot) if item.lease == claim.lease)
    assert (slot.status, slot.pair_id) == ("leased", claim.pair_id)
    assert claim.expires_at > now() and claim.input.startswith("Input")
    pair = next(item for item in everything(any_db, Pair) if item.id == claim.pair_id)
    assert {claim.left, claim.right} == {text_of(any_db, pair.response_a), text_of(any_db, pair.response_b)}


def test_what_was_chosen_is_kept_as_response_ids(any_db):
    made, who = make_world(any_db, pairs=12), make_person(any_db)
    for choice in marks.CHOICES * 3:  # both ways round
        claim = votes.claim(any_db, who, made.project.id)
        vote = votes.cast(
            any_db, who, claim.pair_id, claim.lease, choice,
            strength="slightly", criteria={"helpful": "right", "accurate": "same"}, reason=" why ", duration_ms=7,
        )  # fmt: skip
        assert text_of(any_db, vote.left) == claim.left
        shown = {"left": claim.left, "right": claim.right}
        assert vote.outcome == ("win" if choice in shown else choice)
        assert (text_of(any_db, vote.winner) if vote.winner else None) == shown.get(choice)
        assert (
            text_of(any_db, vote.criteria["helpful"]) == claim.right and vote.criteria["accurate"] == "same"
        )
        assert (vote.strength, vote.reason, vote.duration_ms, vote.source) == ("slightly", "why", 7, "page")
        assert marks.choice_of(vote) == choice


def test_sides_are_drawn_for_each_annotator(any_db):
    made = make_world(any_db, pairs=1, votes=40)
    seen = set()
    for i in range(40):
        claim = votes.claim(any_db, make_person(any_db, f"p{i}"), made.project.id)
        seen.add(claim.left)
        if len(seen) == 2:
            return
    raise AssertionError("40 annotators all saw the same response left")


def test_claiming_again_is_the_same_pair_with_a_longer_lease(any_db):
    made, who = make_world(any_db), make_person(any_db)
    first = votes.claim(any_db, who, made.project.id)
    again = votes.claim(any_db, who, made.project.id)
    assert (first.pair_id, first.lease, first.left) == (again.pair_id, again.lease, again.left)
    assert again.expires_at >= first.expires_at
    expire(any_db)
    late = votes.claim(any_db, who, made.project.id)
    assert (first.lease, first.left) == (late.lease, late.left) and late.expires_at > now()
    assert [slot.status for slot in everything(any_db, Slot)].count("leased") == 1


def test_the_same_vote_again_is_the_same_vote(any_db):
    made, who = make_world(any_db), make_person(any_db)
    claim = votes.claim(any_db, who, made.project.id)
    first = votes.cast(any_db, who, claim.pair_id, claim.lease, "left", duration_ms=5)
    again = votes.cast(any_db, who, claim.pair_id, claim.lease, "left", duration_ms=9)
    assert again == first and len(everything(any_db, Vote)) == 1
    for other in (
        {"choice": "right"},
        {"choice": "left", "strength": "barely"},
        {"choice": "left", "reason": "x"},
    ):
        with pytest.raises(Conflict, match="another " + list(other)[-1]):
            votes.cast(any_db, who, claim.pair_id, claim.lease, **other)
    assert len(everything(any_db, Vote)) == 1


def test_an_annotator_sees_each_pair_once_and_then_nothing(any_db):
    made, who = make_world(any_db, pairs=4, votes=3), make_person(any_db)
    seen = []
    while (claim := votes.claim(any_db, who, made.project.id)) is not None:
        seen.append(claim.pair_id)
        votes.cast(any_db, who, claim.pair_id, claim.lease, "tie")
    assert sorted(seen) == sorted(made.pairs)
    assert votes.my_progress(any_db, who, made.project.id).left == 0


def test_a_late_vote_counts_until_somebody_else_has_the_pair(any_db):
    made, early, other = (
        make_world(any_db, pairs=1, votes=1),
        make_person(any_db),
        make_person(any_db, "other"),
    )
    claim = votes.claim(any_db, early, made.project.id)
    assert votes.claim(any_db, other, made.project.id) is None
    expire(any_db)
    vote = votes.cast(any_db, early, claim.pair_id, claim.lease, "left")
    votes.undo(any_db, early, vote.id)
    claim = votes.claim(any_db, early, made.project.id)
    expire(any_db)
    taken = votes.claim(any_db, other, made.project.id)
    assert taken.pair_id == claim.pair_id and taken.lease != claim.lease
    with pytest.raises(Conflict, match="went to somebody else"):
        votes.cast(any_db, early, claim.pair_id, claim.lease, "left")
    with pytest.raises(Conflict):
        votes.skip(any_db, early, claim.pair_id, claim.lease)
    votes.cast(any_db, other, taken.pair_id, taken.lease, "right")
    assert len(everything(any_db, Vote)) == 1


def test_somebody_elses_lease_is_of_no_use(any_db):
    made, one, two = make_world(any_db), make_person(any_db), make_person(any_db, "two")
    claim = votes.claim(any_db, one, made.project.id)
    with pytest.raises(Conflict):
        votes.cast(any_db, two, claim.pair_id, claim.lease, "left")
    vote = votes.cast(any_db, one, claim.pair_id, claim.lease, "left")
    with pytest.raises(Conflict):
        votes.cast(any_db, two, claim.pair_id, claim.lease, "left")
    with pytest.raises(Forbidden):
        votes.undo(any_db, two, vote.id)


def test_undo_brings_the_same_pair_back_with_the_same_sides(any_db):
    made, who = make_world(any_db), make_person(any_db)
    claim = votes.claim(any_db, who, made.project.id)
    vote = votes.cast(any_db, who, claim.pair_id, claim.lease, "left", reason="first")
    following = votes.claim(any_db, who, made.project.id)
    assert votes.my_last_vote(any_db, who, made.project.id) == vote
    assert votes.undo(any_db, who, vote.id) == claim.pair_id
    assert votes.undo(any_db, who, vote.id) == claim.pair_id  # again is the same as once
    back = votes.claim(any_db, who, made.project.id)
    assert (back.pair_id, back.left, back.right) == (claim.pair_id, claim.left, claim.right)
    assert back.lease != claim.lease
    with pytest.raises(Conflict):  # the old lease is worn out
        votes.cast(any_db, who, claim.pair_id, claim.lease, "left")
    second = votes.cast(any_db, who, back.pair_id, back.lease, "right")
    assert second.id != vote.id and marks.choice_of(second) == "right"
    assert votes.claim(any_db, who, made.project.id).lease == following.lease
    history = everything(any_db, VoteHistory)
    assert [(item.vote_id, item.what, item.vote["reason"]) for item in history] == [
        (vote.id, "undone", "first")
    ]
    assert [item.action for item in everything(any_db, AuditEntry)] == ["vote.cast", "vote.undo", "vote.cast"]


def test_undo_and_vote_many_times(any_db):
    """DuckDB keeps a deleted key in its unique index while an older reader is open."""
    made, who = make_world(any_db, pairs=1, votes=1), make_person(any_db)
    with any_db.read() as reader:
        reader.exec(select(Vote)).all()
        for choice in ("left", "right", "tie", "both_bad", "left"):
            claim = votes.claim(any_db, who, made.project.id)
            vote = votes.cast(any_db, who, claim.pair_id, claim.lease, choice)
            votes.undo(any_db, who, vote.id)
    assert everything(any_db, Vote) == [] and len(everything(any_db, VoteHistory)) == 5


def test_skip_leaves_the_pair_to_others_and_can_be_forgotten(any_db):
    made, one, two = make_world(any_db, pairs=1, votes=1), make_person(any_db), make_person(any_db, "two")
    claim = votes.claim(any_db, one, made.project.id)
    first = votes.skip(any_db, one, claim.pair_id, claim.lease, "not my field")
    assert votes.skip(any_db, one, claim.pair_id, claim.lease) == first
    assert votes.claim(any_db, one, made.project.id) is None
    assert votes.my_progress(any_db, one, made.project.id).skipped == 1
    taken = votes.claim(any_db, two, made.project.id)
    votes.release(any_db, two, taken.pair_id, taken.lease)
    assert votes.forget_skips(any_db, one, made.project.id) == 1
    assert everything(any_db, Skip) == []
    claim = votes.claim(any_db, one, made.project.id)
    votes.skip(any_db, one, claim.pair_id, claim.lease)  # the same keys once more
    assert votes.claim(any_db, two, made.project.id).pair_id == claim.pair_id


def test_a_skip_is_taken_back_while_the_pair_wants_votes(any_db):
    made, who, other = make_world(any_db, pairs=2, votes=1), make_person(any_db), make_person(any_db, "other")
    first = votes.claim(any_db, who, made.project.id)
    votes.skip(any_db, who, first.pair_id, first.lease, "not my field")
    second = votes.claim(any_db, who, made.project.id)
    assert second.pair_id != first.pair_id
    for _ in range(2):
        assert votes.unskip(any_db, who, first.pair_id) == first.pair_id
    back = votes.claim(any_db, who, made.project.id)
    assert (back.pair_id, back.left, back.right) == (first.pair_id, first.left, first.right)
    assert back.lease != first.lease
    assert votes.my_progress(any_db, who, made.project.id).skipped == 0
    # Others have it meanwhile: it stays skipped. Whoever skipped nothing takes nothing back.
    votes.skip(any_db, who, back.pair_id, back.lease)
    theirs = votes.claim(any_db, other, made.project.id)
    assert theirs.pair_id == first.pair_id
    with pytest.raises(Conflict, match="others judge it"):
        votes.unskip(any_db, who, first.pair_id)
    assert votes.my_progress(any_db, who, made.project.id).skipped == 1
    assert votes.claim(any_db, other, made.project.id).lease == theirs.lease
    with pytest.raises(Conflict):
        votes.unskip(any_db, make_person(any_db, "third"), first.pair_id)


def test_a_paused_annotator_takes_no_skip_back(db):
    made, who, lead = make_world(db, pairs=1, votes=1), make_person(db), make_person(db, "lead", "lead")
    claim = votes.claim(db, who, made.project.id)
    votes.skip(db, who, claim.pair_id, claim.lease)
    annotators.pause(db, lead, made.project.id, votes.annotator_id_of(made.project.id, who), "Lunch")
    with pytest.raises(Forbidden, match="Lunch"):
        votes.unskip(db, who, claim.pair_id)
    assert {slot.status for slot in everything(db, Slot)} == {"open"}


@pytest.mark.parametrize("text", ["a\x00b", "half \ud83d of one"])
def test_text_that_cannot_be_stored_is_refused_and_the_lease_stays(any_db, text):
    made, who = make_world(any_db, pairs=1, votes=1), make_person(any_db)
    claim = votes.claim(any_db, who, made.project.id)
    with pytest.raises(Invalid, match="reason"):
        votes.cast(any_db, who, claim.pair_id, claim.lease, "left", reason=text)
    with pytest.raises(Invalid, match="reason"):
        votes.skip(any_db, who, claim.pair_id, claim.lease, text)
    assert votes.cast(any_db, who, claim.pair_id, claim.lease, "left", reason="fine").reason == "fine"


def test_release_frees_the_pair_at_once(any_db):
    made, one, two = make_world(any_db, pairs=1, votes=1), make_person(any_db), make_person(any_db, "two")
    claim = votes.claim(any_db, one, made.project.id)
    votes.release(any_db, two, claim.pair_id, claim.lease)  # not theirs: nothing happens
    assert votes.claim(any_db, two, made.project.id) is None
    votes.release(any_db, one, claim.pair_id, claim.lease)
    votes.release(any_db, one, claim.pair_id, claim.lease)
    assert votes.claim(any_db, two, made.project.id).pair_id == claim.pair_id


def test_progress_says_who_has_what(any_db):
    made, one, two = make_world(any_db, pairs=3, votes=1), make_person(any_db), make_person(any_db, "two")
    assert votes.my_progress(any_db, one, made.project.id).left == 3
    claim = votes.claim(any_db, one, made.project.id)
    other = votes.claim(any_db, two, made.project.id)
    votes.cast(any_db, two, other.pair_id, other.lease, "tie", duration_ms=100)
    votes.claim(any_db, two, made.project.id)
    mine = votes.my_progress(any_db, one, made.project.id)
    assert (mine.done, mine.left, mine.elsewhere, mine.votes, mine.wanted) == (0, 1, 1, 1, 3)
    votes.cast(any_db, one, claim.pair_id, claim.lease, "tie", duration_ms=300)
    mine = votes.my_progress(any_db, one, made.project.id)
    assert (mine.done, mine.left, mine.median_ms) == (1, 0, 300.0)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"choice": "A"}, "choice"),
        ({"strength": "very"}, "strength"),
        ({"criteria": {"kind": "left"}}, "kind"),
        ({"criteria": {"helpful": "5"}}, "helpful"),
        ({"reason": "x" * 10_001}, "reason"),
        ({"duration_ms": -1}, "duration_ms"),
    ],
)
def test_a_wrong_vote_says_which_field(db, values, names):
    made, who = make_world(db), make_person(db)
    claim = votes.claim(db, who, made.project.id)
    with pytest.raises(Invalid, match=names):
        votes.cast(db, who, claim.pair_id, claim.lease, **{"choice": "left", **values})
    assert everything(db, Vote) == []


def test_what_is_not_there_is_named(db):
    made, who = make_world(db), make_person(db)
    for call in (
        lambda: votes.claim(db, who, "nowhere"),
        lambda: votes.undo(db, who, "nowhere"),
    ):
        with pytest.raises(NotFound, match="nowhere"):
            call()
    # A pair that is not there is refused as one that is not held: what a hidden probe was called
    # says as little, once it is given back.
    for pair_id in ("nowhere", made.pairs[0]):
        with pytest.raises(Conflict, match="does not hold"):
            votes.cast(db, who, pair_id, "made up", "left")
        with pytest.raises(Conflict, match="does not hold"):
            votes.skip(db, who, pair_id, "made up")
        votes.release(db, who, pair_id, "made up")


def test_a_token_that_may_only_read_may_not_claim(db):
    made, who = make_world(db), make_person(db)
    with pytest.raises(Forbidden):
        votes.claim(db, replace(who, scope=Scope.READ), made.project.id)
    assert votes.claim(db, replace(who, scope=Scope.ANNOTATE), made.project.id)
