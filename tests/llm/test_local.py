"""The in-process host: batches, padding, seeds, label probabilities, memory, errors."""

import numpy as np
import pytest
import torch

from core.llm import local
from core.llm.hosts import open_host
from core.llm.labels import _score_plainly, split_answers
from core.llm.protocol import HostSpec, Sampling
from core.llm.sampling import nucleus_choice, request_seed, uniforms
from core.runs.context import Cancelled, WorkError
from tests.llm.conftest import local_spec

TEXTS = [
    "tell me how to make soup",
    "the cat",
    "please boil the water and stir the pan , not the dog . is it good ? yes ! very good",
    "how to cook",
    "salt ?",
]
LABELS = ["positive", "negative", "very good", "not very bad"]


def asks(*texts: str, system: str = "") -> list[list[dict[str, str]]]:
    start = [{"role": "system", "content": system}] if system else []
    return [[*start, {"role": "user", "content": text}] for text in texts]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_its_neighbours(host, temperature):
    sampling = Sampling(max_new_tokens=12, temperature=temperature, seed=3)
    together = host.generate(asks(*TEXTS), sampling)
    alone = [host.generate([request], sampling)[0] for request in asks(*TEXTS)]
    backwards = host.generate(asks(*TEXTS[::-1]), sampling)[::-1]
    assert [one.text for one in together] == [one.text for one in alone] == [one.text for one in backwards]
    assert [one.tokens_out for one in together] == [one.tokens_out for one in alone]


def test_greedy_is_the_argmax_of_the_bare_model(host):
    ids = host.tokens(host.rendered(asks(TEXTS[0])[0]))
    wanted = []
    with torch.inference_mode():
        for _ in range(8):
            wanted.append(int(host.model(torch.tensor([ids + wanted])).logits[0, -1].argmax()))
            if wanted[-1] in host.eos:
                break
    answer = host.generate(asks(*TEXTS), Sampling(max_new_tokens=8, temperature=0))[0]
    assert answer.text == host.tokenizer.decode(wanted, skip_special_tokens=True).strip()
    assert answer.tokens_out == len(wanted)
    assert answer.tokens_in == len(ids)


def test_an_answer_that_was_begun_is_gone_on_with(host):
    """What is read ends with the words that were begun, and nothing closes them."""
    begun = [*asks(TEXTS[0])[0], {"role": "assistant", "content": "the soup"}]
    assert host.rendered(begun).endswith("the soup")
    assert host.rendered(begun).startswith(host.rendered(asks(TEXTS[0])[0]))
    whole = host.tokens(host.rendered(begun))
    answer = host.generate([begun], Sampling(max_new_tokens=1, temperature=0))[0]
    with torch.inference_mode():
        wanted = int(host.model(torch.tensor([whole])).logits[0, -1].argmax())
    assert answer.tokens_in == len(whole)
    assert answer.text == host.tokenizer.decode([wanted], skip_special_tokens=True).strip()


def test_the_seed_decides_and_only_the_seed(host):
    def texts(seed):
        return [a.text for a in host.generate(asks(*TEXTS), Sampling(12, 1.5, 1.0, seed))]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_a_longer_limit_only_goes_on(host):
    short = host.generate(asks(TEXTS[2]), Sampling(4, 1.0, 1.0, 5))[0]
    long = host.generate(asks(TEXTS[2]), Sampling(12, 1.0, 1.0, 5))[0]
    assert long.text.startswith(short.text)


def test_request_seeds_and_their_streams():
    a, b = asks("one", "two")
    assert request_seed(a, 1) == request_seed(list(a), 1)
    assert len({request_seed(a, 1), request_seed(b, 1), request_seed(a, 2)}) == 3
    assert np.array_equal(uniforms([7, 8], 10)[:, :4], uniforms([7, 8], 4))


def test_nucleus_sampling_follows_the_distribution():
    torch.manual_seed(0)
    logits = torch.tensor([3.0, 2.0, 1.0, 0.0, -1.0])
    p = logits.softmax(0)
    n = 20_000
    chosen = nucleus_choice(logits.expand(n, -1), torch.rand(n), 0.9)
    kept = 3  # .64 + .24 < .9 <= .64 + .24 + .09
    assert int(chosen.max()) == kept - 1
    shares = torch.bincount(chosen, minlength=5)[:kept] / n
    assert torch.allclose(shares, p[:kept] / p[:kept].sum(), atol=0.015)
    # A flat row, whose nucleus is wider than the first look: still all of it can be drawn.
    flat = nucleus_choice(torch.zeros(4000, 1000), torch.rand(4000), 1.0)
    assert len(flat.unique()) > 950
    assert int(nucleus_choice(logits[None], torch.tensor([0.9999]), 1e-6)) == 0


@pytest.mark.parametrize("top_p", [1.0, 0.99, 0.5])
def test_what_is_chosen_is_where_the_number_falls_however_far_down(top_p):
    """Against a plain sort of each row, in float64; some numbers fall among the likeliest tokens
    and some behind them."""
    torch.manual_seed(1)
    logits, u = torch.randn(400, 1_000), torch.rand(400)
    p, ids = logits.double().softmax(-1).sort(dim=-1, descending=True)
    p = p * (p.cumsum(-1) - p < top_p)
    place = (p.cumsum(-1) / p.sum(-1, keepdim=True) <= u[:, None].double()).sum(-1)
    assert int((place >= 256).sum()) > (20 if top_p > 0.9 else -1) and int((place < 256).sum()) > 20
    assert torch.equal(nucleus_choice(logits, u, top_p), ids.gather(1, place[:, None])[:, 0])


@pytest.mark.parametrize("system", ["", "very very very very very very very very good"])
@pytest.mark.parametrize("which", ["host", "plain_host"])
def test_label_probabilities_against_the_bare_model(which, system, request):
    one = request.getfixturevalue(which)
    requests = asks(*TEXTS, system=system)
    found = one.label_logprobs(requests, LABELS)
    assert found.shape == (len(TEXTS), len(LABELS))
    gap = "" if one.tokenizer.chat_template else " "
    for i, ask in enumerate(requests):
        start = one.tokens(one.rendered(ask))
        for k, label in enumerate(LABELS):
            whole = one.tokens(one.rendered(ask) + gap + label)
            with torch.inference_mode():
                logp = one.model(torch.tensor([whole])).logits[0].log_softmax(-1)
            wanted = sum(float(logp[j - 1, whole[j]]) for j in range(len(start), len(whole)))
            assert found[i, k] == pytest.approx(wanted, abs=1e-4)


def test_label_probabilities_of_models_without_a_cache_to_copy(host, monkeypatch):
    usual = host.label_logprobs(asks(*TEXTS), LABELS)
    rows = [split_answers(host, request, LABELS)[1:] for request in asks(*TEXTS)]
    assert np.allclose(_score_plainly(host, rows), usual, atol=1e-4)
    monkeypatch.setattr(type(host.model), "_is_stateful", True)
    assert np.allclose(host.label_logprobs(asks(*TEXTS), LABELS), usual, atol=1e-4)


def test_every_request_is_answered_once_and_handed_over(host, monkeypatch):
    monkeypatch.setattr(host, "batch_size", 2)
    seen = {}
    answers = host.generate(asks(*TEXTS), Sampling(4, 0), lambda i, answer: seen.setdefault(i, answer))
    assert [seen[i] for i in range(len(TEXTS))] == answers


def test_a_batch_that_does_not_fit_is_halved(host, monkeypatch):
    monkeypatch.setattr(host, "batch_size", 5)
    usual = [a.text for a in host.generate(asks(*TEXTS), Sampling(6, 0))]
    real, sizes = type(host)._decode, []

    def small(self, rows, sampling, *start):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, rows, sampling, *start)

    monkeypatch.setattr(type(host), "_decode", small)
    assert [a.text for a in host.generate(asks(*TEXTS), Sampling(6, 0))] == usual
    assert sizes == [5, 2, 3, 1, 2]
    assert host.batch_size == 1  # and stays small for what comes


def test_one_request_that_does_not_fit_ends_the_work(host, monkeypatch):
    def never(self, rows, sampling, *start):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(type(host), "_decode", never)
    monkeypatch.setattr(host, "batch_size", 4)
    with pytest.raises(WorkError, match="ran out of memory on one request"):
        host.generate(asks(*TEXTS), Sampling(6, 0))


def test_a_prompt_longer_than_the_context_fails_alone(host):
    long, short = host.generate(asks("cat " * 400, "the cat"), Sampling(4, 0))
    assert "are more than the 256" in long.error and long.finish_reason == "error"
    assert not short.error and short.tokens_out


def test_a_batch_in_the_making_can_be_given_up(host, monkeypatch):
    asked = []
    monkeypatch.setattr(host, "stop", lambda: len(asked) > 2 or asked.append(1))
    with pytest.raises(Cancelled):
        host.generate(asks(TEXTS[2]), Sampling(max_new_tokens=50, temperature=1.5, top_p=1.0))
    assert len(asked) == 3


@pytest.mark.parametrize("model", ["/nowhere/at/all", "nobody/no-such-model"])
def test_a_model_that_is_not_there_is_named(model, tmp_path):
    with pytest.raises(WorkError, match=f"could not load the model “{model}”"):
        open_host(HostSpec(model=model, name="mine"), tmp_path)


def test_pickled_weights_are_not_loaded(tiny, tmp_path):
    for file in tiny.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(WorkError, match="safetensors"):
        open_host(local_spec(tmp_path), tmp_path)


def test_prices_make_costs(tiny):
    spec = local_spec(tiny)
    priced = HostSpec(**{**spec.as_dict(), "price_in": 1e6, "price_out": 2e6})
    answer = open_host(priced, tiny.parent).generate(asks("the cat"), Sampling(4, 0))[0]
    assert answer.cost == answer.tokens_in + 2 * answer.tokens_out


def test_one_request_several_times_in_one_batch_by_seeds(host):
    sampling = Sampling(12, 1.5, 1.0, 7)
    asked = asks(TEXTS[0]) * 3
    together = [a.text for a in host.generate(asked, sampling, seeds=[7, 8, 7])]
    assert together[0] == together[2] != together[1]
    assert together[0] == host.generate(asked[:1], sampling)[0].text


SYSTEMS = [
    "please boil the water and stir the pan , not the dog",
    "how to cook soup . tell me how to make it very good",
]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_requests_share_is_read_once_and_changes_no_answer(host, temperature, monkeypatch):
    sampling = Sampling(max_new_tokens=8, temperature=temperature, seed=3)
    requests = [request for system in SYSTEMS for request in asks(*TEXTS, system=system)]
    alone = [host.generate([request], sampling)[0].text for request in requests]
    monkeypatch.setattr(local, "_A_STEP", 0)  # so that each system is worth a batch
    monkeypatch.setattr(local, "_A_PASS", 0)
    seen = []
    usual = host._decode
    monkeypatch.setattr(
        host, "_decode", lambda rows, *rest: seen.append((len(rows), rest[1])) or usual(rows, *rest)
    )
    together = [answer.text for answer in host.generate(requests, sampling)]
    assert together == alone
    assert len(seen) >= 2 and all(shared >= 8 for rows, shared in seen if rows > 1)


def test_labels_of_several_instructions_at_once(host):
    requests = [request for system in SYSTEMS for request in asks(*TEXTS, system=system)]
    together = host.label_logprobs(requests, LABELS)
    alone = np.concatenate([host.label_logprobs([request], LABELS) for request in requests])
    assert np.allclose(together, alone, atol=1e-4)
