"""The desk's routes as the annotate page calls them, the edit of a vote, demonstrations, and
what a project sets."""

import json
import random
import threading

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from api.desk import create_desk
from core.annotation import demonstrations, desk, marks, mine, sitting, votes
from core.errors import Forbidden, Invalid, NotFound
from storage.my_votes import Filter, agreement
from storage.tables import Annotator, Demonstration, Pair, Slot, Vote, VoteHistory
from tests.annotation.conftest import make_person, make_world
from tests.annotation.test_votes import everything, expire

HERE = {"x-prefloop-desk": "1", "sec-fetch-site": "same-origin"}


@pytest.fixture
def page(db):
    """A browser's page, as the gate lets it through: `page(who)("work", deeds=[…])`."""

    def open_(who, project_id, **headers):
        client = TestClient(create_desk(), headers={**HERE, "x-prefloop-sign-in": who.sign_in_id, **headers})
        return lambda path, content=None, **body: client.post(
            f"/{project_id}/{path}",
            content=json.dumps(body) if content is None else content,
            headers={"content-type": "application/json"},
        )

    return open_


def vote_deed(pair, choice="left", **values):
    return {
        "kind": "vote", "key": pair["lease"], "pair_id": pair["pair_id"],
        "values": {"choice": choice, "duration_ms": 900, **values},
    }  # fmt: skip


def test_a_sitting_from_the_opening_to_the_last_pair(db, page):
    made, who = make_world(db, pairs=4, votes=1, guidelines="*Short*."), make_person(db)
    post = page(who, made.project.id)
    answer = post("work", opening=True, day_start="2020-01-01T00:00:00Z").json()
    assert len(answer["pairs"]) == 2 and "<em>Short</em>" in answer["opening"]["guidelines"]
    assert answer["opening"]["criteria"][0] == {"name": "helpful", "scale": "side"}
    assert (answer["progress"]["done"], answer["progress"]["left"], answer["progress"]["today"]) == (0, 4, 0)
    assert "prompt" not in str(answer["pairs"])
    queue, seen, ids = answer["pairs"], [], []
    while queue:
        first = queue[0]
        seen.append(first["pair_id"])
        answer = post("work", deeds=[vote_deed(first)], known=[item["lease"] for item in queue]).json()
        ids.append(answer["done"][0]["vote_id"])
        assert answer["done"][0]["problem"] is None
        known = {item["lease"]: item for item in queue}
        # What the page has is not sent again, and stands first.
        assert not queue[1:] or answer["pairs"][0] == {"lease": queue[1]["lease"]}
        queue = [known.get(item["lease"], item) for item in answer["pairs"]]
    assert sorted(seen) == sorted(made.pairs) and answer["progress"]["left"] == 0
    again = post("work", opening=True, day_start="2020-01-01T00:00:00Z").json()
    assert again["opening"]["undoable"] == ids[::-1] and again["progress"]["today"] == 4


def test_what_is_sent_twice_is_done_once(db, page):
    made, who = make_world(db, pairs=3, votes=1), make_person(db)
    post = page(who, made.project.id)
    first, second = post("work").json()["pairs"]
    deeds = [vote_deed(first, "tie"), {"kind": "skip", "key": second["lease"], "pair_id": second["pair_id"],
                                       "values": {"reason": "not my field"}}]  # fmt: skip
    answers = [post("work", deeds=deeds).json() for _ in range(3)]
    assert all(item["problem"] is None for answer in answers for item in answer["done"])
    assert len({answer["done"][0]["vote_id"] for answer in answers}) == 1
    assert len(everything(db, Vote)) == 1 and answers[0]["pairs"] == answers[2]["pairs"]
    undo = {"kind": "undo", "key": answers[0]["done"][0]["vote_id"]}
    back, again = (post("work", deeds=[undo]).json() for _ in range(2))
    assert back["done"][0]["said"]["choice"] == "tie" and again["done"][0]["problem"] is None
    assert everything(db, Vote) == []
    assert sorted(item.what for item in everything(db, VoteHistory)) == ["skipped", "undone"]


def test_undo_goes_back_to_the_first_vote_and_each_pair_stands_first(db, page):
    made, who = make_world(db, pairs=6, votes=1), make_person(db)
    post = page(who, made.project.id)
    order, ids = [], []
    for choice in ("left", "right", "tie"):
        first = post("work").json()["pairs"][0]
        order.append(first["pair_id"])
        ids.append(post("work", deeds=[vote_deed(first, choice, reason=choice)]).json()["done"][0]["vote_id"])
    for pair_id, vote_id, choice in list(zip(order, ids, ("left", "right", "tie"), strict=True))[::-1]:
        answer = post("work", deeds=[{"kind": "undo", "key": vote_id}]).json()
        assert answer["pairs"][0]["pair_id"] == pair_id == answer["done"][0]["pair_id"]
        said = answer["done"][0]["said"]
        assert (said["choice"], said["reason"]) == (choice, choice)
    assert [item["pair_id"] for item in post("work").json()["pairs"]][:3] == order
    # Nothing more is claimed while that many are on the desk.
    assert [slot.status for slot in everything(db, Slot)].count("leased") == 5


def test_undo_takes_skips_and_votes_back_in_the_order_they_were_given(db, page):
    made, who = make_world(db, pairs=5, votes=1), make_person(db)
    post = page(who, made.project.id)
    done = []
    for kind in ("vote", "skip", "vote", "skip"):
        first = post("work").json()["pairs"][0]
        deed = {
            "kind": "skip",
            "key": first["lease"],
            "pair_id": first["pair_id"],
            "values": {"reason": "no"},
        }
        answer = post("work", deeds=[vote_deed(first) if kind == "vote" else deed]).json()["done"][0]
        done.insert(0, (answer["vote_id"] or f"skip:{first['pair_id']}", first["pair_id"]))
    opening = post("work", opening=True).json()
    assert opening["opening"]["undoable"] == [key for key, _ in done]
    assert (opening["progress"]["done"], opening["progress"]["skipped"]) == (2, 2)
    for key, pair_id in done:
        for _ in range(2):  # the answer to the first was lost
            answer = post("work", deeds=[{"kind": "undo", "key": key}]).json()
            assert answer["done"][0]["problem"] is None and answer["pairs"][0]["pair_id"] == pair_id
    last = post("work", opening=True).json()
    assert last["opening"]["undoable"] == []
    assert (last["progress"]["done"], last["progress"]["skipped"]) == (0, 0)


@pytest.mark.parametrize("field", ["reason", "better"])
def test_text_that_no_database_holds_stops_nothing(db, page, field):
    """Half an emoji, torn by a program it was copied from, arrives as an escape in the JSON."""
    made, who = make_world(db, pairs=3, votes=1), make_person(db)
    post = page(who, made.project.id)
    first, second = post("work").json()["pairs"]
    for deed in (vote_deed(first, **{field: "torn TORN and\x00"}), vote_deed(second, reason="plain")):
        body = json.dumps({"deeds": [deed]}).replace("TORN", "\\ud83d")
        answer = post("work", content=body).json()
        assert answer["done"][0]["problem"] is None and answer["done"][0]["vote_id"]
    kept = everything(db, Vote) if field == "reason" else everything(db, Demonstration)
    assert "torn ? and\ufffd" in {getattr(item, "reason", None) or item.text for item in kept}


def test_one_deed_that_cannot_be_done_does_not_stop_the_others(db, page):
    made, who, other = make_world(db, pairs=4, votes=1), make_person(db), make_person(db, "other")
    post = page(who, made.project.id)
    first, second = post("work").json()["pairs"]
    expire(db, first["lease"])
    taken = votes.claim(db, other, made.project.id)
    assert taken.pair_id == first["pair_id"]
    answer = post("work", deeds=[vote_deed(first), vote_deed(second, "nonsense"), vote_deed(second)]).json()
    lost, wrong, good = answer["done"]
    assert "went to somebody else" in lost["problem"] and "nonsense" in wrong["problem"]
    assert good["problem"] is None and [vote.pair_id for vote in everything(db, Vote)] == [second["pair_id"]]


def test_heartbeat_and_leave(db, page):
    made, who, other = make_world(db, pairs=2, votes=1), make_person(db), make_person(db, "other")
    post = page(who, made.project.id)
    leases = [item["lease"] for item in post("work").json()["pairs"]]
    assert post("heartbeat", leases=[*leases, "made up"]).json()["held"] == leases
    assert page(other, made.project.id)("heartbeat", leases=leases).json()["held"] == []
    assert votes.claim(db, other, made.project.id) is None
    before = max(slot.expires_at for slot in everything(db, Slot))
    assert post("leave", leases=leases).status_code == 204
    after = [slot.expires_at for slot in everything(db, Slot)]
    assert all((before - item).total_seconds() > 500 for item in after)
    # A reload finds them again, alive.
    assert [item["lease"] for item in post("work").json()["pairs"]] == leases
    post("leave", leases=leases)
    expire(db)
    assert votes.claim(db, other, made.project.id) is not None
    assert len(post("heartbeat", leases=leases).json()["held"]) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"x-prefloop-desk": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
    ],
)
def test_another_site_cannot_vote_for_somebody(db, page, headers):
    made, who = make_world(db, pairs=1), make_person(db)
    assert page(who, made.project.id, **headers)("work").status_code == 403
    assert page(who, made.project.id, **{"x-prefloop-sign-in": "made up"})("work").status_code == 401
    assert {slot.status for slot in everything(db, Slot)} == {"open"}


def test_claiming_ahead_is_bounded_and_belongs_to_one_person(any_db):
    made, one, two = make_world(any_db, pairs=3, votes=1), make_person(any_db), make_person(any_db, "two")
    mine_ = votes.claim_some(any_db, one, made.project.id, 2)
    theirs = votes.claim_some(any_db, two, made.project.id, 2)
    assert len(mine_) == 2 and len(theirs) == 1
    assert len({claim.pair_id for claim in [*mine_, *theirs]}) == 3
    assert votes.claim(any_db, one, made.project.id).lease == mine_[0].lease  # the older one
    assert [c.lease for c in votes.claim_some(any_db, one, made.project.id, 2)] == [c.lease for c in mine_]
    with pytest.raises(Invalid):
        votes.claim_some(any_db, one, made.project.id, 9)


# --- edit ----------------------------------------------------------------------------------


def test_an_edit_is_a_new_version_and_the_old_one_is_kept(any_db):
    made, who, other = make_world(any_db, pairs=6), make_person(any_db), make_person(any_db, "other")
    for _ in range(6):  # both ways round
        claim = votes.claim(any_db, who, made.project.id)
        vote = votes.cast(any_db, who, claim.pair_id, claim.lease, "left", reason="first")
        changed = votes.edit(any_db, who, vote.id, "right", strength="barely",
                             criteria={"helpful": "left"}, reason="second look")  # fmt: skip
        assert (changed.id, changed.left, changed.lease) == (vote.id, vote.left, vote.lease)
        assert marks.choice_of(changed) == "right" and changed.winner not in (None, vote.winner)
        assert changed.criteria == {"helpful": vote.left} and changed.created_at == vote.created_at
        again = votes.edit(any_db, who, vote.id, "right", strength="barely",
                           criteria={"helpful": "left"}, reason="second look")  # fmt: skip
        assert again.model_dump() == changed.model_dump()
    history = everything(any_db, VoteHistory)
    assert len(history) == 6 and {(item.what, item.vote["reason"]) for item in history} == {
        ("replaced", "first")
    }
    assert votes.edit(any_db, who, vote.id, "both_bad").winner is None
    with pytest.raises(Forbidden):
        votes.edit(any_db, other, vote.id, "tie")
    with pytest.raises(NotFound):
        votes.edit(any_db, who, "nowhere", "tie")
    with pytest.raises(Invalid):
        votes.edit(any_db, who, vote.id, "A")


# --- criteria ------------------------------------------------------------------------------


def test_a_criterion_is_rated_as_the_project_says(db):
    made, who, lead = make_world(db, pairs=3), make_person(db), make_person(db, "lead", "lead")
    desk.set_desk(db, lead, made.project.id, scales={"helpful": "1-5"}, daily_goal=30)
    claim = votes.claim(db, who, made.project.id)
    for wrong in ("left", {"left": 6}, {"left": 0}, {"left": True}, {"left": 2.0}, {"up": 2}, {}, 3):
        with pytest.raises(Invalid, match="helpful"):
            votes.cast(db, who, claim.pair_id, claim.lease, "left", criteria={"helpful": wrong})
    with pytest.raises(Invalid, match="accurate"):
        votes.cast(db, who, claim.pair_id, claim.lease, "left", criteria={"accurate": {"left": 3}})
    said = {"helpful": {"left": 4, "right": 2}, "accurate": "right"}
    vote = votes.cast(db, who, claim.pair_id, claim.lease, "left", criteria=said)
    right = ({claim.left, claim.right} and vote.criteria["helpful"].keys() - {vote.left}).pop()
    assert vote.criteria == {"helpful": {vote.left: 4, right: 2}, "accurate": right}
    assert marks.marks_of(vote) == said
    with pytest.raises(Forbidden):
        desk.set_desk(db, who, made.project.id, daily_goal=1)
    with pytest.raises(Invalid, match="daily_goal"):
        desk.set_desk(db, lead, made.project.id, daily_goal=-1)
    with pytest.raises(Invalid, match="style"):
        desk.set_desk(db, lead, made.project.id, scales={"style": "1-5"})
    assert desk.desk_of(db, who, made.project.id).daily_goal == 30


# --- my work -------------------------------------------------------------------------------


def test_my_history_and_its_filters(any_db):
    made, who, other = make_world(any_db, pairs=8, votes=2), make_person(any_db), make_person(any_db, "other")
    cast = []
    for i, choice in enumerate(("left", "right", "tie", "both_bad") * 2):
        claim = votes.claim(any_db, who, made.project.id)
        strength = "slightly" if i == 0 else None
        vote = votes.cast(
            any_db, who, claim.pair_id, claim.lease, choice, reason=f"50% {i}", strength=strength
        )
        cast.append((vote, claim))
    claim = votes.claim(any_db, other, made.project.id)
    votes.cast(any_db, other, claim.pair_id, claim.lease, "left")
    found = mine.my_votes_of(any_db, who, made.project.id, limit=3)
    assert found.total == 8 and [row.vote.id for row in found.rows] == [v.id for v, _ in cast[:-4:-1]]
    everything_ = mine.my_votes_of(any_db, who, made.project.id, limit=200).rows[::-1]
    for row, (_, claim) in zip(everything_, cast, strict=True):  # as they were shown
        assert (row.left, row.right, row.input) == (claim.left, claim.right, claim.input)
    for choice in marks.CHOICES:
        rows = mine.my_votes_of(any_db, who, made.project.id, Filter(choice=choice)).rows
        assert len(rows) == 2 and {marks.choice_of(row.vote) for row in rows} == {choice}
    assert mine.my_votes_of(any_db, who, made.project.id, Filter(strength="slightly")).total == 1
    assert mine.my_votes_of(any_db, who, made.project.id, Filter(contains="50% 3")).total == 1
    assert mine.my_votes_of(any_db, who, made.project.id, Filter(contains="%")).total == 8
    assert mine.my_votes_of(any_db, who, made.project.id, Filter(contains="_")).total == 0
    votes.edit(any_db, who, cast[-1][0].id, "left")
    assert mine.my_votes_of(any_db, who, made.project.id).rows[0].versions == 1


def test_my_work_counts_the_day_and_agreement_where_it_is_shown(any_db):
    made = make_world(any_db, pairs=4, votes=3)
    people = [make_person(any_db, f"p{i}") for i in range(3)]
    lead = make_person(any_db, "lead", "lead")
    # Everybody says a tie on every pair, but the third says both bad on all of them.
    for person, choice in zip(people, ("tie", "tie", "both_bad"), strict=True):
        while (claim := votes.claim(any_db, person, made.project.id)) is not None:
            votes.cast(any_db, person, claim.pair_id, claim.lease, choice, duration_ms=2_000)
    hidden = mine.my_work(any_db, people[0], made.project.id)
    assert (hidden.votes, hidden.today, hidden.agreement, hidden.median_ms) == (4, 4, None, 2_000)
    desk.set_desk(any_db, lead, made.project.id, show_agreement=True, daily_goal=5)
    shown = mine.my_work(any_db, people[0], made.project.id)
    assert shown.goal == 5 and (shown.agreement.value, shown.agreement.n) == (0.5, 4)
    assert shown.agreement.low < 0.5 < shown.agreement.high
    assert mine.my_work(any_db, people[2], made.project.id).agreement.value == 0.0


def test_agreement_of_many_votes_is_kept_and_follows_ones_own(db, monkeypatch):
    made = make_world(db, pairs=5, votes=2)
    one, other, lead = make_person(db, "one"), make_person(db, "other"), make_person(db, "lead", "lead")
    desk.set_desk(db, lead, made.project.id, show_agreement=True)

    def vote(who, times):
        for _ in range(times):
            claim = votes.claim(db, who, made.project.id)
            votes.cast(db, who, claim.pair_id, claim.lease, "tie")

    counted = []
    count = mine.my_votes.agreement
    monkeypatch.setattr(mine.my_votes, "agreement", lambda *args: counted.append(1) or count(*args))
    monkeypatch.setattr(mine, "MANY", 3)
    monkeypatch.setattr(mine.time, "time", lambda: 6_000.0)
    vote(other, 5)
    vote(one, 2)
    assert mine.my_work(db, one, made.project.id).agreement.n == 2
    vote(one, 1)
    assert [mine.my_work(db, one, made.project.id).agreement.n for _ in range(3)] == [3, 3, 3]
    assert len(counted) == 2, "once while they were few, once for all three"
    vote(one, 1)
    mine.my_work(db, one, made.project.id)  # as it was, and counted anew beside
    for thread in threading.enumerate():
        if thread.name == "kept":
            thread.join(10)
    assert mine.my_work(db, one, made.project.id).agreement.n == 4 and len(counted) == 3
    monkeypatch.setattr(mine.time, "time", lambda: 6_600.0)
    mine.my_work(db, one, made.project.id)
    assert len(counted) == 4, "never older than that"


def test_agreement_is_what_going_through_the_votes_one_by_one_gives(any_db):
    """Votes of people, simulations, a machine judge and an adjudicator, by lot."""
    rng = random.Random(1)
    made = make_world(any_db, pairs=25, votes=1)
    judges = [
        Annotator(project_id=made.project.id, name=f"j{i}", simulated=i == 4, machine=i == 5)
        for i in range(7)
    ]

    def work(session):
        session.add_all(judges)
        for pair_id in made.pairs:
            pair = session.get(Pair, pair_id)
            for judge in rng.sample(judges, rng.randrange(7)):
                winner = rng.choice([pair.response_a, pair.response_b, None])
                session.add(
                    Vote(
                        project_id=made.project.id,
                        pair_id=pair_id,
                        annotator_id=judge.id,
                        outcome="win" if winner else rng.choice(["tie", "both_bad"]),
                        winner=winner,
                        simulated=judge.simulated,
                        source="adjudication" if judge is judges[6] and rng.random() < 0.5 else "page",
                    )
                )

    any_db.write(work)
    with any_db.read() as session:
        cast = list(session.exec(select(Vote)))
        found = {judge.id: agreement(session, made.project.id, judge.id) for judge in judges}
    left_out = {judge.id for judge in judges if judge.machine or judge.simulated}
    for judge in judges:
        shares = []
        for vote in cast:
            others = [
                (other.outcome, other.winner)
                for other in cast
                if other.pair_id == vote.pair_id
                and other.annotator_id not in left_out | {judge.id}
                and other.source == "page"
            ]
            if vote.annotator_id == judge.id and vote.source == "page" and others:
                shares.append(others.count((vote.outcome, vote.winner)) / len(others))
        assert found[judge.id].compared == len(shares) > 5
        assert found[judge.id].agreed == pytest.approx(sum(shares))


# --- demonstrations ------------------------------------------------------------------------


def test_a_better_response_is_kept_with_its_author_once(db, page):
    made, who, other = make_world(db, pairs=3), make_person(db), make_person(db, "other")
    lead = make_person(db, "lead", "lead")
    post = page(who, made.project.id)
    first = post("work").json()["pairs"][0]
    for _ in range(2):
        answer = post("work", deeds=[vote_deed(first, "both_bad", better=" Knead it twice. ")]).json()
        assert answer["done"][0]["problem"] is None
    [found] = demonstrations.of_project(db, lead, made.project.id)
    assert (found.text, found.author, found.author_id) == ("Knead it twice.", who.name, who.user_id)
    assert found.pair_id == first["pair_id"] and found.updated_at is None
    changed = demonstrations.change(db, who, found.id, "Knead it three times.")
    assert changed.id == found.id and changed.updated_at is not None
    with pytest.raises(Forbidden):
        demonstrations.change(db, other, found.id, "x")
    with pytest.raises(Forbidden, match="not given"):
        demonstrations.write(db, other, first["pair_id"], "x")
    with pytest.raises(Forbidden):
        demonstrations.of_project(db, who, made.project.id)
    with pytest.raises(Invalid):
        demonstrations.write(db, who, first["pair_id"], "  ")
    demonstrations.delete(db, who, found.id)
    demonstrations.delete(db, who, found.id)
    assert demonstrations.mine(db, who, made.project.id) == []
    with db.read() as session:
        assert len(session.exec(select(Demonstration)).all()) == 1
    assert demonstrations.write(db, who, first["pair_id"], "Again.").deleted_at is None


def test_the_pages_for_the_desk_are_rendered_safely(db):
    claim = votes.Claim(
        "p", "x", "l", None, "<b>in</b>", [{"role": "user", "content": "<script>"}], {}, "*a*", ""
    )
    shown = sitting._as_html(claim)
    assert "<script>" not in str(shown) and "<em>a</em>" in shown["left"]["html"]
    assert shown["right"]["empty"] and [turn["role"] for turn in shown["turns"]] == ["user", "user"]
