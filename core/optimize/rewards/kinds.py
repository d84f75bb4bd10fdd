"""What a reward may be composed of, and how its config is read: no database, no torch.

    {"components": [{"kind": "reward_model", "weight": 1.0}, {"kind": "length", "limit": 100}],
     "constraints": [{"kind": "rules", "forbidden": ["as an AI"], "threshold": 0.0}]}

The reward of an example is the sum of its components, each on a scale of its own (below) times
its weight. A constraint is not weighed: a candidate that breaks it on a larger share of the
examples than the threshold is infeasible, and is neither chosen nor promoted.

    reward_model     deviations above the mean of the model's training responses; with length
                     removed, less what length explains (core/optimize/rewards/lengths.py)
    labels, metric   0 (wrong) to 1 (right)
    judge            0 (worst) to 1 (best)
    length           0 (within the limit) to -1 (limit + margin and longer)
    cost             -1 for each `per` tokens, or units of money
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import Invalid
from core.optimize.method import Option
from core.optimize.rewards.asking import ANSWERS, DEFAULT_RUBRIC
from core.optimize.rewards.texts import matcher, rule_pattern

MOST = 12  # components, and constraints
ENSEMBLES = ("mean", "worst", "variance")
METRICS = {
    "exact_match": "Exact match with the reference",
    "f1": "Token F1 against the reference",
    "json": "Valid JSON",
    "regex": "A pattern matches",
}
KEPT, REMOVED = "kept", "removed"  # what length explains of a reward model's score
WITH_REFERENCE = ("exact_match", "f1")
_METRIC_NAMES = {"exact_match": "exact match", "f1": "token F1", "json": "valid JSON", "regex": "pattern"}


@dataclass(frozen=True)
class Text:
    """A setting that is free text, or (`several`) a list of texts."""

    name: str
    label: str
    default: str | tuple[str, ...] = ""
    help: str = ""
    several: bool = False
    most: int = 4_000

    def checked(self, value: Any) -> Any:
        if value is None:
            return list(self.default) if self.several else self.default
        if not self.several:
            return self._one(self.name, value)
        if not isinstance(value, list) or len(value) > 200:
            raise Invalid(f"{self.name}: a list of at most 200 texts.")
        return [self._one(f"{self.name}[{i}]", item) for i, item in enumerate(value)]

    def _one(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > self.most:
            raise Invalid(f"{name}: a text of 1 to {self.most:,} characters.")
        return value.strip()


@dataclass(frozen=True)
class Kind:
    """`scale`: what a value means, for people. `text`: it reads what the model generates.
    `check(settings, path)` raises Invalid on what no single field can see."""

    title: str
    sentence: str
    fields: tuple[Option | Text, ...]
    scale: str = ""
    text: bool = True
    check: Callable[[dict[str, Any], str], None] = field(default=lambda settings, path: None)


def _metric(settings: dict[str, Any], path: str) -> None:
    if (settings["metric"] == "regex") != bool(settings["pattern"]):
        what = "needs a pattern" if settings["metric"] == "regex" else "has no pattern"
        raise Invalid(f"{path}.pattern: the metric “{settings['metric']}” {what}.")
    if settings["pattern"]:
        _pattern(lambda: matcher(settings["pattern"]), f"{path}.pattern")


def _rules(settings: dict[str, Any], path: str) -> None:
    if not settings["forbidden"] and not settings["required"]:
        raise Invalid(f"{path}.forbidden: a rule list needs a rule.", "Say what is forbidden, or required.")
    for name in ("forbidden", "required"):
        for i, rule in enumerate(settings[name]):
            _pattern(lambda rule=rule: rule_pattern(rule), f"{path}.{name}[{i}]")  # type: ignore[misc]


def _judge(settings: dict[str, Any], path: str) -> None:
    if not settings["host"]:
        raise Invalid(f"{path}.host: say which host judges.", "See the page Hosts.")


def _classifier(settings: dict[str, Any], path: str) -> None:
    for name, what in (
        ("model", "a folder or hub id of a text classifier"),
        ("label", "the label that must not be"),
    ):
        if not settings[name]:
            raise Invalid(f"{path}.{name}: {what}.")


def _pattern(make: Callable[[], Any], path: str) -> None:
    try:
        make()
    except Invalid as problem:
        raise Invalid(f"{path}: {problem.message}", problem.hint) from problem


COMPONENTS: dict[str, Kind] = {
    "reward_model": Kind(
        "Reward model",
        "What people prefer, as the active reward model learned it, or other models of the project.",
        (
            Option("ensemble", "Members", "mean", "How the scores of several members become one",
                   choices=ENSEMBLES),
            Option("lambda", "Lambda", 1.0, "Of mean - lambda x variance", 0.0, 100.0),
            Option("length", "Length", KEPT,
                   "“removed”: the score less what length alone explains of it on reference responses",
                   choices=(KEPT, REMOVED)),
            Text("models", "Models", (), "Ids of reward models; left out, the active one", several=True),
        ),
        "deviations above the mean of the model's training responses",
    ),
    "labels": Kind(
        "Labels by log-probability",
        "1 where the label that the model prefers is the reference, else 0. A call of its own.",
        (),
        "0 (wrong) to 1 (right)",
        text=False,
    ),
    "metric": Kind(
        "Metric of the text",
        "Exact match or token F1 against the reference, valid JSON, or a pattern.",
        (
            Option("metric", "Metric", "exact_match", choices=tuple(METRICS)),
            Text("pattern", "Pattern", help="{{reference}} in it stands for the example's reference"),
        ),
        "0 to 1",
        check=_metric,
    ),
    "judge": Kind(
        "Judge",
        "Another language model grades each response by a rubric. A call for each response.",
        (
            Text("host", "Judge host", help="A stronger model than the one that is judged"),
            Text("rubric", "Rubric", DEFAULT_RUBRIC, most=8_000),
            Option("answer", "Answer", "1-10", choices=ANSWERS),
            Option("max_new_tokens", "Tokens an answer", 16, "More for a model that reasons first", 1, 4_096),
        ),
        "0 (worst) to 1 (best)",
        check=_judge,
    ),
    "length": Kind(
        "Length penalty",
        "Nothing up to the limit, then falling evenly to -1 at limit + margin.",
        (
            Option("limit", "Limit", 100, "", 1, 100_000),
            Option("margin", "Margin", 50, "", 1, 100_000),
            Option("unit", "Unit", "words", choices=("words", "tokens")),
        ),
        "0 to -1",
    ),
    "cost": Kind(
        "Cost penalty",
        "What the prompt and its response take, in tokens or money.",
        (
            Option("of", "Of", "tokens", choices=("tokens", "money")),
            Option("per", "-1 for each", 1_000.0, "", 1e-9, 1e9),
        ),
        "0 and less",
    ),
}  # fmt: skip

_THRESHOLD = "The share of examples that may break it"
CONSTRAINTS: dict[str, Kind] = {
    "rules": Kind(
        "Rule list",
        "Words, phrases or /patterns/ that must not, or must, occur in a response.",
        (
            Text("forbidden", "Forbidden", (), several=True, most=500),
            Text("required", "Required", (), several=True, most=500),
            Option("threshold", "Allowed share", 0.0, _THRESHOLD, 0.0, 1.0),
        ),
        check=_rules,
    ),
    "classifier": Kind(
        "Classifier",
        "A text classifier, in process, must not give a response this label.",
        (
            Text("model", "Model", most=500, help="A folder with a transformers model, or a hub id"),
            Text("label", "Label that must not be", most=200),
            Option("cut", "From probability", 0.5, "A response breaks it from this on", 0.0, 1.0),
            Option("threshold", "Allowed share", 0.05, _THRESHOLD, 0.0, 1.0),
        ),
        check=_classifier,
    ),
}


# --- reading -----------------------------------------------------------------------------------


def read_reward(value: Mapping[str, Any]) -> dict[str, Any]:
    """A composed reward with all its settings, as it is frozen. Raises Invalid naming the field,
    such as `reward.components[1].limit`."""
    unknown = sorted(set(value) - {"components", "constraints"})
    if unknown:
        raise Invalid(f"reward.{unknown[0]}: not a field of a reward.", "Fields: components, constraints.")
    components = _list(value, "components", COMPONENTS)
    constraints = _list(value, "constraints", CONSTRAINTS)
    if not components:
        raise Invalid(
            "reward.components: a reward needs at least one component.",
            f"Kinds: {', '.join(COMPONENTS)}.",
        )
    if not any(item["weight"] for item in components):
        raise Invalid("reward.components: at least one weight must be more than 0.")
    if sum(item["kind"] == "labels" for item in components) > 1:
        raise Invalid("reward.components: labels can be scored once.", "Give them a larger weight.")
    return {"components": components, "constraints": constraints}


def _list(value: Mapping[str, Any], name: str, kinds: Mapping[str, Kind]) -> list[dict[str, Any]]:
    asked = value.get(name) or []
    if not isinstance(asked, list) or len(asked) > MOST:
        raise Invalid(f"reward.{name}: a list of at most {MOST} objects.")
    found: list[dict[str, Any]] = []
    for i, item in enumerate(asked):
        one = _item(item, f"reward.{name}[{i}]", kinds, weighed=name == "components")
        named = {other["name"] for other in found}
        if one["name"] in named and isinstance(item.get("name"), str):
            raise Invalid(f"reward.{name}[{i}].name: “{one['name']}” is there twice.")
        found.append({**one, "name": _free(one["name"], named)})
    return found


def _item(item: Any, path: str, kinds: Mapping[str, Kind], weighed: bool) -> dict[str, Any]:
    if not isinstance(item, Mapping) or item.get("kind") not in kinds:
        said = item.get("kind") if isinstance(item, Mapping) else item
        raise Invalid(f"{path}.kind: there is no “{said}”.", f"Kinds: {', '.join(kinds)}.")
    kind = kinds[item["kind"]]
    fields: dict[str, Option | Text] = {option.name: option for option in kind.fields}
    allowed = {"kind", "name", *fields, *(["weight"] if weighed else [])}
    unknown = sorted(set(item) - allowed)
    if unknown:
        raise Invalid(f"{path}.{unknown[0]}: not a setting of this kind.", f"Settings: {', '.join(sorted(allowed))}.")  # fmt: skip
    settings = {
        name: replace(option, name=f"{path}.{name}").checked(item.get(name))
        for name, option in fields.items()
    }
    kind.check(settings, path)
    name = Text(f"{path}.name", "", _default_name(item["kind"], settings), most=60).checked(item.get("name"))
    weight = {}
    if weighed:
        weight["weight"] = Option(f"{path}.weight", "", 1.0, "", 0.0, 1_000.0).checked(item.get("weight"))
    return {"kind": item["kind"], "name": name, **weight, **settings}


def _default_name(kind: str, settings: Mapping[str, Any]) -> str:
    if kind == "metric":
        return _METRIC_NAMES[settings["metric"]]
    return kind.replace("_", " ") + (" less length" if settings.get("length") == REMOVED else "")


def _free(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} {number}"
    return found


# --- what follows from it ------------------------------------------------------------------------


def generates(reward: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether the prompt's model has to write a response."""
    return bool(reward["constraints"]) or any(COMPONENTS[c["kind"]].text for c in reward["components"])


def has(reward: Mapping[str, Sequence[Mapping[str, Any]]], *kinds: str) -> bool:
    return any(item["kind"] in kinds for item in reward["components"])


def without_length(reward: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether a component takes out of a reward model's score what length explains."""
    return any(item.get("length") == REMOVED for item in reward["components"])


def needs_reference(reward: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    return any(
        item["kind"] == "labels"
        or (item["kind"] == "metric" and item["metric"] in WITH_REFERENCE)
        or (item["kind"] == "metric" and "{{" in item["pattern"] and "reference" in item["pattern"])
        for item in reward["components"]
    )


def price_of(reward: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, int]:
    """Calls that one example takes, by who is paid: `target`, and `judge/<host>`."""
    price = {"target": int(generates(reward)) + int(has(reward, "labels"))}
    for item in reward["components"]:
        if item["kind"] == "judge":
            payer = f"judge/{item['host']}"
            price[payer] = price.get(payer, 0) + 1
    return price


def title_of(reward: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """“reward model + length”, for a run's name."""
    names = [item["name"] for item in reward["components"]]
    said = " + ".join(names[:3]) + (" + …" if len(names) > 3 else "")
    return said + (f", {len(reward['constraints'])} constrained" if reward["constraints"] else "")


def kind_of_reward(reward: Any) -> str:
    """Of a run's config: labels, reward_model or composed."""
    return "composed" if isinstance(reward, Mapping) else str(reward)
