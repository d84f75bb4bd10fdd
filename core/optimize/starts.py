"""What a search starts from: a prompt as it is, or dressed in a framework (role, RISEN,
WISER, chain of thought); all of its instruction, or one section of it.

A framework is filled with what the project has: its prompt's instruction is the task or the
instructions, its criteria or labels say what a good answer is, and the other sections get
plain words that hold for any task, for a search to improve on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from core.errors import Invalid
from core.optimize.inputs import default_prompt, find_prompt, general_instruction
from core.optimize.instruction import Instruction
from core.prompts.frameworks import FRAMEWORKS, build, structure_of
from storage.tables import Project

STEPS = "Read the input carefully.\nWork out what is asked.\nAnswer, and check the answer once."
LABEL_STEPS = "Read the text carefully.\nWeigh what speaks for each label.\nAnswer with one word."


def starting_point(
    session: Session, project: Project, config: Mapping[str, Any], words: Sequence[str] = ()
) -> Instruction:
    """The prompt that a config names (or the champion, or the newest), in the framework and
    at the section it names. `words`: the labels' words, for a search on labels. Raises
    Invalid naming `prompt`, `framework` or `section`."""
    asked = config.get("prompt")
    start = find_prompt(session, project.id, asked) if asked else default_prompt(session, project)
    if start is None and words:
        start = general_instruction(words)
    if start is None:
        raise Invalid(
            "prompt: this project has no prompt with an instruction to start from.",
            "Write one on the page Prompts.",
        )
    if config.get("framework"):
        start = in_framework(start, str(config["framework"]), list(project.criteria), words)
    return start.at_section(str(config["section"])) if config.get("section") else start


def in_framework(
    start: Instruction, key: str, criteria: Sequence[str] = (), words: Sequence[str] = ()
) -> Instruction:
    """A prompt's instruction as the task of a framework, whose other sections are filled.
    Raises Invalid for an unknown framework, or a prompt whose slots it would lose."""
    framework = FRAMEWORKS.get(key)
    if framework is None:
        raise Invalid(f"framework: there is no “{key}”.", f"Frameworks: {', '.join(FRAMEWORKS)}.")
    user = start.user if start.place == "system" else start.with_text("")[1].strip()
    if start.place != "system" and start.system.strip():
        raise Invalid(
            f"framework: the system text of {start.name or 'this prompt'} is only slots, which would be lost.",
            "Start from another prompt, or leave framework out.",
        )
    sections = {**filled(criteria, words), **_tasks(start.text), "input": user}
    wanted = {section.key: sections.get(section.key, section.default) for section in framework.sections}
    structure = structure_of(key, wanted)
    system, user = build(structure)
    name = f"{start.name} as {framework.title}" if start.name else framework.title
    return Instruction(system, user, "system", start.prompt_id, name, structure)


def _tasks(text: str) -> dict[str, str]:
    return {"task": text.strip(), "instructions": text.strip()}


def filled(criteria: Sequence[str], words: Sequence[str]) -> dict[str, str]:
    """Texts for the sections of all frameworks, but for the task itself. What has no words
    that hold for any task (examples, tone without criteria) stays out."""
    if words:
        choices = f"{', '.join(words[:-1])} or {words[-1]}"
        form = f"Answer with one word: {choices}."
        goal = f"The word is the one of {choices} that most people would choose for this text."
    else:
        qualities = ", ".join(one.strip() for one in criteria if one.strip())
        form = f"A good answer is judged by: {qualities}." if qualities else ""
        goal = "Whoever asked can use the answer as it is."
    steps = LABEL_STEPS if words else STEPS
    return {
        "role": "a careful expert in this task",
        "who": "a careful expert in this task",
        "tone": form,
        "steps": steps,
        "subtasks": steps,
        "end_goal": goal,
        "narrowing": form,
        "review": f"Does the answer do what the instructions ask? {form}".strip(),
    }
