"""Groups of annotators, rules, pauses: who may have which pairs."""

import pytest
from sqlmodel import select

from core.access import Principal
from core.annotation import adjudication, annotators, groups, pausing, sitting, votes
from core.errors import Forbidden, Invalid, NotFound
from core.projects import update_project
from storage.database import Database
from storage.groups import audience_of
from storage.pairs import NewPair, add_pairs
from storage.tables import Annotator, AuditEntry, Example, Pair, Project, Response, Slot
from tests.annotation.conftest import World, make_person, make_world

LANGUAGES = ["de", "DE ", "fr", "en", 5, None]


def spoken(db: Database, made: World, values=LANGUAGES) -> None:
    """Give the examples a field `language`, in turn; None: no such field."""

    def work(session):
        for place, example in enumerate(
            session.exec(
                select(Example).where(Example.project_id == made.project.id).order_by(Example.content_hash)
            )
        ):
            value = values[place % len(values)]
            example.fields = (
                {"topic": "x"} if value is None else {"language": value, 'odd "name".x': f"v{place}"}
            )
            session.add(example)

    db.write(work)


def group(name: str, *members: Principal, **more) -> dict:
    return {"name": name, "members": [who.user_id for who in members], **more}


def rule(to: str, by: str, *values: str, name: str = "") -> dict:
    return {"group": to, "conditions": [{"by": by, "name": name, "values": list(values)}]}


def audiences(db: Database, made: World) -> dict[str, set]:
    """input of the example -> audiences of its slots"""
    found: dict[str, set] = {}
    with db.read() as session:
        rows = session.exec(
            select(Example.input, Slot.audience)
            .join(Pair, Pair.example_id == Example.id)
            .join(Slot, Slot.pair_id == Pair.id)
            .where(Pair.project_id == made.project.id)
        )
        for text, audience in rows:
            found.setdefault(text, set()).add(audience)
    return found


def test_the_first_rule_that_matches_wins(any_db):
    lead, anna = make_person(any_db, "lead", "lead"), make_person(any_db, "anna")
    made = make_world(any_db, pairs=6, votes=2, prompts=3)
    spoken(any_db, made)
    saved = groups.set_assignment(
        any_db, lead, made.project.id,
        groups=[group("German", anna), group("Others"), group("Five")],
        rules=[
            rule("German", "field", "de", name="language"),
            rule("Five", "field", "5", name="language"),
            rule("others", "text", "INPUT 2", "no 100% such_thing"),
            rule("Others", "field", "v0", "v3", name='odd "name".x'),
        ],
    )  # fmt: skip
    key = {item.name: audience_of(item.id) for item in saved.assignment.groups}
    expected = {
        "Input 0": key["German"], "Input 1": key["German"], "Input 2": key["Others"], "Input 3": key["Others"],
        "Input 4": key["Five"], "Input 5": None,
    }  # fmt: skip
    assert audiences(any_db, made) == {text: {value} for text, value in expected.items()}
    assert (saved.slots, saved.members) == (10, 1)
    counts = [(item.matches, item.pairs) for item in groups.view(any_db, lead, made.project.id).rules]
    assert counts == [(2, 2), (1, 1), (1, 1), (2, 1)]
    # By prompt and by source; and a rule of two conditions.
    some = made.prompts[0].id
    two = rule("German", "prompt", some)
    two["conditions"].append({"by": "source", "values": ["generate"]})
    with any_db.read() as session:
        theirs = {
            f"Input {session.get(Example, r.example_id).content_hash}"
            for r in session.exec(select(Response).where(Response.prompt_id == some))
        }
    groups.set_assignment(any_db, lead, made.project.id, rules=[two])
    assert {text for text, found in audiences(any_db, made).items() if found != {None}} == theirs
    groups.set_assignment(any_db, lead, made.project.id, rules=[])
    assert all(found == {None} for found in audiences(any_db, made).values())


def test_pairs_that_are_made_later_are_assigned_too(any_db):
    lead = make_person(any_db, "lead", "lead")
    made = make_world(any_db, pairs=6, votes=1)
    spoken(any_db, made)
    saved = groups.set_assignment(
        any_db, lead, made.project.id, groups=[group("German")],
        rules=[rule("German", "field", "de", name="language")],
    )  # fmt: skip
    german = audience_of(saved.assignment.groups[0].id)

    def more(session):
        project = session.get(Project, made.project.id)
        new = []
        for example in session.exec(select(Example).where(Example.project_id == project.id)):
            ids = [f"{example.id}{i}" for i in range(2)]
            session.add_all(
                Response(id=i, project_id=project.id, example_id=example.id, prompt_id="p", cache_key=i)
                for i in ids
            )
            new.append(NewPair(example.id, *ids, votes=2))
        add_pairs(session, project, new)

    any_db.write(more)
    update_project(any_db, lead, made.project.id, votes_per_pair=3)  # opens more slots
    found = audiences(any_db, made)
    assert {text for text, value in found.items() if value == {german}} == {"Input 0", "Input 1"}
    assert all(len(value) == 1 for value in found.values())


def test_only_members_get_a_groups_pairs_and_others_are_told(any_db):
    lead = make_person(any_db, "lead", "lead")
    anna, ben = make_person(any_db, "anna"), make_person(any_db, "ben")
    made = make_world(any_db, pairs=6, votes=1)
    spoken(any_db, made)
    here = made.project.id
    groups.set_assignment(
        any_db, lead, here, groups=[group("German speakers", anna)],
        rules=[rule("German speakers", "field", "de", name="language")],
    )  # fmt: skip
    got = []
    while claim := votes.claim(any_db, ben, here):
        votes.cast(any_db, ben, claim.pair_id, claim.lease, "left")
        got.append(claim.input)
    assert sorted(got) == ["Input 2", "Input 3", "Input 4", "Input 5"]
    assert sitting.progress(any_db, ben, here, None)["for_groups"] == ["German speakers"]
    claim = votes.claim(any_db, anna, here)
    assert claim.input in ("Input 0", "Input 1")
    assert sitting.progress(any_db, anna, here, None)["for_groups"] == []
    # Who holds a pair keeps it when they leave the group; they get no other.
    groups.set_assignment(any_db, lead, here, groups=[group("German speakers", ben)])
    assert votes.claim(any_db, anna, here).lease == claim.lease
    votes.cast(any_db, anna, claim.pair_id, claim.lease, "left")
    assert votes.claim(any_db, anna, here) is None
    last = votes.claim(any_db, ben, here)
    assert {last.input, claim.input} == {"Input 0", "Input 1"}


def test_groups_that_nobody_can_work_for_are_seen(any_db):
    lead, anna, ben = (
        make_person(any_db, n, r) for n, r in (("lead", "lead"), ("anna", "annotator"), ("ben", "annotator"))
    )
    made = make_world(any_db, pairs=6, votes=2)
    spoken(any_db, made)
    here = made.project.id
    wanted = {"rules": [rule("German", "field", "de", name="language")]}
    groups.set_assignment(any_db, lead, here, groups=[group("German")], **wanted)

    def state():
        return groups.view(any_db, lead, here).groups[0]

    assert (state().active, state().standing.waiting, state().beyond_reach) == (0, 2, 2)
    groups.set_assignment(any_db, lead, here, groups=[group("German", anna)])
    assert (state().active, state().beyond_reach) == (1, 2)  # each pair wants two votes
    groups.set_assignment(any_db, lead, here, groups=[group("German", anna, ben)])
    assert (state().active, state().beyond_reach) == (2, 0)
    while claim := votes.claim(any_db, anna, here):
        votes.cast(any_db, anna, claim.pair_id, claim.lease, "left")
    assert (state().standing.votes, state().standing.wanted, state().beyond_reach) == (2, 2, 0)
    annotators.pause(any_db, lead, here, votes.annotator_id_of(here, ben))
    assert (state().active, state().beyond_reach) == (1, 2)
    assert {person.name: person.why_not for person in state().members} == {"anna": "", "ben": "paused"}


def test_a_pause_of_the_project_or_of_a_group(any_db):
    lead, anna, ben = (
        make_person(any_db, n, r) for n, r in (("lead", "lead"), ("anna", "annotator"), ("ben", "annotator"))
    )
    made = make_world(any_db, pairs=4, votes=1)
    here = made.project.id
    saved = groups.set_assignment(any_db, lead, here, groups=[group("Night shift", anna)])
    key = saved.assignment.groups[0].id
    held = votes.claim(any_db, anna, here)
    pausing.pause(any_db, lead, here, "Sleep first", key)
    with pytest.raises(Forbidden, match="Sleep first"):
        votes.claim(any_db, anna, here)
    votes.cast(any_db, anna, held.pair_id, held.lease, "left")  # no work is lost
    assert votes.claim(any_db, ben, here)
    pausing.pause(any_db, lead, here, "New guidelines on Monday")
    with pytest.raises(Forbidden, match="New guidelines on Monday"):
        votes.claim(any_db, ben, here)
    pausing.resume(any_db, lead, here)
    assert votes.claim(any_db, ben, here)
    pausing.resume(any_db, lead, here, key)
    assert votes.claim(any_db, anna, here)
    with pytest.raises(NotFound):
        pausing.pause(any_db, lead, here, "", "nothing")
    with any_db.read() as session:
        log = session.exec(select(AuditEntry.action).where(AuditEntry.project_id == here)).all()
    assert [log.count(name) for name in ("project.pause", "project.resume", "project.assignment")] == [
        2,
        2,
        1,
    ]


def test_what_is_refused(db):
    lead, anna = make_person(db, "lead", "lead"), make_person(db, "anna")
    made = make_world(db, pairs=1)
    here = made.project.id
    for person in (anna, make_person(db, "engineer", "engineer")):
        with pytest.raises(Forbidden):
            groups.set_assignment(db, person, here, groups=[])
        with pytest.raises(Forbidden):
            pausing.pause(db, person, here)
    groups.set_assignment(
        db, lead, here, groups=[group("One", anna)], rules=[rule("One", "source", "generate")]
    )
    for values, error in (
        ({"groups": [group("A"), group("a ")]}, Invalid),
        ({"groups": [group(" ")]}, Invalid),
        ({"groups": [{"name": "B", "members": ["nobody"]}]}, NotFound),
        ({"groups": [{"id": "made up", "name": "B"}]}, NotFound),
        ({"groups": []}, Invalid),  # its rule is still there
        ({"rules": [rule("Two", "source", "x")]}, Invalid),
        ({"rules": [rule("One", "source", " ")]}, Invalid),
        ({"rules": [rule("One", "field", "x")]}, Invalid),
        ({"rules": [rule("One", "colour", "x")]}, Invalid),
        ({"rules": [rule("One", "prompt", "x")]}, NotFound),
    ):
        with pytest.raises(error):
            groups.set_assignment(db, lead, here, **values)
    # Another name is the same group: no slot changes hands.
    [kept] = groups.assignment_of(db, lead, here).groups
    renamed = groups.set_assignment(db, lead, here, groups=[{**kept.model_dump(), "name": "First"}])
    assert renamed.slots == 0 and renamed.assignment.groups[0].id == kept.id
    with db.read() as session:
        [annotator] = session.exec(select(Annotator).where(Annotator.project_id == here))
    assert annotator.audiences == [audience_of(kept.id)]


def press(at, *labels: str):
    """Press buttons, in one run. One in a dialog needs the one that opened it, because a
    test reruns the whole page."""
    for label in labels:
        [item for item in at.button if item.label == label][-1].click()
    return at.run()


def test_a_lead_makes_a_group_and_a_rule_on_the_page(db, open_page):
    lead, anna = make_person(db, "lead", "lead"), make_person(db, "anna")
    made = make_world(db, pairs=6)
    spoken(db, made)
    at = press(open_page(lead, "assignment.py", made.project), "New group")
    at.text_input[0].set_value("German *speakers*")
    next(item for item in at.multiselect if item.label == "Members").set_value([anna.user_id])
    at = press(at, "New group", "Save")
    assert not at.exception and not at.error
    [made_group] = groups.assignment_of(db, lead, made.project.id).groups
    assert (made_group.name, made_group.members) == ("German *speakers*", [anna.user_id])
    at = open_page(lead, "assignment.py", made.project)
    assert any(r"**German \*speakers\***" in item.value for item in at.markdown)
    next(item for item in at.selectbox if item.label == "Field").set_value("language").run()
    at = next(item for item in at.multiselect if item.label == "is one of").set_value(["de"]).run()
    assert not at.exception and any("**2** pairs match now." in item.value for item in at.markdown)
    at = press(at, "Add the rule")
    [state] = groups.view(db, lead, made.project.id).rules
    assert not at.exception and (state.pairs, state.group) == (2, "German *speakers*")
    at = open_page(lead, "assignment.py", made.project)
    at = press(at, "Pause the project")
    next(item for item in at.text_input if item.label.startswith("Reason")).set_value("Lunch")
    at = press(at, "Pause the project", "Pause")
    assert not at.exception and pausing.pauses_of(db, lead, made.project.id).project.reason == "Lunch"
    at = press(open_page(lead, "assignment.py", made.project), "Resume")
    assert not at.exception and pausing.pauses_of(db, lead, made.project.id).project is None


def test_who_may_only_look_changes_nothing(db, open_page):
    made, engineer = make_world(db, pairs=1), make_person(db, "engineer", "engineer")
    groups.set_assignment(db, make_person(db, "lead", "lead"), made.project.id, groups=[group("One")])
    at = open_page(engineer, "assignment.py", made.project)
    assert not at.exception and not [
        item for item in at.button if item.label in ("New group", "Edit", "Pause")
    ]
    assert any("A lead or an admin" in item.value for item in at.caption)


def test_over_http(db, api):
    lead, anna = make_person(db, "lead", "lead"), make_person(db, "anna")
    made = make_world(db, pairs=6)
    spoken(db, made)
    base, client = f"/projects/{made.project.id}/assignment", api(lead)
    wanted = {
        "groups": [group("German", anna, about="Mother tongue")],
        "rules": [rule("German", "field", "de", name="language")],
    }
    assert client.get(f"{base}/options").json()["fields"]["language"] == ["DE", "5", "en", "fr"]
    saved = client.put(base, json=wanted).json()
    assert (saved["slots"], saved["members"]) == (4, 1)
    assert client.post(f"{base}/preview", json={"rules": wanted["rules"] * 2}).json()[1]["pairs"] == 0
    found = client.get(base).json()
    assert (found["groups"][0]["waiting"], found["groups"][0]["members"][0]["name"]) == (2, "anna")
    assert (found["rules"][0]["group_name"], found["everybody"]["waiting"]) == ("German", 4)
    assert [person["name"] for person in client.get(f"{base}/people").json()] == ["anna", "lead"]
    assert client.put(base, json={"rules": [rule("None", "text", "x")]}).status_code == 422
    assert client.put(base, json={"groups": None}).json()["slots"] == 0
    told = client.post(f"{base}/pause", json={"reason": "Lunch"}).json()
    assert told["project"]["reason"] == "Lunch"
    refused = api(anna).post(f"/projects/{made.project.id}/pairs/claim")
    assert refused.status_code == 403 and "Lunch" in refused.json()["detail"]
    assert client.post(f"{base}/resume", json={}).json()["project"] is None
    assert api(anna).post(f"/projects/{made.project.id}/pairs/claim").status_code == 200
    assert api(anna).get(base).status_code == 403 and api(anna).put(base, json={}).status_code == 403


def test_the_desk_shows_reasons_and_whose_the_rest_is(db):
    """What the browser gets (tests/e2e has the page itself)."""
    lead, ben, carl = make_person(db, "lead", "lead"), make_person(db, "ben"), make_person(db, "carl")
    made = make_world(db, pairs=1, votes=2)
    for who in (lead, ben):
        [claim] = votes.claim_some(db, who, made.project.id, 1)
        pair = sitting.pairs(db, who, made.project.id)[0]
        assert pair["reasons"] is None
        with db.read() as session:
            a_left = session.get(Response, session.get(Pair, claim.pair_id).response_a).text == claim.left
        wanted = {True: "left", False: "right"}[a_left == (who is lead)]
        votes.cast(db, who, claim.pair_id, claim.lease, wanted, reason="<script>alert(1)</script>")
    adjudication.set_adjudication(db, lead, made.project.id, members=[carl.user_id])
    adjudication.send(db, lead, made.project.id)
    [pair] = sitting.pairs(db, carl, made.project.id)
    assert {one["choice"] for one in pair["reasons"]} == {"left", "right"}
    assert all(set(one) == {"choice", "strength", "reason"} for one in pair["reasons"])
    assert sitting.progress(db, ben, made.project.id, None)["for_groups"] == []
