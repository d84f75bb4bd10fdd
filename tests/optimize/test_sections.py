"""Frameworks as starts, and the edit of one section: whatever a method does, the rest of the
prompt stays, byte for byte."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from core.llm.local import LocalHost
from core.llm.protocol import HostSpec
from core.optimize import work
from core.optimize.instruction import Instruction, instruction_of
from core.optimize.promote import queue_candidates
from core.optimize.starts import in_framework
from core.optimize.view import preview, sections_of
from core.prompts.frameworks import FRAMEWORKS, build, places
from core.runs.service import get_run, start_run
from storage.tables import Project, Prompt
from tests.optimize.conftest import add
from tests.optimize.fakes import FakeHost, make_folder
from tests.optimize.test_methods import SMALL, in_text
from tests.optimize.test_real import SMALL as ON_TINY
from tests.optimize.test_real import tiny  # noqa: F401
from tests.optimize.test_run import run as work_on

words = st.text("abc .:!?{}\nYou are", min_size=1, max_size=30).map(str.strip).filter(bool)


@st.composite
def structures(draw):
    framework = FRAMEWORKS[draw(st.sampled_from(list(FRAMEWORKS)))]
    texts = {}
    for section in framework.sections:
        if section.required or draw(st.booleans()):
            texts[section.key] = "{{input}}" if section.key == "input" else draw(words)
    return {"framework": framework.key, "sections": texts}


@settings(max_examples=50, deadline=None)
@given(structures(), st.data())
def test_only_the_section_changes(structure, data):
    system, user = build(structure)
    there = places(structure, system)
    assert set(there) == set(structure["sections"]) - {"input"}
    key = data.draw(st.sampled_from(sorted(there)))
    start = Instruction(system, user, "system", structure=structure).at_section(key)
    text = data.draw(words)
    changed, same = start.with_text(text)
    begin, end = there[key]
    assert (changed, same) == (system[:begin] + text + system[end:], user)
    assert start.with_text(start.text) == (system, user)
    for other, (a, b) in there.items():  # the others are untouched, and where they were told apart still are
        if other != key:
            shift = len(text) - (end - begin) if a >= end else 0
            assert changed[a + shift : b + shift] == system[a:b]
    kept = start.structure_with(text)
    if kept is not None:
        assert Instruction(changed, user, "system", structure=kept).at_section(key).text == text


@settings(max_examples=30, deadline=None)
@given(structures(), words, words)
def test_a_text_that_was_changed_away_has_no_sections(structure, before, after):
    system, user = build(structure)
    for other in (before + system, system + after, system.replace(":\n", ": ", 1)):
        if other != system:
            assert Instruction(other, user, "system", structure=structure).sections == {}


def test_a_sentence_s_beginning_belongs_to_its_section_and_a_heading_does_not():
    structure = {
        "framework": "risen",
        "sections": {"role": "a cook", "instructions": "Cook.", "input": "{{input}}"},
    }
    start = instruction_of(*build(structure), structure=structure)
    assert start.sections == {"role": "Role", "instructions": "Instructions"}
    assert start.at_section("role").text == "You are a cook."
    assert start.at_section("instructions").text == "Cook."
    assert "You are a cook.\n\nInstructions:\n[SECTION]" in start.at_section("instructions").context
    assert start.context == ""


@pytest.mark.parametrize("key", list(FRAMEWORKS))
def test_a_prompt_in_a_framework_says_its_instruction_and_keeps_its_slots(key):
    plain = Instruction("Say which it is.", "Review: {{input}}", "system", "p", "Careful v1")
    made = in_framework(plain, key, ["kind", "short"])
    assert "Say which it is." in made.system and made.user == "Review: {{input}}"
    assert build(made.structure) == (made.system, made.user)
    assert (made.prompt_id, made.name) == ("p", f"Careful v1 as {FRAMEWORKS[key].title}")
    assert set(made.sections) >= {s.key for s in FRAMEWORKS[key].sections if s.required} - {"input"}
    inside = instruction_of("", "Say which it is:\n{{input}}\n")
    assert in_framework(inside, key).user == "{{input}}"
    labels = in_framework(plain, key, [], ["good", "bad"])
    assert key == "chain_of_thought" or "Answer with one word: good or bad." in labels.system


# --- every method --------------------------------------------------------------------------------


STRUCTURE = {
    "framework": "risen",
    "sections": {
        "role": "a reader of reviews",
        "instructions": "In this task, you are given a review. Read it with care, and without haste.",
        "narrowing": "Answer with one word: positive or negative.",
        "input": "Review: {{input}}",
    },
}


def at_the_section(folder, structure=STRUCTURE, key="instructions"):
    """Freeze a run on one section."""
    start = instruction_of(*build(structure), structure=structure).at_section(key)
    spec = folder.spec
    spec["config"]["start"] = start.as_dict()
    (folder.path / "spec.json").write_text(json.dumps(spec))
    return start


def heard_by(host, monkeypatch):
    """What this host is asked about labels."""
    asked, answer = [], host.label_logprobs

    def hear(requests, labels):
        asked.extend(requests)
        return answer(requests, labels)

    host.label_logprobs = hear
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: host)
    return asked


def only_the_section_was_edited(start, asked, result):
    begin = start.system.index(start.text)
    head, tail = start.system[:begin], start.system[begin + len(start.text) :]
    assert head.endswith("Instructions:\n") and "Constraints:" in tail
    texts = set()
    for system, user in ([message["content"] for message in request] for request in asked):
        assert system.startswith(head) and system.endswith(tail) and user.startswith("Review: ")
        texts.add(system[len(head) : len(system) - len(tail)])
    assert start.text in texts and len(texts) > 1
    best = result["best"]
    assert (best["system"], best["user"]) == (head + best["text"] + tail, start.user)


@in_text
def test_every_method_edits_the_section_and_nothing_else(tmp_path, monkeypatch, name):
    """What the host is asked, and what comes out: the same letters around the section."""
    asked = heard_by(FakeHost(HostSpec(name="fake")), monkeypatch)
    folder = make_folder(tmp_path / "r", method=name, calls=300, finalists=1, **SMALL[name])
    only_the_section_was_edited(at_the_section(folder), asked, work_on(folder))


def test_so_does_a_policy_that_writes_prompts(tmp_path, monkeypatch, tiny):  # noqa: F811
    host = LocalHost(tiny, tmp_path)
    asked = heard_by(host, monkeypatch)
    folder = make_folder(
        tmp_path / "r", method="ppo", calls=90, sizes=(6, 3, 4), finalists=1, host=tiny, **ON_TINY["ppo"]
    )
    only_the_section_was_edited(at_the_section(folder), asked, work_on(folder))


def test_a_language_model_that_writes_is_told_where_its_text_stands(tmp_path, monkeypatch):
    heard = []

    class Host(FakeHost):
        def generate(self, requests, sampling, on_done=None, seeds=None):
            heard.extend(request[0]["content"] for request in requests)
            return super().generate(requests, sampling, on_done, seeds)

    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: Host(HostSpec(name="fake")))
    for name in ("opro", "ape", "gepa", "mipro"):
        folder = make_folder(tmp_path / name, method=name, calls=200, finalists=1, **SMALL[name])
        start = at_the_section(folder, key="role")
        heard.clear()
        work_on(folder)
        assert heard and all(one.startswith(start.context) for one in heard), name


# --- the config ------------------------------------------------------------------------------------


def test_a_config_with_a_framework_and_a_section(db, admin, project, examples, champion, search):
    examples(train=30)
    config = {"reward": "labels", "framework": "risen", "section": "instructions"}
    laid = preview(db, admin, project.id, config)
    assert (
        laid.start_name == "section Instructions of Careful v1 as RISEN"
        and laid.instruction == champion.system
    )
    run = search(method="random", source="edits", candidates=8, **config)
    assert run.name.startswith("Random search on section Instructions of Careful v1 as RISEN")
    assert run.result["start"]["text"] == champion.system
    # What is promoted keeps its sections, so that another search can edit another one.
    made = queue_candidates(db, admin, run.id, [1])["prompts"][0]
    assert (made.name, made.version, made.parent_id) == ("Careful", 2, champion.id)
    assert build(made.structure) == (made.system, made.user)
    there = sections_of(db, admin, project.id, {"prompt": made.id})
    assert list(there) == ["role", "instructions", "steps", "end_goal", "narrowing"]
    again = start_run(
        db, admin, project.id, "optimize", dict(get_run(db, admin, run.id).config) | {"seed": 5}
    )
    assert again.config["start"] == run.config["start"]  # a stored config, sent again


def test_labels_in_a_composed_reward_fill_sections_too(db, admin, project, examples, champion):
    examples()

    def no_criteria(session):
        row = session.get(Project, project.id)
        row.criteria = []
        session.add(row)

    db.write(no_criteria)
    reward = {"components": [{"kind": "labels"}]}
    for asked, wanted in ((reward, True), ("labels", True), ("reward_model", False)):
        there = sections_of(db, admin, project.id, {"framework": "risen", "reward": asked})
        assert ("narrowing" in there) == wanted, asked


@pytest.mark.parametrize(
    ("config", "message", "hint"),
    [
        ({"section": "role"}, "section: Careful v1 is free text", "start from a framework"),
        ({"framework": "magic"}, "framework: there is no “magic”", "role, risen"),
        ({"framework": "wiser", "section": "tone"}, "has no section “tone”", "who, instructions"),
        ({"framework": "wiser", "section": "input"}, "has no section “input”", "who, instructions"),
    ],
)
def test_what_a_prompt_has_not_is_said(db, admin, project, examples, champion, config, message, hint):
    examples()
    with pytest.raises(Invalid, match=message) as problem:
        start_run(db, admin, project.id, "optimize", {"reward": "labels", **config})
    assert hint in problem.value.hint


def test_slots_in_a_system_text_of_slots_alone_are_not_lost(db, admin, project, examples):
    examples()
    add(db, Prompt(project_id=project.id, name="odd", system="{{input}}", user="Say which. {{input}}"))
    with pytest.raises(Invalid, match="framework: the system text of odd v1 is only slots"):
        start_run(db, admin, project.id, "optimize", {"reward": "labels", "framework": "role"})


def test_a_structure_of_its_own_is_a_start(db, admin, project, examples):
    examples()
    structure = {
        "framework": "role",
        "sections": {"role": "a critic", "task": "Say it.", "input": "{{input}}"},
    }
    config = {"reward": "labels", "prompt": {"structure": structure}, "section": "task"}
    made = start_run(db, admin, project.id, "optimize", config)
    assert made.config["start"]["place"] == "section:task"
    assert Instruction(**made.config["start"]).text == "Say it."
