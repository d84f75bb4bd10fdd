"""Two snapshots side by side: what came, what went, what is labelled anew."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.reward.snapshots.counts import each_once
from core.reward.snapshots.filters import Filters, words

Row = dict[str, Any]
SHOWN = 200  # pairs that are named


def _said(row: Row) -> str:
    q = row["q"]
    return "tie" if abs(q - 0.5) < 1e-9 else "a" if q > 0.5 else "b"


def compare(
    before: tuple[Filters, Mapping[str, Any], Sequence[Row], Sequence[Row]],
    after: tuple[Filters, Mapping[str, Any], Sequence[Row], Sequence[Row]],
) -> Row:
    """Each given as (filters, counts, pairs, votes). Answers {filters: [{what, before, after}],
    counts: [{what, before, after}], pairs: {added, removed, kept, moved, relabelled, softened},
    votes: {added, removed, changed, kept}, shown: [{pair_id, what, before, after, input}]}.

    relabelled: another response is preferred, or a tie came or went. softened: the same one,
    with another probability. moved: another split. A vote is the same when the same annotator
    gave it on the same pair, changed when it then says something else.
    """
    pairs = [{row["pair_id"]: row for row in each_once(side[2])} for side in (before, after)]
    old, new = pairs
    both = [pair_id for pair_id in old if pair_id in new]
    relabelled = [i for i in both if _said(old[i]) != _said(new[i])]
    changed_q = [i for i in both if abs(old[i]["q"] - new[i]["q"]) > 1e-9]
    moved = [i for i in both if old[i]["split"] != new[i]["split"]]
    votes = [
        {(row["pair_id"], row["annotator"]): row["outcome"] for row in side[3]} for side in (before, after)
    ]
    same = [key for key in votes[0] if key in votes[1]]
    changed = [key for key in same if votes[0][key] != votes[1][key]]
    added = [i for i in new if i not in old]
    removed = [i for i in old if i not in new]
    return {
        "filters": _filters(before[0], after[0]),
        "counts": _counts(before[1], after[1]),
        "pairs": {
            "added": len(added), "removed": len(removed), "kept": len(both), "moved": len(moved),
            "relabelled": len(relabelled), "softened": len(set(changed_q) - set(relabelled)),
        },
        "votes": {
            "added": len(votes[1]) - len(same), "removed": len(votes[0]) - len(same),
            "changed": len(changed), "kept": len(same) - len(changed),
        },
        "shown": [
            *_shown("relabelled", relabelled, old, new), *_shown("moved", moved, old, new),
            *_shown("added", added, old, new), *_shown("removed", removed, old, new),
        ],
    }  # fmt: skip


def _filters(before: Filters, after: Filters) -> list[Row]:
    """Those that differ, in words."""
    old, new = dict(words(before)), dict(words(after))
    names = list(dict.fromkeys([*old, *new]))
    return [
        {"what": name, "before": old.get(name, ""), "after": new.get(name, "")}
        for name in names
        if old.get(name) != new.get(name)
    ]


def _counts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    def rows(of: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "Pairs": of["pairs"],
            "Decided pairs": of["decided"],
            "Ties": of["ties"],
            "Votes": of["cast"],
            "Simulated votes": of["simulated_votes"],
            "Votes of machine judges": of["machine_votes"],
            "Annotators": of["annotators"],
            "Examples": of["examples"],
            **{f"Pairs to {split}": of["splits"][split]["pairs"] for split in of["splits"]},
            "Agreement": of["agreement"],
            "Left preferred": of["left"],
            "Longer preferred": of["longer"],
        }

    old, new = rows(before), rows(after)
    return [{"what": name, "before": old[name], "after": new[name]} for name in old]


def _shown(what: str, ids: Sequence[str], old: Mapping[str, Row], new: Mapping[str, Row]) -> list[Row]:
    def of(rows: Mapping[str, Row], pair_id: str) -> Row | None:
        row = rows.get(pair_id)
        return {"q": row["q"], "n": row["n"], "split": row["split"]} if row else None

    return [
        {
            "pair_id": pair_id,
            "what": what,
            "before": of(old, pair_id),
            "after": of(new, pair_id),
            "input": (new.get(pair_id) or old[pair_id])["input"],
        }
        for pair_id in ids[:SHOWN]
    ]
