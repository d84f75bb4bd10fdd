"""Writing a prompt version: free text or a framework's sections, with the messages that an
example would make of it, live."""

from contextlib import suppress
from typing import Any

import streamlit as st

from core.errors import PrefloopError
from core.prompts import versions
from core.prompts.frameworks import FRAMEWORKS, build, framework_of, structure_of
from core.prompts.templates import slots
from core.services import database
from pages.shared import me, problems
from storage.tables import Example, Project, Prompt

FREE = "free"
# Keys of what is being written. They are kept when another view is shown.
_DRAFT = "draft_"


def start_new() -> None:
    """Forget the draft."""
    for key in [key for key in st.session_state if str(key).startswith(_DRAFT)]:
        del st.session_state[key]


def edit_version(prompt: Prompt) -> None:
    """Begin a draft with what a version says."""
    start_new()
    state = st.session_state
    state[_DRAFT + "name"] = prompt.name
    state[_DRAFT + "parent"] = prompt.id
    state[_DRAFT + "system"], state[_DRAFT + "user"] = prompt.system, prompt.user or "{{input}}"
    with suppress(PrefloopError):  # an unknown structure: its texts are still there as free text
        found = framework_of(prompt.structure)
        if found is not None and build(prompt.structure or {}) == (prompt.system, prompt.user):
            framework, texts = found
            state[_DRAFT + "framework"] = framework.key
            for key, text in texts.items():
                state[f"{_DRAFT}{framework.key}_{key}"] = text


def show_editor(project: Project, prompts: list[Prompt]) -> None:
    state = st.session_state
    everything = {prompt.id: prompt for prompt in prompts}
    parent = everything.get(state.get(_DRAFT + "parent") or "")
    left, right = st.columns([1.1, 1], gap="large")
    with left:
        name, system, user, structure = _fields(parent)
    with right:
        problem = _preview(project, system, user, structure)
    with left:
        _save(project, everything, parent, name, system, user, structure, problem)


def _fields(parent: Prompt | None) -> tuple[str, str, str, dict[str, Any] | None]:
    state = st.session_state
    if parent is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(f"The next version of {versions.label(parent)}")
            st.button("Start from scratch", on_click=start_new, type="tertiary", icon=":material/close:")
    name = st.text_input(
        "Name", key=_DRAFT + "name",
        persist_state="session", placeholder="short and kind", max_chars=120,
        help="A name that exists gets its next version; a new name starts at version 1.",
    )  # fmt: skip
    state.setdefault(_DRAFT + "framework", FREE)
    framework = st.segmented_control(
        "Structure",
        [FREE, *FRAMEWORKS],
        format_func=lambda key: "Free text" if key == FREE else FRAMEWORKS[key].title,
        key=_DRAFT + "framework",
        wrap=True,
        persist_state="session",
        required=True,
        on_change=_to_free_text,
    )
    if framework == FREE:
        state.setdefault(_DRAFT + "user", "{{input}}")
        system = st.text_area(
            "System message", key=_DRAFT + "system", height=150, persist_state="session",
            help="What holds for every example: role, rules, form of the answer. May be empty.",
        )  # fmt: skip
        user = st.text_area(
            "User message", key=_DRAFT + "user", height=150, persist_state="session",
            help="What is asked for each example. Slots such as {{input}} are filled from its fields.",
        )  # fmt: skip
        return name, system, user, None
    chosen = FRAMEWORKS[framework]
    st.caption(f"{chosen.help} Source: {chosen.source}.")
    texts = {}
    for section in chosen.sections:
        key = f"{_DRAFT}{framework}_{section.key}"
        state.setdefault(key, section.default)
        texts[section.key] = st.text_area(
            section.title + ("" if section.required else " (optional)"),
            key=key,
            height=90,
            placeholder=section.help,
            persist_state="session",
        )
    structure = structure_of(framework, texts)
    state[_DRAFT + "built"] = structure
    try:
        system, user = build(structure)
    except PrefloopError:
        system, user = "", ""
    return name, system, user, structure


def _to_free_text() -> None:
    """From a framework to free text: what the sections made is where it goes on."""
    state = st.session_state
    structure = state.pop(_DRAFT + "built", None)
    if state.get(_DRAFT + "framework") == FREE and structure:
        with suppress(PrefloopError):  # sections are missing: the free text stays as it was
            state[_DRAFT + "system"], state[_DRAFT + "user"] = build(structure)


# --- what an example would make of it --------------------------------------------------------


def _preview(project: Project, system: str, user: str, structure: dict[str, Any] | None) -> str:
    """Show the messages for an example; answers what is wrong with the draft, or nothing."""
    examples = versions.some_examples(database(), me(), project.id)
    fields = versions.fields_there(database(), me(), project.id)
    st.caption("Preview: what the language model gets")
    if examples:
        by_id = {example.id: example for example in examples}
        chosen = by_id[
            st.selectbox(
                "Example",
                list(by_id),
                format_func=lambda key: by_id[key].input[:80].replace("\n", " "),
                key=f"preview_example_{project.id}",
                label_visibility="collapsed",
            )
        ]
    else:
        chosen = Example(project_id=project.id, content_hash="", input="(an example's text)")
        st.caption("This project has no examples yet: slots are checked when it has.")
    missing = _missing(structure)
    if missing:
        st.info(f"Fill in: {', '.join(missing)}.", icon=":material/edit_note:")
        return f"These sections are empty: {', '.join(missing)}."
    try:
        template = versions.check_template(database(), me(), project.id, system, user)
        for message in versions.rendered(template, chosen):
            st.caption(message["role"].capitalize())
            st.code(message["content"], language=None, wrap_lines=True)
    except PrefloopError as problem:
        st.info(f"{problem.message} {problem.hint}", icon=":material/edit_note:")
        return str(problem)
    used = slots(template.system, template.user)
    said = ", ".join(f"`{{{{{slot}}}}}`" for slot in fields) or "`{{input}}`"
    st.caption(f"Fields of the examples: {said}. Used: {', '.join(f'`{slot}`' for slot in used)}.")
    if template.system != system and not slots(system, user):
        st.caption("Without a slot, the text is taken as an instruction: the example follows it.")
    return ""


def _missing(structure: dict[str, Any] | None) -> list[str]:
    """Titles of the required sections that are empty."""
    found = framework_of(structure)
    if found is None:
        return []
    framework, texts = found
    return [section.title for section in framework.sections if section.required and not texts[section.key]]


def _save(
    project: Project,
    everything: dict[str, Prompt],
    parent: Prompt | None,
    name: str,
    system: str,
    user: str,
    structure: dict[str, Any] | None,
    problem: str,
) -> None:
    clean = " ".join((name or "").split())
    newest = max((p.version for p in everything.values() if p.name == clean), default=0)
    label = f"Save as version {newest + 1}" if newest else "Save"
    if st.button(
        label, type="primary", icon=":material/save:", disabled=bool(problem) or not clean, key="prompt_save",
        help=problem or (None if clean else "It needs a name."),
    ):  # fmt: skip
        with problems():
            prompt = versions.create_prompt(
                database(), me(), project.id, clean, system, user, structure, parent.id if parent else None
            )
            same = prompt.id in everything
            st.toast(
                "That is what its newest version says already." if same else "Saved.",
                icon=":material/info:" if same else ":material/check:",
            )
            st.session_state[f"prompt_of_{project.id}"] = prompt.id
            st.session_state["prompts_go"] = True
            start_new()
            st.rerun()
