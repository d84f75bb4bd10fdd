"""Whether two rewards, as they were frozen with their runs, decide alike: for what one run was told
to hold in another."""

from collections.abc import Mapping
from typing import Any

from core.llm.protocol import HostSpec
from core.optimize.books import host_key
from core.optimize.rewards.kinds import KEPT
from storage.ids import content_hash


def decides(reward: Mapping[str, Any], host: HostSpec) -> Any:
    """What of a reward decides an outcome. Weights and thresholds are applied to what was answered,
    and a model's name and the name, price and patience of a judge's host change nothing."""
    if reward["kind"] == "labels":
        return ["labels", reward["words"]]
    if reward["kind"] == "reward_model":
        return ["reward_model", reward.get("id") or reward["folder"], _sampling(reward)]
    parts = {
        part: [_item(item, reward["hosts"]) for item in items] for part, items in reward["reward"].items()
    }
    costs = any(item["kind"] == "cost" and item["of"] == "money" for item in reward["reward"]["components"])
    prices = [host.price_in, host.price_out] if costs else None
    return ["composed", parts, _sampling(reward), reward.get("words"), reward.get("reference"), prices]


def same_responses(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both read what is generated, and generate it alike."""
    return _sampling(one) is not None and _sampling(one) == _sampling(other)


def same_judges(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, str]:
    """{component of `one`: component of `other`} of judges that are asked alike: the same model, by
    the same rubric."""
    now = _judges(other)
    return {name: now[how] for how, name in _judges(one).items() if how in now}


def _judges(reward: Mapping[str, Any]) -> dict[str, str]:
    """How each judge is asked -> its component."""
    if reward["kind"] != "composed":
        return {}
    items = [item for item in reward["reward"]["components"] if item["kind"] == "judge"]
    asked = [{**_item(item, reward["hosts"]), "name": ""} for item in items]
    return {content_hash(how): item["name"] for how, item in zip(asked, items, strict=True)}


def _item(item: Mapping[str, Any], hosts: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in item.items()
        if name not in ("weight", "threshold") and (name, value) != ("length", KEPT)
    }
    if item["kind"] == "judge":
        kept["host"] = host_key(HostSpec(**hosts[item["host"]]))
    return kept


def _sampling(reward: Mapping[str, Any]) -> dict[str, Any] | None:
    """Greedy answers have no seed, and nothing is drawn from."""
    sampling = reward.get("sampling")
    if sampling and sampling["temperature"] == 0:
        return {"max_new_tokens": sampling["max_new_tokens"], "temperature": 0}
    return dict(sampling) if sampling else None
