"""What an optimise run starts from: the examples it may use, the labels, the prompt."""

import json
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session, col, select

from core.errors import Invalid
from core.optimize.instruction import Instruction, instruction_of
from core.optimize.plan import SPLITS
from core.prompts.frameworks import build
from core.prompts.templates import slots
from core.prompts.versions import fields_of, label, prompts_of
from core.reward.text import input_text
from storage.tables import Example, Project, Prompt

MAX_LABELS = 50
# Tasks whose files number their labels: what the numbers stand for.
TASKS: dict[str, dict[str, str]] = {
    "sst2": {"0": "negative", "1": "positive"},
    "agnews": {"0": "world", "1": "sports", "2": "business", "3": "technology"},
}
_VERSION = re.compile(r"^(.*\S)\s+v(\d+)$")


# --- examples and labels ---------------------------------------------------------------------


def usable_examples(session: Session, project_id: str, *, with_reference: bool) -> list[Example]:
    query = select(Example).where(Example.project_id == project_id).order_by(col(Example.id))
    found = list(session.exec(query))
    if not found:
        raise Invalid("examples: this project has no examples.", "Import some on the page Data.")
    if with_reference:
        found = [example for example in found if (example.reference or "").strip()]
        if not found:
            raise Invalid(
                "examples: none of this project's examples has a reference, so there is no label to score by.",
                "Import examples with a reference, or optimise against the reward model.",
            )
    return found


def label_words(examples: Sequence[Example], asked: Any, task: str) -> dict[str, str]:
    """Reference -> the word the language model is asked to prefer. `asked`: a list of
    references, a mapping, or nothing (every reference that occurs)."""
    there = sorted({example.reference for example in examples if example.reference})
    if isinstance(asked, Mapping):
        words = {str(reference): str(word).strip() for reference, word in asked.items()}
    elif isinstance(asked, list):
        words = {str(reference): str(reference).strip() for reference in asked}
    elif asked is not None:
        raise Invalid("labels: a list of references, or an object {reference: word}.")
    elif set(there) <= set(TASKS.get(task, {})):
        words = TASKS[task]
    else:
        words = {reference: reference.strip() for reference in there}
    unused = sorted(set(words) - set(there))
    if asked is not None and unused:
        raise Invalid(f"labels: no example has the reference “{unused[0]}”.", f"There are: {_few(there)}.")
    if len(words) < 2:
        raise Invalid("labels: at least two different references are needed.", f"There are: {_few(there)}.")
    if len(words) > MAX_LABELS:
        raise Invalid(
            f"labels: the references are {len(words)} different texts, which are no labels.",
            "Name the labels to use, or optimise against the reward model.",
        )
    if "" in words.values() or len(set(words.values())) < len(words):
        raise Invalid("labels: each reference needs a word of its own.")
    return words


def _few(items: Sequence[str]) -> str:
    return ", ".join(item[:40] for item in items[:8]) + (", …" if len(items) > 8 else "")


def chosen_rows(
    examples: Sequence[Example], start: Instruction, reward: str
) -> dict[str, list[dict[str, Any]]]:
    """Rows to freeze, by split: the examples that fill the prompt's slots. Raises Invalid
    naming the slot, or the split that has none."""
    wanted = slots(start.system, start.user)
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    lacking: dict[str, int] = defaultdict(int)
    for example in examples:
        fields = fields_of(example)
        missing = [slot for slot in wanted if slot not in fields]
        if missing:
            lacking[missing[0]] += 1
            continue
        rows[example.split].append(
            {
                "id": example.id,
                "split": example.split,
                "input": input_text(example.input, example.messages),
                "fields": json.dumps(fields, ensure_ascii=False),
                "messages": json.dumps(example.messages, ensure_ascii=False) if example.messages else None,
                "reference": example.reference,
            }
        )
    if not any(rows.values()):
        slot = max(lacking, key=lambda name: lacking[name])
        raise Invalid(
            f"prompt: the slot {{{{{slot}}}}} has no field in any usable example.",
            f"Fields there are: {', '.join(sorted({name for e in examples for name in fields_of(e)}))}.",
        )
    for split in SPLITS:
        if not rows[split]:
            what = " with a reference" if reward == "labels" else ""
            raise Invalid(
                f"examples: the {split} split has no usable example{what}.",
                "Import more examples: they are split by a hash of their content, "
                "or by a column named split.",
            )
    return rows


Rows = dict[str, list[dict[str, Any]]]


def rows_for_vectors(start: Instruction, rows: Rows) -> Rows:
    """The rows, of train only those that vectors can be trained on: no gradient goes through
    what a model samples, so they learn references. Raises Invalid when there is none, or when
    the instruction has slots, which vectors in its place could not fill."""
    named = slots(start.text)
    if named:
        raise Invalid(
            f"prompt: the instruction has the slot {{{{{named[0]}}}}}, and vectors that take its place "
            "have none to fill.",
            "Put the slot into the user message, outside the instruction.",
        )
    learned = [row for row in rows["train"] if (row["reference"] or "").strip()]
    if not learned:
        raise Invalid(
            "examples: none of the train examples has a reference, which is what vectors are trained on "
            "(a reward on generated text gives no gradient).",
            "Import examples with a reference, or choose a method that proposes text.",
        )
    return {**rows, "train": learned}


def sample(rows: Sequence[dict[str, Any]], count: int, key: str) -> list[dict[str, Any]]:
    """`count` of the rows, drawn with the seed `key`; references take turns, so that a
    small sample holds each of them."""
    rng = random.Random(key)
    by_reference: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_reference[row["reference"] or ""].append(row)
    if len(by_reference) > MAX_LABELS:  # free text: nothing to balance
        by_reference = {"": list(rows)}  # type: ignore[assignment]
    groups = [rng.sample(by_reference[name], len(by_reference[name])) for name in sorted(by_reference)]
    drawn: list[dict[str, Any]] = []
    while len(drawn) < min(count, len(rows)):
        for group in groups:
            if group and len(drawn) < count:
                drawn.append(group.pop())
    return drawn


# --- the start prompt --------------------------------------------------------------------------


def find_prompt(session: Session, project_id: str, asked: Any) -> Instruction:
    """The prompt a config names: an id, a name (newest version; “name v2” for another),
    an object {system, user} or {structure}, or a text. Raises Invalid."""
    if isinstance(asked, dict):
        if asked.get("structure"):
            made = build(asked["structure"])
            return instruction_of(*made, name="the given prompt", structure=dict(asked["structure"]))
        system, user = str(asked.get("system") or ""), str(asked.get("user") or "{{input}}")
        return instruction_of(system, user, name="the given prompt")
    said = str(asked).strip()
    prompts = _prompts(session, project_id)
    named = _VERSION.match(said)
    found = next((prompt for prompt in prompts if prompt.id == said or prompt.name == said), None)
    if found is None and named:
        wanted = (named[1], int(named[2]))
        found = next((prompt for prompt in prompts if (prompt.name, prompt.version) == wanted), None)
    if found is not None:
        if not found.user.strip():
            raise Invalid(
                f"prompt: “{found.name}” is known by name only, and has no template.", "Choose another."
            )
        return instruction_of(found.system, found.user, found.id, label(found), found.structure)
    if slots(said):
        return instruction_of("", said, name="the given prompt")
    if len(said.split()) >= 3:
        return instruction_of(said, "{{input}}", name="the given instruction")
    raise Invalid(
        f"prompt: there is no prompt “{said}” in this project.",
        "Give the id or name of a version, or the text of an instruction.",
    )


def default_prompt(session: Session, project: Project) -> Instruction | None:
    """The champion, else the newest prompt with a template that has something to edit."""
    prompts = [prompt for prompt in _prompts(session, project.id) if prompt.user.strip()]
    prompts.sort(key=lambda prompt: prompt.id != project.champion_prompt_id)  # stable: newest first
    for prompt in prompts:
        try:
            return instruction_of(prompt.system, prompt.user, prompt.id, label(prompt), prompt.structure)
        except Invalid:
            continue
    return None


def general_instruction(words: Sequence[str]) -> Instruction:
    """What a labelled task starts from when the project has no prompt."""
    choices = f"{', '.join(words[:-1])} or {words[-1]}"
    text = (
        "In this task, you are given a text. Read the text carefully, and decide which label fits it best. "
        f"Answer with one word: {choices}."
    )
    return Instruction(text, "{{input}}", "system", None, "a general instruction")


def _prompts(session: Session, project_id: str) -> list[Prompt]:
    """Newest first."""
    found = prompts_of(session, project_id)
    return sorted(found, key=lambda prompt: (prompt.created_at, prompt.version, prompt.id), reverse=True)
