"""The result in words: which option, why, and under which conditions."""

from dataclasses import dataclass

import numpy as np

from core.planning.sourcing.model import Sourcing
from core.planning.sourcing.ranking import Ranking
from core.planning.sourcing.tco import Tco, break_even
from core.planning.units import money

CLOSE = 0.3  # points of ten: less is a close call


@dataclass(frozen=True)
class Recommendation:
    """`answer` is one sentence; `reasons` say why; `conditions`, when it would change."""

    answer: str
    reasons: list[str]
    conditions: list[str]


def recommend(plan: Sourcing, costs: Tco, ranking: Ranking, currency: str) -> Recommendation:
    first, second = ranking.order[0], ranking.order[1]
    names = [option.name for option in plan.options]
    ahead = float(ranking.totals[first] - ranking.totals[second])
    others = ", ".join(f"{names[i]} {ranking.totals[i]:.1f}" for i in ranking.order[1:])
    answer = f"{names[first]} fits best with {ranking.totals[first]:.1f} of 10 points ({others})"
    answer += ", but it is a close call." if ahead < CLOSE else "."
    return Recommendation(
        answer,
        [*_strengths(ranking, names, first, second), *_cost(plan, costs, ranking, currency)],
        [*_weights(ranking, names), *_volume(plan, costs, ranking), *_chances(ranking, names)],
    )


def _strengths(ranking: Ranking, names: list[str], first: int, second: int) -> list[str]:
    """What the lead over the runner-up is made of, the largest parts."""
    parts = ranking.contributions[first] - ranking.contributions[second]
    order = np.argsort(-parts)
    for_it = [f"{ranking.names[i].lower()} (+{parts[i]:.1f})" for i in order if parts[i] >= 0.05][:3]
    against = [f"{ranking.names[i].lower()} (−{-parts[i]:.1f})" for i in order[::-1] if parts[i] <= -0.05][:2]
    said = []
    if for_it:
        said.append(f"Against {names[second]} it gains on {', '.join(for_it)}")
        said[0] += f" and loses on {', '.join(against)}." if against else "."
    return said


def _cost(plan: Sourcing, costs: Tco, ranking: Ranking, currency: str) -> list[str]:
    first = ranking.order[0]
    own = costs.options[first]
    said = (
        f"Over {plan.years} years it costs {money(own.total.p50, currency, short=True)} (P10 to P90: "
        f"{money(own.total.p10, currency, short=True)} to {money(own.total.p90, currency, short=True)})"
    )
    chances = [
        f"{100 * costs.cheaper[first, i]:.0f} % against {costs.options[i].name}"
        for i in ranking.order[1:]
    ]  # fmt: skip
    return [f"{said}; the chance that it costs less is {', '.join(chances)}."]


def _weights(ranking: Ranking, names: list[str]) -> list[str]:
    """The two weights whose move by the least changes the winner."""
    tight = sorted((room for room in ranking.rooms if room.slack < 1), key=lambda room: room.slack)[:2]
    if not tight:
        return [f"{names[ranking.winner]} wins whatever weight any one factor has."]
    said = []
    for room in tight:
        name = ranking.names[room.factor].lower()
        ends = []
        if room.down is not None and room.down_winner is not None:
            ends.append((room.share - room.down, f"above {100 * room.down:.0f} %", names[room.down_winner]))
        if room.up is not None and room.up_winner is not None:
            ends.append((room.up - room.share, f"below {100 * room.up:.0f} %", names[room.up_winner]))
        _, where, other = min(ends)
        said.append(
            f"This holds while the weight of {name} is {where} (now {100 * room.share:.0f} %); "
            f"otherwise {other} wins."
        )
    return said


def _volume(plan: Sourcing, costs: Tco, ranking: Ranking) -> list[str]:
    """Volumes at which another option becomes the cheaper one."""
    first = costs.options[ranking.winner]
    said = []
    for i in ranking.order[1:]:
        other = costs.options[i]
        even = break_even(first, other)
        if even is not None:
            grows = first.per_volume.mean() < other.per_volume.mean()
            side = "above" if grows else "below"
            said.append(
                f"On average {first.name} costs less than {other.name} {side} {_round(even)} uses a month; "
                f"assumed here: {plan.interactions_per_month.value:,.0f}."
                if plan.interactions_per_month.origin == "assumed"
                else f"On average {first.name} costs less than {other.name} {side} {_round(even)} uses a month; "
                f"now {plan.interactions_per_month.value:,.0f}."
            )
    return said


def _chances(ranking: Ranking, names: list[str]) -> list[str]:
    first = ranking.winner
    return [
        f"{names[first]} wins in {100 * ranking.draws.wins[first]:.0f} % of weightings drawn around these, and in "
        f"{100 * ranking.wins[first]:.0f} % of the draws of what cannot be known of the cost."
    ]


def _round(volume: float) -> str:
    """Two figures are all that such a number is good for."""
    return f"{float(f'{volume:.2g}'):,.0f}"
