"""The live metrics that a milestone can be bound to: what each means, and which way is better."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["at_least", "at_most"]
Family = Literal["count", "level"]
Scale = Literal["number", "share", "agreement", "ratio"]

MANUAL = "manual"


@dataclass(frozen=True)
class MetricKind:
    """`family`: a count only grows, a level goes up and down. `scale`: what values are
    possible (any number; 0 to 1; -1 to 1; above 0)."""

    key: str
    title: str
    unit: str
    definition: str
    family: Family
    scale: Scale
    direction: Direction = "at_least"


KINDS = (
    MetricKind(
        "labels",
        "Labels collected",
        "votes",
        "Votes on pairs, summed over time, without those that were left out. Votes of people count as soon as "
        "there are any; until then simulated ones do, and the page says so.",
        "count",
        "number",
    ),
    MetricKind(
        "agreement",
        "Agreement",
        "alpha",
        "Krippendorff's nominal alpha over all votes so far on pairs with two or more votes: 1 is full "
        "agreement, 0 is chance. A pair counts from the day of its last vote. Interval: jackknife over "
        "16 blocks of pairs, 95 %.",
        "level",
        "agreement",
    ),
    MetricKind(
        "reward_accuracy",
        "Reward accuracy",
        "%",
        "Share of held-out test pairs where the reward model scores the preferred response higher; the "
        "newest whole model of each day, with Wilson's 95 % interval.",
        "level",
        "share",
    ),
    MetricKind(
        "training_efficiency",
        "Training efficiency",
        "pairs/s",
        "Training pairs times epochs, divided by the seconds of the whole run, for reward-model runs that "
        "succeeded: geometric mean over the runs of a period; interval over its runs (Student, 95 %).",
        "level",
        "ratio",
    ),
    MetricKind(
        "gain",
        "Optimisation gain",
        "score",
        "Test score of the prompt a search chose, minus that of the prompt it started from, on the same "
        "examples: the best search so far. The best of many searches flatters itself a little. Interval: "
        "paired, 95 %. Searches of the kind of reward that was used last.",
        "level",
        "number",
    ),
    MetricKind(
        "win_rate",
        "Win rate of the champion",
        "%",
        "Share of all votes so far that the champion won against the baseline (the prompt it descends "
        "from, else the one it met most), a tie and “both bad” counting half; Wilson's 95 % interval.",
        "level",
        "share",
    ),
    MetricKind(
        "stability",
        "Deployment stability",
        "%",
        "Share of uses in production with a good signal, over the last 28 days; while no use has a "
        "signal, the share of runs that succeeded of those that succeeded or failed. Wilson's 95 % interval.",
        "level",
        "share",
    ),
)
KIND = {kind.key: kind for kind in KINDS}


def shown(key: str, value: float | None) -> str:
    """A value in the words of its metric: `61.2 %`, `812 votes`, `0.610`, `+0.120`."""
    if value is None:
        return "—"
    kind = KIND[key]
    if kind.scale == "share":
        return f"{100 * value:.1f} %"
    if kind.family == "count":
        return f"{value:,.0f} {kind.unit}"
    if kind.scale == "ratio":
        return f"{value:,.3g} {kind.unit}"
    return f"{value:+.3f}" if key == "gain" else f"{value:.2f}"
