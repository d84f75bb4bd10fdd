"""The last product of a score in float32, whatever the rest is computed in.

A bfloat16 has 8 bits: scores around 0.5 would lie 0.002 apart at least. Where few votes have moved
them less than that, two responses would get the very same score, and neither would be preferred.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Precise(nn.Linear):
    """(…, d) -> (…, heads), float32. Its parameters are the layer's own, under the same names."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.float()
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(input.float(), self.weight.float(), bias)


def make_precise(model: Any) -> None:
    """The layer that gives a sequence classifier's scores: all of the head, or the last of it. A head
    of another kind stays as it is."""
    for name in ("score", "classifier"):
        head = getattr(model, name, None)
        layer = getattr(head, "out_proj", head)
        if type(layer) is nn.Linear:
            layer.__class__ = Precise
