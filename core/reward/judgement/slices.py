"""Where the model is right less often, or more: accuracy by slice, against all the rest.

Each slice is tested against the rest by the difference of two rates: a score test (the
variance under "no difference"), with the larger of the binomial variance and the one that goes
by examples. Many slices are looked at, so p-values are adjusted (Benjamini and Hochberg), and
how many were looked at is said. A slice under LEAST pairs is shown and not tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from scipy.special import erfc

from core.reward.judgement.figures import Figure, design_effect, figure, rate, renumbered
from core.reward.judgement.multiplicity import benjamini_hochberg
from core.reward.judgement.pairs import Judged, agree
from core.reward.judgement.votes import Ballot, parsed
from core.stats import wilson

LEAST = 10
LEVEL = 0.05
MOST_NAMES = 40  # of annotators or prompts: those with the most pairs


@dataclass(frozen=True)
class Group:
    """One way of cutting. right, place: (n,); member: name -> (n,) bool. Slices may overlap."""

    by: str
    title: str
    right: np.ndarray
    place: np.ndarray
    member: dict[str, np.ndarray]
    unit: str = "pairs"


def slices(test: Judged, ballots: Sequence[Ballot], cluster_names: Sequence[str]) -> dict[str, Any]:
    """cluster_names: (n,) of each test pair, or [] where there are none."""
    groups = [group for group in all_groups(test, ballots, cluster_names) if len(group.member) > 1]
    shown, tested = [], []
    for group in groups:
        rows = []
        for name, inside in group.member.items():
            row = one_slice(name, group, inside)
            rows.append(row)
            if row["p"] is not None:
                tested.append(row)
        shown.append({"by": group.by, "title": group.title, "unit": group.unit, "rows": rows})
    adjusted = benjamini_hochberg(np.array([row["p"] for row in tested])) if tested else np.zeros(0)
    for row, p in zip(tested, adjusted, strict=True):
        row["p_adjusted"], row["differs"] = float(p), bool(p <= LEVEL)
    total = sum(len(group["rows"]) for group in shown)
    return {
        "looked_at": len(tested), "too_small": total - len(tested), "method": "Benjamini-Hochberg", "level": LEVEL,
        "marked": sum(row["differs"] for row in tested), "groups": shown,
    }  # fmt: skip


def one_slice(name: str, group: Group, inside: np.ndarray) -> dict[str, Any]:
    right, place = group.right, group.place
    row: dict[str, Any] = {
        "name": name,
        "accuracy": rate(right[inside], place[inside]),
        "rest": rate(right[~inside], place[~inside]),
        "difference": figure(None, None, None, int(inside.sum())),
        "p": None, "p_adjusted": None, "differs": False,
    }  # fmt: skip
    if min(inside.sum(), (~inside).sum()) >= LEAST:
        row["difference"] = unpaired(right, place, inside)
        row["p"] = p_value(right, place, inside)
    return row


def unpaired(right: np.ndarray, place: np.ndarray, inside: np.ndarray) -> Figure:
    """The difference of two independent rates, by Newcombe's square-and-add of Wilson's limits
    (1998, Stat Med 17:873, method 10), each at its effective n."""
    limits = []
    for of in (inside, ~inside):
        n, p = int(of.sum()), float(right[of].mean())
        effective = n / design_effect(right[of], place[of])
        limits.append((p, *wilson(p * effective, effective)))
    (p, l1, u1), (q, l2, u2) = limits
    value = p - q
    low, high = value - sqrt((p - l1) ** 2 + (u2 - q) ** 2), value + sqrt((u1 - p) ** 2 + (q - l2) ** 2)
    return figure(value, low, high, int(inside.sum()))


def p_value(right: np.ndarray, place: np.ndarray, inside: np.ndarray) -> float:
    """Two-sided, of the same rate inside and outside."""
    n1, n0, p = int(inside.sum()), int((~inside).sum()), float(right.mean())
    pull = np.where(inside, 1 / n1, -1 / n0)
    difference = float(pull @ right)
    binomial = p * (1 - p) * (1 / n1 + 1 / n0)
    apart = np.bincount(place, pull * (right - p))
    clusters = len(np.unique(place))
    by_example = float((apart**2).sum()) * clusters / max(1, clusters - 1)
    spread = max(binomial, by_example)
    return float(erfc(abs(difference) / sqrt(2 * spread))) if spread > 0 else 1.0


# --- the ways of cutting ------------------------------------------------------------------


def all_groups(test: Judged, ballots: Sequence[Ballot], cluster_names: Sequence[str]) -> list[Group]:
    at = np.flatnonzero(test.decided).tolist()
    right, place = test.right[at], renumbered(test.place[at])

    def group(by: str, title: str, labels: Sequence[str | None], order: Sequence[str] = ()) -> Group:
        """`labels` (n,) of the decided pairs; None: in no slice."""
        found = np.array([label if label is not None else "" for label in labels], dtype=object)
        names = [name for name in order if (found == name).any()] if order else most(found)
        return Group(by, title, right, place, {name: found == name for name in names})

    rows = [test.rows[i] for i in at]
    margin = np.abs(2 * test.q[at] - 1)
    groups = [
        group("margin", "How clear the votes are", [margin_name(m, row) for m, row in zip(margin, rows, strict=True)], MARGINS),
        group("strength", "Stated strength", [strength_name(row) for row in rows], STRENGTHS),
        group("length", "Length of the preferred response", [length_name(row) for row in rows], LENGTHS),
    ]  # fmt: skip
    if cluster_names:
        groups.append(group("cluster", "Topic of the input", [cluster_names[i] for i in at]))
    groups += [
        annotators(test, ballots),
        prompts(rows, right, place),
        criteria(test),
        group("week", "Week of the newest vote", [row.get("week") for row in rows], sorted({row["week"] for row in rows if row.get("week")})),
        sources(test, ballots, at, right, place),
    ]  # fmt: skip
    return groups


def most(labels: np.ndarray) -> list[str]:
    """The names, those with the most pairs first."""
    names, counts = np.unique(labels[labels != ""].astype(str), return_counts=True)
    return [str(name) for name in names[np.argsort(-counts, kind="stable")][:MOST_NAMES]]


MARGINS = ("one vote", "unanimous, two votes and more", "clear (two thirds and more)", "narrow")
STRENGTHS = ("barely", "slightly", "clearly", "significantly")
LENGTHS = (
    "much shorter (under two thirds)", "shorter", "about as long (within a tenth)", "longer", "much longer (over one and a half times)",
)  # fmt: skip


def margin_name(margin: float, row: Any) -> str:
    if margin > 1 - 1e-9:
        return MARGINS[0] if row.get("n") == 1 else MARGINS[1]
    return MARGINS[2] if margin >= 1 / 3 - 1e-9 else MARGINS[3]


def strength_name(row: Any) -> str | None:
    """Of the mean strength, 0 to 1: barely is 0, slightly 1/3, clearly 2/3, significantly 1."""
    strength = row.get("strength")
    if strength is None:
        strength = abs(row.get("margin") or 0.0) or None  # older runs: signed mean, 0 where none was stated
    return None if strength is None else STRENGTHS[min(3, round(3 * abs(float(strength))))]


def length_name(row: Any) -> str:
    a, b = len(row["response_a"]), len(row["response_b"])
    preferred, other = (a, b) if row["q"] > 0.5 else (b, a)
    ratio = preferred / max(1, other)
    if abs(ratio - 1) <= 0.1:
        return LENGTHS[2]
    if ratio < 1:
        return LENGTHS[0] if ratio < 2 / 3 else LENGTHS[1]
    return LENGTHS[4] if ratio > 1.5 else LENGTHS[3]


def annotators(test: Judged, ballots: Sequence[Ballot]) -> Group:
    """How often the model agrees with each annotator's decisive votes."""
    used = [ballot for ballot in ballots if ballot.decisive]
    at = np.array([ballot.pair for ballot in used], dtype=int)
    right = agree(test.d[at], np.array([float(ballot.outcome == "a") for ballot in used]))
    who = np.array([ballot.annotator for ballot in used], dtype=object)
    member = {name: who == name for name in most(who)} if len(used) else {}
    return Group("annotator", "Annotator", right, test.place[at] if len(at) else at, member, "votes")


def prompts(rows: Sequence[Any], right: np.ndarray, place: np.ndarray) -> Group:
    """Pairs with a response of this prompt: a pair is in two slices."""
    sides = np.array([[row.get("prompt_a") or "", row.get("prompt_b") or ""] for row in rows], dtype=object)
    member = {}
    if len(sides):
        both = np.concatenate([sides[:, 0], sides[sides[:, 0] != sides[:, 1], 1]])
        member = {name: (sides == name).any(1) for name in most(both)}
    # Where every pair is of the same two prompts there is no rest to compare with.
    member = {name: inside for name, inside in member.items() if not inside.all()}
    return Group("prompt", "Prompt that took part", right, place, member)


def criteria(test: Judged) -> Group:
    """How often the overall score agrees with what was said about one criterion."""
    right, place, name = [], [], []
    for i, row in enumerate(test.rows):
        for criterion, said in parsed(row.get("criteria")).items():
            q = said.get("q") if isinstance(said, dict) else None
            if q is not None and abs(q - 0.5) > 1e-9:
                right.append(float(agree(test.d[i : i + 1], np.array([q]))[0]))
                place.append(int(test.place[i]))
                name.append(str(criterion))
    labels = np.array(name, dtype=object)
    member = {of: labels == of for of in most(labels)} if name else {}
    return Group(
        "criterion",
        "Criterion, against what was said about it",
        np.array(right),
        np.array(place, dtype=int),
        member,
    )


def sources(
    test: Judged, ballots: Sequence[Ballot], at: Sequence[int], right: np.ndarray, place: np.ndarray
) -> Group:
    """Who decided: people, machine judges, a simulation (a pair that several did: people first)."""
    rows = [test.rows[i] for i in at]
    kinds = np.array(
        [
            "people" if (row.get("n") or 0) > (row.get("n_simulated") or 0) + (row.get("n_machine") or 0)
            else "machine judges" if row.get("n_machine")
            else "simulation"
            for row in rows
        ], dtype=object,
    )  # fmt: skip
    return Group(
        "source", "Who decided", right, place, {name: kinds == name for name in most(kinds)} if rows else {}
    )
