"""The policy: what it writes, how likely that was, and what it leaves alone."""

import numpy as np
import pytest
import torch

from core.optimize.protocol import Shown
from core.optimize.writer.policy import Policy, kept, restore, trained_weights, twin
from core.optimize.writer.writing import writing_request

REQUEST = [{"role": "user", "content": "tell me how to cook the soup"}]


@pytest.fixture
def policy(tiny):
    return Policy(tiny, REQUEST, rank=2, temperature=0.8, tokens=10, seed=1)


def disturb(policy, by=0.3):
    """As if it had been trained: B of LoRA starts at 0."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in trained_weights(policy.model).values():
            weight.add_(by * torch.randn_like(weight))


def test_an_adapter_on_every_linear_layer_and_nothing_else_learns(tiny, policy):
    """r (in + out) for each: 2 layers of q 32-32, k and v 32-16, o 32-32, gate and up 32-64, down 64-32."""
    layer = (32 + 32) + 2 * (32 + 16) + (32 + 32) + 3 * (32 + 64)
    weights = trained_weights(policy.model)
    assert sum(weight.numel() for weight in weights.values()) == 2 * 2 * layer
    assert all("lora_" in name for name in weights)


def test_the_twin_shares_weights_and_not_modules(tiny):
    copy = twin(tiny.model)
    assert copy is not tiny.model and copy.config is not tiny.model.config
    pairs = list(zip(copy.parameters(), tiny.model.parameters(), strict=True))
    assert pairs and all(a is b for a, b in pairs)


def test_the_host_answers_as_before(tiny, policy):
    labels = ["good", "bad"]
    before = tiny.label_logprobs([REQUEST], labels)
    disturb(policy)
    assert np.array_equal(tiny.label_logprobs([REQUEST], labels), before)
    assert not any("lora_" in name for name, _ in tiny.model.named_parameters())


def test_it_reads_what_it_wrote_as_a_plain_pass_over_each_prompt_does(tiny, policy):
    """No padding, no batch, temperature .8, log-softmax in NumPy."""
    disturb(policy)
    written = policy.write(6, 5)
    assert len({len(ids) for ids in written}) > 1  # so that there is padding to get wrong
    with torch.no_grad():
        read, reference = policy.read(written), policy.read(written, reference=True)
    for i, ids in enumerate(written):
        tokens = torch.tensor([policy.prompt + ids])
        for model, got in ((policy.model, read), (tiny.model, reference)):
            with torch.no_grad():
                logits = model(tokens).logits[0, len(policy.prompt) - 1 : -1].numpy() / 0.8
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            want = np.log(p[np.arange(len(ids)), ids])
            assert got.logp[i, : len(ids)].numpy() == pytest.approx(want, abs=1e-4)
            entropy = -(p * np.log(p)).sum(1)
            assert got.entropy[i, : len(ids)].numpy() == pytest.approx(entropy, abs=1e-4)
        assert read.mask[i].tolist() == [t < len(ids) for t in range(read.mask.shape[1])]
    assert not torch.allclose(read.logp, reference.logp)


def test_at_first_the_policy_is_the_reference(policy):
    written = policy.write(3, 5)
    assert torch.equal(policy.read(written).logp, policy.read(written, reference=True).logp)


def test_it_draws_by_seed_each_prompt_from_numbers_of_its_own(policy):
    eight = policy.write(8, 5)
    assert policy.write(8, 5) == eight and policy.write(3, 5) == eight[:3]
    assert policy.write(8, 6)[:7] == eight[1:]  # prompt i has seed + i
    assert len(set(map(tuple, eight))) > 4


def test_what_is_kept_is_all_of_adam_bit_for_bit(tiny):
    def trained(adam, policy, steps):
        for step in range(steps):
            adam.zero_grad()
            read = policy.read(policy.write(3, step))
            (-read.logp[read.mask].mean()).backward()
            adam.step()

    def new():
        policy = Policy(tiny, REQUEST, rank=2, temperature=1.0, tokens=6, seed=1)
        return policy, torch.optim.Adam(trained_weights(policy.model).values(), lr=0.01)

    whole, adam = new()
    trained(adam, whole, 2)
    saved = kept(trained_weights(whole.model), adam)
    trained(adam, whole, 2)
    again, memory = new()
    restore(saved, trained_weights(again.model), memory)
    trained(memory, again, 2)
    end = trained_weights(again.model)
    assert all(torch.equal(weight, end[name]) for name, weight in trained_weights(whole.model).items())


def test_the_request_is_random_search_s_own_and_examples_stand_before_it():
    plain = writing_request("say it", [])[0]["content"]
    shown = writing_request("say it", [Shown("a film", "good"), Shown("a book", "")])[0]["content"]
    assert "Write another instruction for the same task" in plain and plain.endswith("say it")
    assert shown.endswith(plain) and "Input: a film\nRight answer: good\n\nInput: a book\n\n" in shown
