"""Prompt versions: numbered, immutable, with a parent; slots that exist; the champion."""

import pytest

from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.optimize import champion
from core.prompts import versions
from storage.tables import AuditEntry, Example, Project


@pytest.fixture
def examples(db, project):
    rows = [
        Example(
            project_id=project.id, content_hash=f"h{i}", input=f"question: q{i}\n\ncontext: c{i}",
            fields={"question": f"q{i}", "context": f"c{i}", **({"extra": "x"} if i else {})},
        )
        for i in range(3)
    ]  # fmt: skip
    db.write(lambda session: session.add_all(rows))
    return rows


def test_versions_count_per_name_and_know_their_parent(db, admin, project):
    one = versions.create_prompt(db, admin, project.id, "plain", user="Answer: {{input}}")
    two = versions.create_prompt(db, admin, project.id, " plain ", user="Answer well: {{input}}")
    other = versions.create_prompt(db, admin, project.id, "other", "Be brief.", "{{input}}", parent_id=one.id)
    assert [(p.name, p.version, p.parent_id, p.operation) for p in (one, two, other)] == [
        ("plain", 1, None, "written"),
        ("plain", 2, one.id, "edited"),
        ("other", 1, one.id, "edited"),
    ]
    listed = versions.list_prompts(db, admin, project.id)
    assert [versions.label(p) for p in listed] == ["other v1", "plain v2", "plain v1"]
    with db.read() as session:
        made = [e for e in session.query(AuditEntry) if e.action == "prompt.create"]
    assert len(made) == 3


def test_the_same_again_is_the_same_version(db, admin, project):
    one = versions.create_prompt(db, admin, project.id, "plain", user="{{input}}!")
    assert versions.create_prompt(db, admin, project.id, "plain", user="{{input}}!").id == one.id
    two = versions.create_prompt(db, admin, project.id, "plain", user="{{input}}?")
    back = versions.create_prompt(db, admin, project.id, "plain", user="{{input}}!")
    assert (two.version, back.version, back.id == one.id) == (2, 3, False)


def test_a_text_without_a_slot_is_an_instruction(db, admin, project):
    prompt = versions.create_prompt(db, admin, project.id, "x", user="Answer in one sentence.")
    assert (prompt.system, prompt.user) == ("Answer in one sentence.", "{{input}}")
    both = versions.create_prompt(db, admin, project.id, "y", system="Be brief.", user="Answer.")
    assert (both.system, both.user) == ("Be brief.\n\nAnswer.", "{{input}}")
    in_system = versions.create_prompt(db, admin, project.id, "z", system="Answer {{input}} now.")
    assert (in_system.system, in_system.user) == ("", "Answer {{input}} now.")


def test_slots_must_be_fields_of_every_example(db, admin, project, examples):
    prompt = versions.create_prompt(
        db, admin, project.id, "x", user="{{question}} with {{ context }}: {{input}}"
    )
    with db.read() as session:
        assert versions.project_fields(session, project.id) == ["input", "context", "question"]
    said = versions.rendered(prompt, examples[0])
    assert said == [{"role": "user", "content": "q0 with c0: question: q0\n\ncontext: c0"}]
    for text, slot in (("{{answer}}", "answer"), ("{{extra}} {{input}}", "extra")):
        with pytest.raises(Invalid, match=rf"\{{\{{{slot}\}}\}}.*Fields: input, context, question"):
            versions.create_prompt(db, admin, project.id, "bad", user=text)
    assert [p.name for p in versions.list_prompts(db, admin, project.id)] == ["x"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "", "user": "x"}, "name:"),
        ({"name": "n" * 121, "user": "x"}, "name:"),
        ({"name": "n", "user": " "}, "user: the template is empty"),
        ({"name": "n", "user": "x" * 100_001}, "at most 100,000"),
        ({"name": "n", "user": "x", "parent_id": "nobody"}, "parent_id:"),
        ({"name": "n", "structure": {"framework": "nope", "sections": {}}}, "framework"),
        ({"name": "n", "structure": {"framework": "role", "sections": {"x": "y"}}}, "no section “x”"),
        ({"name": "n", "structure": {"framework": "role", "sections": {}}}, "“Role” is empty"),
    ],
)
def test_what_is_wrong_is_named(db, admin, project, values, said):
    with pytest.raises(Invalid, match=said):
        versions.create_prompt(db, admin, project.id, **values)


def test_promotion_and_archiving(db, admin, person, project):
    one = versions.create_prompt(db, admin, project.id, "a", user="{{input}}")
    two = versions.create_prompt(db, admin, project.id, "b", user="{{input}}")
    lead = person("lead")
    for _ in range(2):
        assert champion.promote(db, lead, one.id).champion_prompt_id == one.id
    with pytest.raises(Conflict, match="champion"):
        versions.archive_prompt(db, lead, one.id)
    versions.archive_prompt(db, lead, two.id)
    with pytest.raises(Conflict, match="archived"):
        champion.promote(db, lead, two.id)
    assert [p.name for p in versions.list_prompts(db, admin, project.id)] == ["a"]
    assert len(versions.list_prompts(db, admin, project.id, archived=True)) == 2
    versions.restore_prompt(db, lead, two.id)
    champion.promote(db, lead, two.id)
    with db.read() as session:
        assert session.get(Project, project.id).champion_prompt_id == two.id
        promoted = [e for e in session.query(AuditEntry) if e.action == "prompt.promote"]
    assert [(e.entity_id, e.detail["before"]) for e in promoted] == [(one.id, None), (two.id, one.id)]
    annotator = person("annotator")
    for act in (champion.promote, versions.archive_prompt, versions.get_prompt):
        with pytest.raises(Forbidden):
            act(db, annotator, one.id)
    with pytest.raises(NotFound):
        champion.promote(db, admin, "nobody")


def test_the_api(api, admin, person, project):
    client = api(admin)
    url = f"/projects/{project.id}/prompts"
    made = client.post(url, json={"name": "a", "template": "Say {{input}}"})
    assert made.status_code == 201 and made.json()["user"] == "Say {{input}}"
    assert client.post(url, json={"name": "a", "user": "Say {{input}}"}).status_code == 200
    text = client.post(url, json={"name": "b", "text": "Be kind.", "parent_id": made.json()["id"]}).json()
    assert (text["system"], text["user"], text["parent_id"]) == ("Be kind.", "{{input}}", made.json()["id"])
    built = client.post(
        url,
        json={
            "name": "c",
            "structure": {
                "framework": "role",
                "sections": {"role": "a cook", "task": "Answer.", "input": "{{input}}"},
            },
        },
    ).json()
    assert built["system"] == "You are a cook.\n\nAnswer."
    assert [p["name"] for p in client.get(url).json()] == ["a", "b", "c"]
    assert [p["name"] for p in client.get(url, params={"limit": 1, "offset": 1}).json()] == ["b"]
    assert client.get(f"/prompts/{text['id']}").json() == text
    assert client.post(f"/prompts/{text['id']}/promote").json()["champion_prompt_id"] == text["id"]
    assert client.get("/prompts/nobody").status_code == 404
    refused = client.post(url, json={"name": "", "text": "x"})
    assert refused.status_code == 422 and "name" in refused.json()["detail"]
    assert api(person("annotator")).get(url).status_code == 403
