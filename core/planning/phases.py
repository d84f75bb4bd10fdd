"""The phases of prompt optimisation, with the durations that are usual (in weeks)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """`low` and `high` are the usual range, `likely` what a plan starts from."""

    key: str
    title: str
    low: float
    likely: float
    high: float
    about: str


PHASES = (
    Phase("exploration", "Exploration", 2, 3, 4, "examples, baseline, first labels, success criteria"),
    Phase("development", "Development", 4, 6, 8, "labelling at scale, reward model, integration"),
    Phase("optimisation", "Optimisation", 6, 9, 12, "searches, blind verification, choosing a champion"),
    Phase("deployment", "Deployment", 2, 3, 4, "rollout, monitoring, fallback"),
    Phase("improvement", "Continuous improvement", 8, 13, 26, "signals, new labels, new searches"),
)
PHASE = {phase.key: phase for phase in PHASES}
