"""A trained model as a folder: what `transformers` reads anywhere, and our card beside it.

config.json, model.safetensors   the first member (or the average of all), plain
tokenizer files
reward.json                      the card: length, scale, temperature, heads, combination
members/<i>/model.safetensors    of further members, what they differ in
adapter/                         the LoRA adapter that was added into the weights
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.reward.members import Member, save_tensors
from core.runs.folder import write_json


def save_model(
    target: Path,
    model: Any,
    tokenizer: Any,
    card: dict[str, Any],
    others: Sequence[Member] = (),
    adapter: Callable[[Path], None] | None = None,
) -> None:
    """Write the folder beside its place, then rename it there. `model` holds the first
    member's weights; `others` are the further ones; `adapter` writes its own folder."""
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    for number, member in enumerate(others, start=1):
        place = part / "members" / str(number)
        place.mkdir(parents=True)
        save_tensors(place / "model.safetensors", {k: v for k, v in member.weights.items() if k != "tie"})
    if adapter is not None:
        adapter(part)
    write_json(part / "reward.json", card)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
