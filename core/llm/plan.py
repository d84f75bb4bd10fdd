"""What a generate run is going to do: read from its config, checked, and completed.

    prompts    ids, names (newest version) or “name v2”; default: every version that has a
               template and is not archived
    examples   {split?, limit?, ids?}; default: all. A limit takes the same ones each time
    host       id or name; default: the embedded model
    params     {max_new_tokens, temperature, top_p}
    pairs      all (each two prompts), champion (each against the champion), none, or a
               list of pairs of prompts; default: all
    pairs_per_example   at most so many; priority, votes: of the pairs that are made

An answer that is there already (`cache_key`) is not asked for again, and is paired like
a new one.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from core.errors import Invalid
from core.llm.protocol import HostSpec, Messages, Sampling
from core.llm.registry import find_host, spec_of
from core.prompts.soft import refuse_host
from core.prompts.versions import label, prompts_of, rendered
from storage.bulk import chunks
from storage.ids import content_hash
from storage.tables import Example, Project, Prompt, Response

MAX_REQUESTS = 200_000
SPLITS = ("train", "dev", "test")
PAIRS = ("all", "champion", "none")
FIELDS = (
    "prompts", "examples", "host", "params", "max_new_tokens", "temperature", "top_p", "seed", "pairs",
    "pairs_per_example", "priority", "votes", "source",
)  # fmt: skip
_VERSION = re.compile(r"^(.*\S)\s+v(\d+)$")


@dataclass(frozen=True)
class Request:
    """One answer that is wanted. `response_id` is set when it is there already."""

    key: str
    prompt_id: str
    example_id: str
    messages: Messages
    response_id: str | None = None


@dataclass
class Plan:
    config: dict[str, Any]
    spec: HostSpec
    sampling: Sampling
    requests: list[Request]
    prompts: list[Prompt]
    examples: list[Example]
    # Responses of a champion that cannot be asked (known by name only): (id, example id)
    given: list[tuple[str, str]] = field(default_factory=list)

    @property
    def to_ask(self) -> list[Request]:
        return [request for request in self.requests if request.response_id is None]


def make_plan(session: Session, project: Project, config: Mapping[str, Any], seed: int) -> Plan:
    """Read a config. Raises Invalid naming the field that is wrong."""
    for name in config:
        if name not in FIELDS:
            raise Invalid(f"{name}: a generate run has no such field.", f"Fields: {', '.join(FIELDS)}.")
    host = find_host(session, _text(config, "host"))
    sampling = read_sampling(config, seed)
    there = prompts_of(session, project.id)
    prompts = _prompts(there, config.get("prompts"))
    pairs, champion = _pairs(session, project, there, config.get("pairs"))
    if pairs == "champion" and champion is not None and champion.id not in {p.id for p in prompts}:
        if champion.user.strip():
            prompts = [champion, *prompts]
    elif isinstance(pairs, list):
        named = {prompt_id for pair in pairs for prompt_id in pair}
        prompts += [p for p in there if p.id in named - {q.id for q in prompts} and p.user.strip()]
    examples = _examples(session, project.id, config.get("examples"))
    if len(prompts) * len(examples) > MAX_REQUESTS:
        raise Invalid(
            f"examples: {len(prompts)} prompts × {len(examples):,} examples are more than "
            f"{MAX_REQUESTS:,} requests.",
            "Set a limit, or choose fewer prompts.",
        )
    spec = spec_of(host)
    refuse_host(prompts, spec)
    requests = _requests(project.id, spec, sampling, prompts, examples)
    clean = {
        "prompts": [prompt.id for prompt in prompts],
        "examples": _clean_examples(config.get("examples")),
        "n_examples": len(examples),
        "host": host.id,
        "host_name": host.name,
        "params": {
            "max_new_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        },
        "pairs": pairs,
        "champion": champion.id if champion and pairs == "champion" else None,
        "pairs_per_example": _whole(config, "pairs_per_example", None, 1, 1000),
        "priority": _number(config, "priority", 0.0, -1000, 1000),
        "votes": _whole(config, "votes", None, 1, 100),
        "source": "optimize" if config.get("source") == "optimize" else "generate",
    }
    plan = Plan(clean, spec, sampling, _with_answers(session, requests), prompts, examples)
    if pairs == "champion" and champion is not None and not champion.user.strip():
        plan.given = _newest_responses(session, champion.id, {example.id for example in examples})
    return plan


def cache_key(
    project_id: str, spec: HostSpec, prompt_id: str, example_id: str, messages: Messages, sampling: Sampling
) -> str:
    """What makes two requests the same: host and model, prompt and what it became for this
    example, parameters and seed. Name, price and patience of a host do not matter."""
    return content_hash(
        {
            "project": project_id,
            "host": [spec.kind, spec.model, spec.base_url, spec.params],
            "prompt": prompt_id,
            "example": example_id,
            "messages": messages,
            "params": [sampling.max_new_tokens, sampling.temperature, sampling.top_p],
            "seed": sampling.seed,
        }
    )


def read_sampling(config: Mapping[str, Any], seed: int) -> Sampling:
    """`params`, or its fields at the top of the config."""
    params = config.get("params")
    if params is not None and not isinstance(params, Mapping):
        raise Invalid("params: an object, such as {“max_new_tokens”: 128, “temperature”: 0.7}.")
    given = {
        **(params or {}),
        **{k: config[k] for k in ("max_new_tokens", "temperature", "top_p") if k in config},
    }
    for name in given:
        if name not in ("max_new_tokens", "temperature", "top_p"):
            raise Invalid(f"params.{name}: there is no such parameter.")
    default = Sampling()
    top_p = _number(given, "top_p", default.top_p, 0, 1)
    if top_p == 0:
        raise Invalid("top_p: more than 0 and at most 1.")
    return Sampling(
        max_new_tokens=_whole(given, "max_new_tokens", default.max_new_tokens, 1, 32_768),
        temperature=_number(given, "temperature", default.temperature, 0, 5),
        top_p=top_p,
        seed=seed,
    )


# --- prompts ---------------------------------------------------------------------------------


def _prompts(there: list[Prompt], asked: Any) -> list[Prompt]:
    usable = [prompt for prompt in there if prompt.user.strip()]
    if asked is None:
        if not usable:
            raise Invalid(
                "prompts: this project has no prompt with a template.", "Write one on the page Prompts."
            )
        return usable
    if isinstance(asked, str):
        asked = [asked]
    if not isinstance(asked, list) or not asked or not all(isinstance(item, str) for item in asked):
        raise Invalid("prompts: a list of ids or names of prompts.")
    found = [one_prompt(there, item, "prompts") for item in asked]
    for prompt in found:
        if not prompt.user.strip():
            raise Invalid(
                f"prompts: “{prompt.name}” is known by name only, and has no template.",
                "Write a version of it, or leave it out.",
            )
    return list({prompt.id: prompt for prompt in found}.values())


def one_prompt(there: Sequence[Prompt], asked: str, field_name: str) -> Prompt:
    """By id, name (newest version) or “name v2”."""
    for prompt in there:  # newest version of a name first
        if asked in (prompt.id, prompt.name):
            return prompt
    version = _VERSION.match(asked)
    for prompt in there:
        if version and (prompt.name, prompt.version) == (version[1], int(version[2])):
            return prompt
    names = list(dict.fromkeys(prompt.name for prompt in there))
    more = ", …" if len(names) > 8 else "."
    hint = f"Prompts: {', '.join(names[:8])}{more}" if names else "There are none yet."
    raise Invalid(f"{field_name}: there is no prompt “{asked}” in this project.", hint)


def _pairs(
    session: Session, project: Project, there: list[Prompt], asked: Any
) -> tuple[str | list[list[str]], Prompt | None]:
    asked = "all" if asked is None else asked
    if asked is False:
        asked = "none"
    if asked == "champion":
        champion = session.get(Prompt, project.champion_prompt_id) if project.champion_prompt_id else None
        if champion is None:
            raise Invalid(
                "pairs: this project has no champion to compare with.", "Promote a prompt, or choose “all”."
            )
        return "champion", champion
    if isinstance(asked, str):
        if asked not in PAIRS:
            raise Invalid(f"pairs: there is no “{asked}”.", f"One of {', '.join(PAIRS)}, or a list of pairs.")
        return asked, None
    if not isinstance(asked, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        for pair in asked
    ):
        raise Invalid("pairs: all, champion, none, or a list of pairs of prompts: [[“a”, “b”]].")
    found = [[one_prompt(there, name, "pairs").id for name in pair] for pair in asked]
    if any(first == second for first, second in found):
        raise Invalid("pairs: a prompt is not compared with itself.")
    return found, None


# --- examples --------------------------------------------------------------------------------


def _clean_examples(asked: Any) -> dict[str, Any]:
    """`{split?, limit?, ids?}`, also as a list of ids or a number of examples."""
    if asked is None:
        return {}
    if isinstance(asked, list):
        asked = {"ids": asked}
    if isinstance(asked, int) and not isinstance(asked, bool):
        asked = {"limit": asked}
    if isinstance(asked, str):
        asked = {"split": asked}
    if not isinstance(asked, Mapping) or set(asked) - {"split", "limit", "ids"}:
        raise Invalid("examples: an object of split, limit and ids; all are optional.")
    clean: dict[str, Any] = {}
    if asked.get("split") is not None:
        if asked["split"] not in SPLITS:
            raise Invalid(f"examples.split: there is no “{asked['split']}”.", f"One of: {', '.join(SPLITS)}.")
        clean["split"] = asked["split"]
    limit = _whole(asked, "limit", None, 1, MAX_REQUESTS, "examples.limit")
    if limit is not None:
        clean["limit"] = limit
    ids = asked.get("ids")
    if ids is not None:
        if not isinstance(ids, list) or not ids or not all(isinstance(item, str) for item in ids):
            raise Invalid("examples.ids: a list of ids of examples.")
        clean["ids"] = list(dict.fromkeys(ids))
    return clean


def _examples(session: Session, project_id: str, asked: Any) -> list[Example]:
    clean = _clean_examples(asked)
    # By their hash: a sample that has nothing to do with when they came, and is the same
    # each time, so that a larger run goes on from a smaller one.
    query = select(Example).where(Example.project_id == project_id).order_by(col(Example.content_hash))
    if "split" in clean:
        query = query.where(Example.split == clean["split"])
    found = list(session.exec(query))
    if "ids" in clean:
        by_id = {example.id: example for example in found}
        for example_id in clean["ids"]:
            if example_id not in by_id:
                where = f" in the {clean['split']} split" if "split" in clean else ""
                raise Invalid(f"examples.ids: this project has no example {example_id}{where}.")
        found = [by_id[example_id] for example_id in clean["ids"]]
    if not found:
        where = f" in the {clean['split']} split" if "split" in clean else ""
        raise Invalid(f"examples: this project has no examples{where}.", "Import some on the page Data.")
    return found[: clean["limit"]] if "limit" in clean else found


# --- requests --------------------------------------------------------------------------------


def _requests(
    project_id: str, spec: HostSpec, sampling: Sampling, prompts: list[Prompt], examples: list[Example]
) -> list[Request]:
    """Example by example, the like-sized together: what is asked at once has about the
    same length, and a run that is cancelled has asked all prompts about its examples."""
    requests = []
    for example in sorted(examples, key=lambda one: (-len(one.input), one.content_hash)):
        for prompt in prompts:
            try:
                messages = rendered(prompt, example)
            except Invalid as problem:
                name = example.external_id or example.id
                raise Invalid(
                    f"prompts: {label(prompt)} does not fit the example {name}: {problem.message}",
                    problem.hint,
                ) from problem
            key = cache_key(project_id, spec, prompt.id, example.id, messages, sampling)
            requests.append(Request(key, prompt.id, example.id, messages))
    return requests


def _with_answers(session: Session, requests: list[Request]) -> list[Request]:
    """The same, with the ids of the responses that are there already."""
    known: dict[str, str] = {}
    for part in chunks([request.key for request in requests]):
        query = select(Response.cache_key, Response.id).where(col(Response.cache_key).in_(part))
        known |= dict(session.exec(query).all())
    return [Request(r.key, r.prompt_id, r.example_id, r.messages, known.get(r.key)) for r in requests]


def _newest_responses(session: Session, prompt_id: str, examples: set[str]) -> list[tuple[str, str]]:
    query = select(Response.example_id, Response.id).where(Response.prompt_id == prompt_id)
    newest = dict(session.exec(query.order_by(col(Response.id))).all())
    return [(response, example) for example, response in newest.items() if example in examples]


# --- plain values ----------------------------------------------------------------------------


def _text(config: Mapping[str, Any], name: str) -> str | None:
    value = config.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{name}: a name or id.")
    return value


def _whole(
    config: Mapping[str, Any], name: str, default: int | None, low: int, high: int, shown: str = ""
) -> Any:
    value = config.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(f"{shown or name}: a whole number from {low:,} to {high:,}.")
    return value


def _number(config: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = config.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Invalid(f"{name}: a number from {low:g} to {high:g}.")
    if not low <= value <= high:
        raise Invalid(f"{name}: a number from {low:g} to {high:g}.")
    return float(value)
