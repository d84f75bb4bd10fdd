"""Structures that help to write a prompt: sections with a name, put together to a template.

The frameworks are conventions of practice, not results of research:
- role: who the model is, then what to do (persona prompting).
- RISEN: Role, Instructions, Steps, End goal, Narrowing (by Kyle Balmer, a development of RISE).
- WISER: Who, Instructions, Sub-tasks, Examples, Review (attributed to Allie K. Miller).
- chain of thought: ask for the steps before the answer (Wei et al. 2022, arXiv 2201.11903;
  “Let's think step by step”: Kojima et al. 2022, arXiv 2205.11916).

A prompt keeps the sections it was made of (`Prompt.structure`), so that its next version
can be edited section by section: {"framework": key, "sections": {section key: text}}.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid


@dataclass(frozen=True)
class Section:
    """A part of a framework. `opening` goes before its text, on its own line if it ends
    with a colon; `default` is what the editor starts with."""

    key: str
    title: str
    help: str
    opening: str = ""
    required: bool = False
    default: str = ""


@dataclass(frozen=True)
class Framework:
    key: str
    title: str
    help: str
    sections: tuple[Section, ...]
    source: str


_INPUT = Section(
    "input",
    "Input",
    "What the model is given for each example. Slots such as {{input}} are filled from its fields.",
    required=True,
    default="{{input}}",
)

FRAMEWORKS: dict[str, Framework] = {
    framework.key: framework
    for framework in (
        Framework(
            "role",
            "Role",
            "Who the model is, and what it is to do. The shortest structure that works.",
            (
                Section("role", "Role", "Whom the model speaks as: “an experienced cook”.", "You are", True),
                Section("task", "Task", "What to do with the input, in one or two sentences.", "", True),
                Section("tone", "Tone and form", "How the answer sounds, how long it is.", "Answer style:"),
                _INPUT,
            ),
            "persona prompting",
        ),
        Framework(
            "risen",
            "RISEN",
            "Role, Instructions, Steps, End goal, Narrowing: for tasks with a way to go about them.",
            (
                Section("role", "Role", "Whom the model speaks as.", "You are", True),
                Section("instructions", "Instructions", "What to do.", "Instructions:", True),
                Section("steps", "Steps", "How to go about it, one step a line.", "Steps:"),
                Section("end_goal", "End goal", "What a good answer achieves for its reader.", "End goal:"),
                Section("narrowing", "Narrowing", "Limits: length, form, what to leave out.", "Constraints:"),
                _INPUT,
            ),
            "RISEN (K. Balmer)",
        ),
        Framework(
            "wiser",
            "WISER",
            "Who, Instructions, Sub-tasks, Examples, Review: for tasks that fall into parts.",
            (
                Section("who", "Who", "Whom the model speaks as.", "You are", True),
                Section("instructions", "Instructions", "What to do.", "Instructions:", True),
                Section("subtasks", "Sub-tasks", "The parts of the task, one a line.", "Sub-tasks:"),
                Section("examples", "Examples", "A good answer or two, with their input.", "Examples:"),
                Section(
                    "review",
                    "Review",
                    "What the model checks before it answers.",
                    "Before you answer, review:",
                ),
                _INPUT,
            ),
            "WISER (attributed to A. K. Miller)",
        ),
        Framework(
            "chain_of_thought",
            "Chain of thought",
            "The steps first, then the answer. For questions that need reasoning; costs more tokens.",
            (
                Section("task", "Task", "What to do with the input.", "", True),
                Section(
                    "thinking",
                    "Thinking",
                    "How to reason before the answer.",
                    "",
                    True,
                    "Think step by step, and write your reasoning down before you answer.",
                ),
                Section(
                    "answer",
                    "Answer",
                    "How the answer is marked, so that it can be found after the reasoning.",
                    "",
                    False,
                    "End with one line that starts with “Answer:”.",
                ),
                _INPUT,
            ),
            "Wei et al. 2022, arXiv 2201.11903",
        ),
    )
}


def framework_of(structure: Mapping[str, Any] | None) -> tuple[Framework, dict[str, str]] | None:
    """The framework and the texts of its sections, back from a prompt's structure; None
    for free text. Raises Invalid when the structure is not one of ours."""
    if not structure:
        return None
    if not isinstance(structure, Mapping) or structure.get("framework") not in FRAMEWORKS:
        raise Invalid(
            "structure: its framework is unknown.", f"Frameworks: {', '.join(FRAMEWORKS)}; or none."
        )
    framework = FRAMEWORKS[structure["framework"]]
    sections = structure.get("sections")
    if not isinstance(sections, Mapping):
        raise Invalid("structure: `sections` is an object {section: text}.")
    keys = [section.key for section in framework.sections]
    for key in sections:
        if key not in keys:
            raise Invalid(
                f"structure: {framework.title} has no section “{key}”.", f"Sections: {', '.join(keys)}."
            )
    return framework, {key: str(sections.get(key) or "").strip() for key in keys}


def build(structure: Mapping[str, Any]) -> tuple[str, str]:
    """(system, user) of a structure: the sections with text, in their order, as the system
    message; the input as the user's. Raises Invalid naming a required section that is empty."""
    found = framework_of(structure)
    if found is None:
        raise Invalid("structure: it is empty.")
    framework, texts = found
    parts = []
    for section in framework.sections:
        text = texts[section.key]
        if section.required and not text:
            raise Invalid(f"{section.key}: the section “{section.title}” is empty.", section.help)
        if text and section.key != _INPUT.key:
            parts.append(_part(section, text))
    return "\n\n".join(parts), texts[_INPUT.key]


def _part(section: Section, text: str) -> str:
    if not section.opening:
        return text
    if section.opening.endswith(":"):
        return f"{section.opening}\n{text}"
    if text.lower().startswith(section.opening.lower()):
        return text  # “You are …” was written out
    return f"{section.opening} {text}" + ("" if text[-1] in ".!?" else ".")


def places(structure: Mapping[str, Any], system: str) -> dict[str, tuple[int, int]]:
    """Where each section stands in the system message that `build` made of them: section
    key -> (begin, end). A heading (“Steps:”) is not part of its section, the beginning of a
    sentence (“You are”) is. Empty when the message is not made of these sections (any more):
    there is no telling then what belongs to which."""
    found = framework_of(structure)
    if found is None:
        return {}
    framework, texts = found
    where: dict[str, tuple[int, int]] = {}
    at = 0
    for section in framework.sections:
        text = texts[section.key]
        if not text or section.key == _INPUT.key:
            continue
        if where:
            if not system.startswith("\n\n", at):
                return {}
            at += 2
        part = _part(section, text)
        if not system.startswith(part, at):
            return {}
        heading = len(section.opening) + 1 if section.opening.endswith(":") else 0
        where[section.key] = at + heading, at + len(part)
        at += len(part)
    return where if at == len(system) else {}


def with_section(structure: Mapping[str, Any], key: str, text: str) -> dict[str, Any]:
    """The structure with another text in one section."""
    return {**structure, "sections": {**structure["sections"], key: text}}


def structure_of(framework: str, sections: Mapping[str, str]) -> dict[str, Any]:
    """The structure to keep with a prompt: only sections with text."""
    return {
        "framework": framework,
        "sections": {key: text.strip() for key, text in sections.items() if text.strip()},
    }
