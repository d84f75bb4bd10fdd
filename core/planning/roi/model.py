"""A scenario: what prompt optimisation is to bring and to cost, month by month.

Rates and shares are 0 to 1, money is in the currency of the project's units, months are
twelfths of a year. Month 0 is the day of the decision; what is paid once is paid then.
What each figure does to the money is `core.planning.roi.cashflow`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from core.planning.documents import Body
from core.planning.quantity import Quantity, as_quantity, at_least, between, fixed

UpliftSource = Literal["assumed", "win_rate", "experiment"]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Input:
    """How an uncertain input is called and bounded. `unit` may hold `{currency}`; `percent`
    ones are 0 to 1 inside and shown times 100; `least` and `most` bound value and range."""

    label: str
    group: str
    unit: str
    least: float
    most: float
    percent: bool = False
    about: str = ""

    @property
    def description(self) -> str:
        inside = self.unit.replace("% points", "difference of two shares, -1 to 1")
        inside = inside.replace("%", "share, 0 to 1" if self.unit == "%" else "share")
        inside = inside.replace("{currency}", "money")
        return f"{self.label} ({inside})" + (f": {self.about}" if self.about else "")


VALUE, UPLIFT, ADOPTION = "Volume and value", "Uplift", "Adoption"
LABELS, COMPUTE, CALLS = "Labels", "Compute", "Model calls"
PEOPLE, PLATFORM = "People", "Platform"
GROUPS = (VALUE, UPLIFT, ADOPTION, LABELS, COMPUTE, CALLS, PEOPLE, PLATFORM)

INPUTS: dict[str, Input] = {
    "interactions_per_month": Input(
        "Interactions", VALUE, "per month", 0, 1e12, about="uses of the prompt in production, in the first month"
    ),
    "monthly_growth": Input(
        "Growth of interactions", VALUE, "% per month", -0.5, 0.5, True, "of the number of interactions"
    ),
    "value_per_success": Input(
        "Value of a success", VALUE, "{currency} per interaction", 0, 1e9,
        about="what one more good answer is worth, or what a failure costs",
    ),
    "baseline_success": Input(
        "Success rate today", VALUE, "%", 0, 1, True, "interactions that go well with the prompt in use before"
    ),
    "uplift": Input(
        "Uplift", UPLIFT, "% points", -1, 1, True, "what the better prompt adds to the success rate; your assumption"
    ),
    "win_rate": Input(
        "Win rate", UPLIFT, "%", 0, 1, True, "how often people prefer the champion to the baseline, ties as halves"
    ),
    "conversion": Input(
        "Conversion", UPLIFT, "%", 0, 1, True,
        "share of preferred responses that turn a failure into a success",
    ),
    "experiment": Input(
        "Uplift in production", UPLIFT, "% points", -1, 1, True,
        "success rate of the champion minus that of the baseline, both in production",
    ),
    "start_month": Input(
        "First month in use", ADOPTION, "month number", 1, 121, about="1 is at once, 4 is after three months of work"
    ),
    "ramp_months": Input(
        "Ramp", ADOPTION, "months", 0, 120, about="from the first use to full adoption, in a straight line"
    ),
    "full_adoption": Input(
        "Full adoption", ADOPTION, "%", 0, 1, True, "interactions that get the better prompt after the ramp"
    ),
    "votes": Input("Votes wanted", LABELS, "votes", 0, 1e9, about="by people, each month or in total"),
    "seconds_per_vote": Input("Time for a vote", LABELS, "seconds", 0, 86_400),
    "hourly_rate": Input("Cost of an annotator", LABELS, "{currency} per hour", 0, 1e6, about="with overhead"),
    "searches_per_month": Input(
        "Searches", COMPUTE, "per month", 0, 1e6, about="optimisation runs, each with its training and its responses"
    ),
    "tokens_per_month": Input("Tokens", CALLS, "per month", 0, 1e15, about="read and written, for searches"),
    "price_per_million": Input("Price of tokens", CALLS, "{currency} per million", 0, 1e6),
    "calls_per_month": Input("Calls", CALLS, "per month", 0, 1e12, about="of language models, for searches"),
    "cost_per_call": Input("Cost of a call", CALLS, "{currency} per call", 0, 1e6),
    "people_per_month": Input("People", PEOPLE, "{currency} per month", 0, 1e9, about="who do and run the work"),
    "people_factor": Input(
        "Actual cost over planned", PEOPLE, "times", 0, 10, about="what the team really costs, over what its plan says"
    ),
    "platform_once": Input("Platform, once", PLATFORM, "{currency}", 0, 1e12),
    "platform_yearly": Input("Platform, yearly", PLATFORM, "{currency} per year", 0, 1e12),
    "integration_once": Input("Integration, once", PLATFORM, "{currency}", 0, 1e12),
    "integration_yearly": Input("Integration, yearly", PLATFORM, "{currency} per year", 0, 1e12),
}  # fmt: skip
COMPUTE_INPUTS: dict[str, Input] = {
    "hours": Input("Hours", COMPUTE, "hours", 0, 1e6, about="on one machine, for each search or each month"),
    "price_per_hour": Input("Price", COMPUTE, "{currency} per hour", 0, 1e6),
}


def _input(key: str, default: Quantity, table: dict[str, Input] = INPUTS) -> Any:
    return Field(default_factory=lambda: default.model_copy(), description=table[key].description)


def _outside(known: Input) -> str:
    if known.percent:
        return f"must lie between {100 * known.least:g} and {100 * known.most:g} %"
    return f"must not be below {known.least:g}" + (f" nor above {known.most:g}" if known.most < 1e6 else "")


def _raw(value: Any, known: Input) -> Any:
    """A bare number as a quantity; what leaves the input's bounds is refused in its own unit,
    before anything else is said of its range."""
    value = as_quantity(value)
    if isinstance(value, dict):
        ends = [value.get("value")]
        ends += [value.get("low"), value.get("high")] if value.get("kind", "fixed") != "fixed" else []
        if any(isinstance(end, int | float) and not known.least <= end <= known.most for end in ends):
            raise ValueError(_outside(known))
    return value


def _bounded(value: Quantity, known: Input) -> Quantity:
    """The same for a quantity that is one already."""
    try:
        return at_least(value, known.least, known.most)
    except ValueError as problem:
        raise ValueError(_outside(known)) from problem


class Compute(BaseModel):
    """Machine time of one kind, such as “GPU, searches”."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=60, description="what the machine does")] = "GPU"
    hours: Quantity = _input("hours", between(1, 4, 12, "rule of thumb"), COMPUTE_INPUTS)
    per: Annotated[
        Literal["search", "month"], Field(description="what the hours are for: each search, or each month")
    ] = "search"
    price_per_hour: Quantity = _input(
        "price_per_hour", between(1, 2.5, 5, "list prices of rented GPUs"), COMPUTE_INPUTS
    )

    @field_validator("hours", "price_per_hour", mode="before")
    @classmethod
    def _bare(cls, value: Any, info: ValidationInfo) -> Any:
        return _raw(value, COMPUTE_INPUTS[str(info.field_name)])

    @field_validator("hours", "price_per_hour")
    @classmethod
    def _within(cls, value: Quantity, info: ValidationInfo) -> Quantity:
        return _bounded(value, COMPUTE_INPUTS[str(info.field_name)])


class Scenario(Body):
    """Where the uplift comes from is said by `uplift_source`:

    assumed     `uplift`
    win_rate    `conversion` · (2 `win_rate` - 1): of all comparisons, the net share that goes
                to the champion, times the share of those in which the better response makes
                a success of a failure. The conversion is an assumption.
    experiment  `experiment`: success rates in production, champion minus baseline
    """

    KIND: ClassVar[str] = "scenario"
    TITLE: ClassVar[str] = "Base case"

    horizon_months: Annotated[int, Field(ge=1, le=120, description="how far the plan looks (months)")] = 24
    discount_rate: Annotated[
        float, Field(ge=0, le=1, description="yearly discount rate, effective (share, 0 to 1)")
    ] = 0.08

    interactions_per_month: Quantity = _input(
        "interactions_per_month", between(20_000, 50_000, 100_000, "a guess: put your own figure here")
    )
    monthly_growth: Quantity = _input("monthly_growth", fixed(0.0, "no growth, to be careful"))
    value_per_success: Quantity = _input(
        "value_per_success", between(0.5, 2, 4, "a guess: for example minutes of support saved")
    )
    baseline_success: Quantity = _input("baseline_success", between(0.5, 0.6, 0.7, "a guess"))

    uplift_source: Annotated[
        UpliftSource, Field(description="assumed, win_rate or experiment (a choice, no unit)")
    ] = "assumed"
    baseline_prompt_id: Annotated[
        str,
        Field(
            max_length=64,
            description="prompt the champion is measured against; empty: as the project finds (an id)",
        ),
    ] = ""
    uplift: Quantity = _input("uplift", between(0.0, 0.04, 0.1, "a guess"))
    win_rate: Quantity = _input(
        "win_rate", Quantity(value=0.55, kind="beta", low=0.4, high=0.7, source="a guess: no votes yet")
    )
    conversion: Quantity = _input(
        "conversion", between(0.1, 0.25, 0.5, "an assumption: no measurement in this project says it")
    )
    experiment: Quantity = _input(
        "experiment", Quantity(value=0.0, kind="normal", low=-0.1, high=0.1, source="no experiment yet")
    )

    start_month: Quantity = _input("start_month", between(2, 4, 7, "usual durations of the first phases"))
    ramp_months: Quantity = _input("ramp_months", between(1, 3, 6, "a guess"))
    full_adoption: Quantity = _input("full_adoption", fixed(1.0, "every interaction gets the better prompt"))

    votes: Quantity = _input("votes", between(500, 1_000, 3_000, "a few hundred labels for each search"))
    votes_per: Annotated[
        Literal["total", "month"],
        Field(description="whether votes are in total or each month (a choice, no unit)"),
    ] = "total"
    labelling_months: Annotated[
        int, Field(ge=1, le=120, description="over how many months votes “in total” are spread (months)")
    ] = 3
    seconds_per_vote: Quantity = _input("seconds_per_vote", between(20, 45, 90, "a guess"))
    hourly_rate: Quantity = _input("hourly_rate", between(25, 35, 60, "a guess"))

    searches_per_month: Quantity = _input("searches_per_month", between(0.5, 2, 4, "a guess"))
    compute: list[Compute] = Field(
        default_factory=lambda: [Compute(name="GPU: train and search")],
        max_length=12,
        description="machine hours by kind (hours, money per hour)",
    )

    calls_basis: Annotated[
        Literal["tokens", "calls"],
        Field(description="whether model calls are priced by tokens or by calls (a choice, no unit)"),
    ] = "tokens"
    tokens_per_month: Quantity = _input("tokens_per_month", between(1e6, 5e6, 2e7, "a guess"))
    price_per_million: Quantity = _input("price_per_million", between(0.2, 1, 5, "list prices of vendors"))
    calls_per_month: Quantity = _input("calls_per_month", between(1_000, 10_000, 40_000, "a guess"))
    cost_per_call: Quantity = _input("cost_per_call", between(0.0002, 0.001, 0.005, "a guess"))

    people_source: Annotated[
        Literal["own", "team"],
        Field(description="whether people are `people_per_month` or the team plan's (a choice, no unit)"),
    ] = "own"
    people_per_month: Quantity = _input(
        "people_per_month", between(2_000, 4_000, 8_000, "a guess: half a person")
    )
    people_months: Annotated[
        int, Field(ge=0, le=120, description="how long `people_per_month` is paid (months)")
    ] = 6
    people_team: list[Annotated[float, Field(ge=0)]] = Field(
        default_factory=list,
        max_length=120,
        description="from the team plan, as of saving (money, for each month from the first)",
    )
    people_factor: Quantity = _input(
        "people_factor", between(0.9, 1.0, 1.3, "plans are more often exceeded than undercut")
    )

    platform_once: Quantity = _input("platform_once", fixed(0.0, "the software is there"))
    platform_yearly: Quantity = _input("platform_yearly", between(600, 1_200, 3_000, "a small server"))
    integration_once: Quantity = _input("integration_once", between(3_000, 6_000, 15_000, "a guess"))
    integration_yearly: Quantity = _input("integration_yearly", between(500, 1_500, 3_000, "a guess"))

    @field_validator(*INPUTS, mode="before")
    @classmethod
    def _bare(cls, value: Any, info: ValidationInfo) -> Any:
        return _raw(value, INPUTS[str(info.field_name)])

    @field_validator(*INPUTS)
    @classmethod
    def _within(cls, value: Quantity, info: ValidationInfo) -> Quantity:
        return _bounded(value, INPUTS[str(info.field_name)])


def quantities(scenario: Scenario) -> dict[str, Quantity]:
    """Every uncertain input of a scenario by its path: `uplift`, `compute.0.hours`."""
    found = {key: getattr(scenario, key) for key in INPUTS}
    for i, item in enumerate(scenario.compute):
        found |= {f"compute.{i}.{key}": getattr(item, key) for key in COMPUTE_INPUTS}
    return found


def known_input(scenario: Scenario, path: str) -> Input:
    """What is known of an input; a kind of compute lends its name to the label."""
    if not path.startswith("compute."):
        return INPUTS[path]
    _, place, key = path.split(".")
    known, item = COMPUTE_INPUTS[key], scenario.compute[int(place)]
    unit = f"hours per {item.per}" if key == "hours" else known.unit
    label = f"{item.name}: {known.label.lower()}"
    return Input(label, known.group, unit, known.least, known.most, known.percent, known.about)


def used(scenario: Scenario) -> list[str]:
    """Paths of the inputs that this scenario's result depends on."""
    unused = {
        *{"uplift", "win_rate", "conversion", "experiment"}
        - {"assumed": {"uplift"}, "win_rate": {"win_rate", "conversion"}, "experiment": {"experiment"}}[
            scenario.uplift_source
        ],
        *(("calls_per_month", "cost_per_call") if scenario.calls_basis == "tokens" else ()),
        *(("tokens_per_month", "price_per_million") if scenario.calls_basis == "calls" else ()),
        *(("people_per_month",) if scenario.people_source == "team" else ("people_factor",)),
        *(() if any(item.per == "search" for item in scenario.compute) else ("searches_per_month",)),
    }
    return [path for path in quantities(scenario) if path not in unused]
