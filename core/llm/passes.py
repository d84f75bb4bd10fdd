"""One forward pass of a model in process, whatever its family takes."""

import inspect
from typing import Any

import torch


def forward(host: Any, ids: torch.Tensor, mask: torch.Tensor, cache: Any, keep: int) -> Any:
    """One pass over new tokens `ids` (B, L) after what `cache` holds; `mask` covers both."""
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": True}
    if cache is not None:
        inputs["past_key_values"] = cache
    if "position_ids" in parameters(host):
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    return host.model(**inputs, **last(host, keep))


def last(host: Any, keep: int) -> dict[str, int]:
    """Only the last logits, where a model can leave the others out: they are the largest
    tensor of all (tokens x vocabulary)."""
    return {"logits_to_keep": keep} if "logits_to_keep" in parameters(host) else {}


def parameters(host: Any) -> frozenset[str]:
    return frozenset(inspect.signature(type(host.model).forward).parameters)
