"""What can be chosen about a training beside its preset: read, checked, and with defaults.

The web side checks with it before a run is frozen, the worker reads the frozen config with
it: so both mean the same. No torch here.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

from core.errors import Invalid

LOSSES = {
    "bradley_terry": "Bradley-Terry: ties count half for either side",
    "rao_kupper": "Rao-Kupper: a tie is an outcome of its own, within a threshold",
    "davidson": "Davidson: a tie is an outcome of its own, by the geometric mean",
}
WEIGHTS = {"none": "Every pair counts alike", "skill": "By the skill of its annotators"}
AVERAGES = {"none": "Keep the members", "warm": "Average their weights into one model"}
PRECISIONS = {
    "auto": "By the processor",
    "fp32": "32 bits",
    "bf16": "bfloat16",
    "fp16": "16 bits (GPU only)",
}
# What transformers can report to -> the packages of which one must be there.
REPORTERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
OVERALL = "overall"
MOST_MEMBERS = 5
SHORTEST, LONGEST = 16, 32768  # tokens


@dataclass(frozen=True)
class Objective:
    """What is minimised over the pairs: see core/reward/objectives.py."""

    loss: str = "bradley_terry"
    margin: bool = True  # ask for a margin by the stated strengths
    soft: bool = True  # learn the share of the votes; else what most of them say
    label_smoothing: float = 0.0
    weights: str = "none"
    centre: float = 0.0  # coefficient on (r_a + r_b)^2
    tie: float | None = None  # the tie models' parameter; None: it is learned


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al., arXiv 2106.09685)."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0


@dataclass(frozen=True)
class Combination:
    """One score out of the heads: sum of weight x score, less `penalty` for each unit that
    a criterion's score stays below its `at_least`. Scores of heads are normalised."""

    weights: Mapping[str, float] = field(default_factory=lambda: {OVERALL: 1.0})
    at_least: Mapping[str, float] = field(default_factory=dict)
    penalty: float = 1.0


@dataclass(frozen=True)
class Options:
    objective: Objective = Objective()
    criteria: tuple[str, ...] = ()
    combination: Combination = field(default_factory=Combination)
    members: int = 1
    average: str = "none"
    lora: Lora | None = None
    precision: str = "auto"
    accumulation: int = 1
    max_length: int | None = None  # None: by the preset
    early_stopping: int | None = None  # checks on the dev split without a better state; None: never
    report_to: tuple[str, ...] = ()
    processes: int = 1

    def as_config(self) -> dict[str, Any]:
        """As it is frozen with a run; `read_options` gives the same again."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


FIELDS = frozenset(Options.__dataclass_fields__)


def read_options(config: Mapping[str, Any]) -> Options:
    """The options of a run's config; what is not there takes its default. Raises Invalid
    naming the field that is wrong."""
    objective = _objective(_mapping(config, "objective"))
    criteria = _names(config, "criteria")
    if OVERALL in criteria:
        raise Invalid(f"criteria: “{OVERALL}” is the name of the first head.", "Leave it out.")
    members = _whole(config, "members", 1, 1, MOST_MEMBERS)
    average = _one_of(config, "average", "none", AVERAGES)
    if average == "warm" and members < 2:
        raise Invalid("average: there is only one member.", "Ask for 2 to 5 members to average.")
    precision = _one_of(config, "precision", "auto", PRECISIONS)
    processes = _whole(config, "processes", 1, 1, 64)
    return Options(
        objective=objective,
        criteria=criteria,
        combination=read_combination(config.get("combination"), criteria),
        members=members,
        average=average,
        lora=_lora(config.get("lora")),
        precision=precision,
        accumulation=_whole(config, "accumulation", 1, 1, 1024),
        max_length=_whole(config, "max_length", None, SHORTEST, LONGEST),
        early_stopping=_whole(config, "early_stopping", None, 1, 100),
        report_to=_reporters(config),
        processes=processes,
    )


def installed_reporters() -> list[str]:
    """Of those that can be reported to, the ones that are installed here."""
    return [name for name in REPORTERS if _installed(name)]


def _installed(reporter: str) -> bool:
    return any(find_spec(package) is not None for package in REPORTERS[reporter])


def read_combination(value: Any, criteria: tuple[str, ...]) -> Combination:
    """How heads become one score. Raises Invalid naming what is wrong."""
    if value is None:
        return Combination()
    if not isinstance(value, Mapping):
        raise Invalid("combination: not an object.", "As {weights: {overall: 1, accurate: 0.5}}.")
    _known(value, {"weights", "at_least", "penalty"}, "combination")
    heads = (OVERALL, *criteria)
    weights = _numbers(value.get("weights") or {OVERALL: 1.0}, "combination.weights", heads)
    if not any(weights.values()):
        raise Invalid("combination.weights: all are zero.", f"Give “{OVERALL}” or a criterion a weight.")
    return Combination(
        weights=weights,
        at_least=_numbers(value.get("at_least") or {}, "combination.at_least", criteria),
        penalty=_number(value, "penalty", 1.0, 0.0, 1000.0, "combination."),
    )


# --- parts --------------------------------------------------------------------------------


def _objective(value: Mapping[str, Any]) -> Objective:
    _known(value, set(Objective.__dataclass_fields__), "objective")
    loss = _one_of(value, "loss", "bradley_terry", LOSSES, "objective.")
    with_ties = loss != "bradley_terry"
    margin = _flag(value, "margin", not with_ties, "objective.")
    if with_ties and margin:
        raise Invalid(
            f"objective.margin: {loss} has none.",
            "Leave the margin out, or choose bradley_terry as the loss.",
        )
    tie = None
    if value.get("tie") is not None:
        if not with_ties:
            raise Invalid("objective.tie: bradley_terry has no tie parameter.", "Leave it out.")
        tie = _number(value, "tie", 1.0, 1e-3, 100.0, "objective.")
    return Objective(
        loss=loss,
        margin=margin,
        soft=_flag(value, "soft", True, "objective."),
        label_smoothing=_number(value, "label_smoothing", 0.0, 0.0, 0.49, "objective."),
        weights=_one_of(value, "weights", "none", WEIGHTS, "objective."),
        centre=_number(value, "centre", 0.0, 0.0, 100.0, "objective."),
        tie=tie,
    )


def _lora(value: Any) -> Lora | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise Invalid("lora: not an object.", "As {r: 16, alpha: 32, dropout: 0}, or null for none.")
    _known(value, set(Lora.__dataclass_fields__), "lora")
    r = _whole(value, "r", 16, 1, 1024, "lora.")
    return Lora(
        r=r,
        alpha=_whole(value, "alpha", 2 * r, 1, 10_000, "lora."),
        dropout=_number(value, "dropout", 0.0, 0.0, 0.9, "lora."),
    )


def _reporters(config: Mapping[str, Any]) -> tuple[str, ...]:
    value = config.get("report_to")
    names = _names({"report_to": [value] if isinstance(value, str) else value}, "report_to")
    names = tuple(name for name in names if name != "none")
    for name in names:
        if name not in REPORTERS:
            raise Invalid(f"report_to: there is no “{name}”.", f"Any of: {', '.join(REPORTERS)}.")
        if not _installed(name):
            raise Invalid(
                f"report_to: {name} is not installed here.",
                f"Install it (pip install {name}) or leave it out: the page shows the curves in any case.",
            )
    return names


def _known(value: Mapping[str, Any], fields: set[str], where: str) -> None:
    unknown = sorted(set(value) - fields)
    if unknown:
        raise Invalid(
            f"{where}.{unknown[0]}: there is no such setting.", f"Any of: {', '.join(sorted(fields))}."
        )


def _mapping(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name) or {}
    if not isinstance(value, Mapping):
        raise Invalid(f"{name}: not an object.")
    return value


def _names(config: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = config.get(name) or []
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
        raise Invalid(f"{name}: not a list of names.")
    if len(set(value)) < len(value):
        raise Invalid(f"{name}: a name stands there twice.")
    return tuple(value)


def _one_of(
    config: Mapping[str, Any], name: str, default: str, among: Mapping[str, str], at: str = ""
) -> str:
    value = config.get(name)
    if value is None:
        return default
    if value not in among:
        raise Invalid(f"{at}{name}: there is no “{value}”.", f"One of: {', '.join(among)}.")
    return str(value)


def _flag(config: Mapping[str, Any], name: str, default: bool, at: str = "") -> bool:
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Invalid(f"{at}{name}: neither true nor false.")
    return value


def _number(
    config: Mapping[str, Any], name: str, default: float, low: float, high: float, at: str = ""
) -> float:
    value = config.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Invalid(f"{at}{name}: not a number.")
    if not low <= value <= high:
        raise Invalid(f"{at}{name}: {value:g} is out of range.", f"From {low:g} to {high:g}.")
    return float(value)


def _whole(config: Mapping[str, Any], name: str, default: Any, low: int, high: int, at: str = "") -> Any:
    value = config.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{at}{name}: not a whole number.")
    if not low <= value <= high:
        raise Invalid(f"{at}{name}: {value} is out of range.", f"From {low} to {high}.")
    return value


def _numbers(value: Any, name: str, among: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise Invalid(f"{name}: not an object of numbers by head.")
    for key, number in value.items():
        if key not in among:
            said = f"One of: {', '.join(among)}." if among else "This model has no criteria."
            raise Invalid(f"{name}: there is no head “{key}”.", said)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise Invalid(f"{name}.{key}: not a number.")
    return {str(key): float(number) for key, number in value.items()}
