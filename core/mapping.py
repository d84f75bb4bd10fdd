"""From a file's columns to the fields that an import takes: what each kind of import
needs, a guess from the columns' names, and the rows that a mapping makes."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid

Mapping = dict[str, list[str]]  # field -> columns; only `input` takes more than one


@dataclass(frozen=True)
class Field:
    name: str
    title: str
    help: str = ""
    required: bool = False
    also: tuple[str, ...] = ()  # other names that columns have for it


_INPUT = Field(
    "input",
    "Input",
    "What a response answers. One column fills the slot {{input}}; several become fields under their own names.",
    True,
    ("prompt", "question", "instruction", "query", "text", "sentence", "article", "document", "content", "context",
     "user_input", "conversation"),
)  # fmt: skip
_EXTERNAL_ID = Field(
    "external_id", "External id", "An id of your own.", also=("id", "uid", "uuid", "example_id")
)
_JUDGED = (
    Field("strength", "Strength", "significantly, clearly, slightly or barely"),
    Field("reason", "Reason", "The annotator's words.", also=("comment", "rationale", "explanation", "justification")),
    Field("criteria", "Criteria", "An object of criterion and rating.", also=("ratings",)),
    Field("created_at", "Time of the vote", "ISO 8601, or seconds since 1970.", also=("timestamp", "time", "date", "tstamp")),
    Field("duration_ms", "Duration", "Milliseconds."),
    _EXTERNAL_ID,
    Field("simulated", "Simulated", "True for a vote that no person cast."),
)  # fmt: skip
_ANNOTATOR = Field(
    "annotator", "Annotator", "Who judged.",
    also=("worker", "judge", "rater", "labeler", "labeller", "annotator_id", "worker_id", "user", "evaluator"),
)  # fmt: skip


def _side(letter: str, numbers: str) -> tuple[Field, Field]:
    ends = (letter, *numbers)
    words = ("response", "answer", "output", "completion", "result", "text", "generation", "conversation")
    models = ("prompt", "model", "system", "name")
    return (
        Field(
            f"response_{letter}", f"Response {letter.upper()}", "", True,
            tuple(f"{word}{gap}{end}" for gap in ("_", "") for word in words for end in ends),
        ),
        Field(
            f"prompt_{letter}", f"Prompt {letter.upper()}",
            f"The name of what produced response {letter.upper()}; without one it is “{letter.upper()}”.", False,
            tuple(f"{word}_{end}" for word in models for end in ends),
        ),
    )  # fmt: skip


_MESSAGES = Field(
    "messages", "Messages", "A conversation, or the turns before the input.", also=("history", "turns")
)

KINDS: dict[str, tuple[Field, ...]] = {
    "examples": (
        _INPUT,
        Field("reference", "Reference", "The right answer or label.",
              also=("label", "answer", "target", "output", "completion", "expected", "gold", "ideal", "solution")),
        Field("split", "Split", "train, dev or test; else a hash of the input decides."),
        _EXTERNAL_ID,
    ),
    "comparisons": (
        _INPUT,
        *_side("a", "1x"),
        *_side("b", "2y"),
        _ANNOTATOR,
        Field("choice", "Choice", "Who won. Without annotator and choice, a row is a pair that waits for votes.",
              also=("winner", "preference", "preferred", "vote", "label", "verdict")),
        Field("left", "Shown on the left", "a or b, or the name of the prompt that stood there.",
              also=("shown_left", "left_model", "left_side")),
        *_JUDGED,
    ),
    "preferences": (
        Field("prompt", "Prompt", "Without it: what chosen and rejected share.", also=("input", "question", "instruction")),
        Field("chosen", "Chosen", "", True, ("preferred", "better")),
        Field("rejected", "Rejected", "", True, ("dispreferred", "worse")),
        Field("prompt_chosen", "Name of what wrote the chosen one", "Without it: “unknown”.", also=("chosen_model", "model_chosen")),
        Field("prompt_rejected", "Name of what wrote the rejected one", "Without it: “unknown”.",
              also=("rejected_model", "model_rejected")),
        _ANNOTATOR,
        *_JUDGED,
    ),
    # Files to be scored by a reward model (core.reward.files), not imported.
    "responses": (
        _INPUT,
        _MESSAGES,
        Field("response", "Response", "What is scored.", True,
              ("answer", "output", "completion", "generation", "reply", "result")),
    ),
    "response_pairs": (
        _INPUT,
        _MESSAGES,
        Field("response_a", "Response A", "", True, (*_side("a", "1x")[0].also, "chosen")),
        Field("response_b", "Response B", "", True, (*_side("b", "2y")[0].also, "rejected")),
    ),
}  # fmt: skip

# What a value of the choice column can mean. left and right need to know what stood left.
MEANINGS = {
    "a": "A wins",
    "b": "B wins",
    "tie": "Tie",
    "both_bad": "Both bad",
    "left": "The left one wins",
    "right": "The right one wins",
    "": "No vote: the pair waits",
    "?": "Unclear: do not take",
}
_A = (
    "a",
    "model_a",
    "response_a",
    "answer_a",
    "option_a",
    "system_a",
    "output_a",
    "1",
    "first",
    "x",
    "model_x",
)
_B = (
    "b",
    "model_b",
    "response_b",
    "answer_b",
    "option_b",
    "system_b",
    "output_b",
    "2",
    "second",
    "y",
    "model_y",
)
_TIE = ("tie", "draw", "equal", "same", "both", "c", "0", "neutral", "both_good", "tie_both_good")
_BAD = ("both_bad", "tie_bothbad", "tie_both_bad", "bothbad", "neither", "none_is_good", "bad")
_SPELLINGS = {
    **dict.fromkeys(_A, "a"),
    **dict.fromkeys(_B, "b"),
    **dict.fromkeys(_TIE, "tie"),
    **dict.fromkeys(_BAD, "both_bad"),
    "left": "left",
    "right": "right",
}


def plain(name: str) -> str:
    """A name without its case and signs: `Model A` is `model_a`."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).strip().lower()).strip("_")


def guess_kind(columns: list[str]) -> str:
    names = {plain(column) for column in columns}
    if {"chosen", "rejected"} <= names:
        return "preferences"
    mapping = guess_mapping("comparisons", columns)
    return "comparisons" if mapping["response_a"] and mapping["response_b"] else "examples"


def guess_mapping(kind: str, columns: list[str]) -> Mapping:
    """Each field's column by name: its own name first, then what else it is called. No
    column is used twice."""
    free = {plain(column): column for column in reversed(columns)}
    mapping: Mapping = {field.name: [] for field in KINDS[kind]}
    for field in KINDS[kind]:
        if field.name in free:
            mapping[field.name] = [free.pop(field.name)]
    for field in KINDS[kind]:
        other = next((name for name in field.also if name in free), None)
        if not mapping[field.name] and other is not None:
            mapping[field.name] = [free.pop(other)]
    if kind == "comparisons" and mapping["choice"] and not mapping["left"] and "left" in free:
        mapping["left"] = [free["left"]]
    return mapping


def check_mapping(kind: str, mapping: Mapping) -> None:
    """Raises Invalid, naming the fields that have no column yet."""
    missing = [field.title for field in KINDS[kind] if field.required and not mapping.get(field.name)]
    if missing:
        raise Invalid(f"No column yet for: {', '.join(missing)}.", "Choose one for each.")
    if kind == "comparisons" and bool(mapping.get("annotator")) != bool(mapping.get("choice")):
        has, lacks = ("annotator", "choice") if mapping.get("annotator") else ("choice", "annotator")
        raise Invalid(
            f"There is a column for {has}, but none for {lacks}.",
            "A vote needs both; without both, rows are pairs that wait for votes.",
        )


def choice_values(rows: list[dict[str, Any]], column: str, most: int = 30) -> dict[str, int]:
    """What the choice column says, and how often; the most frequent first."""
    counted = Counter(_key(row.get(column)) for row in rows)
    return {value: number for value, number in counted.most_common(most) if value}


def guess_meaning(value: str) -> str:
    """One of MEANINGS; what is not known is unclear, rather than taken for something."""
    return _SPELLINGS.get(plain(value), "?")


def apply(
    kind: str,
    mapping: Mapping,
    rows: list[dict[str, Any]],
    meanings: dict[str, str] | None = None,
    annotator: str = "",
) -> list[dict[str, Any]]:
    """Rows as imports take them. `meanings` says what the values of the choice column mean
    (one of MEANINGS; what it does not name is passed on as it is). `annotator` is the judge
    of a preference file that has no column for it."""
    columns = {name: chosen for name, chosen in mapping.items() if chosen}
    made = []
    for row in rows:
        new: dict[str, Any] = {}
        for name, chosen in columns.items():
            several = name == "input" and len(chosen) > 1
            new[name] = {column: row.get(column) for column in chosen} if several else row.get(chosen[0])
        if kind == "comparisons" and "choice" in columns:
            _read_choice(new, meanings or {})
        if kind == "preferences" and annotator and not new.get("annotator"):
            new["annotator"] = annotator
        if new.get("simulated") in (None, ""):
            new.pop("simulated", None)
        made.append(new)
    return made


def _read_choice(row: dict[str, Any], meanings: dict[str, str]) -> None:
    """Put choice and left in canonical words. Where the choice names a side, and no column
    says what stood left, A did."""
    left = _key(row.get("left"))
    if left:
        named = {_key(row.get("prompt_a")): "a", _key(row.get("prompt_b")): "b"}
        row["left"] = named.get(left) or {"a": "a", "b": "b"}.get(_SPELLINGS.get(plain(left), ""), left)
    choice = _key(row.get("choice"))
    meant = meanings.get(choice, choice)
    if meant == "?":
        meant = choice  # the import refuses it, and says what it says
    if meant in ("left", "right"):
        if not left:
            row["left"] = "a"
        other = {"a": "b", "b": "a"}
        meant = row["left"] if meant == "left" else other.get(row["left"], row["left"])
    row["choice"] = meant or None
    if choice and not meant:
        row["annotator"] = None  # it means "no vote": the pair waits


def _key(value: Any) -> str:
    return "" if value is None else str(value).strip()
