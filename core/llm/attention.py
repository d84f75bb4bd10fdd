"""Attention of a few new tokens to all before them, on a processor.

That is every step of generation after the first. torch's kernel for processors is made for many
queries at once, and in bfloat16 takes 1 to 5 ms a layer for a single one, a third to two thirds of
the step; two matrix products take a sixth of that and less. Heads that share keys and values
(grouped-query attention, Ainslie et al. 2023, arXiv 2305.13245) are read together instead of
copying keys and values for each, and scores and weights are in float32, so that nothing is
rounded that torch's kernel does not round.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "prefloop"
FEW = 4  # new tokens
# What a model may say besides; anything else means another kind of attention.
_KNOWN = frozenset({"position_ids", "cache_position", "use_cache", "output_attentions", "sliding_window"})


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """`query` (B, H, n, d), `key` and `value` (B, G, N, d) with H a multiple of G; the mask (B or 1,
    1, n, N), true or zero where a token may be read. Answers (B, n, H, d), and no weights."""
    new = query.shape[2]
    unusual = any(given is not None for name, given in more.items() if name not in _KNOWN)
    masked = attention_mask is not None and attention_mask.shape[1] == 1
    alone = attention_mask is None and new == 1  # one token may read all there is
    if new > FEW or query.device.type != "cpu" or dropout or unusual or not (masked or alone):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
    batch, heads, _, width = query.shape
    groups, length = key.shape[1], key.shape[2]
    scale = width**-0.5 if scaling is None else scaling
    rows = (query.float() * scale).reshape(batch, groups, heads // groups * new, width)
    scores = (rows @ key.float().transpose(2, 3)).view(batch, groups, heads // groups, new, length)
    if attention_mask is not None:
        mask = attention_mask[..., :length].unsqueeze(1)
        # A place of padding reads nothing: the least number instead of minus infinity keeps it a number.
        least = torch.finfo(torch.float32).min
        scores = (
            scores.masked_fill(~mask, least) if mask.dtype == torch.bool else (scores + mask).clamp(least)
        )
    weights = scores.softmax(-1).view(batch, groups, -1, length)
    out = (weights @ value.float()).view(batch, heads, new, value.shape[-1])
    return out.to(query.dtype).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def quicken(model: Any) -> None:
    """Let a model that attends by torch's kernel on a processor attend by this."""
    uses = getattr(model.config, "_attn_implementation", None) == "sdpa"
    if uses and model.device.type == "cpu" and getattr(model, "_supports_attention_backend", False):
        model.set_attn_implementation(NAME)
