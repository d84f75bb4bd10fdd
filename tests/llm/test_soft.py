"""Soft prompts in a host: batches, what is shared, text beside them, other models."""

import numpy as np
import pytest
import torch

from core.llm.hosts import open_host
from core.llm.protocol import Sampling
from core.llm.soft import Shelf, SoftPrompt, _spread, fingerprint
from core.llm.soft_names import EMBEDDINGS, KEYS_VALUES, Card, card_of, mark, names_in
from core.runs.context import WorkError
from tests.llm.conftest import local_spec
from tests.llm.tiny import build

LABELS = ["positive", "negative", "very good", "not very bad"]
EXAMPLES = ["the film was great", "boring", "the cook loved soup very very good", "salt water . please"]


def ask(system, example):
    return [{"role": "system", "content": system}, {"role": "user", "content": example}]


def on_shelf(host, kind, seed=0, tokens=4):
    torch.manual_seed(seed)
    shape = (tokens, 32) if kind == EMBEDDINGS else (4, 2, tokens, 8)
    soft = SoftPrompt(kind, 0.4 * torch.randn(shape), host.fingerprint)
    card = Card(
        kind, "prompt_tuning", host.spec.model, soft.fingerprint, tokens, soft.vectors.numel(), 1, 0, ""
    )
    return mark(host.shelf.keep(soft, card))


@pytest.fixture
def shelved(host, tmp_path):
    host.shelf = Shelf(tmp_path / "soft")
    yield host
    host.shelf = None


@pytest.mark.parametrize("kind", [EMBEDDINGS, KEYS_VALUES])
def test_scores_and_answers_are_the_same_alone_in_a_batch_and_beside_others(shelved, kind):
    first, second = on_shelf(shelved, kind), on_shelf(shelved, kind, seed=1)
    other = on_shelf(shelved, EMBEDDINGS if kind == KEYS_VALUES else KEYS_VALUES, seed=2, tokens=7)
    asked = [ask(text, one) for one in EXAMPLES for text in (first, "tell me please", second, other)]
    # Vectors anywhere: before the example, after it, and after an earlier turn.
    asked += [[{"role": "user", "content": f"{one} {first} not"}] for one in EXAMPLES]
    asked += [
        [*ask("please", "yes"), {"role": "assistant", "content": "no"}, *ask(first, one)] for one in EXAMPLES
    ]
    together = shelved.label_logprobs(asked, LABELS)
    alone = np.concatenate([shelved.label_logprobs([one], LABELS) for one in asked])
    assert np.allclose(together, alone, atol=1e-4)
    assert len({tuple(np.round(row, 3)) for row in together[:4]}) == 4  # each says something of its own
    for temperature in (0.0, 0.9):
        sampling = Sampling(8, temperature, seed=3)
        answers = shelved.generate(asked, sampling)
        for one, answer in zip(asked, answers, strict=True):
            (single,) = shelved.generate([one], sampling)
            assert (single.text, single.tokens_in) == (answer.text, answer.tokens_in)
    plain = shelved.generate([asked[1]], Sampling(8, 0))
    shelved.shelf = None
    assert plain == [
        type(plain[0])(**{**vars(one), "latency_ms": plain[0].latency_ms})
        for one in shelved.generate([asked[1]], Sampling(8, 0))
    ]


def test_embeddings_of_words_are_the_words(shelved):
    words = "tell me how good"
    ids = torch.tensor(shelved.tokens(words))
    vectors = shelved.model.get_input_embeddings()(ids).detach()
    soft = SoftPrompt(EMBEDDINGS, vectors, shelved.fingerprint)
    card = Card(EMBEDDINGS, "prompt_tuning", "m", soft.fingerprint, 4, vectors.numel(), 0, 0, words)
    named = mark(shelved.shelf.keep(soft, card))
    written = [ask(words, one) for one in EXAMPLES]
    asked = [ask(named, one) for one in EXAMPLES]
    assert np.allclose(
        shelved.label_logprobs(asked, LABELS), shelved.label_logprobs(written, LABELS), atol=1e-4
    )
    said = [(a.text, a.tokens_in) for a in shelved.generate(asked, Sampling(8, 0))]
    assert said == [(a.text, a.tokens_in) for a in shelved.generate(written, Sampling(8, 0))]


def test_it_is_read_from_its_file_and_its_name_is_its_content(shelved):
    named = on_shelf(shelved, EMBEDDINGS)
    (name,) = names_in(f"so {named} and {named}")
    again = Shelf(shelved.shelf.folder)
    found = again.find(name)
    assert found.name == name and torch.equal(found.vectors, shelved.shelf.held[name].vectors)
    assert card_of(again.folder, name).tokens == 4
    assert on_shelf(shelved, EMBEDDINGS, seed=1) != named == on_shelf(shelved, EMBEDDINGS)
    (again.folder / f"{name}.safetensors").write_bytes(b"no")
    assert card_of(again.folder, name) is None and Shelf(again.folder).find(name) is None


def test_an_unknown_mark_is_text_and_another_model_is_refused(shelved, tmp_path):
    named = on_shelf(shelved, EMBEDDINGS)
    (plain,) = shelved.generate([ask("tell me", f"{mark('0' * 16)} yes")], Sampling(4, 0))
    assert not plain.error
    other = open_host(local_spec(build(tmp_path / "other", seed=5)), tmp_path)
    other.shelf = shelved.shelf
    with pytest.raises(WorkError, match=r"trained for .* other weights"):
        other.generate([ask(named, "yes")], Sampling(4, 0))
    with pytest.raises(WorkError, match="cannot be the end"):
        shelved_plain = open_host(local_spec(build(tmp_path / "plain", chat=False)), tmp_path)
        shelved_plain.shelf = shelved.shelf
        shelved_plain.fingerprint = shelved.fingerprint
        shelved_plain.generate([[{"role": "user", "content": f"yes {named}"}]], Sampling(4, 0))


def test_the_fingerprint_is_of_the_weights_in_any_precision(host, tmp_path):
    same = open_host(local_spec(build(tmp_path / "a"), dtype="bfloat16"), tmp_path)
    assert same.fingerprint == host.fingerprint
    with torch.no_grad():
        same.model.model.layers[1].mlp.up_proj.weight[0, 0] += 1
    assert fingerprint(same.model) != host.fingerprint


def test_a_request_longer_than_the_context_counts_its_vectors(shelved):
    named = on_shelf(shelved, EMBEDDINGS, tokens=250)
    (answer,) = shelved.generate([ask(named, "yes")], Sampling(8, 0))
    assert "are more than the 256" in answer.error


def test_places_are_spread_from_the_first_to_the_last():
    for length, count in ((1, 64), (3, 64), (100, 64), (28_311_552, 64), (2**31 + 7, 5)):
        places = _spread(length, count, torch.device("cpu"))
        assert places[0] == 0 and places[-1] == length - 1 and len(places) == min(count, length)
        assert bool((places.diff() > 0).all())
