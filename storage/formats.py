"""The formats that votes and demonstrations go out in: their names, columns and files."""

from dataclasses import dataclass

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TEXT = pa.string()

_COMPARISON = (
    ("input", TEXT),
    ("response_a", TEXT),
    ("response_b", TEXT),
    ("prompt_a", TEXT),
    ("prompt_b", TEXT),
    ("annotator", TEXT),
    ("choice", TEXT),
    ("strength", TEXT),
    ("left", TEXT),
    ("reason", TEXT),
    ("criteria", TEXT),
    ("duration_ms", pa.int64()),
    ("external_id", TEXT),
    ("created_at", TEXT),
    ("machine", pa.bool_()),
    ("adjudication", pa.bool_()),
)


@dataclass(frozen=True)
class Format:
    """`family`: comparisons, preference, margin, openai, kto or sft. `columns`: names and
    types, without `simulated`, which is added where simulated votes are taken in."""

    name: str
    family: str
    title: str
    columns: tuple[tuple[str, pa.DataType], ...]
    both_bad: tuple[str, ...] = ()  # what can be done about "both bad", the default first
    ties: tuple[str, ...] = ()
    messages: bool = False

    @property
    def encodings(self) -> tuple[str, ...]:
        """Lists of messages have no place in a CSV; OpenAI takes JSON Lines alone."""
        if self.family == "openai":
            return ("jsonl", "json")
        files = ("jsonl", "json", "parquet") if self.messages else ("jsonl", "json", "csv", "parquet")
        return (*files, "hf")

    def schema(self, include_simulated: bool) -> pa.Schema:
        more = [("simulated", pa.bool_())] if include_simulated else []
        return pa.schema([*self.columns, *more])


def _both(name: str, family: str, title: str, columns: tuple[str, ...], **more: object) -> list[Format]:
    """A format as text and as messages."""
    types = {"margin": pa.float64(), "q": pa.float64(), "n": pa.int64(), "label": pa.bool_()}
    made = []
    for messages in (False, True):
        kind = {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "completion": MESSAGES}
        given = types | kind if messages else types
        made.append(
            Format(
                f"{name}-conversational" if messages else name,
                family,
                f"{title}, as messages" if messages else title,
                tuple((column, given.get(column, TEXT)) for column in columns),
                messages=messages,
                **more,  # type: ignore[arg-type]
            )
        )
    return made


_PAIR = ("prompt", "chosen", "rejected")
_RANKED: dict[str, object] = {"ties": ("drop", "both"), "both_bad": ("ignore", "drop")}
_ALL = (
    Format("comparisons", "comparisons", "Comparisons: a row a vote, and the pairs that wait", _COMPARISON),
    *_both("trl", "preference", "TRL preferences: prompt, chosen, rejected", _PAIR, **_RANKED),
    *_both(
        "trl-margin",
        "margin",
        "TRL preferences with margin and soft label",
        (*_PAIR, "margin", "q", "n"),
        **_RANKED,
    ),
    *_both("dpo", "preference", "DPO: the same rows as TRL preferences", _PAIR, **_RANKED),
    Format(
        "dpo-openai",
        "openai",
        "DPO as OpenAI takes it: input, preferred_output, non_preferred_output",
        (
            ("input", pa.struct([("messages", MESSAGES)])),
            ("preferred_output", MESSAGES),
            ("non_preferred_output", MESSAGES),
        ),
        both_bad=("ignore", "drop"),
        ties=("drop", "both"),
        messages=True,
    ),
    *_both(
        "kto",
        "kto",
        "KTO: each response by itself, good or bad",
        ("prompt", "completion", "label"),
        ties=("drop", "both"),
        both_bad=("reject", "ignore", "drop"),
    ),
    *_both(
        "sft",
        "sft",
        "SFT: prompt and completion",
        ("prompt", "completion", "source", "author"),
        both_bad=("drop", "ignore"),
    ),
    Format(
        "sft-messages",
        "sft",
        "SFT: whole conversations (messages)",
        (("messages", MESSAGES), ("source", TEXT), ("author", TEXT)),
        both_bad=("drop", "ignore"),
        messages=True,
    ),
)
FORMATS = {one.name: one for one in _ALL}
ENCODINGS = {
    "jsonl": "application/x-ndjson",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "hf": "application/zip",
}
