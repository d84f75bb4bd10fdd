"""What gold checks and hidden repeats say: how often annotators answer as expected, and how
often they say the same when a pair comes again with its sides swapped."""

from collections.abc import Iterable
from math import sqrt
from typing import Any

from sqlmodel import Session

from core.stats import wilson
from storage import probe_results
from storage.probe_results import Tally

Z = 1.959964
NAMES = ("gold", "repeat")


def share_of(name: str, right: int, n: int) -> dict[str, Any]:
    """Of one annotator, with Wilson's 95 % interval; None without answers."""
    low, high = wilson(right, n) if n else (None, None)
    return {
        f"{name}_share": right / n if n else None,
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_n": n,
    }


def share_over(name: str, counts: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """Of (right, n) of several annotators together. Answers of one hang together, so the
    interval goes over annotators (a ratio's linearised variance) where that is wider than
    Wilson's over answers."""
    counts = [(right, n) for right, n in counts if n]
    right, n = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    found = share_of(name, right, n)
    if n:
        share = right / n
        half = Z * sqrt(sum((x - share * m) ** 2 for x, m in counts)) / n
        found[f"{name}_low"] = max(0.0, min(found[f"{name}_low"], share - half))
        found[f"{name}_high"] = min(1.0, max(found[f"{name}_high"], share + half))
    return found


def with_probes(session: Session, project_id: str, found: dict[str, Any]) -> dict[str, Any]:
    """The quality report with gold_… (checks answered as expected) and repeat_… (hidden
    repeats answered as before): overall, of annotators whose votes count, and of each."""
    each = probe_results.tallies(session, project_id)
    counting = probe_results.counting_tallies(session, project_id)
    people = [{**item, **_both(each.get(item["id"], Tally()))} for item in found["per_annotator"]]
    return {
        **found,
        **share_over("gold", [(one.gold_right, one.gold) for one in counting]),
        **share_over("repeat", [(one.repeats_same, one.repeats) for one in counting]),
        "per_annotator": people,
    }


def _both(tally: Tally) -> dict[str, Any]:
    return {
        **share_of("gold", tally.gold_right, tally.gold),
        **share_of("repeat", tally.repeats_same, tally.repeats),
    }
