"""What the project knows of build or buy: figures and scores that fill in by themselves,
each with its reason. What a person overrode is left alone.

The two rules for scores, with s the part of the work an option leaves to one's own people:
technical capability 10 · (1 - s · (1 - skills covered)), resources 10 · (1 - s · (1 - roles
covered)), both from the team page; scale 10 · (1 - part of the cost that comes with use),
once a volume is measured or given.
"""

from dataclasses import dataclass, field

from core.access import Principal, require
from core.planning.evidence import Measured, gather
from core.planning.quantity import Quantity
from core.planning.sourcing.model import Option, Score, Sourcing
from core.planning.sourcing.tco import Tco
from core.planning.team.cost import person_year
from core.planning.team.results import Now, team_now
from storage.database import Database

CAPABILITY, RESOURCES, SCALE = "capability", "resources", "scale"
Proposals = dict[tuple[str, str], Score]  # (option key, factor key) -> score


@dataclass(frozen=True)
class Known:
    """What there is to propose from; None where there is nothing. `missing`: why."""

    uses: Measured | None = None
    person_year: float | None = None
    people: int = 0
    skills_covered: float | None = None
    roles_covered: float | None = None
    missing: dict[str, str] = field(default_factory=dict)


def known(db: Database, who: Principal, project_id: str) -> Known:
    require(who, "plan.view")
    uses = gather(db, who, project_id).interactions_per_month
    missing = {}
    if uses is None:
        missing["Uses per month"] = "No uses in production are recorded for a whole month."
    now = team_now(db, who, project_id, 1)
    if now.saved is None or not now.saved.body.members:
        missing["Capability, resources, cost of a person-year"] = "No team is saved on the page Team."
        return Known(uses, missing=missing)
    return _with_team(uses, now, missing)


def _with_team(uses: Measured | None, now: Now, missing: dict[str, str]) -> Known:
    found = now.results
    return Known(
        uses,
        person_year(found.team, found.units),
        len(found.team.members),
        found.found.covered_skills(),
        found.found.covered_roles(),
        missing,
    )


def with_figures(plan: Sourcing, facts: Known) -> Sourcing:
    """The plan with measured figures in place of assumed and of older measured ones."""
    filled = plan.model_copy(deep=True)
    if facts.uses and plan.interactions_per_month.origin != "overridden":
        filled.interactions_per_month = facts.uses.quantity()
    if facts.person_year and plan.person_year.origin != "overridden":
        source = (
            f"mean cost of a full-time year of the {facts.people} on the page Team, by the time they give"
        )
        filled.person_year = Quantity(
            value=facts.person_year, n=facts.people, origin="measured", source=source
        )
    return filled


def propose(plan: Sourcing, facts: Known, costs: Tco) -> Proposals:
    """`plan` with its figures filled in, and what it costs."""
    found: Proposals = {}
    keys = {factor.key for factor in plan.factors}
    volume = plan.interactions_per_month
    for option, cost in zip(plan.options, costs.options, strict=True):
        if CAPABILITY in keys and facts.skills_covered is not None:
            said = "of the skilled time that the phases need"
            found[option.key, CAPABILITY] = _by_coverage(option, facts.skills_covered, said)
        if RESOURCES in keys and facts.roles_covered is not None:
            said = "of the time that the phases need of its roles"
            found[option.key, RESOURCES] = _by_coverage(option, facts.roles_covered, said)
        if SCALE in keys and volume.origin != "assumed":
            share = cost.use_share
            how = "measured" if volume.origin == "measured" else "given"
            reason = (
                f"At {volume.value:,.0f} uses a month ({how}), {_percent(share)} of its cost over "
                f"{plan.years} years comes with use: 10 × (1 − {share:.2f})."
            )
            found[option.key, SCALE] = Score(
                value=round(10 * (1 - share), 1), reason=reason, origin="proposed"
            )
    return found


def with_scores(plan: Sourcing, proposals: Proposals) -> Sourcing:
    """The plan with proposed scores in place of all that nobody overrode. A score that was
    proposed once and is not any more stays as it was last, as assumed."""
    filled = plan.model_copy(deep=True)
    for option in filled.options:
        for factor in filled.factors:
            said = option.scores.get(factor.key)
            proposed = proposals.get((option.key, factor.key))
            if proposed and (said is None or said.origin != "overridden"):
                option.scores[factor.key] = proposed
            elif said and said.origin == "proposed":
                option.scores[factor.key] = said.model_copy(update={"origin": "assumed"})
    return filled


def _by_coverage(option: Option, covered: float, said: str) -> Score:
    value = 10 * (1 - option.in_house * (1 - covered))
    reason = (
        f"The team covers {_percent(covered)} {said}; {_percent(option.in_house)} of the work is in house: "
        f"10 × (1 − {option.in_house:.2f} × {1 - covered:.2f})."
    )
    return Score(value=round(value, 1), reason=reason, origin="proposed")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
