"""A composed reward from its document (inputs/reward.json), with the models it needs. Worker
side: reward models and classifiers import torch when they are opened."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.llm.protocol import Host, HostSpec, Sampling
from core.optimize.rewards.composed import Composed
from core.optimize.rewards.kinds import REMOVED, price_of
from core.optimize.rewards.lengths import Members, fit
from core.optimize.rewards.parts import (
    Constraint,
    Judge,
    Labels,
    Part,
    RewardModels,
    classifier_constraint,
    cost_part,
    length_part,
    metric_part,
    rules_constraint,
)


def open_composed(
    document: Mapping[str, Any],
    open_scorer: Callable[[Path], Members],
    open_judge: Callable[[HostSpec], Host],
) -> Composed:
    """`open_scorer(folder)`, `open_judge(spec)`: whoever has one open already gives that."""
    reward = document["reward"]
    sampling = Sampling(**document["sampling"]) if document.get("sampling") else None

    def part(spec: Mapping[str, Any]) -> Part:
        name, weight = spec["name"], spec["weight"]
        if spec["kind"] == "reward_model":
            folders = [document["models"][key]["folder"] for key in spec["models"]]
            scorers = [open_scorer(Path(folder)) for folder in folders]
            lengths = None
            if spec.get("length") == REMOVED:
                rows = document["reference"]
                lengths = fit(scorers, [row["input"] for row in rows], [row["response"] for row in rows])
            return RewardModels(name, weight, scorers, spec["ensemble"], spec["lambda"], lengths)
        if spec["kind"] == "judge":
            host = open_judge(HostSpec(**document["hosts"][spec["host"]]))
            greedy = Sampling(max_new_tokens=spec["max_new_tokens"], temperature=0.0, seed=0)
            payer = f"judge/{spec['host']}"
            return Judge(name, weight, host, payer, spec["rubric"], spec["answer"], greedy)
        if spec["kind"] == "labels":
            return Labels(name, weight)
        return {"metric": metric_part, "length": length_part, "cost": cost_part}[spec["kind"]](spec)

    return Composed(
        [part(spec) for spec in reward["components"]],
        [_constraint(spec) for spec in reward["constraints"]],
        price_of(reward),
        sampling,
        document.get("words"),
    )


def _constraint(spec: Mapping[str, Any]) -> Constraint:
    if spec["kind"] == "rules":
        return rules_constraint(spec)
    from core.optimize.rewards.classifier import TextClassifier

    return classifier_constraint(spec, TextClassifier(spec["model"], spec["label"]))
