"""What a method is: what it needs of a host, and its settings with their limits. The table
of all of them is core/optimize/methods.py. Never imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from core.errors import Invalid
from core.llm.protocol import HostSpec
from core.optimize.protocol import Optimizer

ACCESS = {"local": {"text", "label_logprobs", "gradients"}, "openai": {"text"}}
ACCESS_WORDS = {
    "text": "generated text",
    "label_logprobs": "log-probabilities of labels",
    "gradients": "gradients",
}
TRAINER = "Choose an in-process host for the optimiser; the prompt's own host may stay where it is."


@dataclass(frozen=True)
class Option:
    """A setting of a method. `default` gives the type; a number has limits, a text
    `choices`."""

    name: str
    label: str
    default: bool | int | float | str
    help: str = ""
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()

    def checked(self, value: Any) -> Any:
        """The value, of the right type and within the limits. Raises Invalid naming it."""
        if value is None:
            return self.default
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise Invalid(f"{self.name}: true or false.")
            return value
        if isinstance(self.default, str):
            if value not in self.choices:
                raise Invalid(f"{self.name}: there is no “{value}”.", f"One of: {', '.join(self.choices)}.")
            return value
        if isinstance(self.default, int):
            return checked_whole(self.name, value, int(self.low), int(self.high))
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not self.low <= value <= self.high
        ):
            raise Invalid(f"{self.name}: a number from {self.low:g} to {self.high:g}.")
        return float(value)


@dataclass(frozen=True)
class Method:
    """`needs`: what it needs from the host beyond what the reward needs; `trains`: what it
    needs from the optimiser's host, when it trains that. `asks`: whether a language model
    proposes (the optimiser's host). `group`: the option that says how many candidates an
    iteration scores. `baseline`: it learns nothing; others have to beat it. `by_labels`: it
    follows a loss on labels, and no other reward will do. `crosses`: a
    candidate may have several parents. `vectors`: what it finds is no text but vectors,
    trained on references."""

    short: str
    title: str
    sentence: str
    source: str
    maker: str  # module:class, imported by the worker
    options: tuple[Option, ...]
    group: str
    needs: frozenset[str] = frozenset()
    trains: frozenset[str] = frozenset()
    asks: bool = True
    baseline: bool = False
    crosses: bool = False
    by_labels: bool = False
    vectors: bool = False

    def make(self, start: str, seed: int, options: Mapping[str, Any]) -> Optimizer:
        module, name = self.maker.split(":")
        made: Optimizer = getattr(import_module(module), name)(start, seed, **options)
        return made

    def checked_options(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {option.name: option.checked(config.get(option.name)) for option in self.options}


def lacking(spec: HostSpec, needs: Mapping[str, str]) -> tuple[str, str] | None:
    """What a host cannot give: (what needs it, what it needs), or None. `needs`: item of
    access -> who needs it."""
    there = ACCESS.get(spec.kind, {"text"})
    return next(((who, ACCESS_WORDS[need]) for need, who in needs.items() if need not in there), None)


def why_not(method: Method, spec: HostSpec, proposer: HostSpec | None = None) -> str | None:
    """Why a method cannot work on a prompt of this host; None when it can. `proposer`: the
    optimiser's host, by default the same."""
    here = refusal(spec, dict.fromkeys(sorted(method.needs), method.title))
    if here is not None:
        return here
    there = refusal(proposer or spec, dict.fromkeys(sorted(method.trains), method.title))
    return f"{there} {TRAINER}" if there is not None else None


def refusal(spec: HostSpec, needs: Mapping[str, str]) -> str | None:
    """What a host cannot give, in a sentence, or None. `needs`: as for `lacking`."""
    missing = lacking(spec, needs)
    if missing is None:
        return None
    gives = " and ".join(ACCESS_WORDS[item] for item in sorted(ACCESS.get(spec.kind, {"text"})))
    return f"{missing[0]} needs {missing[1]}, and “{spec.name}” gives only {gives}."


def checked_whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(f"{name}: a whole number from {low:,} to {high:,}.")
    return value
