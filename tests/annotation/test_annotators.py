"""Pausing an annotator, and leaving their votes out: everything that reads votes agrees."""

import json

import pytest
from sqlalchemy import text
from sqlmodel import select

from core.access import Principal
from core.annotation import annotators, votes
from core.annotation.detail import detail
from core.annotation.leaderboard import judges, leaderboard
from core.annotation.quality import quality
from core.errors import Forbidden, NotFound
from core.overview import loop_state
from core.planning.evidence import gather
from core.reward.data import summary, voted_pairs
from storage import decisions, history
from storage.database import Database
from storage.evidence import votes_state
from storage.exporting import Order, account, export_rows
from storage.ids import id_of
from storage.judgements import Which
from storage.quality import criterion_kinds
from storage.tables import Annotator, AuditEntry, Pair, Vote
from tests.annotation.conftest import World, make_person, make_world
from tests.annotation.test_aggregation import fill
from tests.annotation.test_figures import vote_on_everything


def annotator_id(made: World, who: Principal) -> str:
    return id_of("annotator", made.project.id, "user", who.user_id)


def everything(db: Database, lead: Principal, made: World) -> str:
    """All that is computed from votes, as text."""
    project_id = made.project.id
    with db.read() as session:
        pairs = [
            (p.pair_id, p.people, p.simulated) for p in voted_pairs(session, project_id, with_text=False)
        ]
        view = session.execute(text("SELECT pair_id, n, q FROM preference ORDER BY pair_id")).all()
        orders = [Order(format) for format in ("trl", "kto", "comparisons")]
        exports = [list(export_rows(session, project_id, order)) for order in orders]
        counts = [account(session, project_id, order).rows for order in orders]
    figures = quality(db, lead, project_id)
    for judge in figures["per_annotator"]:
        judge.pop("name")
    evidence = gather(db, lead, project_id)
    parts = [
        figures, leaderboard(db, lead, project_id), judges(db, lead, project_id), pairs, view, exports, counts,
        str(summary(db, lead, project_id)), loop_state(db, lead, project_id).decided, str(evidence.pace),
        str(evidence.agreement),
    ]  # fmt: skip
    return json.dumps(parts, default=str)


def test_what_was_left_out_counts_nowhere_and_comes_back(any_db):
    lead = make_person(any_db, "lead", "lead")
    good, bad = make_person(any_db, "good"), make_person(any_db, "bad")
    made = make_world(any_db, pairs=6, votes=2, prompts=3)
    vote_on_everything(any_db, made, good, "left")
    without = everything(any_db, lead, made)
    vote_on_everything(any_db, made, bad, "right")
    with_both = everything(any_db, lead, made)
    assert with_both != without
    with any_db.read() as session:
        kept = [
            f(session, made.project.id) for f in (history.fingerprint, votes_state, decisions.fingerprint)
        ]

    state = annotators.leave_out(any_db, lead, made.project.id, annotator_id(made, bad), "clicks only right")
    assert (state.votes, state.excluded_by, state.excluded_reason) == (6, "lead", "clicks only right")
    # Slots were voted on, and others were opened instead; skips and pairs are as they were.
    assert (state.slots_opened, state.slots_closed) == (6, 0)
    assert quality(any_db, lead, made.project.id)["votes"] == 6
    after = json.loads(everything(any_db, lead, made))
    expected = json.loads(without)
    assert [item["name"] for item in after[0].pop("left_out")] == ["bad"]
    expected[0].pop("left_out")
    assert (after[0].pop("slots_voted"), expected[0].pop("slots_voted")) == (12, 6)
    assert (after[0].pop("slots"), expected[0].pop("slots")) == (18, 12)
    assert after == expected
    with any_db.read() as session:
        now = [f(session, made.project.id) for f in (history.fingerprint, votes_state, decisions.fingerprint)]
    assert all(old != new for old, new in zip(kept, now, strict=True))

    annotators.take_back(any_db, lead, made.project.id, annotator_id(made, bad))
    assert everything(any_db, lead, made) == with_both
    with any_db.read() as session:
        log = [
            entry.action
            for entry in session.exec(select(AuditEntry).order_by(AuditEntry.id))
            if entry.action.startswith("annotator.")
        ]
    assert log == ["annotator.exclude", "annotator.include"]


def test_a_paused_annotator_gets_no_pairs_and_is_told_why(any_db):
    lead, who = make_person(any_db, "lead", "lead"), make_person(any_db)
    made = make_world(any_db, pairs=3, votes=1)
    claim = votes.claim(any_db, who, made.project.id)
    key = annotator_id(made, who)
    annotators.pause(any_db, lead, made.project.id, key, "Let us talk on Monday")
    with pytest.raises(Forbidden, match="Let us talk on Monday"):
        votes.claim(any_db, who, made.project.id)
    # What they had open still counts: no work is lost.
    votes.cast(any_db, who, claim.pair_id, claim.lease, "left")
    assert annotators.states(any_db, lead, made.project.id)[0].votes == 1
    annotators.resume(any_db, lead, made.project.id, key)
    assert votes.claim(any_db, who, made.project.id) is not None


def test_only_leads_and_only_annotators_of_the_project(db):
    made, other = make_world(db, pairs=2), make_world(db, pairs=2, name="Other")
    who, lead = make_person(db), make_person(db, "lead", "lead")
    votes.claim(db, who, made.project.id)
    for person in (who, make_person(db, "engineer", "engineer")):
        with pytest.raises(Forbidden):
            annotators.leave_out(db, person, made.project.id, annotator_id(made, who))
    with pytest.raises(NotFound):
        annotators.pause(db, lead, other.project.id, annotator_id(made, who))


def test_over_http(db, api):
    made, who, lead = make_world(db, pairs=2), make_person(db), make_person(db, "lead", "lead")
    pair = api(who).post(f"/projects/{made.project.id}/pairs/claim").json()
    api(who).post(f"/pairs/{pair['pair_id']}/votes", json={"lease": pair["lease"], "choice": "left"})
    base = f"/projects/{made.project.id}/annotators"
    one = api(lead).get(base).json()[0]
    assert (one["votes"], one["paused_at"]) == (1, None)
    assert api(lead).post(f"{base}/{one['id']}/pause", json={"reason": "Too fast"}).json()["paused_at"]
    told = api(who).post(f"/projects/{made.project.id}/pairs/claim")
    assert (
        told.status_code == 403 and "paused" in told.json()["detail"] and "Too fast" in told.json()["detail"]
    )
    assert api(lead).post(f"{base}/{one['id']}/resume").json()["paused_at"] is None
    assert api(who).post(f"/projects/{made.project.id}/pairs/claim").status_code == 200
    assert api(lead).post(f"{base}/{one['id']}/exclude", json={}).json()["excluded_by"] == "lead"
    assert api(lead).get(f"/projects/{made.project.id}/quality").json()["votes"] == 0
    assert api(lead).post(f"{base}/{one['id']}/include").json()["excluded_at"] is None
    assert api(lead).get(f"/projects/{made.project.id}/quality").json()["votes"] == 1
    assert api(who).post(f"{base}/{one['id']}/pause", json={}).status_code == 403
    assert api(lead).post(f"{base}/x/pause", json={}).status_code == 404


def test_detail_and_aggregation_over_http(db, api):
    made, lead = make_world(db, pairs=40, votes=1, prompts=3), make_person(db, "lead", "lead")
    fill(db, made)
    base = f"/projects/{made.project.id}"
    found = api(lead).get(f"{base}/quality/detail").json()
    assert len(found["judges"]) == 4 and found["tested"] == 4 and found["votes"] == 160
    judges = {judge["name"]: judge for judge in found["judges"]}
    assert judges["annotator 0"]["competence"] > 0.3 + judges["annotator 3"]["competence"]
    assert {group["of"] for group in found["groups"]} == {"all", "prompts", "source", "week"}
    assert found["groups"][0]["alpha"]["n"] == 40 and found["cohen"]["couples"] == 6
    assert api(lead).put(f"{base}/aggregation", json={"method": "skill"}).json() == {"method": "skill"}
    answer = api(lead).get(f"{base}/aggregation").json()
    assert answer["method"] == "skill" and answer["effects"][0]["method"] == "majority"
    assert api(lead).put(f"{base}/aggregation", json={"method": "x"}).status_code == 422
    assert api(make_person(db)).get(f"{base}/quality/detail").status_code == 403
    # What was kept is computed anew when somebody is left out.
    one = judges["annotator 3"]["id"]
    api(lead).post(f"{base}/annotators/{one}/exclude", json={"reason": "clicks"})
    assert len(api(lead).get(f"{base}/quality/detail").json()["judges"]) == 3


def test_marks_on_criteria_have_their_own_agreement(any_db):
    """Marks as a response, as "same" and as points from 1 to 5 add up to the same."""
    made, lead = make_world(any_db, pairs=12, votes=1), make_person(any_db, "lead", "lead")
    fill(any_db, made)

    def mark(session):
        for number, vote in enumerate(session.exec(select(Vote).order_by(Vote.pair_id, Vote.annotator_id))):
            pair = session.get(Pair, vote.pair_id)
            points = {pair.response_a: 5, pair.response_b: 2}
            said = {0: pair.response_a, 1: points, 2: "same", 3: pair.response_b}[number % 4]
            vote.criteria = {"helpful": said} if number % 8 else {}
            session.add(vote)

    any_db.write(mark)
    with any_db.read() as session:
        kinds = criterion_kinds(session, Which(made.project.id), "helpful")
        assert sum(sum(values) * pairs for _, values, pairs in kinds) == 42
        assert criterion_kinds(session, Which(made.project.id), "accurate") == []
    assert sorted((values, pairs) for _, values, pairs in kinds) == [((1, 1, 1, 0), 6), ((2, 1, 1, 0), 6)]
    groups = [group for group in detail(any_db, lead, made.project.id).groups if group.of == "criterion"]
    assert [group.name for group in groups] == ["helpful"] and groups[0].alpha.n == 12


def test_a_lead_acts_on_the_page(db, open_page):
    made, lead = make_world(db, pairs=60, votes=1, prompts=3), make_person(db, "lead", "lead")
    fill(db, made)
    with db.read() as session:
        one = session.exec(select(Annotator).where(Annotator.name == "annotator 3")).one()
    annotators.leave_out(db, lead, made.project.id, one.id, "*clicks*")
    annotators.pause(db, lead, made.project.id, id_of(made.project.id, "0"), "talk")
    at = open_page(lead, "quality.py", made.project)
    assert not at.exception and at.metric[0].value == "180"
    assert "annotator 0 · paused" in list(at.dataframe[0].value["Annotator"])
    assert any("left out by lead: \\*clicks\\*" in item.value for item in at.markdown)
    next(item for item in at.button if item.label == "Take back in").click().run()
    assert not at.exception and at.metric[0].value == "240"
    # How votes add up: chosen on the page, and kept.
    at.radio[0].set_value("skill").run()
    assert not at.exception
    assert quality(db, lead, made.project.id)["aggregation"] == "skill"
    engineer = open_page(make_person(db, "engineer", "engineer"), "quality.py", made.project)
    assert not engineer.exception and engineer.radio[0].disabled


def test_everything_left_out_is_said(db, open_page):
    made, lead, who = make_world(db, pairs=2, votes=1), make_person(db, "lead", "lead"), make_person(db)
    vote_on_everything(db, made, who, "left")
    annotators.leave_out(db, lead, made.project.id, annotator_id(made, who))
    at = open_page(lead, "quality.py", made.project)
    assert not at.exception and "Every vote of this project is left out." in [item.value for item in at.info]
    next(item for item in at.button if item.label == "Take back in").click().run()
    assert at.metric[0].value == "2"
