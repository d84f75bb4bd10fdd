"""The weights that a training begins with: which stay as they are, and which are newly drawn."""

from typing import Any

import torch


def freeze(model: Any, share: float) -> tuple[int, int]:
    """Keep the embeddings and the lower `share` of the layers as they are. Answers (frozen
    layers, layers). With 0, all is trained."""
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    layers: Any = max(stacks, key=len, default=[])
    count = min(int(len(layers) * share + 1e-6), max(0, len(layers) - 1))
    if share > 0:
        base = model.base_model
        lowest = [getattr(base, "embeddings", None) or model.get_input_embeddings(), *layers[:count]]
        for module in lowest:
            module.requires_grad_(False)
    return count, len(layers)


@torch.no_grad()
def draw(model: Any, fresh: frozenset[str], seed: int, spread: float) -> None:
    """Draw the weights that the backbone did not bring: matrices from N(0, spread^2); biases
    and norms stay as they were made."""
    random = torch.Generator().manual_seed(seed)
    by_name = dict(model.named_parameters())
    for name in sorted(fresh):
        for value in _of(by_name, name):
            if value.dim() > 1:
                value.copy_(torch.randn(value.shape, generator=random) * spread)


def _of(by_name: dict[str, torch.Tensor], name: str) -> list[torch.Tensor]:
    """The parameter of this plain name; with adapters, the copy that is trained."""
    if name in by_name:
        return [by_name[name]]
    module, _, leaf = name.rpartition(".")
    return [
        value for other, value in by_name.items()
        if other.endswith(f"{module}.modules_to_save.default.{leaf}")
    ]  # fmt: skip


def no_dropout(model: Any) -> None:
    """As TRL does by default: a preference is one comparison, and its noise is enough."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
