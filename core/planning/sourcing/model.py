"""Build, buy or both: what speaks for each option, and what it costs."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from core.planning.documents import Body
from core.planning.quantity import Quantity, as_quantity, at_least, between

COST = "cost"  # the key of the factor whose scores follow from the cost

Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
Weight = Annotated[float, Field(ge=0, le=1000)]
Origin = Literal["assumed", "proposed", "overridden"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Score(_Part):
    """How well an option does by a factor, 10 being best. `proposed`: from evidence, and
    kept up to date with it; `overridden`: a person replaced what was proposed."""

    value: Annotated[float, Field(ge=0, le=10)]
    reason: Text = ""
    origin: Origin = "assumed"


class Factor(_Part):
    key: Key
    name: Name
    about: Text = ""
    weight: Weight = 1.0


class CostLine(_Part):
    """`once` at the start, `year` in each year, `use` for each interaction. Of people,
    `amount` counts person-years (once) or full-time equivalents (year), else it is money."""

    name: Name
    when: Literal["once", "year", "use"] = "year"
    what: Literal["money", "people"] = "money"
    amount: Annotated[Quantity, BeforeValidator(as_quantity)]

    @model_validator(mode="after")
    def _makes_sense(self) -> "CostLine":
        try:
            at_least(self.amount, 0)
        except ValueError as problem:
            raise ValueError(f"amount: {problem}") from problem
        if self.when == "use" and self.what == "people":
            raise ValueError("what: people cost once or per year; give what a use costs as money")
        return self


class Option(_Part):
    """`in_house`: which part of the work one's own people do; the proposed scores use it."""

    key: Key
    name: Name
    in_house: Annotated[float, Field(ge=0, le=1)] = 0.5
    scores: dict[Key, Score] = Field(default_factory=dict)
    costs: Annotated[list[CostLine], Field(max_length=50)] = Field(default_factory=list)


_PEOPLE: dict[str, Any] = {"what": "people"}


def usual_factors() -> list[Factor]:
    return [
        Factor(key="capability", name="Technical capability", weight=25,
               about="Can one's own people do the part that the option leaves to them?"),
        Factor(key="resources", name="Resources", weight=20,
               about="Is the time there that the option takes from one's own people?"),
        Factor(key="strategy", name="Strategic difference", weight=20,
               about="Does it set one apart, and stay in one's own hands?"),
        Factor(key="scale", name="Scale", weight=10,
               about="Does it bear growth in use without the cost growing with it?"),
        Factor(key="maintenance", name="Maintenance", weight=10,
               about="How little work is it to keep it running and current?"),
    ]  # fmt: skip


def usual_options() -> list[Option]:
    """Assumptions to start from, for a team of a few people."""
    reasons = {
        "build": {
            "capability": (5, "Needs every skill in house."),
            "resources": (4, "Takes most time of one's own people."),
            "strategy": (9, "Data, methods and pace stay in one's own hands."),
            "scale": (8, "A further use costs little."),
            "maintenance": (4, "All upkeep is one's own."),
        },
        "buy": {
            "capability": (8, "The vendor brings most skills."),
            "resources": (8, "Takes little time of one's own people."),
            "strategy": (3, "Others can buy the same."),
            "scale": (5, "Each use is charged."),
            "maintenance": (8, "The vendor keeps it current."),
        },
        "hybrid": {
            "capability": (7, "Half of the skills are bought."),
            "resources": (6, "Takes some time of one's own people."),
            "strategy": (7, "Votes and prompts stay; tooling is bought."),
            "scale": (7, "A part of each use is charged."),
            "maintenance": (6, "Upkeep is shared."),
        },
    }
    costs = {
        "build": [
            CostLine(name="Build and integration", when="once", **_PEOPLE, amount=between(0.6, 1.0, 2.0)),
            CostLine(name="Operation and development", **_PEOPLE, amount=between(0.5, 0.8, 1.4)),
            CostLine(name="Hosting", amount=between(6_000, 12_000, 25_000)),
            CostLine(name="Compute of a use", when="use", amount=between(0.001, 0.002, 0.004)),
        ],
        "buy": [
            CostLine(name="Integration", when="once", **_PEOPLE, amount=between(0.1, 0.25, 0.5)),
            CostLine(name="Set-up fee", when="once", amount=between(0, 10_000, 30_000)),
            CostLine(name="Licence", amount=between(30_000, 60_000, 120_000)),
            CostLine(name="Own people", **_PEOPLE, amount=between(0.1, 0.2, 0.4)),
            CostLine(name="Fee of a use", when="use", amount=between(0.004, 0.01, 0.02)),
        ],
        "hybrid": [
            CostLine(name="Build and integration", when="once", **_PEOPLE, amount=between(0.3, 0.5, 1.0)),
            CostLine(name="Licences of tools", amount=between(8_000, 15_000, 30_000)),
            CostLine(name="Operation and development", **_PEOPLE, amount=between(0.3, 0.5, 0.9)),
            CostLine(name="Hosting", amount=between(4_000, 8_000, 15_000)),
            CostLine(name="Compute and fee of a use", when="use", amount=between(0.002, 0.004, 0.008)),
        ],
    }
    names = (("build", "Build", 1.0), ("buy", "Buy", 0.15), ("hybrid", "Hybrid", 0.5))
    return [
        Option(
            key=key,
            name=name,
            in_house=share,
            costs=costs[key],
            scores={factor: Score(value=value, reason=why) for factor, (value, why) in reasons[key].items()},
        )
        for key, name, share in names
    ]


class Sourcing(Body):
    """Two options or more, weighed by factors and by what they cost over `years`.

    `interactions_per_month` is the volume today; it grows by `growth` a year. `person_year`
    is the cost of somebody's full-time year. `discount_rate` is yearly.
    """

    KIND: ClassVar[str] = "sourcing"
    TITLE: ClassVar[str] = "Build or buy"

    options: Annotated[list[Option], Field(min_length=2, max_length=8)] = Field(default_factory=usual_options)
    factors: Annotated[list[Factor], Field(max_length=20)] = Field(default_factory=usual_factors)
    cost_weight: Weight = 15.0
    years: Annotated[int, Field(ge=1, le=10)] = 3
    discount_rate: Annotated[float, Field(ge=0, le=1)] = 0.08
    interactions_per_month: Annotated[Quantity, BeforeValidator(as_quantity)] = Field(
        default_factory=lambda: between(5_000, 20_000, 80_000, "assumed: nothing is recorded yet")
    )
    growth: Annotated[Quantity, BeforeValidator(as_quantity)] = Field(
        default_factory=lambda: between(0.0, 0.2, 0.6, "assumed growth of use a year")
    )
    person_year: Annotated[Quantity, BeforeValidator(as_quantity)] = Field(
        default_factory=lambda: between(75_000, 95_000, 120_000, "assumed cost of a full-time year")
    )
    draws: Annotated[int, Field(ge=500, le=50_000)] = 5_000
    seed: Annotated[int, Field(ge=0, le=2**31)] = 1

    @model_validator(mode="after")
    def _consistent(self) -> "Sourcing":
        for field, least in (("interactions_per_month", 0.0), ("growth", -1.0), ("person_year", 0.0)):
            try:
                at_least(getattr(self, field), least)
            except ValueError as problem:
                raise ValueError(f"{field}: {problem}") from problem
        for field, items in (("options", self.options), ("factors", self.factors)):
            _once(field, [item.key for item in items])
            _once(field, [item.name.casefold() for item in items])
        if any(factor.key == COST for factor in self.factors):
            raise ValueError(f"factors: “{COST}” is there already; its weight is cost_weight")
        if self.cost_weight + sum(factor.weight for factor in self.factors) <= 0:
            raise ValueError("factors: at least one weight must be above zero")
        known = {factor.key for factor in self.factors}
        for option in self.options:
            if unknown := sorted(set(option.scores) - known):
                raise ValueError(f"options: {option.name} has a score for {unknown[0]}, which is no factor")
        return self

    def score(self, option: Option, factor: Factor) -> Score:
        """What is said, or the middle where nothing is."""
        return option.scores.get(factor.key) or Score(value=5, reason="Not scored yet.")


def key_of(name: str, taken: set[str]) -> str:
    """A new key for a name: `Own team` -> `own_team`, with a number when it is taken."""
    base = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:32] or "item"
    key, number = base, 2
    while key in taken:
        key, number = f"{base}_{number}", number + 1
    return key


def _once(field: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{field}: “{value}” is there twice")
