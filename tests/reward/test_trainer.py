"""The parts of the trainer that can be checked by hand."""

import numpy as np
import pytest

from core.reward import presets
from core.reward.encode import Encoder
from core.reward.estimate import choose_length, estimate
from core.reward.trainer import batch_order
from core.runs.context import WorkError
from tests.reward.tiny import tiny_backbone


def test_the_order_is_a_permutation_grouped_by_length_and_follows_from_the_seed():
    lengths = np.random.default_rng(0).integers(5, 500, 1001)
    order = batch_order(lengths, 16, seed=3, epoch=0)
    assert sorted(order) == list(range(1001))
    assert order == batch_order(lengths, 16, seed=3, epoch=0)
    assert order != batch_order(lengths, 16, seed=3, epoch=1)
    assert order != batch_order(lengths, 16, seed=4, epoch=0)

    def padding(indices):
        batches = [lengths[indices[i : i + 16]] for i in range(0, len(indices), 16)]
        return 1 - lengths.sum() / sum(len(batch) * batch.max() for batch in batches)

    assert padding(order) < 0.12 < 0.4 < padding(list(range(1001)))
    # Long and short batches are mixed over the epoch.
    first, second = np.mean(lengths[order[:500]]), np.mean(lengths[order[500:]])
    assert abs(first - second) < 100


def test_what_is_too_long_loses_the_beginning_of_the_input(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone(tmp_path))
    encode = Encoder(tokenizer, 16)  # 13 words beside [CLS], [SEP], [SEP]
    ids, cut = encode(
        ["word1 word2", " ".join(f"word{i}" for i in range(20)), "word1"],
        ["kind", "kind clear warm", "rude " * 40],
    )
    assert list(cut) == [0, 1, 2]
    assert tokenizer.decode(ids[0]) == "[CLS] word1 word2 [SEP] kind [SEP]"
    kept = " ".join(f"word{i}" for i in range(10, 20))
    assert tokenizer.decode(ids[1]) == f"[CLS] {kept} [SEP] kind clear warm [SEP]"
    assert tokenizer.decode(ids[2]) == "[CLS] [SEP] " + "rude " * 13 + "[SEP]"
    assert max(map(len, ids)) == 16
    assert encode([], [])[0] == []
    with pytest.raises(WorkError, match="max_length"):
        Encoder(tokenizer, 9)


def test_few_pairs_get_smaller_batches_then_more_epochs_up_to_a_limit():
    quick, thorough = presets.PRESETS["quick"], presets.PRESETS["thorough"]
    assert presets.schedule(quick, 2000) == (16, 1)
    assert presets.schedule(thorough, 2000) == (16, 2)
    batch, epochs = presets.schedule(quick, 100)
    assert batch == 4 and -(-100 // batch) * epochs >= presets.MIN_STEPS
    assert presets.schedule(quick, 20) == (4, presets.MAX_EPOCHS)


def test_the_default_keeps_its_promise_whatever_the_texts(tmp_path):
    standard, thorough = presets.PRESETS["standard"], presets.PRESETS["thorough"]
    for characters, length in ((400, 256), (1100, 256), (1500, 128), (8000, 128)):
        assert choose_length(standard, 1400, 600, characters) == length
        # Five minutes are promised for 2,000 pairs: half is left for a slower or busier machine.
        assert estimate(standard, 1400, 600, characters, max_length=length).seconds <= 150
    assert choose_length(standard, 20_000, 2_000, 8000) == 128
    assert choose_length(thorough, 20_000, 2_000, 8000) == 512
    short, long = (estimate(standard, 1400, 600, c).seconds for c in (400, 4000))
    assert short < long < estimate(thorough, 1400, 600, 4000).seconds
