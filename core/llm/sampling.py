"""Sampling that a request carries with it, whoever it shares a batch with.

Usual samplers draw from one stream for the whole batch, so the answer to one request
changes with its neighbours. Here each request has numbers of its own: a stream seeded
by its content and the seed asked for, one uniform number per token, turned into a token
by the inverse of the nucleus' cumulative distribution (top-p: Holtzman et al. 2020,
arXiv 1904.09751). What is left of the neighbours is rounding: a batch of another shape
may add up in another order.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from transformers import LogitsProcessor

from core.llm.protocol import Messages

_TOP = 256  # tokens looked at before a full sort of the vocabulary is needed


def request_seed(request: Messages, seed: int) -> int:
    """64 bits that depend on what is asked and on the seed, and on nothing else."""
    text = json.dumps([seed, request], sort_keys=True, ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def uniforms(seeds: Sequence[int], n: int) -> np.ndarray:
    """(len(seeds), n) numbers in [0, 1); a longer row starts with the shorter one."""
    return np.stack([np.random.Generator(np.random.Philox(seed)).random(n) for seed in seeds])


def nucleus_choice(logits: torch.Tensor, u: torch.Tensor, top_p: float) -> torch.Tensor:
    """(B,) tokens: for each row of `logits` (B, V), float32, the smallest set of tokens
    whose probabilities reach `top_p`, and of it the token that `u` (B,) falls on."""
    total = torch.logsumexp(logits, dim=-1, keepdim=True)  # (B, 1)
    k = min(_TOP, logits.shape[-1])
    values, ids = logits.topk(k, dim=-1)  # (B, k), descending
    p = (values - total).exp()
    chosen = _falls_on(p, ids, u, top_p)
    if k < logits.shape[-1]:
        reached = p.sum(dim=-1)
        # What u falls on may be further down, or, in a nucleus that goes further, elsewhere.
        further = u.to(p.dtype) >= reached if top_p >= 1 else reached < top_p
        if bool(further.any()):
            values, ids = logits[further].sort(dim=-1, descending=True)
            chosen[further] = _falls_on((values - total[further]).exp(), ids, u[further], top_p)
    return chosen


def _falls_on(p: torch.Tensor, ids: torch.Tensor, u: torch.Tensor, top_p: float) -> torch.Tensor:
    """`p` (B, k): probabilities of the tokens `ids`, descending, all that the nucleus takes."""
    whole = top_p >= 1  # all tokens there are, which add up to 1
    if not whole:
        before = p.cumsum(dim=-1) - p  # mass of what is likelier
        p = p * (before < top_p)  # the first token always stays: nothing is before it
    cumulative = p.cumsum(dim=-1)
    wanted = u.to(p.dtype) * (1.0 if whole else cumulative[:, -1])
    place = torch.searchsorted(cumulative, wanted.unsqueeze(-1), right=True)
    last = (p > 0).sum(dim=-1, keepdim=True) - 1  # rounding must not reach past the nucleus
    return ids.gather(-1, torch.minimum(place, last)).squeeze(-1)


class OwnStream(LogitsProcessor):
    """Makes greedy decoding pick what each row's own stream draws. `u` is (B, steps)."""

    def __init__(self, u: torch.Tensor, temperature: float, top_p: float) -> None:
        self.u, self.temperature, self.top_p = u, temperature, top_p
        self.step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = nucleus_choice(scores.float() / self.temperature, self.u[:, self.step], self.top_p)
        self.step += 1
        only = torch.full_like(scores, float("-inf"))
        return only.scatter(-1, chosen.unsqueeze(-1), 0.0)
