"""The dataset card (README.md) of an export: YAML for the Hugging Face hub's tools, and the
same in words for people.

Names and guidelines were written by people and are untrusted: in the YAML they are JSON
strings (JSON is YAML), in the text they are escaped or an indented block.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from storage.exporting import Account, Order
from storage.tables import Project

_SIGNS = re.compile(r"[\\`*_{}\[\]()#+\-.!|<>~&$:]")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_TIES = {
    "drop": "left out",
    "both": "kept, once each way round",
    "both-kto": "kept, both responses as good ones",
}
_BAD = {
    "ignore": "a vote “both bad” counts for neither; a pair is left out when every vote says so",
    "drop": "left out when more than half of the votes say so",
    "reject": "kept, both responses as bad ones, when more than half of the votes say so",
}
_COLUMNS = {
    "prompt": "what people saw, and the responses answer",
    "chosen": "the response that more votes preferred",
    "rejected": "the other one",
    "margin": "mean strength of the votes for the chosen response, less those against it, at least 0: "
    "significantly 1, clearly 2/3, slightly 1/3, barely 0 (Llama 2, arXiv 2307.09288, table 27)",
    "q": "soft label: share of the votes for the chosen response, a tie counting half",
    "n": "votes behind it, without “both bad”",
    "completion": "a response",
    "label": "true: a good response; false: a bad one",
    "messages": "the conversation, the response last",
    "source": "demonstration: written by a person; chosen: won a pair and lost none",
    "author": "who wrote the demonstration",
    "machine": "true where a language model cast the vote, as a judge",
    "adjudication": "true where an adjudicator decided a disputed pair, having read what others said",
    "simulated": "true where the row rests on a vote that no person cast",
}


def card(project: Project, order: Order, schema: pa.Schema, account: Account, counts: dict[str, int]) -> str:
    """README.md of a folder. `counts`: rows written, by split."""
    total = sum(counts.values())
    tally, policy, described = account.tally, order.policy, order.described
    share = tally.simulated_votes / tally.votes if tally.votes else 0.0
    facts: dict[str, Any] = {
        "format": order.format,
        "rows": total,
        "votes": tally.votes,
        "annotators": tally.annotators,
        "simulated_votes": tally.simulated_votes,
        "simulated_share": round(share, 4),
        "machine_votes": tally.machine_votes,
        "pairs": {"decided": tally.decided, "even": tally.even, "both_bad": tally.bad},
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if described.ties:
        facts["ties"] = policy.ties
    if described.both_bad:
        facts["both_bad"] = policy.both_bad
    if described.family == "sft":
        facts["demonstrations"] = account.demonstrations
        facts["chosen_responses"] = account.winners if order.chosen else 0
    return "\n".join([*_front(project, schema, counts, total, facts), *_words(project, order, account, schema, counts, share)])  # fmt: skip


def _front(
    project: Project, schema: pa.Schema, counts: dict[str, int], total: int, facts: dict[str, Any]
) -> list[str]:
    size = next((name for most, name in _SIZES if total < most), "1M<n<10M")
    lines = ["---", f"pretty_name: {json.dumps(project.name, ensure_ascii=False)}"]
    lines += ["tags:", "- preference", "- human-feedback", "- prefloop", f"size_categories:\n- {size}"]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in counts:
        lines += [f"  - split: {split}", f"    path: data/{split}.parquet"]
    lines += ["dataset_info:", "  features:"]
    for field in schema:
        lines += [f"  - name: {field.name}", *_feature(field.type, 4)]
    lines.append("  splits:")
    for split, number in counts.items():
        lines += [f"  - name: {split}", f"    num_examples: {number}"]
    lines.append(f"prefloop: {json.dumps(facts)}")
    return [*lines, "---", ""]


def _feature(kind: pa.DataType, indent: int) -> list[str]:
    """A column's type as `datasets` writes it in a card."""
    space = " " * indent
    if pa.types.is_list(kind):
        fields = [line for field in kind.value_type for line in (f"{space}- name: {field.name}", *_feature(field.type, indent + 2))]  # fmt: skip
        return [f"{space}list:", *fields]
    names = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool"}
    return [f"{space}dtype: {names[kind]}"]


def _words(
    project: Project,
    order: Order,
    account: Account,
    schema: pa.Schema,
    counts: dict[str, int],
    share: float,
) -> list[str]:
    tally, described, policy = account.tally, order.described, order.policy
    lines = [f"# {_escaped(project.name)}", "", f"{described.title}. Exported from Prefloop.", ""]
    lines += ["| split | rows |", "|---|---|"]
    lines += [f"| {split} | {number:,} |" for split, number in counts.items()]
    lines += ["", "An input belongs to one split by a hash of its content, so splits share no input."]
    lines += ["", "## Votes", ""]
    lines += [
        f"- {tally.votes:,} votes by {tally.annotators - tally.machine_annotators:,} people"
        + (
            f" and {tally.machine_annotators:,} language models as judges ({tally.machine_votes:,} votes)"
            if tally.machine_votes
            else ""
        )
        + (f" and {tally.simulated_annotators:,} simulated annotators" if tally.simulated_annotators else "")
        + f"; simulated: {tally.simulated_votes:,} ({100 * share:.1f} %)",
        f"- pairs with one response preferred: {tally.decided:,}; without: {tally.even:,}; both bad: {tally.bad:,}"
        + (f"; decided by an adjudicator: {tally.adjudicated:,}" if tally.adjudicated else ""),
    ]
    if described.ties:
        ties = "both-kto" if described.family == "kto" and policy.ties == "both" else policy.ties
        lines.append(f"- pairs without a preferred response (ties, even votes): {_TIES[ties]}")
    if described.both_bad:
        lines.append(f"- both bad: {_BAD[policy.both_bad]}")
    if described.family == "sft":
        chosen = account.winners if order.chosen else 0
        lines.append(f"- demonstrations: {account.demonstrations:,}; chosen responses: {chosen:,}")
    known = {name: _COLUMNS[name] for name in schema.names if name in _COLUMNS}
    if described.family != "comparisons":
        lines += ["", "## Columns", ""]
        lines += [f"- `{name}`: {meaning}" for name, meaning in known.items()]
    if project.criteria:
        lines += ["", f"Criteria: {', '.join(_escaped(name) for name in project.criteria)}"]
    if project.guidelines.strip():
        lines += ["", "## What annotators were told", ""]
        lines += ["    " + line for line in project.guidelines.splitlines()]
    return [*lines, ""]


def _escaped(text: str) -> str:
    return _SIGNS.sub(r"\\\g<0>", " ".join(text.split()))
