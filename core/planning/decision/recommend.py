"""What to do, in words: what now, why, what later and when, and what nobody knows yet."""

from dataclasses import dataclass, field

import numpy as np

from core.planning.decision.evidence import ACCESS_WORDS, DecisionEvidence
from core.planning.decision.history import count
from core.planning.decision.model import (
    CONTINUOUS,
    DISCRETE,
    FINE_TUNING,
    MANUAL,
    RL,
    Alternative,
    Decision,
)
from core.planning.decision.proposals import (
    ENOUGH_ALPHA,
    PROFILES,
    available,
    current_of,
    interval,
    percent,
)
from core.planning.decision.ranking import order
from core.planning.decision.sensitivity import Draws, Room

TRUSTED_REWARD = 0.65  # the lower end of its accuracy from which a policy may learn from it
CLOSE = 0.5  # a lead of less than this, of 10, is named as close
FIRST = {
    DISCRETE: "start with GrIPS",
    RL: "start with a prompt writer by PPO or GRPO",
    CONTINUOUS: "start with prefix-tuning from a written prompt",
    FINE_TUNING: "start with DPO",
}


@dataclass(frozen=True)
class Recommendation:
    """`winner` and `runner_up` are keys of alternatives. `answer` is one sentence or two;
    `why` the findings it rests on; `later` says, for each other way, when it would be the
    one; `missing` is evidence to get first."""

    winner: str
    runner_up: str | None
    answer: str
    why: list[str] = field(default_factory=list)
    later: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def recommend(
    body: Decision,
    found: DecisionEvidence,
    scores: np.ndarray,
    weights: np.ndarray,
    values: np.ndarray,
    closeness: np.ndarray,
    draws: Draws,
    rooms: list[Room],
    blocked: dict[str, str],
) -> Recommendation:
    """`values` and `closeness` (m,) are the weighted sum and TOPSIS of the alternatives,
    best first among those that are possible here."""
    possible = [i for i in order(values) if body.alternatives[i].key not in blocked]
    if not possible:
        return Recommendation(
            "", None, "None of these ways is possible here: " + "; ".join(
                f"{a.title}: {blocked[a.key]}" for a in body.alternatives
            ) + ".", missing=list(found.missing.values()),
        )  # fmt: skip
    first, *others = possible
    winner = body.alternatives[first]
    second = others[0] if others else None
    later = [
        (body.alternatives[i].title, _when(body, found, i, first, scores, weights, values, blocked))
        for i in order(values)
        if i != first and body.alternatives[i].key != MANUAL
    ]
    why = [found.history.sentence(), _labels(found, winner), *_gap_words(body, found)]
    why.append(_lead(body, first, second, values, closeness, draws, blocked))
    if rooms:
        why.append(_tightest(body, rooms))
    why += [
        f"{a.title} is not possible here: {blocked[a.key]}." for a in body.alternatives if a.key in blocked
    ]
    return Recommendation(
        winner.key,
        body.alternatives[second].key if second is not None else None,
        _answer(body, found, winner, later),
        why,
        later,
        list(found.missing.values()),
    )


def _answer(
    body: Decision, found: DecisionEvidence, winner: Alternative, later: list[tuple[str, str]]
) -> str:
    history = found.history
    last = f"{history.margin:g} point{'' if history.margin == 1 else 's'} over the last {count(history.steps, 'version')}"
    plateau = {
        "plateaued": f"Manual versions gained less than {last}: manual work has plateaued",
        "improving": f"Manual versions gained more than {last}: manual work still improves",
        "undecided": "Whether manual work has plateaued is not known yet",
    }[history.outcome]
    profile = PROFILES.get(winner.key)
    enough = "labels suffice" if _sufficient(found, winner) else "labels do not suffice yet"
    if profile is not None and not profile.preferences:
        enough = "it needs no labels"
    labels = f"{enough} ({_amount(found)})"
    start = f" ({FIRST[winner.key]})" if winner.key in FIRST else ""
    text = f"{plateau}; {labels}. Recommended: {winner.title} now{start}"
    if later:
        title, when = later[0]
        text += f"; {title} {when}"
    return text + "."


def _amount(found: DecisionEvidence) -> str:
    text = f"{found.preferences:,} preferences"
    if found.simulated_only:
        text += ", all simulated"
    elif found.simulated:
        text += f", {found.simulated:,} of them simulated"
    if found.agreement is not None:
        text += f", alpha {found.agreement.value:.2f}"
    if found.labelled > found.preferences:
        text += f"; {found.labelled:,} labelled examples"
    return text


def _sufficient(found: DecisionEvidence, alternative: Alternative) -> bool:
    """Enough of them, by people; labelled examples count where the method can use them."""
    profile = PROFILES.get(alternative.key)
    if profile is None:
        return found.preferences > 0 and not found.simulated_only
    n, _, by_labels = available(found, profile)
    return n >= profile.preferences and (by_labels or not found.simulated_only or not profile.preferences)


def _labels(found: DecisionEvidence, winner: Alternative) -> str:
    profile = PROFILES.get(winner.key)
    alpha = (
        f"alpha {interval(found.agreement)}, n {found.agreement.n:,}"
        if found.agreement
        else "agreement not known"
    )
    text = f"{found.preferences:,} preferences{found.by_whom}, {alpha}"
    if profile is None or not profile.preferences:
        return f"{text}: {winner.title} needs none."
    n, what, by_labels = available(found, profile)
    if by_labels:
        text = f"{n:,} {what}, {text}"
    need = f"the {profile.preferences:,} that {winner.title} needs"
    if n < profile.preferences:
        return f"{text}: {profile.preferences - n:,} short of {need}."
    if found.simulated_only and not by_labels:
        return f"{text}: as many as {need}, but no person gave them."
    return f"{text}: enough for {need}."


def _gap_words(body: Decision, found: DecisionEvidence) -> list[str]:
    current = current_of(body, found)
    if current is None:
        return []
    gap = 100 * (body.needs.desired - current.value)
    state = "the target is met" if gap <= 0 else f"{gap:.1f} points are missing"
    return [f"Performance is {percent(current)}, {100 * body.needs.desired:.0f} % is desired: {state}."]


def _lead(
    body: Decision, first: int, second: int | None, values: np.ndarray, closeness: np.ndarray,
    draws: Draws, blocked: dict[str, str],
) -> str:  # fmt: skip
    name = body.alternatives[first].title
    text = f"{name} scores {values[first]:.1f} of 10"
    if second is not None:
        lead = values[first] - values[second]
        close = "only " if lead < CLOSE else ""
        text += f", {close}{lead:.1f} before {body.alternatives[second].title}"
    text += f", and wins with {100 * draws.wins[first]:.0f} % of {draws.n:,} weightings around these"
    by_topsis = next(i for i in order(closeness) if body.alternatives[i].key not in blocked)
    if by_topsis == first:
        return text + "; TOPSIS agrees."
    return text + f"; TOPSIS puts {body.alternatives[by_topsis].title} first."


def _tightest(body: Decision, rooms: list[Room]) -> str:
    room = min(rooms, key=lambda room: room.slack)
    if room.down is None and room.up is None:
        return "No single weight changes the winner, however far it moves."
    ends = [(room.down, room.down_winner, "falls below"), (room.up, room.up_winner, "rises above")]
    end, other, verb = min(
        (e for e in ends if e[0] is not None), key=lambda e: abs(room.share - float(e[0] or 0))
    )
    title = body.factors[room.factor].title
    return (
        f"The weight it hangs on most is {title}: {body.alternatives[int(other or 0)].title} wins when it "
        f"{verb} {100 * float(end or 0):.0f} % (now {100 * room.share:.0f} %)."
    )


def _when(
    body: Decision, found: DecisionEvidence, i: int, first: int, scores: np.ndarray,
    weights: np.ndarray, values: np.ndarray, blocked: dict[str, str],
) -> str:  # fmt: skip
    """`when …`: what would have to change for this alternative."""
    alternative = body.alternatives[i]
    wanted = []
    if alternative.key in blocked:
        if alternative.access not in found.host.access:
            wanted.append(f"the model runs on a host that gives {ACCESS_WORDS[alternative.access]}")
        else:
            wanted.append("prompts need not be readable any more")
    profile = PROFILES.get(alternative.key)
    if profile is not None:
        n, _, by_labels = available(found, profile)
        if n < profile.preferences:
            wanted.append(f"there are {profile.preferences:,} preferences ({n:,} now)")
        if not by_labels and found.simulated_only:
            wanted.append("people have voted")
        low = found.agreement is not None and found.agreement.value < ENOUGH_ALPHA
        if low and not by_labels and found.agreement is not None:
            wanted.append(f"alpha reaches {ENOUGH_ALPHA:g} ({found.agreement.value:.2f} now)")
        accuracy = found.reward_accuracy
        if alternative.key in (RL, FINE_TUNING) and (accuracy is None or accuracy.low < TRUSTED_REWARD):
            now = f"{100 * accuracy.low:.0f} % now" if accuracy else "not trained yet"
            wanted.append(f"the reward model is right in {100 * TRUSTED_REWARD:.0f} % at least ({now})")
    if not wanted:
        return f"when {_shortfall(body, i, first, scores, weights, values)}"
    if len(wanted) == 1:
        return f"when {wanted[0]}"
    return f"when {', '.join(wanted[:-1])} and {wanted[-1]}"


def _shortfall(
    body: Decision, i: int, first: int, scores: np.ndarray, weights: np.ndarray, values: np.ndarray
) -> str:
    """The one score that would have to rise least for it to lead."""
    lead = float(values[first] - values[i])
    rises = [(lead / w, j) for j, w in enumerate(weights) if w > 0 and scores[i, j] + lead / w <= 10 + 1e-9]
    if not rises:
        return f"its scores rise by {lead:.1f} on the whole"
    rise, j = min(rises)
    return (
        f"its score for {body.factors[j].title} is above {scores[i, j] + rise:.1f} ({scores[i, j]:.1f} now)"
    )
