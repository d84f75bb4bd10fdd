"""The decision matrix: factors with weights, alternatives, a score for each of both, and
what the project needs. All scores are benefits: 10 is best, for every factor."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from core.planning.documents import Body
from core.planning.quantity import Quantity, at_least

Access = Literal["text", "label_logprobs", "gradients"]
Origin = Literal["proposed", "overridden"]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
LONGEST_REASON = 600
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_REASON)]
MOST = 15  # factors, and alternatives: Saaty's random indices end there


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Factor(Part):
    """`weight` is what a slider says, in any unit: only shares of the sum matter."""

    title: Name
    about: Sentence = ""
    weight: Annotated[float, Field(ge=0, le=100)] = 20.0
    own: bool = True  # the lead's own: nothing is proposed for it

    @property
    def key(self) -> str:
        return key_of(self.title)


class Alternative(Part):
    """`access`: what the method needs from the host. `readable`: what it makes is text
    that a person can read and change."""

    title: Name
    about: Sentence = ""
    access: Access = "text"
    readable: bool = True
    own: bool = True

    @property
    def key(self) -> str:
        return key_of(self.title)


class Score(Part):
    """A cell. An overridden one keeps the proposal it replaced beside it."""

    alternative: str
    factor: str
    value: Annotated[float, Field(ge=0, le=10)]
    origin: Origin = "overridden"
    reason: Sentence = ""
    proposed: Annotated[float | None, Field(ge=0, le=10)] = None


class Comparison(Part):
    """`a` is `value` times as important as `b`, on Saaty's scale: 1 equally, 3 moderately,
    5 strongly, 7 very strongly, 9 extremely more; below 1 the other way round."""

    a: str
    b: str
    value: Annotated[float, Field(ge=1 / 9 - 1e-9, le=9)] = 1


class Plateau(Part):
    """When manual work counts as having plateaued: a gain of less than `margin` points
    over the last `versions` versions, shown at the level `alpha`."""

    margin: Annotated[float, Field(gt=0, le=25, description="percentage points")] = 1.0
    versions: Annotated[int, Field(ge=1, le=20)] = 3
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05


class Needs(Part):
    """What the project asks for. Performance is a share of good answers, from 0 to 1.
    `current` None: what was measured in production, where anything was."""

    desired: Annotated[float, Field(gt=0, le=1)] = 0.8
    current: Quantity | None = None
    interpretability: Literal["not needed", "preferred", "required"] = "preferred"
    max_latency_ms: Annotated[float | None, Field(gt=0, le=600_000)] = None
    host: Annotated[str, StringConstraints(max_length=80)] = ""  # by name; empty: the one in use

    @model_validator(mode="after")
    def _share(self) -> "Needs":
        if self.current is not None:
            try:
                at_least(self.current, 0, 1)
            except ValueError as problem:
                raise ValueError(f"current {problem}") from problem
        return self


def key_of(title: str) -> str:
    """`Time to deploy and iterate` -> `time-to-deploy-and-iterate`"""
    return re.sub(r"[^\w]+", "-", title.casefold()).strip("-") or "unnamed"


GAP, DATA, IMPROVEMENT, COMPLEXITY, TIME = (
    "performance-gap", "data-quantity-and-quality", "expected-improvement",
    "complexity-and-integration-cost", "time-to-deploy-and-iterate",
)  # fmt: skip
MANUAL, DISCRETE, RL, CONTINUOUS, FINE_TUNING = (
    "manual-prompt-engineering", "discrete-search", "rl-over-prompts", "continuous-prompts",
    "fine-tuning-with-rlhf",
)  # fmt: skip


def default_factors() -> list[Factor]:
    rows = (
        ("Performance gap", "How much of the way from current to desired performance it can go.", 25),
        ("Data quantity and quality", "Whether the preferences and labels at hand are enough for it.", 20),
        ("Expected improvement", "How likely it makes prompts that people prefer, here.", 25),
        ("Complexity and integration cost", "10: nothing new to run; 0: cannot be run here.", 15),
        ("Time to deploy and iterate", "10: days to a better prompt; 0: many months.", 15),
    )
    return [Factor(title=title, about=about, weight=weight, own=False) for title, about, weight in rows]


def default_alternatives() -> list[Alternative]:
    rows: tuple[tuple[str, str, Access, bool], ...] = (
        ("Manual prompt engineering", "People write and compare versions.", "text", True),
        (
            "Discrete search",
            "GrIPS, OPRO, GEPA: edits and rewrites, kept when they score better.",
            "text",
            True,
        ),
        ("RL over prompts", "RLPrompt, or a prompt writer trained by PPO or GRPO.", "text", True),
        ("Continuous prompts", "Prefix-tuning, P-tuning: vectors instead of words.", "gradients", False),
        ("Fine-tuning with RLHF", "The response model itself learns from preferences.", "gradients", False),
    )
    return [
        Alternative(title=title, about=about, access=access, readable=readable, own=False)
        for title, about, access, readable in rows
    ]


class Decision(Body):
    """`scores` holds every cell as it stood when it was saved; a cell that is missing, and
    one that is `proposed`, is proposed anew from what the project knows today."""

    KIND: ClassVar[str] = "decision"
    TITLE: ClassVar[str] = "Decision matrix"

    factors: Annotated[list[Factor], Field(min_length=1, max_length=MOST)] = Field(
        default_factory=default_factors
    )
    alternatives: Annotated[list[Alternative], Field(min_length=2, max_length=MOST)] = Field(
        default_factory=default_alternatives
    )
    scores: list[Score] = Field(default_factory=list)
    weighting: Literal["sliders", "pairwise"] = "sliders"
    comparisons: list[Comparison] = Field(default_factory=list)  # one that is missing says: equal
    needs: Needs = Field(default_factory=Needs)
    plateau: Plateau = Field(default_factory=Plateau)

    @model_validator(mode="after")
    def _consistent(self) -> "Decision":
        factors = _unique("factors", [item.key for item in self.factors])
        alternatives = _unique("alternatives", [item.key for item in self.alternatives])
        if not any(factor.weight for factor in self.factors):
            raise ValueError("factors: at least one weight must be above zero")
        cells: set[tuple[str, str]] = set()
        for score in self.scores:
            if score.alternative not in alternatives:
                raise ValueError(f"scores: there is no alternative “{score.alternative}”")
            if score.factor not in factors:
                raise ValueError(f"scores: there is no factor “{score.factor}”")
            if (cell := (score.alternative, score.factor)) in cells:
                raise ValueError(f"scores: {score.alternative}, {score.factor} is there twice")
            cells.add(cell)
        met: set[frozenset[str]] = set()
        for item in self.comparisons:
            if item.a == item.b:
                raise ValueError(f"comparisons: “{item.a}” is compared with itself")
            for name in (item.a, item.b):
                if name not in factors:
                    raise ValueError(f"comparisons: there is no factor “{name}”")
            if (both := frozenset((item.a, item.b))) in met:
                raise ValueError(f"comparisons: {item.a}, {item.b} is there twice")
            met.add(both)
        return self

    def score(self, alternative: str, factor: str) -> Score | None:
        found = (s for s in self.scores if s.alternative == alternative and s.factor == factor)
        return next(found, None)


def _unique(what: str, keys: list[str]) -> set[str]:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{what}: the name “{key}” is there twice")
    return set(keys)
