"""Mistakes back to annotators: exactly one vote more, of somebody new, followed to its end."""

import pytest
from sqlmodel import select

from core.annotation import annotators, votes
from core.errors import Forbidden, Invalid, NotFound
from core.reward import mistakes
from storage import again
from storage.fresh_votes import fresh_votes
from storage.ids import now
from storage.slots import adjust_slots
from storage.tables import Annotator, Gold, Pair, Slot, Vote
from tests.reward.judgement_sample import judgement, mistake
from tests.reward.test_data import Made
from tests.reward.trained import row, trained


@pytest.fixture
def wrong(db, project, admin, person):
    """Three pairs with one vote each for their first text, complete; the model prefers the
    second. `people`: who can be asked."""
    made = Made(db, project)
    pairs = made.pairs(3, "test", [("win", 0, "clearly")])

    def complete(session):
        for slot in session.exec(select(Slot)):
            slot.status = "closed"

    db.write(complete)
    rows, scores, listed = [row("train", "train")], {}, []
    for pair_id, ids in pairs:
        q = 1.0 if ids[0] < ids[1] else 0.0
        rows.append(row(pair_id, q=q))
        scores[pair_id] = -1.0 if q else 1.0
        listed.append(mistake(pair_id, 0.1, q))
    return trained(db, project, rows, scores, judgement(listed)), pairs


def slots(db, pair_id):
    with db.read() as session:
        return list(session.exec(select(Slot).where(Slot.pair_id == pair_id)))


def waiting(db, pair_id):
    return [slot for slot in slots(db, pair_id) if slot.status in ("open", "leased")]


def test_what_is_listed(db, admin, wrong):
    model, pairs = wrong
    found = mistakes.worst(db, admin, model.id)
    assert [item.pair_id for item in found] == [pair_id for pair_id, _ in pairs]
    one = found[0]
    first_is_a = pairs[0][1][0] < pairs[0][1][1]
    assert one.preferred == ("a" if first_is_a else "b") and one.text["input"] == f"Why {one.pair_id}?"
    assert [(vote.choice, vote.strength, vote.by) for vote in one.votes] == [
        (one.preferred, "clearly", "person 0")
    ]
    assert (one.sent, one.waiting, one.refused, one.verdict) == (0, False, "", "")


def test_without_any_it_is_said_why(db, admin, project):
    def said(rows, **files):
        scores = {r["pair_id"]: 1.0 for r in rows if r["split"] == "test"}
        model = trained(db, project, rows, scores, judgement([]), **files)
        assert not mistakes.worst(db, admin, model.id)
        return mistakes.why_none(db, admin, model.id)

    simulated = [row("t", "train"), row("s", q=1.0, n=1, n_simulated=1)]
    assert "None of the 1 decided test pairs was decided by people" in said(simulated)
    assert "all 1 test pairs right" in said([row("t", "train"), row("p", q=1.0), row("even", q=0.5)])


def test_one_vote_more_goes_to_somebody_new_and_is_told_afterwards(db, admin, person, project, wrong):
    model, pairs = wrong
    (pair_id, _), engineer = pairs[0], person("engineer", "Eve")
    sent = mistakes.send_back(db, engineer, model.id, [pair_id, pair_id])
    assert sent.pairs == [pair_id] and not sent.refused and len(waiting(db, pair_id)) == 1
    again_ = mistakes.send_back(db, engineer, model.id, [pair_id])
    assert not again_.pairs and "on its way already" in again_.refused[pair_id]
    assert len(waiting(db, pair_id)) == 1
    annotator = person("annotator", "Ann")
    shown = votes.claim(db, annotator, project.id)
    assert shown is not None and shown.pair_id == pair_id  # before everything else
    for_second = "right" if shown.left == "yes, of course" else "left"
    votes.cast(db, annotator, shown.pair_id, shown.lease, for_second)
    [told] = [item for item in mistakes.worst(db, admin, model.id) if item.pair_id == pair_id]
    assert not told.waiting and told.verdict == "model" and told.sent == 1
    assert [vote.by for vote in told.came_back] == ["Ann"] and not waiting(db, pair_id)
    # Asked once more: not of Ann, who has judged it.
    assert mistakes.send_back(db, engineer, model.id, [pair_id]).pairs == [pair_id]
    assert votes.claim(db, annotator, project.id) is None
    assert votes.claim(db, engineer, project.id).pair_id == pair_id


def test_the_target_is_raised_by_one_and_stays_so(db, admin, project, wrong):
    """Leaving out the vote that came of it asks for another one; other room stays as it was."""
    model, pairs = wrong
    pair_id, _ = pairs[1]
    mistakes.send_back(db, admin, model.id, [pair_id])
    [slot] = waiting(db, pair_id)

    def vote(session):
        mine = Annotator(project_id=project.id, name="late")
        session.add(mine)
        session.get(Slot, slot.id).status = "voted"
        session.add(
            Vote(project_id=project.id, pair_id=pair_id, annotator_id=mine.id, slot_id=slot.id, outcome="tie")
        )
        return mine.id

    late = db.write(vote)
    assert not waiting(db, pair_id)
    annotators.leave_out(db, admin, project.id, late, "clicks")
    assert len(waiting(db, pair_id)) == 1
    annotators.take_back(db, admin, project.id, late)
    assert not waiting(db, pair_id)
    opened, _ = db.write(lambda session: adjust_slots(session, {pair_id: 1}))
    assert opened == 1 and len(waiting(db, pair_id)) == 1


def test_what_cannot_be_sent_back_says_why(db, admin, person, project, wrong):
    model, pairs = wrong
    (gold, _), (judged, _), (adjudicated, _) = pairs

    def work(session):
        session.add(Gold(project_id=project.id, pair_id=gold, use="check", outcome="tie"))
        everybody = [Annotator(project_id=project.id, name="me", user_id=admin.user_id)]
        session.add_all(everybody)
        session.add(Vote(project_id=project.id, pair_id=judged, annotator_id=everybody[0].id, outcome="tie"))
        chief = Annotator(project_id=project.id, name="chief")
        session.add(chief)
        session.add(
            Vote(
                project_id=project.id,
                pair_id=adjudicated,
                annotator_id=chief.id,
                outcome="tie",
                source="adjudication",
                created_at=now(),
            )
        )

    db.write(work)
    done = mistakes.send_back(db, admin, model.id, [gold, judged, adjudicated, "gone"])
    assert done.pairs == []
    for pair_id, why in (
        (gold, "gold"),
        (judged, "Everybody"),
        (adjudicated, "adjudicator"),
        ("gone", "no longer"),
    ):
        assert why in done.refused[pair_id]
    assert mistakes.worst(db, admin, model.id)[0].refused == done.refused[gold]


def test_who_may_and_how_many(db, admin, person, wrong):
    model, pairs = wrong
    with pytest.raises(Forbidden):
        mistakes.send_back(db, person("annotator", "x"), model.id, [pairs[0][0]])
    with pytest.raises(Invalid, match="at least one"):
        mistakes.send_back(db, admin, model.id, [])
    with pytest.raises(Invalid, match="at most"):
        mistakes.send_back(db, admin, model.id, [str(i) for i in range(mistakes.MOST_AT_ONCE + 1)])
    with pytest.raises(NotFound):
        mistakes.send_back(db, admin, "nothing", ["x"])


def test_programs_read_and_send(db, api, person, wrong):
    model, pairs = wrong
    client = api(person("engineer"))
    assert client.get(f"/reward-models/{model.id}/judgement").json()["format"] == 1
    found = client.get(f"/reward-models/{model.id}/mistakes").json()
    assert [item["pair_id"] for item in found] == [pair_id for pair_id, _ in pairs]
    body = {"pairs": [found[0]["pair_id"], "gone"]}
    done = client.post(f"/reward-models/{model.id}/mistakes/send-back", json=body).json()
    assert done["pairs"] == [found[0]["pair_id"]] and "gone" in done["refused"]
    assert client.get(f"/reward-models/{model.id}/mistakes").json()[0]["waiting"] is True
    assert client.get("/reward-models/nothing/judgement").status_code == 404


def test_a_strategy_leaves_them_in_front(db, admin, project, wrong):
    from storage.selection import put_in_front, watched

    model, pairs = wrong
    mistakes.send_back(db, admin, model.id, [pairs[0][0]])
    db.write(lambda session: put_in_front(session, project.id, []))
    [slot] = waiting(db, pairs[0][0])
    assert slot.front == again.FRONT
    with db.read() as session:
        assert watched(session) == [] and len(list(session.exec(select(Pair)))) == 3


def test_the_queries_on_both_databases(any_db, person_on):
    who, project = person_on(any_db, "engineer")
    made = Made(any_db, project)
    start = now()
    pairs = made.pairs(3, "test", [("win", 0, "clearly")])
    ids = [pair_id for pair_id, _ in pairs]
    assert any_db.write(lambda session: again.ask_again(session, project.id, ids)) == ids
    assert any_db.write(lambda session: again.ask_again(session, project.id, ids)) == []

    def fill(session):
        mine = Annotator(project_id=project.id, name="late", user_id=who.user_id)
        session.add(mine)
        session.flush()
        slot = session.get(Slot, again.again_id(ids[0], 0))
        slot.status = "voted"
        session.add(
            Vote(project_id=project.id, pair_id=ids[0], annotator_id=mine.id, slot_id=slot.id, outcome="tie")
        )

    any_db.write(fill)
    with any_db.read() as session:
        asked = again.asked_again(session, ids)
        assert [item.waiting for pair_id in ids for item in asked[pair_id]] == [False, True, True]
        assert asked[ids[0]][0].vote.outcome == "tie"
        assert "Everybody" in again.refused(session, project.id, ids)[ids[0]]
        fresh = fresh_votes(session, project.id, start, simulated=False)
    assert {vote.pair_id for vote in fresh} == set(ids)
    first_is_a = {pair_id: first < second for pair_id, (first, second) in pairs}
    assert all(vote.for_a == first_is_a[vote.pair_id] for vote in fresh)
    assert {vote.prompt_a for vote in fresh} <= {"one v1", "two v1"} and fresh[0].input.startswith("Is it so")
