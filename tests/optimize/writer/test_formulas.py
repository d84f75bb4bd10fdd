"""The formulas of PPO against NumPy, written down again from the papers."""

import numpy as np
import pytest
import torch

from core.optimize.writer import ppo

B, T = 5, 7


@pytest.fixture
def batch():
    """logp, old logp, reference logp, values, old values, grades, lengths."""
    rng = np.random.default_rng(3)
    shape = (B, T)
    return {
        "logp": rng.normal(-2, 1, shape),
        "old": rng.normal(-2, 1, shape),
        "reference": rng.normal(-2, 1, shape),
        "values": rng.normal(0, 1, shape),
        "old_values": rng.normal(0, 1, shape),
        "advantages": rng.normal(0, 1, shape),
        "returns": rng.normal(0, 1, shape),
        "grades": rng.normal(0, 1, B),
        "lengths": np.array([7, 1, 4, 2, 6]),
    }


def mask_of(batch):
    return torch.tensor(np.arange(T)[None] < batch["lengths"][:, None])


def tensor(array):
    return torch.tensor(array, dtype=torch.float64)


def test_the_reward_of_a_token_is_its_kl_penalty_and_the_grade_comes_last(batch):
    got = ppo.shaped(
        tensor(batch["grades"]), tensor(batch["logp"]), tensor(batch["reference"]), mask_of(batch), 0.3
    )
    for i, length in enumerate(batch["lengths"]):
        want = -0.3 * (batch["logp"][i] - batch["reference"][i])
        want[length - 1] += batch["grades"][i]
        assert got[i, :length].numpy() == pytest.approx(want[:length])
        assert not got[i, length:].any()


def test_gae_is_the_discounted_sum_of_residuals(batch):
    """Equation 16 of Schulman et al. 2016: the sum itself, not the recursion."""
    rewards, values = batch["returns"], batch["values"]
    for gamma, lam in ((1.0, 0.95), (0.9, 0.5), (1.0, 1.0)):
        got = ppo.gae(tensor(rewards), tensor(values), mask_of(batch), gamma, lam).numpy()
        for i, length in enumerate(batch["lengths"]):
            after = np.append(values[i, 1:length], 0.0)
            delta = rewards[i, :length] + gamma * after - values[i, :length]
            want = [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, length)) for t in range(length)]
            assert got[i, :length] == pytest.approx(np.array(want))
            assert not got[i, length:].any()


def test_whitened_over_all_tokens_and_no_padding(batch):
    mask = mask_of(batch)
    got = ppo.whitened(tensor(batch["advantages"]), mask)
    there = batch["advantages"][mask.numpy()]
    want = (batch["advantages"] - there.mean()) / np.sqrt(there.var(ddof=1) + 1e-8)
    assert got.numpy() == pytest.approx(np.where(mask.numpy(), want, 0))
    one = ppo.whitened(torch.tensor([[2.0]]), torch.tensor([[True]]))
    assert one.tolist() == [[0.0]]


def test_the_policy_loss_is_clipped_on_the_side_that_would_gain(batch):
    mask = mask_of(batch)
    got, share = ppo.policy_loss(
        tensor(batch["logp"]), tensor(batch["old"]), tensor(batch["advantages"]), mask
    )
    ratio, a = np.exp(batch["logp"] - batch["old"]), batch["advantages"]
    gain = np.where(a >= 0, np.minimum(ratio, 1.2) * a, np.maximum(ratio, 0.8) * a)
    assert float(got) == pytest.approx(-gain[mask.numpy()].mean())
    held = ((a > 0) & (ratio > 1.2)) | ((a < 0) & (ratio < 0.8))
    assert share == pytest.approx(held[mask.numpy()].mean()) and 0 < share < 1


def test_no_gradient_where_the_clip_holds():
    logp = torch.tensor([[0.5, -0.5, 0.5, -0.5]], requires_grad=True)  # ratios 1.65, .61
    a = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    loss, _ = ppo.policy_loss(logp, torch.zeros(1, 4), a, torch.ones(1, 4, dtype=torch.bool))
    loss.backward()
    assert (logp.grad != 0).tolist() == [[False, True, True, False]]


def test_the_value_loss_takes_the_worse_of_the_value_and_the_one_held_near(batch):
    mask = mask_of(batch)
    got = ppo.value_loss(tensor(batch["values"]), tensor(batch["old_values"]), tensor(batch["returns"]), mask)
    v, old, r = batch["values"], batch["old_values"], batch["returns"]
    held = np.minimum(np.maximum(v, old - 0.2), old + 0.2)
    want = 0.5 * np.maximum((v - r) ** 2, (held - r) ** 2)
    assert float(got) == pytest.approx(want[mask.numpy()].mean())


def test_explained_variance(batch):
    mask = mask_of(batch)
    v, r = batch["values"], batch["returns"]
    m = mask.numpy()
    want = 1 - (r - v)[m].var() / r[m].var()
    assert ppo.explained_variance(tensor(v), tensor(r), mask) == pytest.approx(want)
    assert ppo.explained_variance(tensor(r), tensor(r), mask) == 1
    assert ppo.explained_variance(tensor(v), torch.ones(B, T), mask) == 0
