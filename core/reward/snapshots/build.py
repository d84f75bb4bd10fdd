"""A preference data set, put together: rows of pairs and votes, splits, counts, checks."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from core.kept import Kept
from core.reward.snapshots import checks
from core.reward.snapshots.counts import Moved, counts_of
from core.reward.snapshots.filters import Filters
from core.reward.snapshots.gather import Material
from core.reward.snapshots.labels import EVEN, Labelled, judged, label
from core.reward.snapshots.similar import groups, normalised, templates
from storage.ballots import BOTH_BAD, STRENGTHS, TIE, A, B
from storage.ids import content_hash

Row = dict[str, Any]
SPLITS = ("train", "dev", "test")
_OUTCOMES = {A: "a", B: "b", TIE: "tie", BOTH_BAD: "both_bad"}
_STRENGTHS = {4 - i: name for i, name in enumerate(STRENGTHS)}
_alike: "Kept[Likeness]" = Kept(most=4)


@dataclass(frozen=True)
class DataSet:
    """What is frozen. pairs, votes: rows as `core/reward` trainings read them."""

    filters: Filters
    pairs: list[Row]
    votes: list[Row]
    counts: dict[str, Any]
    checks: list[dict[str, Any]]

    @property
    def content_hash(self) -> str:
        """The same filters, pairs and votes give the same hash, whoever makes the data set and
        whatever it is called."""
        parts: Iterable[Any] = ([self.filters.as_json()], self.pairs, self.votes)
        found = hashlib.sha256()
        for part in parts:
            for row in part:
                found.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
                found.update(b"\n")
            found.update(b"\f")
        return found.hexdigest()


def build(material: Material, filters: Filters) -> DataSet:
    labelled = label(material, filters)
    splits, moved = split_of(material, filters.split == "groups")
    kept = np.nonzero(labelled.kept)[0].tolist()
    moved = moved.among(kept)
    scale = _scale(labelled, kept, splits)
    pairs = list(_pair_rows(material, filters, labelled, kept, splits, scale))
    votes = list(_vote_rows(material, labelled, scale))
    counts = counts_of(material, labelled, pairs, votes, splits, moved)
    alike = likeness(material)
    found = checks.run(pairs, counts["left_out"]["identical"], alike.common, alike.canned)
    return DataSet(filters, pairs, votes, counts, found)


# --- splits -----------------------------------------------------------------------------------


def split_of(material: Material, by_group: bool) -> tuple[list[str], Moved]:
    """(P,) the split of each pair, and what was moved. A group of near-duplicates goes to the
    split of the example that was there first: so an example keeps its split when a copy of it
    comes later, and no split gets more of them than its share."""
    cast = material.cast
    if not by_group or not cast.pair_ids:
        return list(cast.splits), Moved({}, {}, 0)
    group = likeness(material).group
    first: dict[int, int] = {}
    for place in np.lexsort((np.array(cast.example_ids, dtype=object), cast.example_at)).tolist():
        first.setdefault(int(group[place]), place)
    splits = [cast.splits[first[int(of)]] for of in group]
    moved = {
        place: (before, after)
        for place, (before, after) in enumerate(zip(cast.splits, splits, strict=True))
        if before != after
    }
    members: dict[int, set[str]] = {}
    for of, example in zip(group.tolist(), cast.example_ids, strict=True):
        members.setdefault(of, set()).add(example)
    return splits, Moved(
        moved,
        {place: cast.example_ids[place] for place in moved},
        sum(len(examples) > 1 for examples in members.values()),
    )


@dataclass(frozen=True)
class Likeness:
    """Of all pairs with a vote, whatever the filters, so that filters change no pair's split.
    group: (P,) pairs of one example, of near-duplicates of it, and pairs of the same two
    responses (unless they are a template's) are in one. common, canned: words and pairs of
    responses that are a template's."""

    group: np.ndarray
    common: frozenset[str]
    canned: frozenset[checks.Both]


def likeness(material: Material) -> Likeness:
    cast = material.cast
    key = content_hash([cast.example_ids, material.inputs, cast.response_a, cast.response_b])
    return _alike.get(key, key, lambda: _likeness(material))


def _likeness(material: Material) -> Likeness:
    cast = material.cast
    examples = {example: place for place, example in enumerate(cast.example_ids)}
    texts = [material.inputs[place] for place in examples.values()]
    common = templates({normalised(text) for text in texts})
    of_example = dict(zip(examples, groups(texts, common=common).tolist(), strict=True))
    start = [of_example[example] for example in cast.example_ids]
    parent = list(range(max(start, default=-1) + 1))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    both = [checks.both_of(a, b) for a, b in zip(cast.response_a, cast.response_b, strict=True)]
    canned = checks.canned(both, cast.example_ids)
    first: dict[checks.Both, int] = {}
    for place, responses in enumerate(both):
        if responses not in canned:
            parent[root(start[place])] = root(start[first.setdefault(responses, place)])
    group = np.array([root(of) for of in start], dtype=np.int64)
    return Likeness(group, common, canned)


# --- rows -------------------------------------------------------------------------------------


def _scale(labelled: Labelled, kept: list[int], splits: list[str]) -> float:
    """What brings the mean weight of the pairs to train on to 1."""
    weights = [labelled.weight[place] for place in kept if splits[place] == "train"]
    mean = float(np.mean(weights)) if weights else 1.0
    return 1.0 / mean if mean > 0 else 1.0


def _pair_rows(
    material: Material, filters: Filters, found: Labelled, kept: list[int], splits: list[str], scale: float
) -> Iterator[Row]:
    cast = material.cast
    criteria = _criteria(material, found)
    n = found.n
    for place in kept:
        q, split = float(found.q[place]), splits[place]
        row: Row = {
            "pair_id": cast.pair_ids[place],
            "split": split,
            "example_id": cast.example_ids[place],
            "input": material.inputs[place],
            "response_a": cast.response_a[place],
            "response_b": cast.response_b[place],
            "prompt_a": cast.prompt_a[place],
            "prompt_b": cast.prompt_b[place],
            "q": q,
            "n": int(n[place]),
            "n_simulated": int(found.simulated[place]),
            "n_machine": int(found.machine[place]),
            "margin": _rounded(found.margin[place]),
            "left_known": int(found.left_known[place]),
            "left_won": int(found.left_won[place]),
            "share": 1.0,  # of the pair: half where it is there both ways round
            "weight": _rounded(found.weight[place] * scale),
            "count_a": int(found.a[place]),
            "count_b": int(found.b[place]),
            "count_tie": int(found.ties[place]),
            "votes_a": _rounded(found.weighted[place, 0]),
            "votes_b": _rounded(found.weighted[place, 1]),
            "votes_tie": _rounded(found.weighted[place, 2]),
            "criteria": json.dumps(criteria.get(place, {}), sort_keys=True, ensure_ascii=False),
            "strength": None if np.isnan(found.strength[place]) else _rounded(found.strength[place]),
            "week": week_of(found.newest[place]),
        }
        if filters.ties == "both" and split == "train" and abs(q - 0.5) < EVEN:
            yield {**row, "q": 1.0, "share": 0.5}
            yield {**row, "q": 0.0, "share": 0.5}
        else:
            yield row


def _criteria(material: Material, found: Labelled) -> dict[int, dict[str, Row]]:
    """place of a pair -> criterion -> {q: share for a, a tie counting half; n: votes}."""
    cast = material.cast
    counts: dict[int, dict[str, dict[int, int]]] = {}
    for place in found.read.used.tolist():
        for name, mark in cast.marks.get(place, {}).items():
            if (said := judged(mark)) is None:
                continue
            of = counts.setdefault(int(cast.pair[place]), {}).setdefault(name, {A: 0, B: 0, TIE: 0})
            of[said[0]] += 1
    return {
        pair: {
            name: {"q": (of[A] + of[TIE] / 2) / sum(of.values()), "n": sum(of.values())}
            for name, of in by_name.items()
        }
        for pair, by_name in counts.items()
    }


def _vote_rows(material: Material, found: Labelled, scale: float) -> Iterator[Row]:
    cast, read, kept = material.cast, found.read, found.kept
    sides = {1: "a", 0: "b"}
    for i, place in enumerate(read.used.tolist()):
        pair = int(cast.pair[place])
        if not kept[pair]:
            continue
        voter = cast.voters[int(cast.voter[place])]
        yield {
            "pair_id": cast.pair_ids[pair],
            "annotator": voter.name,
            "outcome": _OUTCOMES[int(read.choice[i])],
            "strength": _STRENGTHS.get(int(cast.strength[place])),
            "left": sides.get(int(cast.a_left[place])),
            "criteria": json.dumps(cast.marks.get(place, {}), sort_keys=True, ensure_ascii=False),
            "week": week_of(cast.at[place]),
            "source": str(cast.source[place]),
            "simulated": bool(cast.simulated[place]),
            "machine": voter.machine,
            "weight": _rounded(read.weight[i] * scale),
        }


def week_of(seconds: float) -> str:
    """The ISO week of a moment, as "2026-W47"."""
    year, week, _ = datetime.fromtimestamp(float(seconds), UTC).isocalendar()
    return f"{year}-W{week:02d}"


def _rounded(value: Any) -> float:
    """So that the last digit, which may differ between machines, changes no hash."""
    return round(float(value), 9)
