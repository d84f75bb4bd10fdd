"""Optimising a prompt, as a kind of run: the web side. What is checked and frozen before
it. Never imports torch.

config: method, reward (a name, or an object: core/optimize/rewards/kinds.py), budget {calls},
seed; and, all with defaults: prompt, framework,
section, host, optimizer_host, labels (or verbalizer), examples {train, dev, test}, finalists,
max_new_tokens, the method's own options (core/optimize/methods.py), and stop conditions
(time_limit_s, max_tokens, max_cost, target, no_improvement).
"""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from sqlmodel import Session

from core.errors import Invalid
from core.llm.protocol import HostSpec, Sampling
from core.llm.registry import host_spec
from core.optimize.gold import watched
from core.optimize.inputs import chosen_rows, label_words, rows_for_vectors, sample, usable_examples
from core.optimize.known import known_answers
from core.optimize.known_grades import known_grades
from core.optimize.method import TRAINER, Method, checked_whole, refusal
from core.optimize.methods import key_of, method_named
from core.optimize.pacing import Pacing
from core.optimize.plan import SPLITS, plan
from core.optimize.rewards.freezing import freeze
from core.optimize.rewards.kinds import generates, has, needs_reference, price_of, read_reward, title_of
from core.optimize.starts import starting_point
from core.reward.registry import active_model
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from core.settings import get_settings
from storage.tables import Project, Run

DEFAULT_CALLS = {"reward_model": 600, "labels": 2_000, "composed": 600}
MAX_CALLS = 10_000_000
MAX_TOKENS = 10**12


@dataclass(frozen=True)
class Reward:
    title: str
    sentence: str
    needs: str
    aliases: tuple[str, ...]


REWARDS = {
    "reward_model": Reward(
        "The active reward model",
        "The mean reward of the responses that a prompt generates.",
        "text",
        ("reward_model", "active", "reward", "preferences"),
    ),
    "labels": Reward(
        "Labels of a task",
        "How often the label that the language model prefers is the example's reference.",
        "label_logprobs",
        ("labels", "label", "accuracy", "balanced_accuracy", "reference", "references", "task", "sst2", "agnews"),
    ),
    "composed": Reward(
        "Compose",
        "Several components with weights, shown apart, and constraints that must be kept.",
        "text",
        (),
    ),
}  # fmt: skip

# Of every method; each has options of its own besides (core/optimize/methods.py).
_FIELDS = {
    "method", "reward", "budget", "seed", "prompt", "host", "optimizer_host", "labels", "verbalizer",
    "examples", "finalists", "max_new_tokens", "time_limit_s", "max_tokens", "max_cost", "target", "no_improvement",
    "reuse", "framework", "section", "watch",
}  # fmt: skip
# Written into the config by `prepare`; not an error when a stored config is sent again.
_FROZEN = {"start", "plan", "options", "stop", "reward_model", "reward_models", "words", "sampling"}


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Check the config and gather what is frozen, with what earlier runs were answered.
    Raises Invalid naming the field that is wrong, or what is missing in the project."""
    prepared = lay_out(session, project, config, seed)
    if prepared.config["reuse"]:
        examples, start = prepared.tables["examples"], prepared.config["start"]
        known = known_answers(session, project, prepared.documents, start, examples)
        grades = known_grades(session, project, prepared.documents["reward"], examples)
        prepared.tables |= {name: rows for name, rows in (("known", known), ("grades", grades)) if rows}
    return prepared


def lay_out(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """All of `prepare` that is quick: what a form shows while it is filled in."""
    method = method_named(config.get("method"))
    fields = _FIELDS | {option.name for option in method.options}
    unknown = sorted(set(config) - fields - _FROZEN)
    if unknown:
        raise Invalid(
            f"{unknown[0]}: not a setting of a run with {method.short}.",
            f"Settings: {', '.join(sorted(fields))}.",
        )
    kind, task = reward_named(config.get("reward"))
    if method.by_labels and kind != "labels":
        raise Invalid(
            f"reward: {method.title} follows the gradient of a loss on labels, so its reward is “labels”.",
            "Choose the labels of a task as the reward, or another method.",
        )
    composed = read_reward(config["reward"]) if kind == "composed" else None
    options = method.checked_options(config)
    spec = host_spec(session, config.get("host"))
    by_labels = kind == "labels" or (composed is not None and has(composed, "labels"))
    refuse_host(spec, method, kind, "label_logprobs" if by_labels else "text")
    proposer = proposer_spec(session, config, spec, method)
    documents: dict[str, Any] = {"host": spec.as_dict(), "optimizer_host": proposer.as_dict()}
    frozen: dict[str, Any] = {}

    wants_reference = needs_reference(composed) if composed is not None else kind == "labels"
    examples = usable_examples(session, project.id, with_reference=wants_reference)
    if by_labels:
        asked = config.get("labels") if config.get("labels") is not None else config.get("verbalizer")
        words = label_words(examples, asked, task)
        examples = [example for example in examples if example.reference in words]
        documents["reward"] = {"kind": "labels", "words": words}
        frozen["words"] = words
    sampling = Sampling(
        max_new_tokens=whole(config, "max_new_tokens", 64, 1, 4_096), temperature=0.0, seed=seed
    )
    if composed is not None:
        document = freeze(session, project, composed, sampling)
        refuse_money(composed, spec)
        documents["reward"] = document | ({"words": frozen["words"]} if by_labels else {})
        frozen["reward_models"] = {key: model["name"] for key, model in document["models"].items()}
        if generates(composed):
            frozen["sampling"] = asdict(sampling)
    elif kind == "reward_model":
        model = active_model(session, project)
        if model is None:
            raise Invalid(
                "reward: this project has no active reward model.",
                "Train one on the page Reward models, or optimise against labels.",
            )
        folder = (get_settings().data_dir / model.folder).resolve()
        if not folder.exists():
            raise Invalid(
                f"reward: the files of the reward model “{model.name}” are gone.", "Train a new one."
            )
        documents["reward"] = {
            "kind": "reward_model", "folder": str(folder), "id": model.id, "name": model.name,
            "sampling": asdict(sampling),
        }  # fmt: skip
        frozen["reward_model"] = {"id": model.id, "name": model.name}
        frozen["sampling"] = asdict(sampling)

    start = starting_point(session, project, config, list(frozen.get("words", {}).values()))
    pace = "labels" if kind == "labels" or (composed and not generates(composed)) else "reward_model"
    rows = chosen_rows(examples, start, pace)
    if method.vectors:
        rows = rows_for_vectors(start, rows)
    price = sum(price_of(composed).values()) if composed else 1
    pacing = Pacing(key_of(config.get("method")), options, price)
    laid = plan(
        calls_of(config, kind),
        {split: len(rows[split]) for split in SPLITS},
        pace,
        wanted=sizes_of(config),
        finalists=whole(config, "finalists", None, 1, 20),
        per_iteration=int(options[method.group]),
        price=price,
        pacing=pacing,
    )
    planned = laid.as_dict() | {"candidates": pacing.tries(laid.searching, laid.train)}
    tables = {"examples": pick(rows, laid.as_dict(), seed)}
    if pace == "reward_model":  # something is generated, which can be watched
        proxies = list(frozen.get("reward_models") or [])
        proxies += [frozen["reward_model"]["id"]] if kind == "reward_model" else []
        frozen["watch"], documents["watch"], votes = watched(session, project, config.get("watch"), proxies)
        tables |= {"votes": votes} if votes else {}
    elif config.get("watch"):
        raise Invalid("watch: labels cannot be hacked: their accuracy is what is wanted.", "Leave it out.")
    return Prepared(
        config={
            **{name: value for name, value in config.items() if name not in _FROZEN},
            "method": key_of(config.get("method")),
            "reward": composed or kind,
            "budget": {"calls": laid.budget},
            "host": spec.name,
            "optimizer_host": proposer.name,
            "prompt": start.prompt_id or config.get("prompt"),
            "examples": {split: getattr(laid, split) for split in SPLITS},
            "start": start.as_dict(),
            "plan": planned,
            "options": options,
            "stop": stops_of(config),
            "reuse": reuse_of(config),
            **frozen,
        },
        tables=tables,
        documents=documents,
        name=f"{method.short} on {start.title}, {title_of(composed) if composed else kind.replace('_', ' ')}",
    )


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """Nothing is promoted by a run: a person sends its candidates to the annotators
    (core/optimize/promote.py). Its candidates and calls came in by events."""


# --- the config's fields ---------------------------------------------------------------------


def reward_named(name: Any) -> tuple[str, str]:
    """(kind of reward, the name as it was given): `sst2` is a reward of the kind labels, an
    object one of the kind composed."""
    if isinstance(name, dict):
        return "composed", ""
    said = str(name or "").strip().lower().replace("-", "_")
    for kind, reward in REWARDS.items():
        if said in reward.aliases:
            return kind, said
    choices = "; ".join(f"{kind} ({reward.sentence})" for kind, reward in REWARDS.items())
    what = f"there is no “{name}”" if name else "say what to optimise for"
    raise Invalid(f"reward: {what}.", f"Choices: {choices}")


def refuse_money(composed: dict[str, Any], spec: HostSpec) -> None:
    """A cost in money needs a host that has prices."""
    for i, item in enumerate(composed["components"]):
        if item["kind"] == "cost" and item["of"] == "money" and not (spec.price_in or spec.price_out):
            raise Invalid(
                f"reward.components[{i}].of: the host “{spec.name}” has no prices, so its answers cost nothing.",
                "Enter its prices on the page Hosts, or count tokens.",
            )


def refuse_host(spec: HostSpec, method: Method, reward: str, reward_needs: str) -> None:
    """Raises Invalid when the host cannot give what the method or the reward needs."""
    needs = {reward_needs: f"The reward “{reward}”"} | dict.fromkeys(sorted(method.needs), method.title)
    refused = refusal(spec, needs)
    if refused:
        raise Invalid(f"host: {refused}", "Choose an in-process host, or optimise against the reward model.")


def proposer_spec(session: Session, config: dict[str, Any], target: HostSpec, method: Method) -> HostSpec:
    """Where the optimiser's own language model runs: the target's host, unless another is
    named."""
    if config.get("optimizer_host") and not method.asks:
        raise Invalid(f"optimizer_host: {method.title} asks no language model.", "Leave it out.")
    try:
        spec = host_spec(session, config["optimizer_host"]) if config.get("optimizer_host") else target
    except Invalid as problem:
        raise Invalid(f"optimizer_{problem.message}", problem.hint) from problem
    refused = refusal(spec, dict.fromkeys(sorted(method.trains), method.title))
    if refused:
        raise Invalid(f"optimizer_host: {refused}", TRAINER)
    return spec


def calls_of(config: dict[str, Any], reward: str) -> int:
    budget = config.get("budget")
    if budget is None:
        return DEFAULT_CALLS[reward]
    if isinstance(budget, dict):
        budget = budget.get("calls", DEFAULT_CALLS[reward])
    return checked_whole("budget.calls", budget, 1, MAX_CALLS)


def sizes_of(config: dict[str, Any]) -> dict[str, int]:
    asked = config.get("examples")
    if asked is None:
        return {}
    if not isinstance(asked, dict) or set(asked) - set(SPLITS):
        raise Invalid("examples: how many of each split, such as {“train”: 16, “dev”: 12, “test”: 16}.")
    return {
        split: checked_whole(f"examples.{split}", value, 2, 100_000)
        for split, value in asked.items()
        if value is not None
    }


def reuse_of(config: dict[str, Any]) -> bool:
    asked = config.get("reuse")
    if asked is not None and not isinstance(asked, bool):
        raise Invalid("reuse: true or false.")
    return asked is not False


def stops_of(config: dict[str, Any]) -> dict[str, Any]:
    seconds, cost, target = (config.get(name) for name in ("time_limit_s", "max_cost", "target"))
    for name, value in (("time_limit_s", seconds), ("max_cost", cost), ("target", target)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value)
        ):
            raise Invalid(f"{name}: a number.")
    if seconds is not None and seconds <= 0:
        raise Invalid("time_limit_s: more than 0 seconds.")
    if cost is not None and cost <= 0:
        raise Invalid("max_cost: more than 0, in the currency of the hosts' prices.")
    return {
        "seconds": seconds,
        "tokens": whole(config, "max_tokens", None, 1, MAX_TOKENS),
        "cost": cost,
        "target": target,
        "no_improvement": whole(config, "no_improvement", None, 1, MAX_CALLS),
    }


def whole(config: dict[str, Any], name: str, default: int | None, low: int, high: int) -> Any:
    value = config.get(name)
    return default if value is None else checked_whole(name, value, low, high)


def pick(rows: dict[str, list[dict[str, Any]]], laid: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """The rows of each split that are used, drawn with the run's seed."""
    return [row for split in SPLITS for row in sample(rows[split], laid[split], f"{seed}/{split}")]
