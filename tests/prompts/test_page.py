"""The prompts page: empty, write, framework, promote, generate; and the hosts page."""

import pytest

from core.optimize import champion
from core.prompts import versions
from core.runs.service import list_runs
from storage.tables import Example, Project, Prompt


@pytest.fixture
def examples(db, project):
    rows = [
        Example(project_id=project.id, content_hash=f"h{i}", input=f"Question {i}?", fields={"input": f"Question {i}?"})
        for i in range(4)
    ]  # fmt: skip
    db.write(lambda session: session.add_all(rows))


def shown(at):
    return " ".join(str(item.value) for kind in ("code", "text", "caption", "info") for item in at.get(kind))


def test_the_first_prompt_is_written_and_shown(db, admin, project, examples, open_page):
    at = open_page(admin, "prompts.py", project)
    assert "There are no prompts yet" in at.subheader[0].value
    at.button(key="prompts_first").click().run()
    at.text_input(key="draft_name").set_value("plain").run()
    at.text_area(key="draft_system").set_value("Be brief.").run()
    at.text_area(key="draft_user").set_value("Answer: {{input}}").run()
    assert not at.exception
    assert "Answer: Question 0?" in shown(at)  # the preview
    at.button(key="prompt_save").click().run()
    assert not at.exception
    (prompt,) = versions.list_prompts(db, admin, project.id)
    assert (prompt.name, prompt.system, prompt.user) == ("plain", "Be brief.", "Answer: {{input}}")
    assert at.session_state["prompts_view"] == "versions"


def test_a_slot_without_a_field_cannot_be_saved(db, admin, project, examples, open_page):
    at = open_page(admin, "prompts.py", project)
    at.button(key="prompts_first").click().run()
    at.text_input(key="draft_name").set_value("plain").run()
    at.text_area(key="draft_user").set_value("Answer: {{topic}}").run()
    assert "{{topic}} has no field" in shown(at).replace("}}}}", "}}")
    assert at.button(key="prompt_save").disabled


def test_a_framework_builds_the_prompt_and_is_kept(db, admin, project, examples, open_page):
    at = open_page(admin, "prompts.py", project)
    at.button(key="prompts_first").click().run()
    at.text_input(key="draft_name").set_value("wise").run()
    at.segmented_control(key="draft_framework").set_value("risen").run()
    assert at.button(key="prompt_save").disabled  # required sections are empty
    at.text_area(key="draft_risen_role").set_value("a cook").run()
    at.text_area(key="draft_risen_instructions").set_value("Answer kindly.").run()
    at.text_area(key="draft_risen_narrowing").set_value("At most 50 words.").run()
    assert "You are a cook." in shown(at)
    at.button(key="prompt_save").click().run()
    (prompt,) = versions.list_prompts(db, admin, project.id)
    assert (
        prompt.system == "You are a cook.\n\nInstructions:\nAnswer kindly.\n\nConstraints:\nAt most 50 words."
    )
    assert prompt.structure["framework"] == "risen"

    # The next version starts from its sections.
    at.session_state[f"prompt_of_{project.id}"] = prompt.id
    at.run()
    at.button(key=f"prompt_edit_{prompt.id}").click().run()
    assert at.text_area(key="draft_risen_narrowing").value == "At most 50 words."
    at.text_area(key="draft_risen_narrowing").set_value("At most 20 words.").run()
    at.button(key="prompt_save").click().run()
    two = versions.list_prompts(db, admin, project.id)[0]
    assert (two.version, two.parent_id, two.operation) == (2, prompt.id, "edited")


def test_from_a_framework_to_free_text(db, admin, project, examples, open_page):
    at = open_page(admin, "prompts.py", project)
    at.button(key="prompts_first").click().run()
    at.segmented_control(key="draft_framework").set_value("role").run()
    at.text_area(key="draft_role_role").set_value("a cook").run()
    at.text_area(key="draft_role_task").set_value("Answer.").run()
    at.segmented_control(key="draft_framework").set_value("free").run()
    assert at.text_area(key="draft_system").value == "You are a cook.\n\nAnswer."


def test_promotion_asks_first(db, admin, person, project, open_page):
    one = versions.create_prompt(db, admin, project.id, "a", user="{{input}}")
    at = open_page(person("lead"), "prompts.py", project)
    at.session_state[f"prompt_of_{project.id}"] = one.id
    at.run()
    at.button(key=f"prompt_promote_{one.id}").click().run()
    assert not at.exception
    with db.read() as session:
        assert session.get(Project, project.id).champion_prompt_id == one.id


def test_a_prompt_known_by_name_only_is_shown_as_such(db, admin, project, open_page):
    row = Prompt(project_id=project.id, name="gpt-x", operation="imported")
    db.write(lambda session: session.add(row))
    at = open_page(admin, "prompts.py", project)
    at.session_state[f"prompt_of_{project.id}"] = row.id
    at.run()
    assert not at.exception
    assert at.dataframe[0].value["State"].tolist() == ["name only"]
    assert "came with imported comparisons" in " ".join(item.value for item in at.markdown)


def test_generation_starts_from_the_page_with_an_estimate(db, admin, project, examples, open_page):
    one = versions.create_prompt(db, admin, project.id, "a", user="{{input}}")
    versions.create_prompt(db, admin, project.id, "b", user="Please: {{input}}")
    champion.promote(db, admin, one.id)
    at = open_page(admin, "prompts.py", project)
    at.segmented_control(key="prompts_view").set_value("generate").run()
    assert not at.exception
    assert at.metric[0].value == "8"
    at.number_input(key="generate_limit").set_value(3).run()
    at.radio(key="generate_pairs").set_value("champion").run()
    assert at.metric[0].value == "6"
    assert "at most 3 pairs" in shown(at)
    at.button(key="generate_start").click().run()
    assert not at.exception and not at.error
    (run,) = list_runs(db, admin, project.id)
    assert (run.kind, run.config["pairs"], run.config["n_examples"], run.seed) == (
        "generate",
        "champion",
        3,
        0,
    )


def test_who_may_not_does_not_see_the_buttons(db, admin, person, project, examples, open_page):
    versions.create_prompt(db, admin, project.id, "a", user="{{input}}")
    at = open_page(person("lead"), "prompts.py", project)
    at.segmented_control(key="prompts_view").set_value("generate").run()
    assert not [button for button in at.button if button.key == "generate_start"]
    hosts = open_page(person("lead"), "hosts.py", project)
    assert not hosts.exception and not hosts.button


def test_hosts_are_added_tested_and_removed(db, admin, project, open_page, monkeypatch):
    from core.llm.registry import list_hosts

    monkeypatch.delenv("FAR_KEY", raising=False)
    at = open_page(admin, "hosts.py", project)
    at.button(key="host_test_embedded").click().run()
    assert at.success and "SmolLM2" in at.code[0].value
    field = {item.label: item for item in at.text_input}
    field["Name"].set_value("far")
    field["Model"].set_value("m")
    field["URL"].set_value("http://127.0.0.1:9/v1")
    field["Environment variable of the key"].set_value("FAR_KEY")
    next(button for button in at.button if button.label == "Add host").click().run()
    assert not at.exception and not at.error
    far = list_hosts(db, admin)[1]
    assert (far.name, far.kind, far.model) == ("far", "openai", "m")
    assert "FAR_KEY is NOT set" in at.warning[0].value
    at.button(key=f"host_test_{far.id}").click().run()
    assert at.error and "FAR_KEY" in shown(at)
    at.button(key=f"host_remove_{far.id}").click().run()
    assert len(list_hosts(db, admin)) == 1
