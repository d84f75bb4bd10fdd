"""The tensors of an optimiser (weights, moments of Adam) beside its JSON state, as safetensors.

A new file for each save, under a name of its own: the JSON state names the file it belongs
to, so a kill between the two leaves the older pair whole.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class KeepsTensors(Protocol):
    """An optimiser with more to keep than JSON can hold."""

    def tensors(self) -> Mapping[str, "Tensor"]:
        """By name; none shares its memory with another."""
        ...

    def load_tensors(self, tensors: Mapping[str, "Tensor"]) -> None:
        """On the processor; called after `load_state_dict`."""
        ...


def save_tensors(optimizer: Any, state_file: Path, number: int) -> str | None:
    """Write them beside `state_file`; answers the file's name, None when there are none."""
    if not isinstance(optimizer, KeepsTensors):
        return None
    from safetensors.torch import save_file

    name = f"{state_file.stem}-{number}.safetensors"
    part = state_file.with_name(f"{name}.{os.getpid()}.part")
    state_file.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: tensor.detach().cpu().contiguous() for key, tensor in optimizer.tensors().items()}
    save_file(kept, part)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(state_file.with_name(name))
    return name


def load_tensors(optimizer: Any, state_file: Path, name: str | None) -> None:
    if name is None or not isinstance(optimizer, KeepsTensors):
        return
    from safetensors.torch import load_file

    optimizer.load_tensors(load_file(state_file.with_name(name)))


def forget_others(state_file: Path, name: str | None) -> None:
    """Remove what earlier saves left, and halves of a killed writer."""
    for file in state_file.parent.glob(f"{state_file.stem}-*.safetensors*"):
        if file.name != name:
            file.unlink(missing_ok=True)
