"""Disputed pairs go to an adjudicator, whose vote decides them."""

import random

import pytest
from sqlmodel import select

from core import data
from core.access import Principal
from core.annotation import adjudication, annotators, votes
from core.annotation.adjudication import Adjudication
from core.annotation.aggregation import set_method
from core.annotation.detail import detail
from core.annotation.leaderboard import leaderboard
from core.annotation.quality import quality
from core.errors import Forbidden, Invalid
from core.projects import create_project
from core.reward.data import voted_pairs
from storage.adjudication import Measure, Split, open_disputed, to_send
from storage.database import Database
from storage.exporting import Order, account, export_rows
from storage.tables import Example, Pair, Response, Slot, Vote
from tests.annotation.conftest import World, make_person, make_world


def say(db: Database, who: Principal, made: World, wanted: dict[str, tuple]) -> None:
    """Claim what there is, and say of each pair (input -> (a, b, tie or both_bad, more))
    what is wanted; others are skipped."""
    while claim := votes.claim(db, who, made.project.id):
        if claim.input not in wanted:
            votes.skip(db, who, claim.pair_id, claim.lease)
            continue
        choice, *more = wanted[claim.input]
        with db.read() as session:
            pair = session.get(Pair, claim.pair_id)
            a_left = session.get(Response, pair.response_a).text == claim.left
        side = {"a": "left" if a_left else "right", "b": "right" if a_left else "left"}.get(choice, choice)
        strength, reason = (*more, None, None)[:2]
        votes.cast(db, who, claim.pair_id, claim.lease, side, strength=strength, reason=reason or "")


def people(db: Database, *names: str) -> list[Principal]:
    return [make_person(db, name, "lead" if name == "lead" else "annotator") for name in names]


def disputed_world(db: Database, **more) -> tuple[World, list[Principal]]:
    """Pair 0 is split 1:1, pair 1 agreed, pair 2 significantly opposed, pair 3 a win and a tie."""
    lead, anna, ben, carl = people(db, "lead", "anna", "ben", "carl")
    made = make_world(db, pairs=4, votes=2, prompts=3, **more)
    say(db, anna, made, {
        "Input 0": ("a", "slightly", "A cites <b>its</b> source"), "Input 1": ("a",), "Input 2": ("a", "significantly"),
        "Input 3": ("a",),
    })  # fmt: skip
    say(db, ben, made, {
        "Input 0": ("b", None, "B is shorter"), "Input 1": ("a",), "Input 2": ("b", "significantly"),
        "Input 3": ("tie",),
    })  # fmt: skip
    return made, [lead, anna, ben, carl]


def queue(db: Database, made: World) -> list[tuple[str, str]]:
    with db.read() as session:
        slots = session.exec(
            select(Slot).where(Slot.project_id == made.project.id, Slot.audience == "adjudicator")
        )
        return sorted((slot.status, slot.pair_id) for slot in slots)


def test_disputed_pairs_are_sent_decided_and_seen_with_reasons(any_db):
    made, (lead, anna, ben, carl) = disputed_world(any_db)
    here = made.project.id
    seen = adjudication.view(any_db, lead, here)
    assert (seen.disputed, seen.to_send) == (2, 2)
    assert [(s.more, s.fewer, s.opposite, s.pairs) for s in seen.splits] == [
        (1, 1, False, 1),
        (1, 1, True, 1),
        (2, 0, False, 1),
    ]
    adjudication.set_adjudication(any_db, lead, here, members=[carl.user_id, anna.user_id])
    assert adjudication.send(any_db, lead, here) == adjudication.Sent(2, 0)
    assert adjudication.send(any_db, lead, here) == adjudication.Sent(0, 0)
    assert [status for status, _ in queue(any_db, made)] == ["open", "open"]
    # Neither who is no adjudicator nor one who has voted on the pair gets it.
    assert votes.claim(any_db, ben, here) is None and votes.claim(any_db, anna, here) is None
    seen = adjudication.view(any_db, lead, here)
    assert (seen.to_send, seen.queue.waiting, seen.beyond_reach) == (0, 2, 0)

    claims = votes.claim_some(any_db, carl, here, 2)
    assert {claim.input for claim in claims} == {"Input 0", "Input 2"}
    [claim] = [claim for claim in claims if claim.input == "Input 0"]
    with any_db.read() as session:
        pair = session.get(Pair, claim.pair_id)
        left = "a" if session.get(Response, pair.response_a).text == claim.left else "b"
    side = {"a": "left" if left == "a" else "right", "b": "right" if left == "a" else "left"}
    assert {(r.choice, r.strength, r.reason) for r in claim.reasons} == {
        (side["a"], "slightly", "A cites <b>its</b> source"), (side["b"], None, "B is shorter"),
    }  # fmt: skip
    vote = votes.cast(any_db, carl, claim.pair_id, claim.lease, side["b"], reason="B is right")
    assert vote.source == "adjudication"
    # Taken back and cast again, it is still the adjudicator's.
    votes.undo(any_db, carl, vote.id)
    again = votes.claim(any_db, carl, here)
    assert again.pair_id == claim.pair_id and len(again.reasons) == 2
    assert votes.cast(any_db, carl, again.pair_id, again.lease, side["b"]).source == "adjudication"
    assert adjudication.send(any_db, lead, here) == adjudication.Sent(0, 0)
    found = adjudication.view(any_db, lead, here)
    assert (found.outcomes.pairs, found.outcomes.compared, found.outcomes.even) == (1, 0, 1)


def test_the_vote_that_completes_a_disputed_pair_sends_it(any_db):
    lead, anna, ben = people(any_db, "lead", "anna", "ben")
    made = make_world(any_db, pairs=2, votes=2)
    adjudication.set_adjudication(any_db, lead, made.project.id, automatic=True)
    say(any_db, anna, made, {"Input 0": ("a",), "Input 1": ("a",)})
    assert queue(any_db, made) == []
    say(any_db, ben, made, {"Input 0": ("b",), "Input 1": ("a",)})
    assert [status for status, _ in queue(any_db, made)] == ["open"]
    # A vote that is changed makes a dispute, too.
    with any_db.read() as session:
        [agreed] = [
            v.id for v in session.exec(select(Vote).where(Vote.project_id == made.project.id))
            if v.annotator_id == votes.annotator_id_of(made.project.id, ben)
            and v.pair_id != queue(any_db, made)[0][1]
        ]  # fmt: skip
        left_won = session.get(Vote, agreed).winner == session.get(Vote, agreed).left
    votes.edit(any_db, ben, agreed, "right" if left_won else "left")
    assert [status for status, _ in queue(any_db, made)] == ["open", "open"]


def test_a_tighter_measure_takes_back_what_nobody_has(any_db):
    made, (lead, _, _, carl) = disputed_world(any_db)
    here = made.project.id
    adjudication.set_adjudication(any_db, lead, here, members=[carl.user_id])
    assert adjudication.send(any_db, lead, here).opened == 2
    adjudication.set_adjudication(any_db, lead, here, at_least=3)
    assert adjudication.send(any_db, lead, here) == adjudication.Sent(
        0, 1
    )  # the other is opposed significantly
    adjudication.set_adjudication(any_db, lead, here, at_least=2)
    assert adjudication.send(any_db, lead, here) == adjudication.Sent(1, 0)
    assert len(queue(any_db, made)) == 2
    with pytest.raises(Forbidden):
        adjudication.send(any_db, carl, here)
    for values in ({"minority": 0.6}, {"at_least": 1}):
        with pytest.raises(Invalid):
            adjudication.set_adjudication(any_db, lead, here, **values)


def test_what_the_defaults_take():
    takes = [
        (more, fewer)
        for more in range(1, 6)
        for fewer in range(more + 1)
        if Adjudication().takes(Split(more, fewer, False, 1, 0, 0, 0, 0))
    ]
    assert takes == [(1, 1), (2, 2), (3, 2), (3, 3), (4, 3), (4, 4), (5, 4), (5, 5)]
    assert Adjudication().takes(Split(5, 1, True, 1, 0, 0, 0, 0))


def decide(db: Database, lead: Principal, senior: Principal, made: World, wanted: dict[str, tuple]) -> None:
    adjudication.set_adjudication(
        db, lead, made.project.id, members=[senior.user_id], at_least=2, minority=0.3
    )
    adjudication.send(db, lead, made.project.id)
    say(db, senior, made, wanted)


def wins(session, made: World, pair_id: str) -> str:
    return session.get(Pair, pair_id).response_a


def test_a_decision_is_what_training_and_exports_read(any_db):
    """Three pairs: 2:1 decided against the majority, 2:1 untouched, 1:2 decided as bad."""
    lead, *voters, senior = people(any_db, "lead", "x", "y", "z", "senior")
    made = make_world(any_db, pairs=3, votes=3, prompts=2)
    here = made.project.id
    for who, said in zip(voters, ("aab", "aab", "bba"), strict=True):
        say(any_db, who, made, {f"Input {i}": (choice,) for i, choice in enumerate(said)})

    def read():
        with any_db.read() as session:
            inputs = {
                pair.id: session.get(Example, pair.example_id).input
                for pair in session.exec(select(Pair).where(Pair.project_id == here))
            }
            rows = {
                inputs[pair.pair_id]: (
                    pair.people.a,
                    pair.people.b,
                    pair.people.n and round(pair.people.q, 3),
                )
                for pair in voted_pairs(session, here, with_text=False)
            }
            firsts = {inputs[id_]: session.get(Response, wins(session, made, id_)).text for id_ in inputs}
            exported = {
                row["prompt"]: (
                    "a" if row["chosen"] == firsts[row["prompt"]] else "b",
                    round(row["q"], 3),
                    row["n"],
                )
                for row in export_rows(session, here, Order("trl-margin"))
            }
            return rows, exported, account(session, here, Order("trl")).tally

    before, exported, tally = read()
    assert before == {"Input 0": (2, 1, 0.667), "Input 1": (2, 1, 0.667), "Input 2": (1, 2, 0.333)}
    assert exported == {"Input 0": ("a", 0.667, 3), "Input 1": ("a", 0.667, 3), "Input 2": ("b", 0.667, 3)}
    assert (tally.adjudicated, tally.votes) == (0, 9)
    agreement = [quality(any_db, lead, here)[key] for key in ("alpha_nominal", "votes", "left_share")]
    competence = detail(any_db, lead, here)
    board = leaderboard(any_db, lead, here)["votes"]

    decide(any_db, lead, senior, made, {"Input 0": ("b", "clearly"), "Input 2": ("both_bad",)})
    after, exported, tally = read()
    assert after == {"Input 0": (0, 1, 0.0), "Input 1": (2, 1, 0.667), "Input 2": (0, 0, 0)}
    assert exported == {"Input 0": ("b", 1.0, 1), "Input 1": ("a", 0.667, 3)}
    assert (tally.adjudicated, tally.bad, tally.votes) == (2, 1, 5)
    # Agreement and skill do not see them, the leaderboard counts them, and Quality says so.
    figures = quality(any_db, lead, here)
    assert [figures[key] for key in ("alpha_nominal", "votes", "left_share")] == agreement
    assert [judge.name for judge in detail(any_db, lead, here).judges] == [j.name for j in competence.judges]
    assert leaderboard(any_db, lead, here)["votes"] == board + 2
    assert (figures["adjudicated"], figures["adjudicated_compared"], figures["adjudicator_agreed"]) == (
        2,
        1,
        0.0,
    )
    assert figures["adjudicated_neither"] == 1 and figures["adjudicator_agreed_low"] == 0.0
    for method in ("skill", "bradley_terry"):
        set_method(any_db, lead, here, method)
        assert read()[0]["Input 0"] == (0, 1, 0.0)
    # An adjudicator whose votes are left out decides nothing.
    annotators.leave_out(any_db, lead, here, votes.annotator_id_of(here, senior))
    set_method(any_db, lead, here, "majority")
    assert read()[:2] == (
        before,
        {"Input 0": ("a", 0.667, 3), "Input 1": ("a", 0.667, 3), "Input 2": ("b", 0.667, 3)},
    )
    # What was skipped is open still.
    assert adjudication.send(any_db, lead, here) == adjudication.Sent(2, 0)


def test_on_the_page(db, open_page):
    made, (lead, _, _, carl) = disputed_world(db)
    at = open_page(lead, "assignment.py", made.project)
    assert not at.exception and any("**2** disputed and not sent" in item.value for item in at.markdown)
    next(item for item in at.multiselect if item.label == "Adjudicators").set_value([carl.user_id])
    next(item for item in at.number_input if item.label.startswith("Decisive")).set_value(3)
    at = at.run()
    assert any("takes **1** of 3 pairs" in item.value for item in at.caption)
    at = next(item for item in at.button if item.key == "save_adjudication").click().run()
    assert not at.exception
    assert adjudication.view(db, lead, made.project.id).settings.members == [carl.user_id]
    at = next(item for item in at.button if item.label == "Send 1 pair").click().run()
    assert not at.exception and len(queue(db, made)) == 1
    say(db, carl, made, {"Input 2": ("a",)})
    at = open_page(lead, "quality.py", made.project)
    assert not at.exception and any(
        "**1** pair was decided by an adjudicator" in item.value for item in at.markdown
    )
    at = open_page(make_person(db, "engineer", "engineer"), "assignment.py", made.project)
    assert not at.exception and all(item.disabled for item in at.number_input)


def test_over_http(db, api):
    made, (lead, anna, _, carl) = disputed_world(db)
    base, client = f"/projects/{made.project.id}/adjudication", api(lead)
    assert client.put(base, json={"members": [carl.user_id]}).json()["minority"] == 0.4
    assert client.put(base, json={"minority": 0.7}).status_code == 422
    assert client.post(f"{base}/send").json() == {"opened": 2, "closed": 0}
    found = client.get(base).json()
    assert (found["disputed"], found["to_send"], found["queue"]["waiting"]) == (2, 0, 2)
    assert [(item["pairs"], item["taken"]) for item in found["splits"]] == [(1, True), (1, True), (1, False)]
    claim = api(carl).post(f"/projects/{made.project.id}/pairs/claim").json()
    assert len(claim["reasons"]) == 2 and set(claim["reasons"][0]) == {"choice", "strength", "reason"}
    lease = {"lease": claim["lease"], "choice": "tie"}
    assert api(carl).post(f"/pairs/{claim['pair_id']}/votes", json=lease).status_code == 201
    assert client.get(base).json()["outcomes"]["neither"] == 1
    assert api(anna).get(base).status_code == 403 and api(anna).post(f"{base}/send").status_code == 403


def test_beside_a_vote_and_all_at_once_the_same_is_disputed(any_db):
    """Votes drawn by lot: what SQL counts for everything is what is found beside each vote."""
    rng = random.Random(3)
    voters = people(any_db, "p", "q", "r", "s")
    made = make_world(any_db, pairs=24, votes=4, prompts=3)
    for who in voters:
        said = {
            f"Input {i}": (rng.choice("aab"), rng.choice(["significantly", "barely", None]))
            for i in range(24)
        }
        say(any_db, who, made, said)
    for measure in (
        Measure(2, 0.4, True),
        Measure(4, 0.25, False),
        Measure(5, 0.1, True),
        Measure(2, 0.5, False),
    ):
        with any_db.read() as session:
            expected = to_send(session, made.project.id, measure)
        assert 0 < len(expected) < 24

        def opened(session, measure=measure):
            number = open_disputed(session, made.project.id, measure, made.pairs)
            theirs = session.exec(
                select(Slot).where(Slot.audience == "adjudicator", Slot.status == "open")
            ).all()
            for slot in theirs:
                slot.status = "closed"
                session.add(slot)
            return number, sorted(slot.pair_id for slot in theirs)

        assert any_db.write(opened) == (len(expected), expected)


def test_a_decision_survives_export_and_import(any_db):
    made, (lead, _, _, carl) = disputed_world(any_db)
    decide(any_db, lead, carl, made, {"Input 0": ("b",), "Input 2": ("tie",)})
    with any_db.read() as session:
        rows = list(export_rows(session, made.project.id, Order("comparisons")))
        expected = account(session, made.project.id, Order("trl")).tally
    assert [row.get("adjudication", False) for row in rows].count(True) == 2
    # The examples of these tests have no fields, which is what is exported of an input.
    rows = [{**row, "input": f"About {min(row['response_a'], row['response_b'])}"} for row in rows]
    admin = make_person(any_db, "admin", "admin")
    other = create_project(any_db, admin, name="Another", votes_per_pair=2)
    report = data.import_comparisons(any_db, admin, other.id, rows)
    assert not report.skipped
    with any_db.read() as session:
        tally = account(session, other.id, Order("trl")).tally
        waiting = session.exec(select(Slot).where(Slot.project_id == other.id, Slot.status == "open")).all()
    assert (tally.adjudicated, tally.decided, tally.even, tally.bad) == (
        2,
        expected.decided,
        expected.even,
        expected.bad,
    )
    assert not waiting  # the two independent votes of each pair are there
