"""A score for every cell of the matrix, by a rule that can be read, from what the project
measured where it did; otherwise by judgement, which the reason then says.

The figures that each rule starts from are judgement too: they stand in PROFILES, with
where they come from, and docs/plan-decision.md repeats them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from core.planning.decision.evidence import ACCESS_WORDS, DecisionEvidence
from core.planning.decision.model import (
    COMPLEXITY,
    CONTINUOUS,
    DATA,
    DISCRETE,
    FINE_TUNING,
    GAP,
    IMPROVEMENT,
    LONGEST_REASON,
    MANUAL,
    RL,
    TIME,
    Alternative,
    Decision,
    Factor,
    Score,
)
from core.planning.evidence import Measured

MIDDLE = 5.0
ENOUGH_ALPHA = 0.4  # of preferences between close responses; scores are full from here
ENOUGH_VOTES = 20  # below, a win rate moves no score
JUDGEMENT = "Judgement, not measured"


@dataclass(frozen=True)
class Profile:
    """`preferences`: what the method needs to learn from; `labels_do`: labelled examples
    serve as well. `reach`: points of performance that it typically gains over a plain
    prompt. `hope`, `ease`: expected improvement and ease, 0 to 10. `weeks` to a first
    result in use."""

    preferences: int
    labels_do: bool
    reach: float
    reach_why: str
    hope: float
    hope_why: str
    ease: float
    ease_why: str
    weeks: float


PROFILES = {
    MANUAL: Profile(
        0, True, 3, "rewording brings a few points", 4, "people find the large gains early",
        9, "nothing new to run", 1,
    ),
    DISCRETE: Profile(
        100, True, 6, "from 1 point (GrIPS, seven tasks) to 12 (GEPA, four tasks)",
        6, "published searches mostly beat the prompt they start from",
        8, "a search needs a host and a budget, and its prompts are plain text", 1,
    ),
    RL: Profile(
        500, True, 7, "RLPrompt: 68.6 to 75.8 over seven tasks", 6, "strong where the reward can be trusted",
        5, "a policy must be trained and watched for reward hacking", 4,
    ),
    CONTINUOUS: Profile(
        300, True, 8, "P-tuning: 45.2 to 64.2 on facts, far less elsewhere",
        6, "the result hangs on how the vectors start",
        4, "vectors must be trained, kept and served with one model", 3,
    ),
    FINE_TUNING: Profile(
        2_000, False, 12, "the weights themselves can learn what a prompt cannot say",
        8, "the largest gains, where there are enough preferences",
        2, "a model of one's own must be trained, served and kept safe", 10,
    ),
}  # fmt: skip
LARGEST_REACH = max(profile.reach for profile in PROFILES.values())


@dataclass(frozen=True)
class Proposal:
    """`measured`: figures of this project went into it."""

    alternative: str
    factor: str
    value: float
    reason: str
    measured: bool


def propose(body: Decision, found: DecisionEvidence) -> dict[tuple[str, str], Proposal]:
    """(alternative, factor) -> proposal, for every cell."""
    proposals = {}
    for alternative in body.alternatives:
        for factor in body.factors:
            value, reason, measured = _cell(body, found, alternative, factor)
            value = min(10.0, max(0.0, round(2 * value) / 2))
            key = (alternative.key, factor.key)
            proposals[key] = Proposal(*key, value, reason, measured)
    return proposals


def filled(body: Decision, proposals: dict[tuple[str, str], Proposal]) -> Decision:
    """The body with every cell: a person's where there is one, else today's proposal. An
    overridden cell gets the proposal it stands against."""
    scores = []
    for key, proposal in proposals.items():
        there = body.score(*key)
        if there is not None and there.origin == "overridden":
            scores.append(there.model_copy(update={"proposed": proposal.value}))
        else:
            scores.append(
                Score(
                    alternative=key[0], factor=key[1], value=proposal.value, origin="proposed",
                    reason=proposal.reason[:LONGEST_REASON], proposed=proposal.value,
                )
            )  # fmt: skip
    return body.model_copy(update={"scores": scores})


def impossible(body: Decision, found: DecisionEvidence) -> dict[str, str]:
    """alternative -> why it cannot be done here, for those that cannot."""
    reasons = {}
    for alternative in body.alternatives:
        if alternative.access not in found.host.access:
            reasons[alternative.key] = (
                f"the host {found.host.name} gives {found.host.words}, and it needs "
                f"{ACCESS_WORDS[alternative.access]}"
            )
        elif body.needs.interpretability == "required" and not alternative.readable:
            reasons[alternative.key] = "what changes must be readable, and what it makes is not text"
    return reasons


# --- one rule for each factor --------------------------------------------------------------

Cell = tuple[float, str, bool]  # value, reason, measured


def _cell(body: Decision, found: DecisionEvidence, alternative: Alternative, factor: Factor) -> Cell:
    rule = RULES.get(factor.key)
    profile = PROFILES.get(alternative.key)
    if rule is None or profile is None:
        what = "factor" if rule is None else "alternative"
        return MIDDLE, f"Not judged yet: this {what} is your own, so it stands in the middle.", False
    return rule(body, found, alternative, profile)


def _gap(body: Decision, found: DecisionEvidence, alternative: Alternative, profile: Profile) -> Cell:
    """10 x reach / gap, at most 10."""
    reach, why, measured = profile.reach, profile.reach_why, False
    verdict = found.history.verdict
    labels = [row for row in found.searches if row.reward == "labels" and row.gain is not None]
    if alternative.key == MANUAL and verdict and verdict.outcome == "plateaued" and verdict.high is not None:
        reach, measured = max(0.0, verdict.high), True
        why = f"the last {found.history.steps} versions gained {reach:.1f} points at most"
    elif alternative.key == DISCRETE and labels:
        runs = sum(row.reported for row in labels)
        reach = max(0.0, sum(float(row.gain or 0) * row.reported for row in labels) / runs)
        why, measured = f"searches here gained {reach:.1f} points on the test split (n {runs:,})", True
    current = current_of(body, found)
    if current is None:
        value = 10 * reach / LARGEST_REACH
        text = f"Nobody measured the current performance; by reach alone: some {reach:.1f} points, {why}."
        return value, text, measured
    gap = 100 * (body.needs.desired - current.value)
    n = f", n {current.n:,}" if current.n else ""
    now = f"{100 * current.value:.0f} % now ({100 * current.low:.0f} to {100 * current.high:.0f}{n})"
    if gap <= 0:
        return 10.0, f"{now}, {100 * body.needs.desired:.0f} % desired: there is no gap.", True
    share = min(1.0, reach / gap)
    text = (
        f"{now}, {100 * body.needs.desired:.0f} % desired: some {reach:.1f} points are {100 * share:.0f} % "
        f"of the {gap:.1f} wanted; {why}."
    )
    return 10 * share, text, True


def _data(body: Decision, found: DecisionEvidence, alternative: Alternative, profile: Profile) -> Cell:
    """10 x preferences / needed, at most 10; x 0.5 to 1 by alpha; halved when simulated."""
    if not profile.preferences:
        return 9.0, f"{JUDGEMENT}: people need to see examples, not to label them.", False
    n, what, by_labels = available(found, profile)
    value = 10 * min(1.0, n / profile.preferences)
    text = f"{n:,} {what}"
    if not by_labels:
        text += found.by_whom
    text += f" of the {profile.preferences:,} it needs"
    if not by_labels:
        value *= _trust(found.agreement)
        text += f", alpha {interval(found.agreement)}" if found.agreement else ", agreement not known"
        if found.simulated_only:
            value /= 2
    verdict = "enough" if value >= 7 else "thin" if value >= 4 else "too little"
    return value, f"{text}: {verdict} for {'a reward model' if not by_labels else 'it'}.", True


def _improvement(body: Decision, found: DecisionEvidence, alternative: Alternative, profile: Profile) -> Cell:
    if alternative.key == MANUAL and found.history.verdict is not None:
        value = {"plateaued": 1.0, "improving": 7.0, "undecided": profile.hope}[found.history.outcome]
        decided = found.history.outcome != "undecided"
        text = found.history.sentence()
        return value, text if decided else f"{JUDGEMENT}: {profile.hope_why}. {text}", decided
    if alternative.key == DISCRETE and found.found is not None and found.found.n >= ENOUGH_VOTES:
        rate = found.found
        by = f", {rate.n_simulated:,} simulated" if rate.n_simulated else ""
        text = f"Found prompts won {percent(rate)}{by} against written ones, by votes."
        return 10 * (rate.value - 0.4) / 0.3, text, True
    if alternative.key == DISCRETE and found.reported:
        better, n = found.better, found.reported
        text = f"{better:,} of {n:,} finished searches beat their start on the test split for sure."
        return 2 + 8 * (better + 1) / (n + 2), text, True
    if alternative.key in (RL, FINE_TUNING) and found.reward_accuracy is not None:
        accuracy = found.reward_accuracy
        value = 10 * (accuracy.low - 0.5) / 0.3
        text = f"The reward model is right on {percent(accuracy)} of held-out pairs, and what it cannot see cannot be learned."
        if alternative.key == FINE_TUNING:
            value = (value + profile.hope) / 2
            text = text[:-1] + f"; half of the score is judgement: {profile.hope_why}."
        return value, text, True
    return profile.hope, f"{JUDGEMENT}: {profile.hope_why}.", False


def _complexity(body: Decision, found: DecisionEvidence, alternative: Alternative, profile: Profile) -> Cell:
    blocked = impossible(body, found).get(alternative.key)
    if blocked:
        return 0.0, f"Not possible here: {blocked}.", True
    value, parts, measured = profile.ease, [f"{JUDGEMENT}: {profile.ease_why}"], False
    if body.needs.interpretability == "preferred" and not alternative.readable:
        value -= 2
        parts.append("2 off, as what it makes cannot be read")
    if not alternative.readable and (many := sum(host.used > 0 for host in found.hosts)) > 1:
        value, measured = value - 2, True
        parts.append(f"2 off, as it must be made anew for each of {many} hosts in use")
    if alternative.readable and alternative.key != MANUAL and len(found.transfer) > 1:
        host, worst = min(found.transfer, key=lambda item: item[1].value)
        value, measured = value + (1 if worst.value > 0.5 else -1), True
        sign = "1 on" if worst.value > 0.5 else "1 off"
        parts.append(f"{sign}: on {host}, the weaker host, found prompts won {percent(worst)}")
    limit, latency = body.needs.max_latency_ms, found.latency_ms
    if limit is not None and latency is not None and latency.value > limit:
        slow = f"answers take {seconds(latency.value)} (n {latency.n:,}), {seconds(limit)} are wanted"
        measured = True
        if alternative.key == FINE_TUNING:
            value += 1
            parts.append(f"1 on, as a smaller tuned model can be faster: {slow}")
        else:
            value -= 1
            parts.append(f"1 off, as no prompt makes the model faster: {slow}")
    return value, "; ".join(parts) + ".", measured


def _time(body: Decision, found: DecisionEvidence, alternative: Alternative, profile: Profile) -> Cell:
    """10 / (1 + weeks / 4): 8 for one week, 5 for four, 3 for ten."""
    weeks, measured = profile.weeks, False
    text = f"{JUDGEMENT}: some {weeks:g} week{'' if weeks == 1 else 's'} to a first result in use"
    n, _, _ = available(found, profile)
    missing = max(0, profile.preferences - n)
    pace = found.common.votes_per_day
    if missing and pace:
        more = missing / pace / 7
        weeks, measured = weeks + more, True
        text += f", and {more:.1f} more to collect {missing:,} preferences at {pace:.0f} votes a day"
    elif missing:
        text += f"; {missing:,} preferences are missing, at a pace nobody knows yet"
    runs = [row for row in found.searches if row.median_s is not None]
    if alternative.key == DISCRETE and runs:
        row = runs[0]
        text += f"; a search took {seconds(1000 * float(row.median_s or 0))} here (median of {row.runs:,})"
        measured = True
    return 10 / (1 + weeks / 4), text + ".", measured


RULES: dict[str, Callable[[Decision, DecisionEvidence, Alternative, Profile], Cell]] = {
    GAP: _gap,
    DATA: _data,
    IMPROVEMENT: _improvement,
    COMPLEXITY: _complexity,
    TIME: _time,
}


# --- what several rules use ----------------------------------------------------------------


def current_of(body: Decision, found: DecisionEvidence) -> Measured | None:
    """The current performance: a person's figure before the measured one."""
    given = body.needs.current
    if given is None:
        return found.current
    low, high = (given.value if end is None else end for end in (given.low, given.high))
    return Measured(given.value, low, high, given.n or 0, given.source or "given by hand")


def available(found: DecisionEvidence, profile: Profile) -> tuple[int, str, bool]:
    """(how many, of what, whether these are labelled examples) a method can learn from."""
    if profile.labels_do and found.labelled > found.preferences:
        return found.labelled, "labelled examples", True
    return found.preferences, "preferences", False


def _trust(agreement: Measured | None) -> float:
    if agreement is None:
        return 0.8
    return min(1.0, 0.5 + 0.5 * max(0.0, agreement.value) / ENOUGH_ALPHA)


def interval(figure: Measured) -> str:
    """`0.61 (0.55 to 0.67)`"""
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def percent(figure: Measured) -> str:
    """`61 % (57 to 65, n 512)`"""
    return f"{100 * figure.value:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f}, n {figure.n:,})"


def seconds(ms: float) -> str:
    """`0.8 s`, `4 min`, `3.5 h`"""
    s = ms / 1000
    if s < 120:
        return f"{s:.1f} s" if s < 10 else f"{s:.0f} s"
    return f"{s / 60:.0f} min" if s < 7200 else f"{s / 3600:.1f} h"
