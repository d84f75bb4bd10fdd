"""What a data set holds and how balanced it is. Every share has its n and its 95 % interval
(Wilson); nothing is a share of fewer than one."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.reward.snapshots.gather import Material
from core.reward.snapshots.labels import EVEN, Labelled
from core.stats import wilson

Row = dict[str, Any]
SPLITS = ("train", "dev", "test")
MOST_NAMED = 200  # prompts and annotators that are listed; the others are added up


@dataclass(frozen=True)
class Moved:
    """Pairs that went to another split than their example's, because a near-duplicate of it is
    there: place of the pair -> (from, to), and its example. `groups` of two examples and more."""

    pairs: dict[int, tuple[str, str]]
    examples: dict[int, str]
    groups: int

    def among(self, places: Iterable[int]) -> "Moved":
        there = set(places)
        return Moved(
            {place: way for place, way in self.pairs.items() if place in there},
            {place: example for place, example in self.examples.items() if place in there},
            self.groups,
        )

    def as_json(self) -> Row:
        ways = Counter(self.pairs.values())
        return {
            "pairs": len(self.pairs),
            "examples": len(set(self.examples.values())),
            "groups": self.groups,
            "ways": [{"from": a, "to": b, "pairs": n} for (a, b), n in sorted(ways.items())],
        }


def share(hits: float, n: float) -> Row:
    """{share, low, high, n}; share None without data."""
    low, high = wilson(hits, n)
    return {"share": hits / n if n else None, "low": low if n else None, "high": high if n else None, "n": n}


def counts_of(
    material: Material,
    labelled: Labelled,
    pairs: Sequence[Row],
    votes: Sequence[Row],
    splits: Sequence[str],
    moved: Moved,
) -> Row:
    """All figures, as JSON. `pairs`: rows as frozen; a tie that is there both ways round is one
    pair, and a tie. votes: those that compare; cast: with those that say "both bad"."""
    once = each_once(pairs)
    found: Row = {
        **_sums(once),
        "rows": len(pairs),
        "characters": characters(pairs),
        "cast": len(votes),
        "both_bad_votes": sum(row["outcome"] == "both_bad" for row in votes),
        "annotators": len({row["annotator"] for row in votes}),
        "adjudicated": int(((labelled.adjudicated > 0) & labelled.kept).sum()),
        "examples": len({row["example_id"] for row in once}),
        "left_out": {
            "votes": len(material.cast) - len(votes),
            "of_votes": len(material.cast),
            **{reason: int(places.sum()) for reason, places in labelled.left_out.items()},
        },
        "moved": moved.as_json(),
        "votes_per_pair": dict(
            sorted(Counter(str(row["n"]) for row in once).items(), key=lambda item: int(item[0]))
        ),
        "agreement": _agreement(once),
        "splits": {},
        "prompts": _prompts(once),
        "by_annotator": _annotators(votes),
        "criteria": _criteria(once),
    }
    for split in SPLITS:
        here = [row for row in once if row["split"] == split]
        found["splits"][split] = {
            **_sums(here),
            "examples": len({row["example_id"] for row in here}),
            "left_out": {
                reason: sum(splits[place] == split for place in np.nonzero(places)[0].tolist())
                for reason, places in labelled.left_out.items()
            },
        }
    return found


def characters(pairs: Sequence[Row]) -> float:
    """Mean of a pair's two responses, each with the input."""
    sizes = [2 * len(row["input"]) + len(row["response_a"]) + len(row["response_b"]) for row in pairs]
    return sum(sizes) / len(sizes) if sizes else 0.0


def each_once(pairs: Sequence[Row]) -> list[Row]:
    """Rows with each pair once; of one that is there both ways round the label is even."""
    times = Counter(row["pair_id"] for row in pairs)
    found = {row["pair_id"]: row if times[row["pair_id"]] == 1 else {**row, "q": 0.5} for row in pairs}
    return list(found.values())


def decided(row: Row) -> bool:
    return abs(row["q"] - 0.5) > EVEN


def _sums(rows: Sequence[Row]) -> Row:
    """Pairs, decided ones, ties, votes of each kind, and which side and which length is
    preferred. `left` counts votes; `longer` and `first` (response a, whose place means
    nothing) count decided pairs."""
    sure = [row for row in rows if decided(row)]
    sized = [row for row in sure if len(row["response_a"]) != len(row["response_b"])]
    longer = sum((row["q"] > 0.5) == (len(row["response_a"]) > len(row["response_b"])) for row in sized)
    known = sum(row["left_known"] for row in rows)
    return {
        "pairs": len(rows),
        "decided": len(sure),
        "ties": len(rows) - len(sure),
        "votes": sum(row["n"] for row in rows),
        "simulated_votes": sum(row["n_simulated"] for row in rows),
        "machine_votes": sum(row["n_machine"] for row in rows),
        "left": share(sum(row["left_won"] for row in rows), known),
        "longer": share(longer, len(sized)),
        "first": share(sum(row["q"] > 0.5 for row in sure), len(sure)),
    }


def _agreement(rows: Sequence[Row]) -> Row:
    """Of two votes on the same pair that compare, how often they are the same: a ceiling for
    any model. Interval over pairs (the ratio's linearised variance), n pairs."""
    same, both = [], []
    for row in rows:
        n = row["n"]
        if n > 1:
            counts = np.array([row["count_a"], row["count_b"], row["count_tie"]], dtype=float)
            same.append(float((counts * (counts - 1)).sum()) / (n - 1))
            both.append(float(n))
    if not both:
        return {"share": None, "low": None, "high": None, "n": 0}
    x, m = np.array(same), np.array(both)
    value = x.sum() / m.sum()
    half = 1.959964 * float(np.sqrt(((x - value * m) ** 2).sum())) / m.sum()
    low, high = wilson(value * len(m), len(m)) if half == 0 else (value - half, value + half)
    return {"share": float(value), "low": max(0.0, float(low)), "high": min(1.0, float(high)), "n": len(m)}


def _prompts(rows: Sequence[Row]) -> list[Row]:
    """Each prompt: pairs with a response of it and another's, and how often it is preferred
    there, a tie counting half."""
    won: dict[str, float] = defaultdict(float)
    met: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for row in rows:
        a, b = row["prompt_a"], row["prompt_b"]
        pairs.update({a, b})
        if a == b:
            continue
        side = 0.5 if not decided(row) else float(row["q"] > 0.5)
        won[a] += side
        won[b] += 1 - side
        met.update((a, b))
    return [
        {"name": name, "pairs": n, "preferred": share(won[name], met[name])}
        for name, n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMED]
    ]


def _annotators(votes: Sequence[Row]) -> list[Row]:
    by: dict[str, list[Row]] = defaultdict(list)
    for row in votes:
        by[row["annotator"]].append(row)
    found = []
    for name, rows in sorted(by.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST_NAMED]:
        sided = [row for row in rows if row["outcome"] in ("a", "b") and row["left"]]
        found.append(
            {
                "name": name,
                "votes": len(rows),
                "simulated": rows[0]["simulated"],
                "machine": rows[0]["machine"],
                "weight": float(np.mean([row["weight"] for row in rows])),
                "left": share(sum(row["outcome"] == row["left"] for row in sided), len(sided)),
                "ties": share(sum(row["outcome"] == "tie" for row in rows), len(rows)),
                "both_bad": share(sum(row["outcome"] == "both_bad" for row in rows), len(rows)),
            }
        )
    return found


def _criteria(rows: Sequence[Row]) -> list[Row]:
    """Each criterion that votes rate: pairs and votes, and how often, of pairs decided both by
    it and on the whole, the two prefer the same response."""
    pairs: Counter[str] = Counter()
    votes: Counter[str] = Counter()
    same: Counter[str] = Counter()
    both: Counter[str] = Counter()
    for row in rows:
        for name, of in json.loads(row["criteria"]).items():
            pairs[name] += 1
            votes[name] += of["n"]
            if abs(of["q"] - 0.5) > EVEN and decided(row):
                both[name] += 1
                same[name] += (of["q"] > 0.5) == (row["q"] > 0.5)
    return [
        {"name": name, "pairs": pairs[name], "votes": votes[name], "as_whole": share(same[name], both[name])}
        for name in sorted(pairs)
    ]
