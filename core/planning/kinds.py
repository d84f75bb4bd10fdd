"""Every kind of plan there is, by its name: what programs and the API read plans with."""

from core.errors import Invalid
from core.planning.decision.model import Decision
from core.planning.documents import Body
from core.planning.milestones.model import Milestones
from core.planning.roi.model import Scenario
from core.planning.sourcing.model import Sourcing
from core.planning.team.model import Team
from core.planning.units import Units

MODELS: tuple[type[Body], ...] = (Scenario, Decision, Milestones, Team, Sourcing, Units)
KINDS: dict[str, type[Body]] = {model.KIND: model for model in MODELS}


def model_of(kind: str) -> type[Body]:
    """The body of a kind. Raises Invalid naming the field `kind`."""
    if kind not in KINDS:
        raise Invalid(f"kind: “{kind}” is not one of {', '.join(KINDS)}.")
    return KINDS[kind]
