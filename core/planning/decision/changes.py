"""What a person changed from one version of a decision to another, in words. Proposed
scores follow the project's data, so their moves are counted, not listed."""

from core.planning.decision.ahp import words
from core.planning.decision.model import Decision

NEEDS = {
    "desired": "desired performance",
    "current": "current performance",
    "interpretability": "readable prompts",
    "max_latency_ms": "latency limit, ms",
    "host": "host",
}
TEST = {"margin": "margin of the plateau test", "versions": "versions tested", "alpha": "level of the test"}


def changes(before: Decision, after: Decision) -> list[str]:
    """One sentence each."""
    said = _parts(before, after)
    old, new = {f.key: f for f in before.factors}, {f.key: f for f in after.factors}
    titles = {a.key: a.title for a in after.alternatives} | {k: f.title for k, f in new.items()}
    said += [
        f"Weight of {new[key].title}: {old[key].weight:g} to {new[key].weight:g}."
        for key in new
        if key in old and old[key].weight != new[key].weight
    ]
    if before.weighting != after.weighting:
        said.append(f"Weights by {after.weighting}.")
    compared = {(c.a, c.b): c.value for c in before.comparisons}
    said += [
        f"{titles.get(c.a, c.a)} against {titles.get(c.b, c.b)}: {words(c.value)}."
        for c in after.comparisons
        if compared.get((c.a, c.b), 1.0) != c.value
    ]
    for score in after.scores:
        was = before.score(score.alternative, score.factor)
        cell = f"{titles.get(score.alternative, score.alternative)}, {titles.get(score.factor, score.factor)}"
        if score.origin == "overridden" and (was is None or was.origin != "overridden"):
            said.append(f"{cell}: {score.value:g} instead of the proposed {score.proposed or 0:g}.")
        elif score.origin == "overridden" and was is not None and was.value != score.value:
            said.append(f"{cell}: {was.value:g} to {score.value:g}.")
        elif score.origin == "proposed" and was is not None and was.origin == "overridden":
            said.append(f"{cell}: back to the proposal, {score.value:g}.")
    said += _fields(before.needs.model_dump(), after.needs.model_dump(), NEEDS)
    said += _fields(before.plateau.model_dump(), after.plateau.model_dump(), TEST)
    return said


def moved_proposals(before: Decision, after: Decision) -> int:
    """Cells that nobody overrode, whose proposal is another one."""
    count = 0
    for score in after.scores:
        was = before.score(score.alternative, score.factor)
        both = was is not None and was.origin == score.origin == "proposed"
        count += both and was is not None and was.value != score.value
    return count


def _parts(before: Decision, after: Decision) -> list[str]:
    said = []
    for what, old, new in (
        ("factor", [f.title for f in before.factors], [f.title for f in after.factors]),
        ("alternative", [a.title for a in before.alternatives], [a.title for a in after.alternatives]),
    ):
        said += [f"New {what}: {title}." for title in new if title not in old]
        said += [f"Without the {what} {title}." for title in old if title not in new]
    return said


def _fields(before: dict, after: dict, names: dict[str, str]) -> list[str]:
    def shown(value: object) -> str:
        if isinstance(value, dict):
            value = value.get("value")
        return "none" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)

    return [
        f"{name.capitalize()}: {shown(before[key])} to {shown(after[key])}."
        for key, name in names.items()
        if before[key] != after[key]
    ]
