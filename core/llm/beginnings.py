"""What families of requests begin with, read in one pass and kept in one cache, a row for each,
so that requests of several families can be batched by length.

Requests of one family differ in length (an example has 5 tokens or 50), so its batches are
small or mostly padding; the same examples under several instructions are of like length. Each
request of a batch gets the keys and values of its own family. Beginnings are padded on the
left, as requests are: the mask hides the padding, and positions are counted by the mask.

That needs plain keys and values in every layer. Where a layer keeps a window or a state, a
place in the cache is no place in the text, and the vectors of a soft prompt are read by
themselves: such families are read one at a time.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from core.llm.passes import forward, last
from core.llm.sharing import WORTH_SHARING, Head, Ids, common
from core.llm.soft import read

if TYPE_CHECKING:
    from core.llm.local import LocalHost

_TOKENS = 256  # of beginnings kept at once, for each request that a batch may hold
Family = tuple[int, list[int], Head]  # as families_with gives them


@dataclass(frozen=True)
class Beginnings:
    """`cache`: of F rows, one for each family, or None where nothing is read beforehand.
    `mask` (F, N): which of a row's N places hold its family's tokens, the others padding."""

    cache: Any
    mask: torch.Tensor

    def of(self, families: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """A new cache with a row for each of these, and its mask."""
        rows = torch.tensor(families, device=self.mask.device)
        return _picked(self.cache, rows), self.mask[rows]


def read_together(host: "LocalHost", families: Sequence[Family]) -> list[list[Family]]:
    """Which families to read and batch together. What is kept of their beginnings, padded to the
    longest, stays within a bound, so those of like length are together."""
    groups: list[list[Family]] = []
    nothing = [i for length, members, _ in families if not length for i in members]
    if nothing:
        groups.append([(0, nothing, Head())])
    together: list[Family] = []
    for family in sorted((one for one in families if one[0]), key=lambda one: -one[0]):
        if family[2].soft or not host.picks_rows:
            groups.append([family])
        elif (
            together
            and len(together) < host.batch_size
            and together[0][0] * (len(together) + 1) <= host.batch_size * _TOKENS
        ):
            together.append(family)
        else:
            together = [family]
            groups.append(together)
    return groups


@torch.inference_mode()
def read_beginnings(host: "LocalHost", beginnings: Sequence[Ids], head: Head) -> Beginnings:
    """Several only where the host `picks_rows`; what they themselves have in common is read once."""
    mask = torch.ones(1, len(beginnings[0]), dtype=torch.long, device=host.device)
    if not beginnings[0]:
        return Beginnings(None, mask)
    if len(beginnings) == 1:
        return Beginnings(read(host, beginnings[0], head) if head.soft else _alone(host, beginnings[0]), mask)
    least, most = min(beginnings), max(beginnings)
    shared = min(common(least, most), min(map(len, beginnings)) - 1)
    if shared < WORTH_SHARING:
        shared = 0
    ids, mask = host._padded([one[shared:] for one in beginnings])
    cache = None
    if shared:
        cache = _alone(host, beginnings[0][:shared])
        cache.batch_repeat_interleave(len(beginnings))
        mask = torch.cat([mask.new_ones(len(beginnings), shared), mask], 1)
    return Beginnings(forward(host, ids, mask, cache, keep=1).past_key_values, mask)


def plain(cache: Any) -> bool:
    """Whether each layer keeps the keys and values of every place, and nothing else."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)


def _alone(host: "LocalHost", ids: Ids) -> Any:
    row = torch.tensor([ids], device=host.device)
    return host.model(input_ids=row, use_cache=True, **last(host, 1)).past_key_values


def _picked(cache: Any, rows: torch.Tensor) -> Any:
    if cache is None:
        return None
    if not plain(cache):  # of one family
        copied = copy.deepcopy(cache)
        copied.batch_repeat_interleave(len(rows))
        return copied
    # A layer that grows is given new tensors, so these copies need none of their own.
    picked = copy.copy(cache)
    picked.layers = [copy.copy(layer) for layer in cache.layers]
    picked.batch_select_indices(rows)
    return picked
