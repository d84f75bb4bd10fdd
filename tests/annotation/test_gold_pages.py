"""The gold page and messages, pressed as a person would; the same over the API and at the desk."""

import json

import pytest
from fastapi.testclient import TestClient

from api.desk import create_desk
from core.annotation import gold, messages, probing, qualification, votes
from core.annotation.gold_import import import_gold
from core.annotation.probe_figures import share_over
from core.annotation.quality import quality
from core.stats import wilson
from storage.tables import Probe, Vote
from tests.annotation.conftest import make_person, make_world
from tests.annotation.test_probes import (
    annotator_id,
    cast,
    choice_for,
    everything,
    mark_some,
    probe_of,
)
from tests.conftest import SHARED_DATA

HERE = {"x-prefloop-desk": "1", "sec-fetch-site": "same-origin"}
TRAINING_FILE = SHARED_DATA / "llmfao" / "pairs-crowd-training.jsonl"


def button(at, label):
    return next(item for item in at.button if item.label == label)


def test_a_lead_sets_what_is_asked_and_sees_it_in_sentences(db, open_page):
    made, lead, who = make_world(db, pairs=4), make_person(db, "l", "lead"), make_person(db)
    at = open_page(lead, "gold.py", made.project)
    assert not at.exception and "There are no gold pairs yet." in [item.value for item in at.subheader]
    assert any("Qualification** is off" in item.value for item in at.markdown)
    mark_some(db, lead, made, 2, "training")
    at = open_page(lead, "gold.py", made.project)
    assert list(at.dataframe[0].value["Use"]) == ["Training", "Training"]
    next(item for item in at.checkbox if item.label.startswith("Annotators qualify")).check()
    numbers = {item.label: item for item in at.number_input}
    numbers["Training pairs asked"].set_value(2)
    numbers["Pass mark, % right"].set_value(50)
    numbers["Gold checks, % of pairs"].set_value(5.0)
    numbers["Failed checks"].set_value(2)
    at = button(at, "Save").click().run()
    assert not at.exception
    now = probing.probing_of(db, lead, made.project.id)
    assert (now.qualify, now.asked, now.pass_mark, now.gold_rate, now.failures) == (True, 2, 0.5, 0.05, 2)
    assert any("2 training pairs first, 1 of them right" in item.value for item in at.markdown)
    cast(db, who, votes.claim(db, who, made.project.id))
    at = open_page(lead, "gold.py", made.project)
    people = next(item.value for item in at.dataframe if "State" in item.value)
    assert people[["Annotator", "State", "Training"]].to_numpy().tolist() == [
        ["annotator", "in training", "1 of 2 answered"]
    ]
    # An engineer may look, and change nothing.
    at = open_page(make_person(db, "e", "engineer"), "gold.py", made.project)
    assert not at.exception and all(item.disabled for item in at.number_input)
    assert not at.expander


def test_an_annotator_reads_messages_above_the_desk(db, open_page):
    made, lead, who = make_world(db, pairs=2), make_person(db, "l", "lead"), make_person(db)
    votes.claim(db, who, made.project.id)
    messages.send(db, lead, made.project.id, annotator_id(made, who), "# Read :red[this]\n\n1. slowly")
    at = open_page(who, "annotate.py", made.project)
    assert not at.exception and [item.value for item in at.text] == ["# Read :red[this]\n\n1. slowly"]
    at = button(at, "I have read it").click().run()
    assert not at.exception and not at.text and messages.mine(db, who, made.project.id, unread=True) == []


def test_quality_shows_checks_and_repeats_with_their_n(db, open_page):
    made, lead, who = make_world(db, pairs=16, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 4)
    at_start = quality(db, lead, made.project.id)
    assert (at_start["gold_share"], at_start["gold_n"], at_start["repeat_n"]) == (None, 0, 0)
    probing.set_probing(db, lead, made.project.id, gold_rate=0.5)
    for wanted in ("a", "b", "a"):
        claim, _ = probe_of(db, made, who)
        cast(db, who, claim, wanted)
    found = quality(db, lead, made.project.id)
    low, high = wilson(2, 3)
    assert (found["gold_share"], found["gold_n"]) == (2 / 3, 3)
    assert (found["gold_low"], found["gold_high"]) == (low, high)
    [one] = found["per_annotator"]
    assert (one["gold_share"], one["gold_n"], one["repeat_n"]) == (2 / 3, 3, 0)
    at = open_page(lead, "quality.py", made.project)
    assert not at.exception
    assert {item.label: item.value for item in at.metric}["Gold checks right"] == "66.7 %"
    table = next(item.value for item in at.dataframe if "Gold checks" in item.value)
    assert "n 3" in table["Gold checks"][0] and "Same on repeats" not in table


def test_an_interval_over_annotators_is_wider_when_they_differ():
    same = share_over("gold", [(5, 10), (5, 10), (5, 10)])
    apart = share_over("gold", [(0, 10), (5, 10), (10, 10)])
    assert (same["gold_share"], same["gold_n"]) == (apart["gold_share"], apart["gold_n"]) == (0.5, 30)
    assert (same["gold_low"], same["gold_high"]) == wilson(15, 30)
    # By hand: residuals -5, 0, 5 of 30 answers: 1.96 * sqrt(50) / 30 = 0.462.
    assert apart["gold_low"] == pytest.approx(0.5 - 0.46197, abs=1e-4)
    assert share_over("gold", [])["gold_share"] is None


# --- the API ----------------------------------------------------------------------------------


def test_gold_qualification_and_messages_over_the_api(db, api):
    made, lead, who = make_world(db, pairs=8, votes=1), make_person(db, "l", "lead"), make_person(db)
    boss, worker = api(lead), api(who)
    at = f"/projects/{made.project.id}"
    body = {"pair_id": made.pairs[0], "use": "training", "choice": "a", "explanation": "So."}
    marked = boss.post(f"{at}/gold", json=body)
    assert marked.status_code == 201 and marked.json()["closed"] == 1
    rows = [
        {
            "input": f"{n}?",
            "response_a": "yes",
            "response_b": "no",
            "choice": "b",
            "explanation": "No.",
            "use": use,
        }
        for n, use in enumerate(["training", "check", "check"])
    ]
    tried = boss.post(f"{at}/gold/import", json={"rows": [*rows, {"input": "x"}]}, params={"dry_run": True})
    assert tried.json()["imported"] == 3 and tried.json()["skipped"][0]["row"] == 3
    assert boss.post(f"{at}/gold/import", json={"rows": rows}).json()["imported"] == 3
    listed = boss.get(f"{at}/gold").json()
    assert sorted(item["use"] for item in listed) == ["check", "check", "training", "training"]
    change = boss.patch(f"{at}/gold/{marked.json()['id']}", json={"explanation": "Because."})
    assert change.status_code == 204
    settings = {"qualify": True, "asked": 2, "pass_mark": 1, "gold_rate": 0.5, "failures": 1, "window": 1}
    assert boss.put(f"{at}/probes", json=settings).json()["asked"] == 2
    assert boss.get(f"{at}/probes").json()["gold_rate"] == 0.5
    assert boss.put(f"{at}/probes", json={"gold_rate": 0.9}).status_code == 422
    for method, path in (("get", "/gold"), ("get", "/probes"), ("get", "/qualification"), ("put", "/probes")):
        answer = worker.request(method, at + path, json={} if method == "put" else None)
        assert answer.status_code == 403, path

    for place in (1, 2):
        claim = worker.post(f"{at}/pairs/claim").json()
        assert claim["training"] == {"place": place, "of": 2, "needed": 2}
        explanation = {item["pair_id"]: item for item in boss.get(f"{at}/gold").json()}[claim["pair_id"]]
        right = explanation[f"response_{explanation['choice']}"]
        choice = "left" if claim["left"] == right else "right"
        answer = worker.post(
            f"/pairs/{claim['pair_id']}/votes", json={"lease": claim["lease"], "choice": choice}
        )
        told = answer.json()["feedback"]
        assert (
            told["right"] and told["expected"] == choice and told["explanation"] == explanation["explanation"]
        )
        assert worker.delete(f"/votes/{answer.json()['id']}").status_code == 409
    assert told["verdict"] == "passed"
    [standing] = boss.get(f"{at}/qualification").json()
    assert standing["state"] == "qualified" and standing["attempts"][0]["right"] == 2

    # From now on nothing tells a check from a pair: the same fields, and nothing in them.
    shapes = set()
    for _ in range(12):
        claim = worker.post(f"{at}/pairs/claim")
        if claim.status_code == 204:
            break
        claim = claim.json()
        answer = worker.post(
            f"/pairs/{claim['pair_id']}/votes", json={"lease": claim["lease"], "choice": "tie"}
        )
        shapes.add((tuple(claim), claim["training"], tuple(answer.json()), answer.json()["feedback"]))
    assert len(shapes) == 1 and {probe.kind for probe in everything(db, Probe)} == {"training", "gold"}
    assert len(everything(db, Vote)) == 7
    who_id = annotator_id(made, who)
    by_rule = worker.get(f"{at}/messages", params={"unread": True}).json()
    assert by_rule and all(item["author"] == "" for item in by_rule)
    sent = boss.post(f"{at}/annotators/{who_id}/messages", json={"text": "Hello"})
    assert sent.status_code == 201
    assert worker.post(f"/messages/{sent.json()['id']}/read").json()["read_at"]
    assert boss.get(f"{at}/annotators/{who_id}/messages").json()[0]["text"] == "Hello"
    assert worker.get(f"{at}/annotators/{who_id}/messages").status_code == 403
    assert boss.post(f"{at}/annotators/{who_id}/requalify").status_code == 204
    assert boss.get(f"{at}/qualification").json()[0]["state"] == "not begun"
    assert boss.post(f"{at}/annotators/{who_id}/qualify").status_code == 204
    check = next(item for item in boss.get(f"{at}/gold").json() if item["use"] == "check")
    assert boss.delete(f"{at}/gold/{check['id']}").json() == {"opened": 0}


# --- the desk ---------------------------------------------------------------------------------


def desk(who, project_id):
    client = TestClient(create_desk(), headers={**HERE, "x-prefloop-sign-in": who.sign_in_id})
    return lambda path, **body: client.post(f"/{project_id}/{path}", json=body)


def deed(db, pair, wanted, **values):
    with db.read() as session:
        found = session.exec(Probe.__table__.select().where(Probe.lease == pair["lease"])).first()
    choice = wanted
    if wanted in ("a", "b"):
        choice = "left" if (wanted == "a") == found.a_left else "right"
    return {
        "kind": "vote",
        "key": pair["lease"],
        "pair_id": pair["pair_id"],
        "values": {"choice": choice, **values},
    }


def test_the_desk_tells_what_was_right_and_then_gives_real_pairs(db):
    made, lead, who = make_world(db, pairs=6, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 2, "training")
    probing.set_probing(db, lead, made.project.id, qualify=True, asked=2, pass_mark=0.5, tries=1)
    post = desk(who, made.project.id)
    [first] = post("work").json()["pairs"]
    assert first["training"] == {"place": 1, "of": 2, "needed": 1}
    sent = deed(db, first, "b")
    answers = [post("work", deeds=[sent]).json() for _ in range(2)]  # the network lost the first
    for answer in answers:
        [done] = answer["done"]
        assert done["vote_id"] is None and done["problem"] is None and not done["feedback"]["right"]
        assert "<strong>a</strong>" in done["feedback"]["explanation"]
    [second] = answers[1]["pairs"]
    answer = post("work", deeds=[deed(db, second, "a")]).json()
    assert answer["done"][0]["feedback"]["verdict"] == "passed" and len(answer["pairs"]) == 2
    assert all(pair["training"] is None for pair in answer["pairs"])
    assert post("work", opening=True).json()["opening"]["undoable"] == []


def test_who_fails_hears_it_although_no_pairs_come(db):
    made, lead, who = make_world(db, pairs=3, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 1, "training")
    probing.set_probing(db, lead, made.project.id, qualify=True, asked=1, tries=1)
    post = desk(who, made.project.id)
    [only] = post("work").json()["pairs"]
    skipped = post(
        "work", deeds=[{"kind": "skip", "key": only["lease"], "pair_id": only["pair_id"], "values": {}}]
    )
    assert "cannot be skipped" in skipped.json()["done"][0]["problem"]
    answer = post("work", deeds=[deed(db, only, "b")]).json()
    assert (
        answer["done"][0]["feedback"]["verdict"] == "failed"
        and answer["done"][0]["feedback"]["tries_left"] == 0
    )
    assert answer["pairs"] == [] and "not passed" in answer["refused"]
    assert post("work").status_code == 403


def test_the_desk_counts_and_takes_back_a_hidden_check_like_a_vote(db):
    made, lead, who = make_world(db, pairs=12, votes=1), make_person(db, "l", "lead"), make_person(db)
    mark_some(db, lead, made, 4)
    probing.set_probing(db, lead, made.project.id, gold_rate=0.5)
    post = desk(who, made.project.id)
    claim, _ = probe_of(db, made, who)
    day = "2020-01-01T00:00:00Z"
    before = post("work", progress=True, day_start=day).json()
    pair = next(pair for pair in before["pairs"] if pair["lease"] == claim.lease)
    assert pair["training"] is None
    values = {"reason": "so", "criteria": {"helpful": "left"}, "strength": "barely"}
    after = post("work", deeds=[deed(db, pair, "a", **values)], progress=True, day_start=day).json()
    [done] = after["done"]
    assert done["vote_id"] and done["feedback"] is None and done["problem"] is None
    assert after["progress"]["done"] == before["progress"]["done"] + 1
    assert after["progress"]["today"] == before["progress"]["today"] + 1
    assert post("work", opening=True).json()["opening"]["undoable"][0] == done["vote_id"]
    back = post("work", deeds=[{"kind": "undo", "key": done["vote_id"]}], progress=True).json()
    assert (
        back["pairs"][0]["pair_id"] == claim.pair_id
        and back["progress"]["done"] == before["progress"]["done"]
    )
    said = back["done"][0]["said"]
    choice = choice_for(db, claim, "a")
    assert said == {"choice": choice, "strength": "barely", "criteria": {"helpful": "left"}, "reason": "so"}


# --- real gold --------------------------------------------------------------------------------


@pytest.mark.skipif(not TRAINING_FILE.exists(), reason="needs shared/data/llmfao, which is not here")
def test_the_training_pairs_of_llmfao_are_taken_with_their_reasons(db):
    made, lead = make_world(db, pairs=0), make_person(db, "l", "lead")
    rows = [json.loads(line) for line in TRAINING_FILE.read_text(encoding="utf-8").splitlines()]
    tried = import_gold(db, lead, made.project.id, rows, "training", dry_run=True)
    assert [item["input"] for item in tried.preview] == [row["text"] for row in rows[:5]]
    assert import_gold(db, lead, made.project.id, rows, "training").imported == 7
    found = {item.explanation: item for item in gold.list_gold(db, lead, made.project.id)}
    for row in rows:
        item = found[row["reason"]]
        assert item.input == row["text"]
        assert (item.response_a, item.response_b) == (row["result_x"], row["result_y"])
        assert item.choice == {"left": "a", "right": "b", "tie": "tie"}[row["golden"]]
    probing.set_probing(db, lead, made.project.id, qualify=True, asked=7)
    who = make_person(db)
    claim = votes.claim(db, who, made.project.id)
    vote = cast(db, who, claim, "both_bad")
    assert qualification.feedback(db, who, vote.id).explanation in found
