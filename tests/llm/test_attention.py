"""Attention of a few new tokens, against torch's own in float64."""

import pytest
import torch
from torch.nn import functional as F

from core.llm import attention
from core.llm.attention import FEW
from core.llm.hosts import open_host
from core.llm.protocol import Sampling
from tests.llm.conftest import local_spec

HEADS, GROUPS, WIDTH, LENGTH = 6, 2, 8, 13


def drawn(new: int, dtype=torch.float32, value_width: int = WIDTH):
    made = torch.Generator().manual_seed(new)
    shapes = ((3, HEADS, new, WIDTH), (3, GROUPS, LENGTH, WIDTH), (3, GROUPS, LENGTH, value_width))
    return [torch.randn(shape, generator=made).to(dtype) for shape in shapes]


def expected(query, key, value, mask, scale=None):
    key, value = (part.double().repeat_interleave(HEADS // GROUPS, 1) for part in (key, value))
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.double()
    out = F.scaled_dot_product_attention(query.double(), key, value, attn_mask=mask, scale=scale)
    return out.transpose(1, 2)


class Module(torch.nn.Module):
    num_key_value_groups = HEADS // GROUPS
    is_causal = True


@pytest.mark.parametrize("new", [1, 2, FEW])
@pytest.mark.parametrize("boolean", [True, False])
def test_padding_is_not_read_and_later_tokens_are_not_either(new, boolean):
    query, key, value = drawn(new, value_width=5)
    mask = torch.ones(3, 1, new, LENGTH, dtype=torch.bool).tril(LENGTH - new)
    mask[1, :, :, :4] = False
    said = mask if boolean else torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    found, weights = attention.attention(Module(), query, key, value, said, scaling=0.3)
    assert weights is None
    torch.testing.assert_close(found.double(), expected(query, key, value, mask, 0.3), atol=1e-6, rtol=1e-5)


def test_without_a_mask_one_token_reads_all():
    query, key, value = drawn(1)
    found, _ = attention.attention(Module(), query, key, value, None)
    torch.testing.assert_close(found.double(), expected(query, key, value, None), atol=1e-6, rtol=1e-5)


def test_a_place_of_padding_stays_a_number():
    query, key, value = drawn(2)
    found, _ = attention.attention(
        Module(), query, key, value, torch.zeros(3, 1, 2, LENGTH, dtype=torch.bool)
    )
    assert found.isfinite().all()


def test_bfloat16_is_no_further_off_than_torchs_kernel():
    query, key, value = drawn(1, torch.bfloat16)
    right = expected(query, key, value, None)
    found, _ = attention.attention(Module(), query, key, value, None)
    wide = [part.repeat_interleave(HEADS // GROUPS, 1) for part in (key, value)]
    theirs = F.scaled_dot_product_attention(query, *wide).transpose(1, 2)
    assert found.dtype == torch.bfloat16
    assert (found - right).abs().max() <= (theirs - right).abs().max()


@pytest.mark.parametrize(
    ("new", "more"),
    [(FEW + 1, {}), (1, {"position_bias": torch.zeros(3, HEADS, 1, LENGTH)}), (1, {"dropout": 0.1})],
    ids=["many tokens", "a bias of positions", "dropout"],
)
def test_anything_else_is_left_to_torch(monkeypatch, new, more):
    said = []
    monkeypatch.setattr(
        attention, "sdpa_attention_forward", lambda *_, **named: said.append(named) or (0, None)
    )
    mask = torch.ones(3, 1, new, LENGTH, dtype=torch.bool)
    attention.attention(Module(), *drawn(new), mask, **more)
    assert len(said) == 1


def test_a_host_answers_as_with_torchs_kernel(tiny, tmp_path):
    """Requests of several lengths, so that there is padding; greedy, in float32."""
    host = open_host(local_spec(tiny, dtype="float32"), tmp_path)
    assert host.model.config._attn_implementation == attention.NAME
    requests = [
        [{"role": "user", "content": text}] for text in ("the cat", "stir the soup and boil it", "water")
    ]
    labels = ["positive", "not very good"]
    ours, scores = host.generate(requests, Sampling(12, 0.0)), host.label_logprobs(requests, labels)
    host.model.set_attn_implementation("sdpa")
    assert [one.text for one in host.generate(requests, Sampling(12, 0.0))] == [one.text for one in ours]
    again = torch.tensor(host.label_logprobs(requests, labels))
    torch.testing.assert_close(again, torch.tensor(scores), atol=1e-5, rtol=1e-6)
