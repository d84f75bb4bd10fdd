"""A composed reward, made ready for a run: its reward models, its judge hosts, its classifiers.
Web side; never imports torch.

The document, inputs/reward.json:

    kind      "composed"
    reward    components and constraints, with ids of models and names of hosts
    models    {id: {name, folder}}          hosts     {name: HostSpec}
    sampling  of the responses              words     {reference: word}, where labels are scored
    reference [{input, response}], where length is taken out of a reward model's score
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlmodel import Session, select

from core.errors import Invalid
from core.llm.protocol import Sampling
from core.llm.registry import find_host, spec_of
from core.optimize.rewards.kinds import generates, without_length
from core.optimize.rewards.lengths import LEAST
from core.reward import reference
from core.reward.registry import active_model
from core.reward.scoring import texts_of
from core.settings import get_settings
from storage.tables import Project, Response, RewardModel


def freeze(session: Session, project: Project, reward: dict[str, Any], sampling: Sampling) -> dict[str, Any]:
    """The document, without `words`; `reward` gets the ids and names that were meant. Raises
    Invalid naming the field."""
    models: dict[str, Any] = {}
    hosts: dict[str, Any] = {}
    for i, item in enumerate(reward["components"]):
        path = f"reward.components[{i}]"
        if item["kind"] == "reward_model":
            found = _models(session, project, item["models"], path)
            item["models"] = [model.id for model in found]
            models |= {model.id: {"name": model.name, "folder": str(folder_of(model))} for model in found}
            if item["ensemble"] != "mean" and sum(members_of(model) for model in found) < 2:
                raise Invalid(
                    f"{path}.ensemble: “{item['ensemble']}” needs several members, and “{found[0].name}” has one.",
                    "Train a reward model with several members, or name several models.",
                )
        elif item["kind"] == "judge":
            spec = _host(session, item["host"], path)
            item["host"] = spec.name
            hosts[spec.name] = spec.as_dict()
    for i, item in enumerate(reward["constraints"]):
        if item["kind"] == "classifier":
            check_classifier(item, f"reward.constraints[{i}]")
    frozen: dict[str, Any] = {"kind": "composed", "reward": reward, "models": models, "hosts": hosts}
    if without_length(reward):
        frozen["reference"] = reference_responses(session, project)
    return {**frozen, "sampling": asdict(sampling)} if generates(reward) else frozen


def reference_responses(session: Session, project: Project) -> list[dict[str, str]]:
    """The project's reference responses (core/reward/reference.py) to train examples: dev and test
    are for choosing and reporting. Raises Invalid where they are too few, or all of one length."""
    ids = list(session.exec(select(Response.id).where(Response.project_id == project.id)))
    chosen = reference.choose(reference.kept(session, project.id), ids)
    rows = [row for row in texts_of(session, chosen.ids) if row["split"] == "train"]
    lengths = {len(row["response"].split()) for row in rows}
    if len(rows) < LEAST or len(lengths) < 2:
        there = f"there are {len(rows):,}" if len(lengths) > 1 or len(rows) < LEAST else "all have one length"
        raise Invalid(
            f"reward.components: what length explains is fitted on at least {LEAST} of the project's responses "
            f"to train examples, of different lengths, and {there}.",
            "Generate responses on the page Prompts, or keep length in the score.",
        )
    return [{"input": row["input"], "response": row["response"]} for row in rows]


def _models(session: Session, project: Project, ids: list[str], path: str) -> list[RewardModel]:
    if not ids:
        active = active_model(session, project)
        if active is None:
            raise Invalid(
                f"{path}: this project has no active reward model.",
                "Train one on the page Reward models, or compose the reward without it.",
            )
        return [whole(active, path)]
    found = []
    for key in dict.fromkeys(ids):
        model = session.get(RewardModel, key)
        if model is None or model.project_id != project.id or model.archived_at is not None:
            raise Invalid(f"{path}.models: there is no reward model {key} in this project.")
        found.append(whole(model, path))
    return found


def whole(model: RewardModel, path: str) -> RewardModel:
    if not folder_of(model).is_dir():
        raise Invalid(f"{path}: the files of the reward model “{model.name}” are gone.", "Train a new one.")
    return model


def folder_of(model: RewardModel) -> Path:
    return (get_settings().data_dir / model.folder).resolve()


def members_of(model: RewardModel) -> int:
    """As its card says; 1 where it says nothing."""
    try:
        card = json.loads((folder_of(model) / "reward.json").read_text(encoding="utf-8"))
        return int(card.get("members") or 1)
    except (OSError, ValueError, TypeError):
        return 1


def _host(session: Session, name: str, path: str) -> Any:
    try:
        return spec_of(find_host(session, name))
    except Invalid as problem:
        raise Invalid(f"{path}.{problem.message}", problem.hint) from problem


def check_classifier(item: Mapping[str, Any], path: str) -> None:
    """A folder is looked into; what a hub id holds is seen when the run begins."""
    folder = Path(item["model"]).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or item["model"].startswith((".", "~")):
            raise Invalid(
                f"{path}.model: there is no folder {item['model']}.", "It lies on the server's machine."
            )
        return
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        labels = [str(name) for name in (config.get("id2label") or {}).values()]
    except (OSError, ValueError, AttributeError) as problem:
        raise Invalid(f"{path}.model: {item['model']} holds no transformers model.") from problem
    if not any("SequenceClassification" in name for name in config.get("architectures") or []):
        raise Invalid(f"{path}.model: {item['model']} holds no text classifier.")
    if not list(folder.glob("*.safetensors")):
        raise Invalid(f"{path}.model: {item['model']} has no weights as safetensors.", "Convert them.")
    known = {*(label.lower() for label in labels), *map(str, range(len(labels)))}
    if labels and item["label"].lower() not in known:
        raise Invalid(
            f"{path}.label: “{item['model']}” has no label “{item['label']}”.",
            f"Labels: {', '.join(labels)}.",
        )
