"""A member of a training: what it differs in from the others, and how it lies in state/ once it is
done, so that a killed worker trains none of them twice."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from core.runs.folder import write_json


@dataclass
class Member:
    """What a member differs in: weights by the plain model's names, and how it came about."""

    number: int
    weights: dict[str, torch.Tensor]
    record: dict[str, Any] = field(default_factory=dict)


def keep_member(state: Path, member: Member) -> None:
    path = state / f"member-{member.number}.safetensors"
    part = path.with_suffix(".part")
    save_tensors(part, member.weights)
    part.replace(path)
    write_json(path.with_suffix(".json"), member.record)


def finished_member(state: Path, number: int) -> Member | None:
    path = state / f"member-{number}.safetensors"
    record = path.with_suffix(".json")
    if not record.is_file():
        return None
    return Member(number, load_file(path), json.loads(record.read_text(encoding="utf-8")))


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
