"""Every kind of plan there is, by its name: what programs and the API read plans with."""

from core.errors import Invalid
from core.planning.documents import Body
from core.planning.units import Units

MODELS: tuple[type[Body], ...] = (Units,)
KINDS: dict[str, type[Body]] = {model.KIND: model for model in MODELS}


def model_of(kind: str) -> type[Body]:
    """The body of a kind. Raises Invalid naming the field `kind`."""
    if kind not in KINDS:
        raise Invalid(f"kind: “{kind}” is not one of {', '.join(sorted(KINDS))}.")
    return KINDS[kind]
