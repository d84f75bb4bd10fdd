"""Gold pairs, qualification, gold checks and hidden repeats, as a lead sets them and an
annotator meets them."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from sqlmodel import select

from core.annotation import demonstrations, gold, messages, mine, probes, probing, qualification, votes
from core.annotation import schedule as schedules
from core.annotation.disguise import probe_behind, shown_id
from core.annotation.gold_import import import_gold
from core.annotation.leaderboard import leaderboard
from core.annotation.marks import said
from core.annotation.quality import quality
from core.annotation.schedule import Schedule
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.projects import update_project
from storage.ids import id_of, now
from storage.my_votes import Filter
from storage.tables import (
    Annotator,
    AuditEntry,
    Delivery,
    Gold,
    Message,
    Pair,
    Probe,
    Response,
    Slot,
    Vote,
    VoteHistory,
    Webhook,
)
from tests.annotation.conftest import make_person, make_world


def everything(db, table):
    with db.read() as session:
        return list(session.exec(select(table)))


def annotator_id(made, who):
    return id_of("annotator", made.project.id, "user", who.user_id)


def mark_some(db, lead, made, number, use="check", choice="a"):
    """Make the first pairs gold; answers their ids."""
    for pair_id in made.pairs[:number]:
        gold.mark(db, lead, made.project.id, pair_id, use, choice, f"Because **{choice}**.")
    return made.pairs[:number]


def pair_id_of(db, claim):
    """The pair itself, which an annotator knows by another id where it is a hidden probe."""
    return {shown_id(probe): probe.pair_id for probe in everything(db, Probe)}.get(
        claim.pair_id, claim.pair_id
    )


def choice_for(db, claim, wanted):
    """left or right for a or b, as the pair was shown."""
    if wanted not in ("a", "b"):
        return wanted
    with db.read() as session:
        pair = session.get(Pair, pair_id_of(db, claim))
        a_text = session.get(Response, pair.response_a).text
    a_left = claim.left == a_text
    return "left" if (wanted == "a") == a_left else "right"


def cast(db, who, claim, wanted="a", **values):
    return votes.cast(db, who, claim.pair_id, claim.lease, choice_for(db, claim, wanted), **values)


def work_off(db, who, made, most=200, wanted="a"):
    """Vote until nothing is left; answers the claims."""
    seen = []
    for _ in range(most):
        claim = votes.claim(db, who, made.project.id)
        if claim is None:
            return seen
        seen.append(claim)
        cast(db, who, claim, wanted)
    raise AssertionError("more claims than expected")


# --- gold -------------------------------------------------------------------------------------


def test_a_gold_pair_waits_for_no_votes_until_it_is_retired(any_db):
    made, lead, who = (
        make_world(any_db, pairs=3, votes=2),
        make_person(any_db, "l", "lead"),
        make_person(any_db),
    )
    held = votes.claim(any_db, who, made.project.id)
    marked = gold.mark(any_db, lead, made.project.id, held.pair_id, "check", "a", "It is right.")
    assert (marked.closed, marked.taken) == (2, 1)
    with pytest.raises(Conflict):
        cast(any_db, who, held)
    assert held.pair_id not in {claim.pair_id for claim in work_off(any_db, who, made)}
    update_project(any_db, lead, made.project.id, votes_per_pair=3)  # opens a slot for every other pair
    slots = Counter((s.pair_id == held.pair_id, s.status) for s in everything(any_db, Slot))
    assert slots == {(True, "closed"): 2, (False, "voted"): 2, (False, "open"): 4}
    [listed] = gold.list_gold(any_db, lead, made.project.id)
    assert (listed.choice, listed.use, listed.answered, listed.low) == ("a", "check", 0, None)
    gold.change(any_db, lead, made.project.id, listed.id, choice="tie", use="training", explanation="Even.")
    [listed] = gold.list_gold(any_db, lead, made.project.id)
    assert (listed.choice, listed.use, listed.explanation) == ("tie", "training", "Even.")
    assert gold.retire(any_db, lead, made.project.id, listed.id) == 3
    assert gold.retire(any_db, lead, made.project.id, listed.id) == 0
    assert gold.list_gold(any_db, lead, made.project.id) == []
    assert len(gold.list_gold(any_db, lead, made.project.id, retired=True)) == 1
    assert held.pair_id in {claim.pair_id for claim in work_off(any_db, who, made)}
    again = gold.mark(any_db, lead, made.project.id, held.pair_id, "check", "b")
    assert again.id == listed.id and len(everything(any_db, Gold)) == 1


def test_votes_on_a_pair_that_becomes_gold_stay(db):
    made, lead, who = make_world(db, pairs=1, votes=2), make_person(db, "l", "lead"), make_person(db)
    work_off(db, who, made)
    before = leaderboard(db, lead, made.project.id)
    mark_some(db, lead, made, 1)
    assert leaderboard(db, lead, made.project.id) == before and len(everything(db, Vote)) == 1


def test_what_a_lead_says_of_gold_is_checked(db):
    made, lead, who = make_world(db, pairs=1), make_person(db, "l", "lead"), make_person(db)
    other = make_world(db, pairs=1, name="Other")
    project_id, pair_id = made.project.id, made.pairs[0]
    for problem, values in [
        (Invalid, (pair_id, "exam", "a")),
        (Invalid, (pair_id, "check", "left")),
        (Invalid, (pair_id, "check", "a", "x" * 5_000)),
        (NotFound, ("nowhere", "check", "a")),
        (NotFound, (other.pairs[0], "check", "a")),
    ]:
        with pytest.raises(problem):
            gold.mark(db, lead, project_id, *values)
    for person in (who, make_person(db, "e", "engineer")):
        with pytest.raises(Forbidden):
            gold.mark(db, person, project_id, pair_id, "check", "a")
        with pytest.raises(Forbidden):
            import_gold(db, person, project_id, [])
    with pytest.raises(Forbidden):
        gold.list_gold(db, who, project_id)
    with pytest.raises(NotFound):
        gold.retire(db, lead, project_id, "nothing")
    assert everything(db, Gold) == []


def test_gold_rows_are_imported_with_their_reasons(db):
    made, lead = make_world(db, pairs=0), make_person(db, "l", "lead")
    rows = [
        {"input": "2 + 2?", "response_a": "4", "response_b": "5", "choice": "a", "explanation": "Sums."},
        {"input": "3 + 3?", "response_a": "7", "response_b": "8", "golden": "Both bad", "reason": "Six."},
        {"input": "4 + 4?", "response_a": "9", "response_b": "8", "choice": "right", "use": "training"},
        {"input": "5 + 5?", "response_a": "10", "response_b": "11"},
        {"input": "6 + 6?", "response_a": "10", "response_b": "11", "choice": "left or so"},
        "no row",
    ]
    tried = import_gold(db, lead, made.project.id, rows, dry_run=True)
    assert tried.imported == 3 and everything(db, Gold) == []
    done = import_gold(db, lead, made.project.id, rows)
    assert done.imported == 3 and [row for row, _ in done.skipped] == [3, 4, 5]
    assert done.skipped == tried.skipped and "choice" in done.skipped[0].reason
    found = {item.input: item for item in gold.list_gold(db, lead, made.project.id)}
    assert (found["3 + 3?"].use, found["3 + 3?"].choice) == ("check", "both_bad")
    assert (found["2 + 2?"].use, found["4 + 4?"].use) == ("check", "training")
    first, last = found["2 + 2?"], found["4 + 4?"]  # a and b as in the rows
    assert (first.response_a, first.choice, first.explanation) == ("4", "a", "Sums.")
    assert (last.response_a, last.response_b, last.choice) == ("9", "8", "b")
    gold.change(db, lead, made.project.id, last.id, choice="a")
    [changed] = [item for item in gold.list_gold(db, lead, made.project.id) if item.id == last.id]
    assert (changed.response_a, changed.choice) == ("9", "a")
    gold.change(db, lead, made.project.id, last.id, choice="b")
    again = import_gold(db, lead, made.project.id, rows)
    assert (again.imported, again.duplicates) == (0, 3)
    assert not [slot for slot in everything(db, Slot) if slot.status != "closed"]
    # It was never meant for votes: retired, it waits for none.
    assert gold.retire(db, lead, made.project.id, first.id) == 0


# --- qualification ----------------------------------------------------------------------------


def train(db, who, made, rights):
    """Answer training pairs, right (True) or wrong; answers the feedback."""
    told = []
    for right in rights:
        claim = votes.claim(db, who, made.project.id)
        assert claim.training is not None
        vote = cast(db, who, claim, "a" if right else "b")
        told.append(qualification.feedback(db, who, vote.id))
    return told


def test_qualification_comes_before_real_pairs_and_says_what_was_right(any_db):
    made, lead, who = (
        make_world(any_db, pairs=6, votes=1),
        make_person(any_db, "l", "lead"),
        make_person(any_db),
    )
    training = mark_some(any_db, lead, made, 3, "training")
    with pytest.raises(Conflict, match="asks for 4"):
        probing.set_probing(any_db, lead, made.project.id, qualify=True, asked=4)
    probing.set_probing(any_db, lead, made.project.id, qualify=True, asked=3, pass_mark=0.6, tries=2)
    [first] = votes.claim_some(any_db, who, made.project.id, 2)  # one at a time, for the feedback
    assert first.pair_id in training and (first.training.place, first.training.of, first.training.needed) == (
        1,
        3,
        2,
    )
    assert votes.claim(any_db, who, made.project.id).lease == first.lease
    with pytest.raises(Conflict, match="cannot be skipped"):
        votes.skip(any_db, who, first.pair_id, first.lease)
    votes.release(any_db, who, first.pair_id, first.lease)  # it stays
    vote = cast(any_db, who, first, "b", reason="hm")
    told = qualification.feedback(any_db, who, vote.id)
    assert (told.right, told.place, told.of, told.score, told.needed) == (False, 1, 3, 0, 2)
    assert told.expected == choice_for(any_db, first, "a") and told.explanation == "Because **a**."
    assert told.verdict is None and told.tries_left == 2
    assert cast(any_db, who, first, "b", reason="hm").id == vote.id
    with pytest.raises(Conflict, match="another choice"):
        cast(any_db, who, first, "a", reason="hm")
    with pytest.raises(Conflict, match="stands"):
        votes.undo(any_db, who, vote.id)
    with pytest.raises(Forbidden):
        qualification.feedback(any_db, make_person(any_db, "other"), vote.id)
    second, third = train(any_db, who, made, [True, False])
    assert (second.verdict, third.verdict, third.score, third.tries_left) == (None, "failed", 1, 1)
    again = train(any_db, who, made, [True, False, True])
    assert [item.verdict for item in again] == [None, None, "passed"]
    [standing] = qualification.people(any_db, lead, made.project.id)
    assert standing.state == "qualified" and [(a.asked, a.right) for a in standing.attempts] == [
        (3, 1),
        (3, 2),
    ]
    assert len(votes.claim_some(any_db, who, made.project.id, 2)) == 2
    done = {claim.pair_id for claim in work_off(any_db, who, made)}
    assert done == set(made.pairs) - set(training)
    assert len(everything(any_db, Vote)) == 3 and len(everything(any_db, Probe)) == 6
    assert [item.answered for item in gold.list_gold(any_db, lead, made.project.id)] == [2, 2, 2]


def test_who_fails_too_often_stays_out_until_the_lead_lets_them_in(db):
    made, lead, who = make_world(db, pairs=4, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 2, "training")
    probing.set_probing(db, lead, made.project.id, qualify=True, asked=2, pass_mark=1, tries=2)
    assert train(db, who, made, [True, False])[1].tries_left == 1
    assert train(db, who, made, [False, True])[1].tries_left == 0
    for _ in range(2):
        with pytest.raises(Forbidden, match="not passed"):
            votes.claim(db, who, made.project.id)
    [standing] = qualification.people(db, lead, made.project.id)
    assert standing.state == "out"
    with pytest.raises(Forbidden):
        qualification.qualify(db, who, made.project.id, standing.id)
    qualification.begin_anew(db, lead, made.project.id, standing.id)
    [standing] = qualification.people(db, lead, made.project.id)
    assert (standing.state, standing.tries_left) == ("not begun", 2)
    assert train(db, who, made, [True, False])[1].verdict == "failed"
    qualification.qualify(db, lead, made.project.id, standing.id)
    assert votes.claim(db, who, made.project.id).training is None
    qualification.begin_anew(db, lead, made.project.id, standing.id)  # and out again
    work_left = votes.claim(db, who, made.project.id)
    assert work_left.training is None  # what they hold they may finish
    cast(db, who, work_left)
    assert votes.claim(db, who, made.project.id).training is not None
    actions = Counter(entry.action for entry in everything(db, AuditEntry))
    assert (actions["annotator.requalify"], actions["annotator.qualify"]) == (2, 1)


@pytest.mark.parametrize("veterans", [False, True])
def test_who_voted_before_qualifies_too_only_if_the_lead_says_so(db, veterans):
    made, lead = make_world(db, pairs=6, votes=3), make_person(db, "l", "lead")
    old, new = make_person(db, "old"), make_person(db, "new")
    looked = make_person(db, "looked")
    cast(db, old, votes.claim(db, old, made.project.id))
    held = votes.claim(db, looked, made.project.id)
    votes.release(db, looked, held.pair_id, held.lease)
    free = [pair for pair in made.pairs if pair != everything(db, Vote)[0].pair_id]
    for pair in free[:2]:
        gold.mark(db, lead, made.project.id, pair, "training", "a")
    probing.set_probing(db, lead, made.project.id, qualify=True, asked=2, veterans=veterans)
    assert (votes.claim(db, old, made.project.id).training is not None) == veterans
    assert votes.claim(db, new, made.project.id).training is not None
    assert votes.claim(db, looked, made.project.id).training is not None
    states = {item.name: item.state for item in qualification.people(db, lead, made.project.id)}
    assert states == {"old": "training" if veterans else "veteran", "new": "training", "looked": "training"}


def test_a_training_set_in_use_keeps_its_size_and_an_attempt_its_pairs(db):
    made, lead, who = make_world(db, pairs=5, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 3, "training")
    probing.set_probing(db, lead, made.project.id, qualify=True, asked=2, pass_mark=0.5, tries=1)
    first = votes.claim(db, who, made.project.id)
    ids = {item.pair_id: item.id for item in gold.list_gold(db, lead, made.project.id)}
    cast(db, who, first)
    second = votes.claim(db, who, made.project.id)
    gold.retire(db, lead, made.project.id, ids[second.pair_id])
    # The pair on the desk is gone; what was answered is enough.
    with pytest.raises(Conflict):
        cast(db, who, second)
    assert votes.claim(db, who, made.project.id).training is None
    with pytest.raises(Conflict, match="asks for 2"):
        gold.retire(db, lead, made.project.id, ids[first.pair_id])
    with pytest.raises(Conflict, match="asks for 2"):
        gold.change(db, lead, made.project.id, ids[first.pair_id], use="check")
    probing.set_probing(db, lead, made.project.id, qualify=False)
    gold.retire(db, lead, made.project.id, ids[first.pair_id])


def test_a_training_pair_stands_as_its_explanation_says(db):
    made, lead, who = make_world(db, pairs=0), make_person(db, "l", "lead"), make_person(db)
    rows = [
        {
            "input": str(i),
            "response_a": f"first {i}",
            "response_b": f"second {i}",
            "choice": "a",
            "use": "training",
        }
        for i in range(20)
    ]
    assert import_gold(db, lead, made.project.id, rows).imported == 20
    with (
        db.read() as session
    ):  # which is the pair's own first follows from ids, so both ways occur (all but once in 500,000 times)
        firsts = {
            session.get(Response, pair.response_a).text.split()[0] for pair in session.exec(select(Pair))
        }
    assert firsts == {"first", "second"}
    probing.set_probing(db, lead, made.project.id, qualify=True, asked=20, pass_mark=1)
    for _ in range(20):
        claim = votes.claim(db, who, made.project.id)
        assert (claim.left, claim.right) == (f"first {claim.input}", f"second {claim.input}")
        vote = votes.cast(db, who, claim.pair_id, claim.lease, "left")
    assert qualification.feedback(db, who, vote.id).verdict == "passed"


# --- hidden probes ----------------------------------------------------------------------------


def test_gold_checks_come_at_their_rate_and_never_become_votes(any_db):
    made, lead, who = (
        make_world(any_db, pairs=22, votes=1),
        make_person(any_db, "l", "lead"),
        make_person(any_db),
    )
    checks = mark_some(any_db, lead, made, 10)
    probing.set_probing(any_db, lead, made.project.id, gold_rate=0.25)
    seen = work_off(any_db, who, made)
    given = [key for claim in seen if (key := pair_id_of(any_db, claim)) in checks]
    # One in every block of four, as far as blocks go: 12 ordinary pairs.
    assert 3 <= len(given) <= 4 and len(set(given)) == len(given)
    assert all(claim.training is None for claim in seen)
    assert {vote.pair_id for vote in everything(any_db, Vote)} == set(made.pairs) - set(checks)
    probes = everything(any_db, Probe)
    assert len(probes) == len(given) and all(probe.passed and probe.kind == "gold" for probe in probes)
    assert quality(any_db, lead, made.project.id)["votes"] == 12
    # With nothing left but gold, there is nothing left.
    assert votes.claim(any_db, who, made.project.id) is None


def test_a_repeat_shows_the_sides_swapped_after_enough_votes(any_db):
    made, lead, who = (
        make_world(any_db, pairs=16, votes=1),
        make_person(any_db, "l", "lead"),
        make_person(any_db),
    )
    probing.set_probing(any_db, lead, made.project.id, repeat_rate=0.5, repeat_after=3)
    seen = work_off(any_db, who, made)
    first = {}
    repeated = []
    for place, claim in enumerate(seen):
        key = pair_id_of(any_db, claim)
        if key in first:
            before, at = first[key]
            assert (claim.left, claim.right) == (before.right, before.left)
            judged_since = {pair_id_of(any_db, c) for c in seen[at + 1 : place]} - set(repeated)
            assert len(judged_since) >= 3 - 1
            repeated.append(key)
        else:
            first[key] = (claim, place)
    # No id is seen twice, and all are of one form: nobody tells a repeat by them.
    assert len({claim.pair_id for claim in seen}) == len(seen)
    assert {UUID(claim.pair_id).version for claim in seen} == {5}
    assert len(repeated) == len(set(repeated)) and len(repeated) >= 4
    probes = everything(any_db, Probe)
    assert len(probes) == len(repeated) and all(probe.passed for probe in probes)
    assert len(everything(any_db, Vote)) == 16


def probe_of(db, made, who, **values):
    """A claim that is a hidden probe: claims are voted on until one comes."""
    before = {probe.id for probe in everything(db, Probe)}
    for _ in range(12):
        claim = votes.claim(db, who, made.project.id)
        found = [p for p in everything(db, Probe) if p.id not in before and p.lease == claim.lease]
        if found:
            return claim, found[0]
        cast(db, who, claim, "a", **values)
    raise AssertionError("no probe came")


def test_an_answer_to_a_hidden_probe_looks_like_a_vote_and_is_taken_back_like_one(any_db):
    made, lead, who = (
        make_world(any_db, pairs=12, votes=1),
        make_person(any_db, "l", "lead"),
        make_person(any_db),
    )
    mark_some(any_db, lead, made, 4)
    probing.set_probing(any_db, lead, made.project.id, gold_rate=0.5)
    claim, _ = probe_of(any_db, made, who)
    assert votes.heartbeat(any_db, who, made.project.id, [claim.lease, "made up"]) == [claim.lease]
    assert votes.leave(any_db, who, made.project.id, [claim.lease]) == [claim.lease]
    [waiting] = [p for p in everything(any_db, Probe) if p.answered_at is None]
    assert (waiting.expires_at - now()).total_seconds() < votes.LEAVE_S
    assert votes.claim(any_db, who, made.project.id).lease == claim.lease  # a reload finds it again
    ahead = votes.claim_some(any_db, who, made.project.id, 2)
    assert ahead[0].lease == claim.lease and ahead[1].pair_id != claim.pair_id
    before = votes.my_progress(any_db, who, made.project.id)
    values = {"strength": "clearly", "criteria": {"helpful": "left"}, "reason": " so ", "duration_ms": 900}
    vote = cast(any_db, who, claim, "b", **values)
    ordinary = cast(any_db, who, ahead[1], "b", **values)
    assert vote.model_dump().keys() == ordinary.model_dump().keys()
    for name in ("strength", "reason", "duration_ms", "source", "simulated"):
        assert getattr(vote, name) == getattr(ordinary, name)
    assert cast(any_db, who, claim, "b", **values).id == vote.id
    with pytest.raises(Conflict, match="another choice"):
        cast(any_db, who, claim, "a", **values)
    with pytest.raises(Conflict, match="another criteria"):
        cast(any_db, who, claim, "b", **{**values, "criteria": {"helpful": "right"}})
    after = votes.my_progress(any_db, who, made.project.id)
    assert (after.done - before.done, after.left - before.left) == (2, -2)
    assert mine.my_newest(any_db, who, made.project.id)[:2] == [ordinary.id, vote.id]
    assert mine.done_since(any_db, who, made.project.id, now() - timedelta(hours=1)) == after.done
    other = make_person(any_db, "other")
    with pytest.raises(Forbidden, match="somebody else's vote"):
        votes.undo(any_db, other, vote.id)
    assert votes.undo(any_db, who, vote.id) == claim.pair_id
    assert votes.undo(any_db, who, vote.id) == claim.pair_id  # again is the same as once
    back = votes.claim(any_db, who, made.project.id)
    assert (back.pair_id, back.left, back.right) == (claim.pair_id, claim.left, claim.right)
    assert back.lease != claim.lease
    with pytest.raises(Conflict, match="does not hold"):
        cast(any_db, who, claim, "b", **values)
    anew = cast(any_db, who, back, "a")
    assert anew.id != vote.id
    [again] = [p for p in everything(any_db, Probe) if p.lease == back.lease]
    assert again.pair_id in made.pairs[:4] and anew.pair_id == claim.pair_id != again.pair_id
    [kept] = [h for h in everything(any_db, VoteHistory) if h.what == "undone"]
    assert said(Vote(**kept.vote))["criteria"] == {"helpful": "left"}
    assert {v.pair_id for v in everything(any_db, Vote)} & set(made.pairs[:4]) == set()


def test_a_hidden_probes_pair_is_known_to_one_person_by_one_other_name(any_db):
    """Whoever tries the ids they know on a lease learns nothing by what is refused."""
    made, lead = make_world(any_db, pairs=12, votes=2), make_person(any_db, "l", "lead")
    who, other = make_person(any_db), make_person(any_db, "other")
    probing.set_probing(any_db, lead, made.project.id, repeat_rate=0.5, repeat_after=1)
    claim, probe = probe_of(any_db, made, who)
    ordinary = votes.claim(any_db, other, made.project.id)
    seen = set(made.pairs) | {"made up", ordinary.pair_id}
    refused = set()
    for name in seen:
        for person, lease in ((who, claim.lease), (other, claim.lease), (who, "made up")):
            with pytest.raises(Conflict) as problem:
                votes.cast(any_db, person, name, lease, "left")
            if (person, lease) == (who, claim.lease):
                refused.add((name in {v.pair_id for v in everything(any_db, Vote)}, str(problem.value)))
            with pytest.raises(Conflict):
                votes.skip(any_db, person, name, lease)
            votes.release(any_db, person, name, lease)
    assert len(refused) == 2  # a pair voted on says so, whether it is the one behind this or not
    with pytest.raises(Conflict, match="does not hold"):
        votes.cast(any_db, who, claim.pair_id, "made up", "left")
    with pytest.raises(Conflict):
        votes.cast(any_db, other, claim.pair_id, claim.lease, "left")
    # A better response is one of its own, and does not stand in for the one on the pair itself.
    first = demonstrations.write(any_db, who, probe.pair_id, "Before.")
    second = demonstrations.write(any_db, who, claim.pair_id, "Better.")
    assert (first.id != second.id, first.pair_id, second.pair_id) == (True, probe.pair_id, probe.pair_id)
    assert demonstrations.shown_pair(first) == probe.pair_id
    assert demonstrations.shown_pair(second) == claim.pair_id
    assert demonstrations.change(any_db, who, second.id, "Best.").id == second.id
    assert {d.text for d in demonstrations.mine(any_db, who, made.project.id)} == {"Before.", "Best."}
    with pytest.raises(NotFound):
        demonstrations.write(any_db, other, claim.pair_id, "Mine.")
    vote = cast(any_db, who, claim, "tie")
    assert vote.pair_id == claim.pair_id
    with any_db.read() as session:
        assert probe_behind(session, vote.id).pair_id == probe.pair_id
        assert session.get(Probe, vote.id) is None and probe_behind(session, probe.id) is None
    # The time in its id is that of the answer, as a vote's is.
    assert abs((UUID(vote.id).int >> 80) - vote.created_at.timestamp() * 1000) < 2
    assert (UUID(vote.id).version, UUID(vote.id).variant) == (7, UUID(probe.id).variant)


def test_answers_to_hidden_probes_stand_among_ones_votes_and_are_changed_there(any_db):
    made, lead, who = (
        make_world(any_db, pairs=12, votes=1),
        make_person(any_db, "l", "lead"),
        make_person(any_db),
    )
    mark_some(any_db, lead, made, 3)
    probing.set_probing(any_db, lead, made.project.id, gold_rate=0.5)
    claim, _ = probe_of(any_db, made, who)
    values = {
        "strength": "clearly",
        "criteria": {"helpful": "left"},
        "reason": "Because.",
        "duration_ms": 900,
    }
    vote = cast(any_db, who, claim, "a", **values)
    before = mine.my_work(any_db, who, made.project.id)
    done = votes.my_progress(any_db, who, made.project.id).done
    assert before.votes == before.today == done == len(everything(any_db, Vote)) + 1

    history = mine.my_votes_of(any_db, who, made.project.id)
    assert history.total == done and {row.vote.id for row in history.rows} == set(
        mine.my_newest(any_db, who, made.project.id)
    )
    [newest] = mine.my_votes_of(any_db, who, made.project.id, limit=1).rows
    assert (newest.vote.id, newest.vote.pair_id) == (vote.id, claim.pair_id)
    assert (newest.input, newest.left, newest.right) == (claim.input, claim.left, claim.right)
    assert said(newest.vote)["criteria"] == {"helpful": "left"} and newest.vote.duration_ms == 900
    side = choice_for(any_db, claim, "a")
    which = Filter(choice=side, contains="because")
    assert [row.vote.id for row in mine.my_votes_of(any_db, who, made.project.id, which).rows] == [vote.id]
    which = Filter(choice={"left": "right", "right": "left"}[side], strength="clearly")
    assert mine.my_votes_of(any_db, who, made.project.id, which).total == 0

    with pytest.raises(Forbidden, match="somebody else's vote"):
        votes.edit(any_db, make_person(any_db, "other"), vote.id, "tie")
    for _ in range(2):  # the same again changes nothing
        changed = votes.edit(any_db, who, vote.id, "tie", criteria={"helpful": "right"}, reason="No.")
        assert (changed.id, changed.pair_id, changed.outcome) == (vote.id, claim.pair_id, "tie")
    [row] = mine.my_votes_of(any_db, who, made.project.id, Filter(choice="tie")).rows
    assert (row.versions, said(row.vote)["criteria"], row.vote.reason) == (1, {"helpful": "right"}, "No.")
    [kept] = [h for h in everything(any_db, VoteHistory) if h.what == "replaced"]
    assert said(Vote(**kept.vote))["choice"] == side
    # What the check found stays: it was the first answer that was looked at.
    report = quality(any_db, lead, made.project.id)
    assert (report["gold_n"], report["gold_share"]) == (1, 1.0)
    assert votes.undo(any_db, who, vote.id) == claim.pair_id
    assert mine.my_votes_of(any_db, who, made.project.id).total == done - 1
    with pytest.raises(NotFound):
        votes.edit(any_db, who, vote.id, "tie")


def test_a_better_response_is_written_on_a_check_too(db):
    made, lead, who = make_world(db, pairs=12, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 3)
    probing.set_probing(db, lead, made.project.id, gold_rate=0.5)
    claim, probe = probe_of(db, made, who)
    assert demonstrations.write(db, who, claim.pair_id, "Better.").pair_id == probe.pair_id


def test_a_hidden_probe_is_skipped_and_given_back_like_a_pair(db):
    made, lead, who = make_world(db, pairs=12, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 2)
    probing.set_probing(db, lead, made.project.id, gold_rate=0.5)
    claim, _ = probe_of(db, made, who)
    skipped = votes.skip(db, who, claim.pair_id, claim.lease, "not mine")
    assert (skipped.pair_id, skipped.reason) == (claim.pair_id, "not mine")
    assert votes.skip(db, who, claim.pair_id, claim.lease).created_at == skipped.created_at
    with pytest.raises(Conflict):
        cast(db, who, claim)
    assert votes.my_progress(db, who, made.project.id).skipped == 1
    # Taken back as a skip of a pair is: first of all, with its sides, and once.
    assert mine.undoable(db, who, made.project.id)[0] == f"skip:{claim.pair_id}"
    for _ in range(2):
        assert votes.unskip(db, who, claim.pair_id) == claim.pair_id
    back = votes.claim(db, who, made.project.id)
    assert (back.pair_id, back.left, back.right) == (claim.pair_id, claim.left, claim.right)
    assert back.lease != claim.lease and f"skip:{claim.pair_id}" not in mine.undoable(
        db, who, made.project.id
    )
    with pytest.raises(Conflict):
        votes.unskip(db, make_person(db, "other"), claim.pair_id)
    votes.skip(db, who, back.pair_id, back.lease, "not mine")
    second, _ = probe_of(db, made, who)
    assert second.pair_id != claim.pair_id
    votes.release(db, who, second.pair_id, second.lease)
    votes.release(db, who, second.pair_id, second.lease)
    with pytest.raises(Conflict):
        votes.cast(db, who, second.pair_id, second.lease, "tie")
    assert votes.forget_skips(db, who, made.project.id) == 1
    assert everything(db, Probe) == []
    assert gold.list_gold(db, lead, made.project.id)[0].answered == 0


def test_a_vote_that_is_taken_back_stands_before_a_probe_and_is_no_repeat_meanwhile(db):
    made, lead, who = make_world(db, pairs=12, votes=1), make_person(db, "l", "lead"), make_person(db)
    probing.set_probing(db, lead, made.project.id, repeat_rate=0.5, repeat_after=1)
    claim, probe = probe_of(db, made, who)
    [vote] = [v for v in everything(db, Vote) if v.pair_id == probe.pair_id]
    other = next(v for v in everything(db, Vote) if v.pair_id != probe.pair_id)
    votes.undo(db, who, other.id)
    assert [c.pair_id for c in votes.claim_some(db, who, made.project.id, 2)] == [
        other.pair_id,
        claim.pair_id,
    ]
    votes.undo(db, who, vote.id)
    found = votes.claim_some(db, who, made.project.id, 2)
    assert [c.pair_id for c in found] == [vote.pair_id, other.pair_id] and found[0].lease != claim.lease


def test_switching_checks_off_takes_back_what_is_open(db):
    made, lead, who = make_world(db, pairs=12, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 2)
    probing.set_probing(db, lead, made.project.id, gold_rate=0.5)
    probe_of(db, made, who)
    probing.set_probing(db, lead, made.project.id, gold_rate=0)
    assert everything(db, Probe) == []
    assert pair_id_of(db, votes.claim(db, who, made.project.id)) not in made.pairs[:2]


def test_many_at_once_get_checks_and_pairs_and_none_too_many(any_db):
    made, lead = make_world(any_db, pairs=14, votes=2), make_person(any_db, "l", "lead")
    checks = set(mark_some(any_db, lead, made, 4))
    probing.set_probing(any_db, lead, made.project.id, gold_rate=0.3, repeat_rate=0.2, repeat_after=2)
    people = [make_person(any_db, f"p{i}") for i in range(6)]
    with ThreadPoolExecutor(len(people)) as pool:
        seen = list(pool.map(lambda who: work_off(any_db, who, made, wanted="tie"), people))
    found, probes = everything(any_db, Vote), everything(any_db, Probe)
    assert Counter(vote.pair_id for vote in found) == dict.fromkeys(set(made.pairs) - checks, 2)
    assert sum(map(len, seen)) == len(found) + sum(probe.outcome is not None for probe in probes)
    given = [(probe.pair_id, probe.annotator_id) for probe in probes]
    assert probes and len(set(given)) == len(given)
    assert all((probe.pair_id in checks) == (probe.kind == "gold") for probe in probes)
    assert {probe.passed for probe in probes if probe.kind == "repeat"} <= {True}


# --- what follows -----------------------------------------------------------------------------


def fail(db, made, who, times):
    for _ in range(times):
        claim, _ = probe_of(db, made, who)
        cast(db, who, claim, "b")


@pytest.mark.parametrize("action", probing.Action.__args__)
def test_failed_checks_have_the_consequence_the_lead_set(db, action):
    made, lead, who = make_world(db, pairs=60, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 12)
    project_id = made.project.id
    hook = Webhook(project_id=project_id, url="https://example.org/", secret="s", events=["gold.failed"])
    db.write(lambda session: session.add(hook))
    probing.set_probing(db, lead, project_id, gold_rate=0.5, failures=2, window=3, action=action)
    fail(db, made, who, 1)
    claim, _ = probe_of(db, made, who)
    cast(db, who, claim, "a")

    def state():
        with db.read() as session:
            return session.get(Annotator, annotator_id(made, who))

    assert state().paused_at is None and state().excluded_at is None and everything(db, Message) == []
    fail(db, made, who, 1)
    by_rule = [e for e in everything(db, AuditEntry) if e.detail.get("rule") == "gold checks"]
    assert len(by_rule) == 1 and by_rule[0].user_name == "system"
    assert "2 of the last 3 control pairs" in by_rule[0].detail["reason"]
    if action == "pause":
        with pytest.raises(Forbidden, match="2 of the last 3"):
            votes.claim(db, who, project_id)
    elif action == "leave_out":
        assert state().excluded_at is not None and quality(db, lead, project_id)["votes"] == 0
    else:
        [message] = messages.mine(db, who, project_id, unread=True)
        assert "2 of the last 3" in message.text and message.author == ""
        fail(db, made, who, 1)  # counted anew
        assert len(messages.mine(db, who, project_id)) == 1
        fail(db, made, who, 1)
        assert len(messages.mine(db, who, project_id)) == 2
    told = [item for item in everything(db, Delivery) if item.event == "gold.failed"]
    assert len(told) == (4 if action == "warn" else 2)
    assert Counter(item.body["data"]["action"] for item in told)[action] == (2 if action == "warn" else 1)


def test_nothing_happens_where_nothing_is_set(db):
    made, lead, who = make_world(db, pairs=30, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 5)
    probing.set_probing(db, lead, made.project.id, gold_rate=0.5)
    fail(db, made, who, 4)
    assert everything(db, Message) == [] and votes.claim(db, who, made.project.id) is not None


def test_messages_reach_their_annotator_only(db):
    made, lead = make_world(db, pairs=2), make_person(db, "l", "lead")
    one, two = make_person(db, "one"), make_person(db, "two")
    for who in (one, two):
        votes.claim(db, who, made.project.id)
    sent = messages.send(db, lead, made.project.id, annotator_id(made, one), "  Read **this**. ")
    assert messages.mine(db, two, made.project.id) == []
    [found] = messages.mine(db, one, made.project.id, unread=True)
    assert (found.text, found.author, found.read_at) == ("Read **this**.", "l", None)
    with pytest.raises(NotFound):
        messages.mark_read(db, two, sent.id)
    first = messages.mark_read(db, one, sent.id).read_at
    assert messages.mark_read(db, one, sent.id).read_at == first
    assert messages.mine(db, one, made.project.id, unread=True) == []
    assert messages.sent(db, lead, made.project.id, annotator_id(made, one))[0].read_at == first
    for bad in ("", " ", "x" * 3_000):
        with pytest.raises(Invalid):
            messages.send(db, lead, made.project.id, annotator_id(made, one), bad)
    with pytest.raises(Forbidden):
        messages.send(db, one, made.project.id, annotator_id(made, two), "hello")


# --- settings and schedule --------------------------------------------------------------------


def test_settings_are_checked_and_kept_from_annotators(db):
    made, lead, who = make_world(db, pairs=2), make_person(db, "l", "lead"), make_person(db)
    for values in (
        {"gold_rate": 0.9}, {"pass_mark": 0}, {"asked": 0}, {"failures": 5, "window": 3}, {"action": "shout"},
        {"since": now()}, {"unheard": 1},
    ):  # fmt: skip
        with pytest.raises(Invalid):
            probing.set_probing(db, lead, made.project.id, **values)
    with pytest.raises(Forbidden):
        probing.probing_of(db, who, made.project.id)
    with pytest.raises(Forbidden):
        probing.set_probing(db, make_person(db, "e", "engineer"), made.project.id, gold_rate=0.1)
    assert probing.probing_of(db, lead, made.project.id) == probing.Probing()


@pytest.mark.parametrize("rate", [0.5, 0.3, 0.05, 0.01])
def test_the_schedule_keeps_its_rate_and_is_not_periodic(rate):
    schedule = Schedule()
    steps = 20_000
    places = []
    for step in range(steps):
        if schedule.step("somebody", rate):
            places.append(step)
            schedule.settle("somebody")
    # One in each block: the number is all but fixed, where coin flips would spread by sqrt(n).
    assert abs(len(places) - rate * steps) <= 2 + 4 * (steps * rate**3 * 0.25) ** 0.5
    gaps = Counter(b - a for a, b in pairwise(places))
    assert len(gaps) >= 2 and max(gaps) <= 2 * (1 / rate + 1)
    assert not schedule.step("somebody", 0)


def test_the_rate_is_kept_where_pairs_are_claimed_ahead(any_db, monkeypatch):
    """As the desk does: five on the table, one is judged, one more is claimed. The lot is fixed:
    where it asks for a repeat right after the first five, one pair was judged and none since, so
    that block has none, in one of ten draws."""
    monkeypatch.setattr(schedules, "_lot", random.Random(1))
    monkeypatch.setattr(probes, "_schedule", Schedule())
    made, lead, who = (
        make_world(any_db, pairs=50, votes=1),
        make_person(any_db, "l", "lead"),
        make_person(any_db),
    )
    mark_some(any_db, lead, made, 12)
    probing.set_probing(any_db, lead, made.project.id, gold_rate=0.2, repeat_rate=0.2, repeat_after=1)
    for _ in range(30):
        cast(any_db, who, votes.claim_some(any_db, who, made.project.id, 5)[0], "tie")
    given = Counter(probe.kind for probe in everything(any_db, Probe))
    # 34 pairs were given: six blocks of five of each kind, and part of a seventh. There is
    # nothing to repeat among the first five.
    assert 6 <= given["gold"] <= 7 and 5 <= given["repeat"] <= 7, given


def test_what_is_due_stays_due_until_it_is_settled():
    schedule = Schedule()
    while not schedule.step("x", 0.2):
        pass
    assert all(schedule.step("x", 0.2) for _ in range(50))
    schedule.settle("x")
    assert sum(schedule.step("x", 0.2) for _ in range(3)) <= 3
