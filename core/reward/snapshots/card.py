"""The card of a data set: what is in it, how it was made, what was checked. Markdown, with the
head that the Hugging Face hub's tools read.

Names were written by people and are untrusted: JSON strings in the head, escaped in the text.
"""

import json
import re
from typing import Any

from core.reward.snapshots.counts import SPLITS
from core.reward.snapshots.filters import Filters, words

Row = dict[str, Any]
_SIGNS = re.compile(r"[\\`*_{}\[\]()#+\-!|<>~&$]")
_VERDICTS = {"pass": "passed", "warn": "look at it", "fail": "**FAILED**"}
CHOSEN_BY_SKILL = "These annotators were chosen by how well they agree with others, which raises it."
LEFT_OUT = {
    "filtered": "no vote passes the filters",
    "identical": "both responses are the same text",
    "both_bad": "votes say that both are bad",
    "even": "ties, and as many votes for one as for the other",
    "few": "fewer votes than asked for",
}


def card(name: str, project: str, filters: Filters, counts: Row, checks: list[Row], hash_: str) -> str:
    return "\n".join(
        [*_head(name, counts, hash_), f"# {escaped(name)}", "", *_what(project, filters, counts), *_splits(counts),
         *_made(filters, counts), *_checked(checks), *_balance(counts), *_columns(), ""]
    )  # fmt: skip


def _head(name: str, counts: Row, hash_: str) -> list[str]:
    facts = {"pairs": counts["pairs"], "votes": counts["cast"], "content_hash": hash_}
    return [
        "---", f"pretty_name: {json.dumps(name, ensure_ascii=False)}",
        "tags:", "- preference", "- human-feedback", "- prefloop",
        "configs:", "- config_name: pairs", "  data_files: pairs.parquet",
        "- config_name: votes", "  data_files: votes.parquet",
        f"prefloop: {json.dumps(facts)}", "---", "",
    ]  # fmt: skip


def _what(project: str, filters: Filters, counts: Row) -> list[str]:
    who = [f"{counts['cast']:,} votes by {people(counts['annotators'])}"]
    for name, words_ in (("simulated_votes", "simulated"), ("machine_votes", "by machine judges")):
        if counts[name]:
            who.append(f"{counts[name]:,} of them {words_}")
    return [
        f"Preferences of the project “{escaped(project)}”, frozen by Prefloop: {counts['pairs']:,} pairs of "
        f"responses to {counts['examples']:,} examples, from {', '.join(who)}.",
        "",
        f"Agreement of two votes on the same pair: {rate(counts['agreement'], 'pairs')}."
        + (f" {CHOSEN_BY_SKILL}" if filters.least_skill is not None else ""),
        "",
    ]


def _splits(counts: Row) -> list[str]:
    lines = ["| split | pairs | decided | ties | votes | examples |", "|---|---|---|---|---|---|"]
    for split in SPLITS:
        of = counts["splits"][split]
        lines.append(
            f"| {split} | {of['pairs']:,} | {of['decided']:,} | {of['ties']:,} | {of['votes']:,} | {of['examples']:,} |"
        )
    moved = counts["moved"]
    return [
        *lines,
        "",
        f"{moved['groups']:,} groups of near-duplicate examples; {moved['pairs']:,} pairs of {moved['examples']:,} "
        "examples were moved to the split of the member that was there first.",
        "",
    ]


def _made(filters: Filters, counts: Row) -> list[str]:
    lines = ["## How it was made", ""]
    lines += [f"- {what}: {escaped(how)}" for what, how in words(filters)]
    lines += [
        "",
        "Left out:",
        "",
        f"- {counts['left_out']['votes']:,} of {counts['left_out']['of_votes']:,} votes",
    ]
    lines += [
        f"- {counts['left_out'][reason]:,} pairs: {why}"
        for reason, why in LEFT_OUT.items()
        if counts["left_out"][reason]
    ]
    if counts["adjudicated"]:
        lines.append(f"\n{counts['adjudicated']:,} pairs were decided by an adjudicator.")
    return [*lines, ""]


def _checked(checks: list[Row]) -> list[str]:
    lines = ["## Leak checks", "", "| check | verdict | what was found |", "|---|---|---|"]
    lines += [
        f"| {check['title']} | {_VERDICTS[check['verdict']]} | {escaped(check['said'])} |" for check in checks
    ]
    return [*lines, ""]


def _balance(counts: Row) -> list[str]:
    lines = ["## Balance", ""]
    lines.append(f"- the left one is preferred: {rate(counts['left'], 'votes')}")
    lines.append(f"- the longer one is preferred: {rate(counts['longer'], 'decided pairs')}")
    lines += ["", "| prompt | pairs | preferred |", "|---|---|---|"]
    lines += [
        f"| {escaped(of['name'])} | {of['pairs']:,} | {rate(of['preferred'], 'pairs')} |"
        for of in counts["prompts"]
    ]
    lines += ["", "| annotator | votes | the left one | ties |", "|---|---|---|---|"]
    lines += [
        f"| {escaped(of['name'])}{_kind(of)} | {of['votes']:,} | {rate(of['left'])} | {rate(of['ties'])} |"
        for of in counts["by_annotator"]
    ]
    if counts["criteria"]:
        lines += ["", "| criterion | pairs | votes | as the whole |", "|---|---|---|---|"]
        lines += [
            f"| {escaped(of['name'])} | {of['pairs']:,} | {of['votes']:,} | {rate(of['as_whole'])} |"
            for of in counts["criteria"]
        ]
    return [*lines, ""]


def people(n: int) -> str:
    return f"{n:,} annotator" + ("" if n == 1 else "s")


def _kind(of: Row) -> str:
    return " (simulated)" if of["simulated"] else " (machine judge)" if of["machine"] else ""


def _columns() -> list[str]:
    return [
        "## Columns", "",
        "`pairs.parquet`: `q` is the label, the probability that `response_a` is preferred; `n` votes are "
        "behind it (`count_a`, `count_b`, `count_tie`; `votes_…`: the same, weighted); `margin` is positive "
        "where votes for `response_a` are stronger; `share` is .5 for each of the two rows of a tie that is there "
        "both ways round; `weight` goes by the skill of the annotators, mean 1 in "
        "the train split; `criteria` has label and votes by criterion. `votes.parquet`: a row for each vote; "
        "`left` is what stood on the left.",
    ]  # fmt: skip


def rate(of: Row, unit: str = "") -> str:
    """“57.1 % (53.0 to 61.1, n 572 votes)”."""
    if of["share"] is None:
        return "nothing to tell it from"
    said = f"{100 * of['share']:.1f} % ({100 * of['low']:.1f} to {100 * of['high']:.1f}, n {of['n']:,} {unit}"
    return said.rstrip() + ")"


def escaped(text: str) -> str:
    return _SIGNS.sub(r"\\\g<0>", " ".join(text.split()))
