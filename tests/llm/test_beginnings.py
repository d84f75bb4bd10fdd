"""Families of requests read together: the same scores, fewer passes, within the memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.llm import beginnings, labels, local
from core.llm.beginnings import read_beginnings, read_together
from core.llm.hosts import open_host
from core.llm.protocol import Sampling
from core.llm.sharing import Head
from core.runs.context import Cancelled, WorkError
from tests.llm.conftest import local_spec
from tests.llm.test_local import LABELS, TEXTS, asks

SYSTEMS = [
    "please boil the water and stir the pan , not the dog",
    "please boil the water and stir the pan . how to cook soup . tell me how to make it very good",
    "is the film good or bad ? yes or no",
    "tell me",
]
REQUESTS = [request for system in SYSTEMS for request in asks(*TEXTS, system=system)]


def bare(host, requests, words):
    """(N, K) from one forward of each whole text, nothing padded, nothing kept."""
    found = np.zeros((len(requests), len(words)))
    for i, request in enumerate(requests):
        text = host.rendered(request)
        start = len(host.tokens(text))
        for k, word in enumerate(words):
            whole = host.tokens(text + word)
            with torch.inference_mode():
                logp = host.model(torch.tensor([whole])).logits[0].log_softmax(-1)
            found[i, k] = sum(float(logp[j - 1, whole[j]]) for j in range(start, len(whole)))
    return found


@pytest.fixture
def passes(host, monkeypatch):
    """(B, L) of the tokens of each pass."""
    seen: list[tuple[int, ...]] = []
    hook = host.model.register_forward_pre_hook(
        lambda module, args, given: seen.append(tuple((*args, given.get("input_ids"))[0].shape)),
        with_kwargs=True,
    )
    assert host.picks_rows
    seen.clear()
    yield seen
    hook.remove()


def test_rows_of_several_instructions_are_batched_together(host, passes):
    found = host.label_logprobs(REQUESTS, LABELS[:2])
    asked = list(passes)
    assert np.allclose(found, bare(host, REQUESTS, LABELS[:2]), atol=1e-4)
    assert asked[0][0] > 1  # the beginnings of several, in one pass
    assert max(rows for rows, _ in asked) > len(TEXTS)  # more than one instruction has rows
    assert len(asked) < 2 * len(SYSTEMS)


def test_labels_of_several_tokens_go_on_from_each_rows_own_beginning(host):
    found = host.label_logprobs(REQUESTS, LABELS)
    assert np.allclose(found, bare(host, REQUESTS, LABELS), atol=1e-4)


def test_what_beginnings_have_in_common_is_read_once_themselves(host, passes):
    common = list(range(5, 25))
    rows = [[*common, 30, 31], [*common, *[32] * 9], [*common, 33, 34, 35]]
    read = read_beginnings(host, rows, Head())
    assert passes == [(1, 20), (3, 9)]
    cache, mask = read.of([1, 2, 1, 0])
    assert mask.sum(1).tolist() == [29, 23, 29, 22]
    with torch.inference_mode():
        for row, i in enumerate([1, 2, 1, 0]):
            alone = host.model(torch.tensor([rows[i]]), use_cache=True).past_key_values
            for layer, wanted in zip(cache.layers, alone.layers, strict=True):
                real = mask[row].bool()
                assert torch.allclose(layer.keys[row][:, real], wanted.keys[0], atol=1e-5)
                assert torch.allclose(layer.values[row][:, real], wanted.values[0], atol=1e-5)


def test_reading_on_leaves_what_is_kept_as_it_was(host):
    read = read_beginnings(host, [list(range(5, 20)), list(range(20, 30))], Head())
    before = [layer.keys.clone() for layer in read.cache.layers]
    cache, _ = read.of([0, 1, 1])
    with torch.inference_mode():
        host.model(torch.full((3, 4), 7), past_key_values=cache, use_cache=True)
    assert cache.get_seq_length() == 19 and read.cache.get_seq_length() == 15
    assert all(torch.equal(a, b.keys) for a, b in zip(before, read.cache.layers, strict=True))


def test_only_so_many_beginnings_are_kept_at_once(monkeypatch):
    monkeypatch.setattr(beginnings, "_TOKENS", 10)
    host = SimpleNamespace(picks_rows=True, batch_size=4)
    families = [(length, [i], Head()) for i, length in enumerate([9, 20, 8, 20, 8, 8, 8, 8, 100])]
    lengths = [[length for length, _, _ in group] for group in read_together(host, families)]
    assert lengths == [[100], [20, 20], [9, 8, 8, 8], [8, 8]]
    assert sorted(i for group in read_together(host, families) for _, some, _ in group for i in some) == list(
        range(9)
    )


def test_soft_prompts_and_other_caches_are_read_one_at_a_time():
    soft = Head((1, 2, 3), 0, "0" * 16)
    families = [(30, [0], Head()), (30, [1], soft), (0, [2], Head()), (28, [3], Head()), (0, [4], Head())]
    together = read_together(SimpleNamespace(picks_rows=True, batch_size=4), families)
    assert sorted(sorted(i for _, some, _ in group for i in some) for group in together) == [
        [0, 3],
        [1],
        [2, 4],
    ]
    alone = read_together(SimpleNamespace(picks_rows=False, batch_size=4), families)
    assert sorted(sorted(i for _, some, _ in group for i in some) for group in alone) == [
        [0],
        [1],
        [2, 4],
        [3],
    ]


@pytest.mark.parametrize("most", [1, 3])
def test_the_memory_is_too_small_for_a_batch(host, monkeypatch, most):
    monkeypatch.setattr(host, "batch_size", 8)
    usual, real, sizes = host.label_logprobs(REQUESTS, LABELS), labels._score, []

    def small(host, rows, *rest):
        sizes.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(host, rows, *rest)

    monkeypatch.setattr(host, "batch_size", 8)
    monkeypatch.setattr(labels, "_score", small)
    assert np.allclose(host.label_logprobs(REQUESTS, LABELS), usual, atol=1e-4)
    assert host.batch_size <= most < max(sizes)


def test_the_memory_is_too_small_for_the_beginnings_of_several(host, monkeypatch):
    monkeypatch.setattr(host, "batch_size", 8)
    usual, real, sizes = host.label_logprobs(REQUESTS, LABELS), labels.read_beginnings, []

    def small(host, several, head):
        sizes.append(len(several))
        if len(several) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(host, several, head)

    monkeypatch.setattr(labels, "read_beginnings", small)
    assert np.allclose(host.label_logprobs(REQUESTS, LABELS), usual, atol=1e-4)
    assert max(sizes) > 1 and sizes[-1] == 1


def test_a_batch_of_labels_can_be_given_up(host, monkeypatch):
    asked = []
    monkeypatch.setattr(host, "batch_size", 2)
    monkeypatch.setattr(host, "stop", lambda: len(asked) > 2 or asked.append(1))
    with pytest.raises(Cancelled):
        host.label_logprobs(REQUESTS, LABELS)
    assert len(asked) == 3


def test_one_request_that_never_fits_is_an_error_and_other_errors_stay_what_they_are(host, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(host, "batch_size", 8)
    monkeypatch.setattr(labels, "_score", never)
    with pytest.raises(WorkError, match="ran out of memory on one request"):
        host.label_logprobs(REQUESTS, LABELS)

    def broken(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(labels, "_score", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        host.label_logprobs(REQUESTS, LABELS)


def other(folder, tiny, config):
    """A random model of another family with the tiny tokenizer."""
    from transformers import AutoModelForCausalLM

    for file in tiny.iterdir():
        if file.name.startswith("tokenizer") or file.suffix == ".jinja":
            (folder / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return open_host(local_spec(folder), folder.parent)


def sizes(**more):
    return {"vocab_size": 60, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **more}


def families_of_models():
    from transformers import GPT2Config, Lfm2Config, MistralConfig, MptConfig, OPTConfig, SmolLM3Config

    small = sizes(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, initializer_range=0.4)  # fmt: skip
    mixed = {"use_sliding_window": True, "layer_types": ["full_attention", "sliding_attention"]}
    return {
        "learned positions": (GPT2Config(**sizes(n_embd=32, n_layer=2, n_head=4, n_positions=256,
                                                 initializer_range=0.4)), True),
        "positions with an offset": (OPTConfig(**sizes(hidden_size=32, ffn_dim=64, num_hidden_layers=2,
                                                       num_attention_heads=4, word_embed_proj_dim=32,
                                                       max_position_embeddings=256, init_std=0.4)), True),
        "positions by place": (MptConfig(**sizes(d_model=32, n_heads=4, n_layers=2, max_seq_len=256,
                                                 initializer_range=0.4)), False),
        "a window": (MistralConfig(**small, sliding_window=128), False),
        "a window shorter than a request": (MistralConfig(**small, sliding_window=16), False),
        "a window in some layers": (SmolLM3Config(**small, **mixed, no_rope_layers=[1, 1], sliding_window=16), False),
        "a state in some layers": (Lfm2Config(**small, layer_types=["conv", "full_attention"]), False),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(families_of_models()))
def test_other_families_of_models(name, tiny, tmp_path, monkeypatch):
    config, picks = families_of_models()[name]
    host = other(tmp_path, tiny, config)
    assert host.picks_rows == picks
    monkeypatch.setattr(labels, "_A_PASS", 1)  # so that each instruction is worth reading by itself
    assert np.allclose(host.label_logprobs(REQUESTS, LABELS), bare(host, REQUESTS, LABELS), atol=1e-3)
    monkeypatch.setattr(local, "_A_PASS", 0)
    monkeypatch.setattr(local, "_A_STEP", 0)
    together = [answer.text for answer in host.generate(REQUESTS, Sampling(6, 0))]
    assert together == [host.generate([request], Sampling(6, 0))[0].text for request in REQUESTS]
