"""The history of manual prompt versions, and what the plateau test says of it.

Manual is what a person wrote or edited: optimisers' prompts have a run, and imported ones
are known by name only. Held out are examples of the dev and test splits, which nobody
tuned on; votes on train examples are counted and left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.planning.decision.model import Plateau
from core.planning.decision.plateau import Steps, Verdict, gain, judge, judge_scores
from core.prompts.versions import label
from core.stats import wilson
from storage.decisions import Meeting
from storage.tables import Prompt

MANUAL_OPERATIONS = ("written", "edited")
LONGEST = 12  # versions looked back
WORDS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Version:
    """A manual version. `gain`, `low`, `high`: points against the version the test starts
    from, with the test's interval; `step_*`: its win rate against the one before, from
    votes on pairs of these two alone, with Wilson's 95 % interval."""

    prompt_id: str
    name: str
    at: datetime
    gain: float | None
    low: float | None
    high: float | None
    step_rate: float | None
    step_low: float | None
    step_high: float | None
    step_n: int


@dataclass(frozen=True)
class History:
    """`reference` and `newest` are the ends of the gain that is tested, `steps` versions
    apart. `basis`: votes, or labels (scores on the test split), or nothing."""

    versions: list[Version] = field(default_factory=list)
    lineage: bool = True  # False: no version descends from another; the order is by time
    reference: str = ""
    newest: str = ""
    steps: int = 0
    verdict: Verdict | None = None
    basis: str = ""
    left_out: int = 0  # votes on train examples
    simulated: int = 0
    margin: float = 1.0

    @property
    def outcome(self) -> str:
        return self.verdict.outcome if self.verdict else "undecided"

    @property
    def n(self) -> int:
        return self.verdict.n if self.verdict else 0

    def sentence(self) -> str:
        """The verdict in words, with its figures."""
        if len(self.versions) < 2:
            return (
                "Cannot tell whether manual work has plateaued: there are fewer than two manual versions."
                if self.versions
                else "Cannot tell whether manual work has plateaued: there is no manual version yet."
            )
        v = self.verdict
        if v is None or v.gain is None:
            more = f" {v.more:,} votes between the two would tell." if v else ""
            return (
                f"Cannot tell whether manual work has plateaued: no votes on held-out examples join "
                f"{self.reference} and {self.newest}.{more}"
            )
        over = f"over the last {count(self.steps, 'version')}"
        low = f"{v.low:+.1f} to {v.high:+.1f}" if v.low is not None else "no interval"
        of = "labelled test examples" if self.basis == "labels" else "held-out votes"
        figures = f"{v.gain:+.1f} points {over} ({100 * (1 - 2 * v.alpha):g} %: {low}, n {v.n:,} {of}"
        figures += self.by_whom() + ")"
        if v.outcome == "plateaued":
            return f"Manual work has plateaued: {figures}, less than {v.margin:g}."
        if v.outcome == "improving":
            return f"Manual work still improves: {figures}, more than {v.margin:g}."
        unit = "labelled test examples" if self.basis == "labels" else "votes between the two ends"
        return (
            f"Cannot tell yet whether manual work has plateaued: {figures}. A plateau would show with a "
            f"probability of {100 * v.power:.0f} %; {v.more:,} more {unit} make that 80 %."
        )

    def by_whom(self) -> str:
        if not self.simulated or self.basis != "votes":
            return ""
        return ", all simulated" if self.simulated >= self.n else f", {self.simulated:,} simulated"


def count(n: int, noun: str) -> str:
    """`three versions`, `one version`, `11 versions`"""
    word = WORDS[n] if 0 < n < len(WORDS) else f"{n:,}"
    return f"{word} {noun}{'' if n == 1 else 's'}"


def manual_line(prompts: Mapping[str, Prompt]) -> tuple[list[Prompt], bool]:
    """The versions whose gain is tested, oldest first: the longest line of manual versions
    that descend from each other (the newest of equally long ones). A line ends where an
    optimiser's version stands between: its gain is not manual. Where no version descends
    from another: all manual ones, by time, and False."""
    manual = {
        key: prompt
        for key, prompt in prompts.items()
        if prompt.operation in MANUAL_OPERATIONS and not prompt.run_id
    }
    best: list[Prompt] = []
    for prompt in sorted(manual.values(), key=_age):
        line, seen = [prompt], {prompt.id}
        while (parent := manual.get(line[-1].parent_id or "")) is not None and parent.id not in seen:
            line.append(parent)
            seen.add(parent.id)
        if len(line) >= max(2, len(best)):
            best = line
    if best:
        return best[::-1][-LONGEST:], True
    return sorted(manual.values(), key=_age)[-LONGEST:], False


def _age(prompt: Prompt) -> tuple[datetime, str]:
    return prompt.created_at, prompt.id


def history_of(
    line: Sequence[Prompt],
    lineage: bool,
    met: Sequence[Meeting],
    labels: Mapping[str, Mapping[str, Any]],
    settings: Plateau,
) -> History:
    """What the test says about a line: by votes; where no votes join its ends, by scores
    on a labelled test split."""
    if len(line) < 2:
        versions = [
            Version(p.id, label(p), p.created_at, None, None, None, None, None, None, 0) for p in line
        ]
        return History(versions=versions, lineage=lineage, margin=settings.margin)
    held = between(line, met, held_out=True)
    steps = min(settings.versions, len(line) - 1)
    last = len(line) - 1
    first = last - steps
    verdict = judge(held, first, last, settings.margin, settings.alpha)
    basis = "votes"
    before, after = labels.get(line[first].id), labels.get(line[last].id)
    if verdict.gain is None and before and after:
        basis = "labels"
        n = int(min(before["n"], after["n"]))
        verdict = judge_scores(_accuracy(before), _accuracy(after), settings.margin, settings.alpha, n)
    return History(
        versions=[_version(line, i, first, held, settings.alpha) for i in range(len(line))],
        lineage=lineage,
        reference=label(line[first]),
        newest=label(line[last]),
        steps=steps,
        verdict=verdict,
        basis=basis,
        left_out=sum(row.n for row in between(line, met, held_out=False)),
        simulated=sum(row.simulated for row in held),
        margin=settings.margin,
    )


def between(line: Sequence[Prompt], met: Sequence[Meeting], *, held_out: bool) -> list[Steps]:
    """How the versions of a line met each other, whatever the hosts."""
    place = {prompt.id: i for i, prompt in enumerate(line)}
    sums: dict[tuple[int, int], list[float]] = {}
    for row in met:
        a, b = place.get(row.a), place.get(row.b)
        if a is None or b is None or a == b or row.held_out != held_out:
            continue
        values = [row.n, row.s, row.pairs, row.ss, row.sm, row.mm, row.simulated]
        if a < b:  # the later one is b: its sum on a pair is m - S
            values[1], values[3], values[4] = row.n - row.s, row.mm - 2 * row.sm + row.ss, row.mm - row.sm
        total = sums.setdefault((min(a, b), max(a, b)), [0.0] * len(values))
        for i, value in enumerate(values):
            total[i] += value
    return [
        Steps(earlier, later, int(n), wins, int(pairs), ss, sm, mm, int(simulated))
        for (earlier, later), (n, wins, pairs, ss, sm, mm, simulated) in sorted(sums.items())
    ]


def _accuracy(score: Mapping[str, Any]) -> tuple[float, float]:
    width = float(score["accuracy_high"]) - float(score["accuracy_low"])
    return float(score["accuracy"]), width / (2 * 1.96)


def _version(line: Sequence[Prompt], i: int, first: int, meetings: list[Steps], alpha: float) -> Version:
    from scipy.special import expit, ndtri

    prompt = line[i]
    value = low = high = None
    if i == first:
        value = low = high = 0.0
    elif (found := gain(meetings, first, i)) is not None:
        odds, error, _ = found
        z = float(ndtri(1 - alpha))
        value, low, high = (100 * float(expit(odds + sign * z * error)) - 50 for sign in (0, -1, 1))
    step = next((m for m in meetings if m.earlier == i - 1 and m.later == i and m.n), None)
    if step is None:
        return Version(prompt.id, label(prompt), prompt.created_at, value, low, high, None, None, None, 0)
    rate_low, rate_high = wilson(step.wins, step.n)
    return Version(
        prompt.id, label(prompt), prompt.created_at, value, low, high,
        step.rate, rate_low, rate_high, step.n,
    )  # fmt: skip
