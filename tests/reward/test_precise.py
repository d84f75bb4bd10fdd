"""A score's last product is in float32, so that small differences are not rounded away."""

import random

import numpy as np
import pytest
import torch

from core.reward.encode import Encoder, load, score_all
from core.reward.frozen import Frozen
from core.reward.precise import Precise
from core.reward.split import Split
from tests.reward import backbones
from tests.reward.tiny import BAD, GOOD, PLAIN

HEADS = ("overall", "helpful")


@pytest.fixture(scope="module", params=backbones.KINDS)
def loaded(request, tmp_path_factory):
    """A model of which all scores lie around 0.5, closer than bfloat16's steps there (1/256)."""
    torch.manual_seed(1)
    folder = backbones.KINDS[request.param](tmp_path_factory.mktemp(request.param))
    model, tokenizer = load(str(folder), head=True, heads=HEADS)
    head = [layer for layer in model.modules() if isinstance(layer, Precise)]
    assert len(head) == 1 and head[0].out_features == len(HEADS)
    draw = random.Random(2)
    texts = [" ".join(draw.choices([*GOOD, *BAD, *PLAIN], k=1 + i % 20)) for i in range(64)]
    ids, _ = Encoder(tokenizer, 64)(texts, texts[::-1])
    raw = score_all(model, ids, tokenizer.pad_token_id, half=False)
    shrink = 1e-3 / np.ptp(raw, axis=0).max()
    with torch.no_grad():
        head[0].weight *= shrink
        if head[0].bias is None:
            head[0].bias = torch.nn.Parameter(torch.zeros(len(HEADS)))
        head[0].bias.fill_(0.5)
    return model, tokenizer, ids, shrink * raw + 0.5


def apart(found, wanted) -> bool:
    assert np.abs(found - wanted).max() < 1 / 512  # half a step: what rounding alone could take
    return len(np.unique(found[:, 0])) > 40


def test_in_half_precision_scores_of_different_texts_are_apart(loaded):
    model, tokenizer, ids, wanted = loaded
    found = score_all(model, ids, tokenizer.pad_token_id, half=True)
    rounded = torch.tensor(wanted).bfloat16().double().numpy()
    assert len(np.unique(rounded[:, 0])) <= 2  # what it would be
    assert apart(found, wanted)


def test_so_it_is_behind_frozen_layers(loaded):
    model, tokenizer, ids, wanted = loaded
    split = Split.of(model, 2, ids[:3], tokenizer.pad_token_id)
    found = Frozen(split, tokenizer.pad_token_id, half=True).logits(ids)
    assert apart(found, wanted)


def test_it_is_the_layer_it_was(loaded, tmp_path):
    """In weights (their names too) as in gradients, also from half-precision weights."""
    model, *_ = loaded
    [head] = [layer for layer in model.modules() if isinstance(layer, Precise)]
    plain = torch.nn.Linear(head.in_features, len(HEADS))
    plain.load_state_dict(head.state_dict())
    given = torch.randn(3, head.in_features)
    for layer in (head, plain):
        layer.zero_grad()
        layer(given).pow(2).sum().backward()
    assert torch.equal(head(given), plain(given))
    assert torch.allclose(head.weight.grad, plain.weight.grad)
    made = Precise(4, 2, dtype=torch.bfloat16)
    assert made(torch.randn(3, 4, dtype=torch.bfloat16)).dtype == torch.float32
