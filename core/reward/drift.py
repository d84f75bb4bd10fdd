"""Drift: is the active reward model still as good on new votes as it was when it was made?

New are votes cast after its data set was frozen, on pairs that were not in it, in any split
(so that mistakes which were sent back to annotators count neither for nor against it). A pair
counts once, with what most of its new votes say, in the week of the newest; even ones are left
out. Scores come from the newest score run of all responses (`core.reward.scores`).

Alarm: the accuracy of the last WEEKS weeks is compared with the held-out accuracy at the time
of training, on all pairs and on each slice (prompt, annotator, difference in length, topic
words, inputs seen in training) of which enough was held out: Fisher's exact test, one-sided,
adjusted by Holm over the slices that were tested (`core.reward.falls`). Where examples have
several pairs, both counts are scaled down to the number of examples, as if pairs of one example
said the same: that errs on the side of silence. At each look, chance alone raises a false alarm
with at most LEVEL.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlmodel import Session

from core.access import Principal, require
from core.kept import Kept
from core.projects import find_project
from core.reward import judged
from core.reward.falls import LEVEL, NO_RATE, Counts, Rate, Slice, holm, rate_of
from core.reward.registry import active_model
from core.reward.scores import ALL, Scores, newest, read_scores
from storage.database import Database
from storage.evidence import is_large, votes_state
from storage.fresh_votes import FreshVote, fresh_votes
from storage.tables import Project, RewardModel, Run, Snapshot

WEEKS = 4
MOST_NAMES = 20  # prompts and annotators looked at: those with the most new pairs
TOPIC_WORDS = 5
_BANDS = (
    ("under 50 characters", 0, 50),
    ("50 to 200 characters", 50, 200),
    ("200 characters and more", 200, 10**9),
)


@dataclass(frozen=True)
class Week:
    """`start`: its Monday, ISO."""

    week: str
    start: str
    accuracy: Rate


@dataclass(frozen=True)
class Drift:
    """`new_pairs`: decided by new votes; `unscored` of them have no score by this model, because
    nobody has scored them yet (`run_id`: the newest score run with it, if any). `simulated`:
    there are no new votes of people, so these are simulated ones. `held_out`: at the time of
    training."""

    model_id: str | None = None
    name: str = ""
    since: datetime | None = None
    held_out: Rate = NO_RATE
    recent: Rate = NO_RATE
    weeks: list[Week] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    new_pairs: int = 0
    new_votes: int = 0
    even: int = 0
    unscored: int = 0
    run_id: str | None = None
    simulated: bool = False
    chosen_by_model: bool = False

    @property
    def alarms(self) -> list[Slice]:
        """The largest fall first."""
        return sorted((s for s in self.slices if s.alarm), key=lambda s: -s.fell)

    @property
    def tested(self) -> int:
        return sum(s.p is not None for s in self.slices)

    def as_dict(self) -> dict[str, Any]:
        said = asdict(self)
        said["slices"] = [{**asdict(s), "alarm": s.alarm} for s in self.slices]
        said["alarms"] = [asdict(s) for s in self.alarms]
        said["tested"], said["level"] = self.tested, LEVEL
        said["since"] = self.since.isoformat() if self.since else None
        return said


def in_words(found: Slice) -> str:
    """`Pairs of prompt “terse v1”: 48.0 % of the last 4 weeks' 50, 66.0 % before.`"""
    whose = {
        "all": "All pairs",
        "prompt": f"Pairs of the prompt “{found.name}”",
        "annotator": f"Votes of {found.name}",
        "length": f"Pairs that differ by {found.name}",
        "topic": f"Inputs that mention {found.name}",
        "input": found.name,
    }[found.by]
    now, before = found.now, found.before
    return (
        f"{whose}: {100 * (now.value or 0):.1f} % ({100 * now.low:.1f} to {100 * now.high:.1f}, n {now.n:,}) in the "
        f"last {WEEKS} weeks, {100 * (before.value or 0):.1f} % ({100 * before.low:.1f} to {100 * before.high:.1f}, "
        f"n {before.n:,}) held out before."
    )


_kept: Kept[Drift] = Kept(32)


def drift(db: Database, who: Principal, project_id: str) -> Drift:
    """Of the active model; without one, an empty Drift. Kept until votes, scores or the model
    change."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        model = active_model(session, project)
        if model is None:
            return Drift()
        run = newest(session, project_id, ALL, model.id)
        votes = votes_state(session, project_id)
        state = (votes, model.id, run.id if run else None, project.selection)

    def make() -> Drift:
        with db.read() as session:
            return _drift(
                session, session.get_one(Project, project_id), session.get_one(RewardModel, model.id), run
            )

    return _kept.get((db.url, project_id), state, make, meanwhile=is_large(votes))


def _drift(session: Session, project: Project, model: RewardModel, run: Run | None) -> Drift:
    since = _frozen_at(session, model)
    votes = fresh_votes(session, project.id, since, simulated=False)
    simulated = False
    if not votes:
        votes = fresh_votes(session, project.id, since, simulated=True)
        simulated = bool(votes)
    known = judged.seen(model)
    # Of an upload: what it was judged on, as far as is known.
    before = known.all_pairs if known else (judged.test_inputs(model) or {}).keys()
    votes = [vote for vote in votes if vote.pair_id not in before]
    scores = read_scores(run) if run is not None else None
    reference = _reference(model)
    pairs = _pairs(votes, known.examples if known else frozenset(), scores, model.id)
    scored = [pair for pair in pairs if pair.d is not None]
    decided = [pair for pair in scored if pair.label]
    told = Drift(
        model_id=model.id,
        name=model.name,
        since=since,
        held_out=_held_out(model, reference),
        new_pairs=sum(bool(pair.label) for pair in pairs),
        new_votes=len(votes),
        even=sum(not pair.label for pair in pairs),
        unscored=sum(pair.d is None and bool(pair.label) for pair in pairs),
        run_id=run.id if run is not None else None,
        simulated=simulated,
        chosen_by_model=bool(project.selection),
    )
    if not decided:
        return told
    last = max(_monday(pair.at) for pair in decided)
    recent = [pair for pair in decided if _monday(pair.at) > last - timedelta(weeks=WEEKS)]
    return replace(
        told,
        recent=rate_of([pair.right for pair in recent], [pair.example_id for pair in recent])[0],
        weeks=_weeks(decided),
        slices=holm(_slices(recent, reference, model)),
    )


def _frozen_at(session: Session, model: RewardModel) -> datetime:
    snapshot = session.get(Snapshot, model.snapshot_id) if model.snapshot_id else None
    if snapshot is not None:
        return snapshot.created_at
    run = session.get(Run, model.run_id)
    return run.created_at if run is not None else model.created_at


# --- pairs ------------------------------------------------------------------------------------


@dataclass
class _Pair:
    """label: +1 for a, -1 for b, 0 even. d: score of a less b, None without scores."""

    example_id: str
    label: int
    d: float | None
    at: datetime
    prompts: tuple[str, str]
    length_difference: int
    input: str
    seen_input: bool
    votes: list[FreshVote]

    @property
    def right(self) -> float:
        return _agrees(self.d, self.label)


def _agrees(d: float | None, label: int) -> float:
    return 0.5 if not d else float((d > 0) == (label > 0))


def _pairs(
    votes: Sequence[FreshVote], known: frozenset[str], scores: Scores | None, model_id: str
) -> list[_Pair]:
    by_pair: dict[str, list[FreshVote]] = defaultdict(list)
    for vote in votes:
        by_pair[vote.pair_id].append(vote)
    column = scores.models.index(model_id) if scores is not None and model_id in scores.models else None
    found = []
    for cast in by_pair.values():
        one = cast[0]
        d = None
        if scores is not None and column is not None:
            places = [scores.place.get(key) for key in (one.response_a, one.response_b)]
            if None not in places:
                both = scores.logits[[place for place in places if place is not None], column]
                d = float(both[0] - both[1]) if np.isfinite(both).all() else None
        found.append(
            _Pair(
                one.example_id,
                int(np.sign(sum(1 if vote.for_a else -1 for vote in cast))),
                d,
                max(vote.at for vote in cast),
                (one.prompt_a, one.prompt_b),
                one.length_a - one.length_b,
                one.input,
                one.example_id in known,
                cast,
            )
        )
    return found


def _monday(moment: datetime) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _weeks(decided: Sequence[_Pair]) -> list[Week]:
    by: dict[datetime, list[_Pair]] = defaultdict(list)
    for pair in decided:
        by[_monday(pair.at)].append(pair)
    return [
        Week(
            f"{start.isocalendar().year}-W{start.isocalendar().week:02d}",
            start.date().isoformat(),
            rate_of([p.right for p in by[start]], [p.example_id for p in by[start]])[0],
        )
        for start in sorted(by)
    ]


@dataclass(frozen=True)
class _Reference:
    """Held-out pairs: (n,) columns; `inputs` in their order."""

    columns: dict[str, np.ndarray]
    inputs: list[str]


def _reference(model: RewardModel) -> _Reference | None:
    found = judged.test_pairs(model)
    if found is None:
        return None
    decided = np.flatnonzero(found["q"] != 0.5)
    columns = {name: values[decided] for name, values in found.items()}
    rows = judged.test_inputs(model) or {}
    return _Reference(columns, [rows.get(key, "") for key in columns["pair_id"]])


def _held_out(model: RewardModel, reference: _Reference | None) -> Rate:
    if reference is not None and len(reference.inputs):
        return rate_of([float(x) for x in reference.columns["right"]], list(reference.columns["example_id"]))[
            0
        ]
    m = model.metrics
    if m.get("accuracy") is None:
        return NO_RATE
    return Rate(m["accuracy"], m.get("accuracy_low", 0.0), m.get("accuracy_high", 1.0), m.get("n_test", 0))


def _slices(
    recent: Sequence[_Pair], reference: _Reference | None, model: RewardModel
) -> list[tuple[Slice, Counts]]:
    """Each with what the test counts, or None where there are too few."""
    if reference is None:
        return []
    c = reference.columns
    size = len(reference.inputs)
    everything = np.ones(size, dtype=bool)
    cuts: list[tuple[str, str, Callable[[_Pair], bool], np.ndarray]] = [
        ("all", "all", lambda p: True, everything)
    ]
    counts: dict[str, int] = defaultdict(int)
    for pair in recent:
        for name in set(pair.prompts):
            counts[name] += 1
    if len(counts) > 1 and "prompt_a" in c:
        for name in sorted(counts, key=lambda key: (-counts[key], key))[:MOST_NAMES]:
            inside = (c["prompt_a"] == name) | (c["prompt_b"] == name)
            cuts.append(("prompt", name, lambda p, name=name: name in p.prompts, inside))  # type: ignore[misc]
    if "length_difference" in c:
        apart = np.abs(c["length_difference"].astype(float))
        for name, low, high in _BANDS:
            cuts.append(
                (
                    "length",
                    name,
                    lambda p, low=low, high=high: low <= abs(p.length_difference) < high,  # type: ignore[misc]
                    (apart >= low) & (apart < high),
                )
            )
    for topic in (judged.judgement(model) or {}).get("clusters") or []:
        words = [str(word).lower() for word in (topic.get("words") or [])[:TOPIC_WORDS]]
        if words:
            inside = np.array([_mentions(text, words) for text in reference.inputs], dtype=bool)
            cuts.append(("topic", ", ".join(words), lambda p, words=words: _mentions(p.input, words), inside))  # type: ignore[misc]
    cuts.append(("input", "New inputs", lambda p: not p.seen_input, everything))
    found = []
    for by, name, takes, inside in cuts:
        some = [pair for pair in recent if takes(pair)]
        if not some or (by == "input" and len(some) == len(recent)):
            continue
        now, counted = rate_of([pair.right for pair in some], [pair.example_id for pair in some])
        right = [float(x) for x in c["right"][inside]]
        before, was = rate_of(right, list(c["example_id"][inside]))
        found.append((Slice(by, name, now, before), (counted, was)))
    return found + _annotators(recent, model)


def _annotators(recent: Sequence[_Pair], model: RewardModel) -> list[tuple[Slice, Counts]]:
    """Each by their own votes, against the model's agreement with theirs on held-out pairs."""
    groups = ((judged.judgement(model) or {}).get("slices") or {}).get("groups") or []
    rows: list[dict[str, Any]] = next((group["rows"] for group in groups if group["by"] == "annotator"), [])
    before = {row["name"]: row["accuracy"] for row in rows if row["accuracy"].get("value") is not None}
    own: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for pair in recent:
        for vote in pair.votes:
            own[vote.annotator].append((_agrees(pair.d, 1 if vote.for_a else -1), pair.example_id))
    found = []
    for name in sorted(own, key=lambda key: (-len(own[key]), key))[:MOST_NAMES]:
        if name in before:
            was = before[name]
            now, counted = rate_of(*zip(*own[name], strict=True))
            rate = Rate(was["value"], was.get("low") or 0.0, was.get("high") or 1.0, was["n"])
            found.append(
                (Slice("annotator", name, now, rate), (counted, (round(was["value"] * was["n"]), was["n"])))
            )
    return found


def _mentions(text: str, words: Sequence[str]) -> bool:
    lower = text.lower()
    return any(word in lower for word in words)
