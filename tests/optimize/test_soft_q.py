"""RLPrompt's policy and loss, against the formulas computed another way."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.optimize.soft_q import Policy, few_shot_reward, network, shaped, soft_q_loss, state_scale
from tests.optimize.toy import PLACES, START, toy_host


def path_consistency(advantages, values, rewards):
    """Both losses, written out: loops over prompts and tokens, as in the reference."""
    total = 0.0
    for a, v, r in zip(advantages, values, rewards, strict=True):
        last = len(a) - 1
        one = sum((a[t] - ((v[t + 1] if t < last else r) - v[t])) ** 2 for t in range(last + 1))
        many = sum((sum(a[t:]) - (r - v[t])) ** 2 for t in range(last + 1))
        total += (one + many) / 2
    return total / len(rewards)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6))
def test_the_loss_is_half_of_both_path_consistencies(seed, prompts, length):
    rng = np.random.default_rng(seed)
    a, v, r = (
        rng.normal(size=(prompts, length)),
        rng.normal(size=(prompts, length)) * 5,
        rng.normal(size=prompts) * 5,
    )
    loss = soft_q_loss(torch.tensor(a), torch.tensor(v), torch.tensor(r))
    assert float(loss) == pytest.approx(path_consistency(a, v, r), rel=1e-9)


def test_a_loss_by_hand():
    # A = (1, 2), Vbar = (3, 5), r = 10: one step (1 - 2)^2 + (2 - 5)^2 = 10,
    # many steps (3 - 7)^2 + (2 - 5)^2 = 25; half of 35.
    loss = soft_q_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]]), torch.tensor([10.0]))
    assert float(loss) == 17.5


def test_the_few_shot_reward_by_hand():
    assert few_shot_reward(np.array([[0.5, -0.5], [1.0, 0.0]])).tolist() == [(100 - 90) / 2, 100.0]


def test_z_scores_by_hand():
    # mean 2, population deviation sqrt(2/3)
    assert shaped(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        [-5 / (np.sqrt(2 / 3) + 1e-4), 0, 5 / (np.sqrt(2 / 3) + 1e-4)]
    )
    assert shaped(np.array([7.0, 7.0])).tolist() == [0, 0]


def test_the_network_of_the_paper():
    made = network(768, 0)
    assert sum(p.numel() for p in made.parameters()) == 3_148_544
    limit = 1e-4 * np.sqrt(6 / (768 + 2048))  # Xavier uniform
    for layer in (made[0], made[2]):
        assert layer.weight.abs().max() <= limit and layer.weight.abs().mean() > 0.4 * limit
        assert torch.all(layer.bias == torch.tensor(-1e-4))
    assert torch.equal(network(768, 0)[0].weight, made[0].weight)
    assert not torch.equal(network(768, 1)[0].weight, made[0].weight)


def test_short_states_are_lengthened_so_that_half_the_network_is_alive():
    state = torch.randn(576, generator=torch.Generator().manual_seed(0))
    state *= 24 / state.norm()  # after an RMS norm
    first = network(576, 0)[0]
    assert (first(state) > 0).float().mean() < 0.1
    assert 0.35 < (first(state * state_scale(state)) > 0).float().mean() < 0.5
    assert state_scale(1_000 * state) == 1.0


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return toy_host(tmp_path_factory.mktemp("toy"))


def make(host, **options):
    ids = host.tokenizer(START)["input_ids"]
    return Policy(host, ids, list(range(4, 28)), seed=1, top_k=24, **options)


def test_q_goes_through_the_network_and_the_frozen_head(host):
    policy = make(host, bias=-2.0)
    places, states = policy.sample(3, PLACES, 5)
    ids = torch.tensor(policy.tokens(places))
    whole = torch.cat([torch.tensor([policy.context] * 3), ids], 1)
    with torch.no_grad():  # all in one pass, without a cache
        hidden = host.model.transformer(whole).last_hidden_state[:, len(policy.context) - 1 : -1]
        q = host.model.lm_head(policy.online(hidden * policy.scale))[..., 4:28] - 2.0
    assert torch.allclose(states, hidden * policy.scale, atol=1e-3)
    assert torch.allclose(policy.q(policy.online, states), q, atol=1e-5)
    advantages = q.log_softmax(-1).gather(2, places[..., None])[..., 0]  # Q - V is log pi
    values = q.logsumexp(-1)
    rewards = np.array([1.0, -2.0, 3.0])
    expected = path_consistency(advantages.numpy(), values.numpy(), rewards)
    loss = policy.loss(places, states, torch.tensor(rewards, dtype=torch.float32))
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_greedy_takes_the_likeliest_and_top_1_does_so_too(host):
    policy = make(host)
    policy.learn(*policy.sample(8, PLACES, 1), np.linspace(-5, 5, 8))
    greedy = policy.greedy(PLACES)
    policy.top_k = 1
    assert torch.equal(policy.sample(2, PLACES, 9)[0], greedy.repeat(2, 1))


def test_learning_changes_the_network_only_and_the_target_follows_by_polyak(host):
    frozen = {name: value.clone() for name, value in host.model.state_dict().items()}
    policy = make(host, polyak=0.25, learning_rate=1e-3)
    before = [p.clone() for p in policy.target.parameters()]
    places, states = policy.sample(8, PLACES, 2)
    policy.learn(places, states, np.linspace(-5, 5, 8))
    after, online = list(policy.target.parameters()), list(policy.online.parameters())
    assert all(not torch.equal(p, q) for p, q in zip(online, before, strict=True))
    for old, slow, fast in zip(before, after, online, strict=True):
        assert torch.allclose(slow, 0.75 * old + 0.25 * fast, atol=1e-9)
    assert all(torch.equal(value, frozen[name]) for name, value in host.model.state_dict().items())


def test_adam_and_the_networks_go_on_from_their_tensors(host):
    one, batches = make(host, learning_rate=1e-3), []
    for seed in range(4):
        batches.append(one.sample(4, PLACES, seed))
        if seed == 2:
            kept = {name: value.clone() for name, value in one.tensors().items()}
        one.learn(*batches[-1], np.linspace(-5, 5, 4))
    other = make(host, learning_rate=1e-3)
    other.load_tensors(kept)
    for batch in batches[2:]:
        other.learn(*batch, np.linspace(-5, 5, 4))
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())


def test_the_entropy_starts_near_uniform(host):
    policy = make(host)
    assert policy.entropy(policy.sample(4, PLACES, 0)[1]) == pytest.approx(np.log(24), abs=1e-3)
