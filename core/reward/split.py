"""A model in two parts: the lower layers, which training leaves as they are, and the rest.

The lower part runs once a text, and what comes out of it is kept (core/reward/frozen.py);
what is trained, and asked, is the same model without its lower layers. Nothing is copied:
`cut` takes the lower layers out of the model, `whole` puts them back.

One more thing is exact and free where a model reads its score from the first token, as BERT
does: in the last layer the other tokens need only be keys and values. Their queries, and their
feed-forward layer (ten twelfths of the layer's work), feed nothing.

Whether all that gives the scores of the whole model is not known for every architecture, so
it is tried on real texts before it is used (`Split.of`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

AGREES = 1e-4  # of the scores' size: how far whole and split scores may lie apart, in float32


class Split:
    """`below` gives hidden states (b, t, d) from tokens, `logits` gives scores from those."""

    def __init__(self, model: Any, count: int, *, first_token: bool) -> None:
        self.model, self.count = model, count
        self.base = model.base_model
        self.parent, self.name, self.layers = layer_stack(self.base)
        self.embeddings = getattr(self.base, "embeddings", None)
        self.first_token = first_token
        upper = list(self.layers[count:])
        if first_token:
            upper[-1] = FirstToken(upper[-1])
        self.upper = nn.ModuleList(upper)
        self.is_cut = False

    @classmethod
    def of(cls, model: Any, count: int, samples: Sequence[Sequence[int]], pad_id: int) -> "Split | None":
        """The split after `count` layers, or None where this architecture does not allow it.
        With 0 layers the model still reads tokens, and only the last layer is shortened.
        `samples` are token ids of some texts, of different lengths."""
        for first_token in (True, False) if count else (True,):
            try:
                split = cls(model, count, first_token=first_token)
            except (AttributeError, IndexError, TypeError, ValueError):
                continue
            if split._agrees(samples, pad_id):
                return split
        return None

    @torch.no_grad()
    def _agrees(self, samples: Sequence[Sequence[int]], pad_id: int) -> bool:
        was_training = self.model.training
        self.model.eval()
        place = next(self.model.parameters()).device
        tokens, mask = (part.to(place) for part in padded(samples, pad_id))
        try:
            wanted = self.model(input_ids=tokens, attention_mask=mask).logits
            hidden = self.below(tokens, mask) if self.count else None
            with self.cut():
                found = (
                    self.model(input_ids=tokens, attention_mask=mask).logits
                    if hidden is None
                    else self.logits(hidden, mask, last_tokens(tokens, pad_id))
                )
            if found.shape != wanted.shape:
                return False
            return bool((found - wanted).abs().max() <= AGREES * max(1.0, float(wanted.abs().max())))
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            return False  # an architecture that wants something else of its layers
        finally:
            self.model.train(was_training)

    @contextmanager
    def cut(self, cut: bool = True) -> Iterator[None]:
        """The model without its lower layers (or, with False, with them) inside the block."""
        before = self.is_cut
        self._put(cut)
        try:
            yield
        finally:
            self._put(before)

    def _put(self, cut: bool) -> None:
        setattr(self.parent, self.name, self.upper if cut else self.layers)
        if self.embeddings is not None and self.count:
            self.base.embeddings = Given() if cut else self.embeddings
        self.is_cut = cut

    def below(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(b, t, d): what the lowest trained layer is given. Both arguments (b, t)."""

        def stop(module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            raise _Reached(args[0] if args else options["hidden_states"])

        hook = self.layers[self.count].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            with self.cut(False):
                self.base(input_ids=tokens, attention_mask=mask)
        except _Reached as reached:
            return reached.hidden
        finally:
            hook.remove()
        raise RuntimeError("the layer was not reached")

    def logits(self, hidden: torch.Tensor, mask: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(b, heads) of the cut model. `last` (b,) is the place of the last token that is no
        padding: where decoders read their score."""
        if hasattr(self.model, "score"):
            # By itself it would look for padding in the tokens, which are not there.
            states = self.base(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
            return self.model.score(states[torch.arange(len(last), device=last.device), last])
        return self.model(inputs_embeds=hidden, attention_mask=mask).logits


class Given(nn.Module):
    """In the place of the embeddings: the hidden states are given already."""

    def forward(
        self, input_ids: Any = None, inputs_embeds: torch.Tensor | None = None, **_: Any
    ) -> torch.Tensor | None:
        return inputs_embeds


class FirstToken(nn.Module):
    """A BERT layer of which only the first token's output is computed: hidden states
    (b, t, d) -> (b, 1, d). Its parameters are the layer's own."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention.self
        if getattr(attention, "is_decoder", False) or not callable(layer.feed_forward_chunk):
            raise TypeError("not an encoder's layer")
        if hasattr(attention, "distance_embedding") or hasattr(attention, "pos_key_proj"):
            raise TypeError("relative positions")
        self.heads, self.scale = int(attention.num_attention_heads), attention.attention_head_size**-0.5
        self.layer = layer

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        attention = self.layer.attention.self
        first = hidden[:, :1]
        query, key, value = (
            part.view(*part.shape[:2], self.heads, -1).transpose(1, 2)  # (b, heads, t, d / heads)
            for part in (attention.query(first), attention.key(hidden), attention.value(hidden))
        )
        if attention_mask is not None:
            attention_mask = attention_mask[:, :, :1]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=self.scale)
        mixed = mixed.transpose(1, 2).reshape(first.shape[0], 1, -1)
        return self.layer.feed_forward_chunk(self.layer.attention.output(mixed, first))


class _Reached(Exception):
    def __init__(self, hidden: torch.Tensor) -> None:
        self.hidden = hidden


def layer_stack(base: Any) -> tuple[Any, str, Any]:
    """(the module that holds them, under which name, the layers): the longest list of modules.
    Raises ValueError when there is none."""
    found: tuple[Any, str, Any] | None = None
    for parent in base.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and (found is None or len(child) > len(found[2])):
                found = (parent, name, child)
    if found is None:
        raise ValueError("a model without layers")
    return found


def padded(ids: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens, mask), both (b, t), padded on the right."""
    width = max(map(len, ids))
    tokens = torch.full((len(ids), width), pad_id)
    mask = torch.zeros((len(ids), width), dtype=torch.long)
    for row, of in enumerate(ids):
        tokens[row, : len(of)] = torch.tensor(of)
        mask[row, : len(of)] = 1
    return tokens, mask


def last_tokens(tokens: torch.Tensor, pad_id: int) -> torch.Tensor:
    """(b,) the place of the rightmost token that is not padding, as transformers' decoders
    look for it."""
    places = torch.arange(tokens.shape[1], device=tokens.device)
    return (places * (tokens != pad_id)).argmax(dim=1)
