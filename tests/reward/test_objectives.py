"""Losses against closed forms, against TRL's own on the same batch, and, where there are ties,
against probabilities computed another way."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.reward.objectives import (
    Targets,
    outcome_logs,
    outcome_probabilities,
    pair_losses,
    preference_loss,
    raw_tie,
    tie_at_start,
    tie_value,
)
from core.reward.options import Objective

PLAIN = Objective(margin=False)


def targets(n, *, q=None, margin=None, weight=None, votes=None, rated_q=None, rated=None):
    def tensor(value, default):
        return torch.as_tensor(np.asarray(default if value is None else value, dtype=np.float32))

    q = tensor(q, np.ones(n))
    return Targets(
        q=q,
        margin=tensor(margin, np.zeros(n)),
        weight=tensor(weight, np.ones(n)),
        votes=tensor(votes, np.stack([q, 1 - q, np.zeros(n)], axis=1)),
        rated_q=tensor(rated_q, np.zeros((n, 0))),
        rated=tensor(rated, np.zeros((n, 0))),
    )


def rewards(d):
    """(n, 1) of a and b whose difference is d, off zero."""
    a = torch.tensor(d, dtype=torch.float32)[:, None]
    return a + 0.3, torch.full_like(a, 0.3)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_bradley_terry_is_the_cross_entropy_of_the_soft_label():
    d, q = [0.7, -1.2, 3.0], [1.0, 0.75, 0.5]
    loss = preference_loss(*rewards(d), targets(3, q=q), PLAIN)
    by_hand = [
        -(w * math.log(sigmoid(x)) + (1 - w) * math.log(sigmoid(-x))) for x, w in zip(d, q, strict=True)
    ]
    assert loss.item() == pytest.approx(np.mean(by_hand), rel=1e-6)
    # Its minimum is where the probability is the share of votes.
    x = torch.zeros(1, 1, requires_grad=True)
    loss = preference_loss(x, torch.zeros(1, 1), targets(1, q=[0.75]), PLAIN)
    assert torch.autograd.grad(loss, x)[0].item() == pytest.approx(0.5 - 0.75)


def test_turned_around_it_is_the_same():
    d = [0.7, -1.2]
    one = preference_loss(*rewards(d), targets(2, q=[1.0, 0.2], margin=[1.0, -0.3]), Objective())
    other = preference_loss(*rewards([-0.7, 1.2]), targets(2, q=[0.0, 0.8], margin=[-1.0, 0.3]), Objective())
    assert one.item() == pytest.approx(other.item(), rel=1e-6)


@pytest.mark.parametrize("margins", [None, [0.5, 1.0, 0.0, 0.25]])
@pytest.mark.parametrize("centre", [None, 0.01])
def test_it_is_trls_loss_on_the_same_batch(margins, centre):
    """TRL's RewardTrainer.compute_loss itself, on a model that answers given rewards."""
    from collections import defaultdict

    from trl import RewardTrainer

    given = torch.tensor([[0.4], [-0.2], [1.5], [0.1], [0.9], [-1.0], [0.2], [0.3]])
    accelerator = SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(center_rewards_coefficient=centre),
        accelerator=accelerator, _total_train_tokens=0, _tp_size=1, _metrics={"train": defaultdict(list)},
    )  # fmt: skip
    inputs = {"input_ids": torch.zeros(8, 2), "attention_mask": torch.ones(8, 2)}
    if margins:
        inputs["margin"] = torch.tensor(margins)

    def model(margin=None, **_):
        return SimpleNamespace(logits=given)

    theirs = RewardTrainer.compute_loss(trainer, model, inputs)
    objective = Objective(margin=bool(margins), centre=centre or 0.0)
    ours = preference_loss(*torch.chunk(given, 2), targets(4, margin=margins), objective)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_smoothing_moves_a_share_of_the_votes_to_the_other_side():
    d, e = 1.3, 0.1
    loss = preference_loss(*rewards([d]), targets(1), Objective(margin=False, label_smoothing=e))
    by_hand = -((1 - e) * math.log(sigmoid(d)) + e * math.log(sigmoid(-d)))
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("loss", ["rao_kupper", "davidson"])
def test_smoothing_moves_wins_to_the_other_side_and_leaves_ties(loss):
    d, e, votes = 0.8, 0.2, [0.5, 0.2, 0.3]
    chances = outcome_probabilities(np.array([d]), loss, 0.6)[0]
    objective = Objective(loss=loss, margin=False, label_smoothing=e)
    tie = torch.tensor(raw_tie(loss, 0.6))
    found = preference_loss(*rewards([d]), targets(1, votes=[votes]), objective, tie)
    told = [0.5 - e * 0.5 + e * 0.2, 0.2 - e * 0.2 + e * 0.5, 0.3]
    by_hand = -sum(share * math.log(chance) for share, chance in zip(told, chances, strict=True))
    assert found.item() == pytest.approx(by_hand, rel=1e-5)


def test_hard_labels_say_what_most_votes_say():
    d = [0.4, 0.4, 0.4]
    soft = targets(3, q=[0.75, 0.25, 0.5])
    hard = targets(3, q=[1.0, 0.0, 0.5])
    objective = Objective(margin=False, soft=False)
    assert torch.equal(
        pair_losses(torch.tensor(d), soft, objective), pair_losses(torch.tensor(d), hard, PLAIN)
    )


def test_weights_weigh():
    d = [0.7, -1.2]
    each = pair_losses(torch.tensor(d), targets(2), PLAIN)
    loss = preference_loss(*rewards(d), targets(2, weight=[1.5, 0.5]), PLAIN)
    assert loss.item() == pytest.approx((1.5 * each[0] + 0.5 * each[1]).item() / 2, rel=1e-6)


def test_criteria_are_masked_where_nobody_rated_them():
    a = torch.tensor([[0.5, 1.0, -0.3], [0.2, 0.4, 0.8]])
    b = torch.zeros(2, 3)
    told = targets(2, rated_q=[[1.0, 0.5], [0.0, 1.0]], rated=[[1.0, 0.0], [1.0, 1.0]])
    loss = preference_loss(a, b, told, PLAIN)
    overall = np.mean([-math.log(sigmoid(0.5)), -math.log(sigmoid(0.2))])
    criteria = np.mean([-math.log(sigmoid(1.0)), -math.log(sigmoid(-0.4)), -math.log(sigmoid(0.8))])
    assert loss.item() == pytest.approx(overall + criteria, rel=1e-6)
    nobody = targets(2, rated_q=[[0.5, 0.5]] * 2, rated=[[0.0, 0.0]] * 2)
    assert preference_loss(a, b, nobody, PLAIN).item() == pytest.approx(overall, rel=1e-6)


# --- ties ---------------------------------------------------------------------------------------

numbers = st.floats(-8, 8)


@settings(max_examples=60, deadline=None)
@given(numbers, st.floats(0.05, 4))
def test_rao_kupper_is_the_chance_that_logistic_noise_stays_within_the_threshold(d, e):
    """Independently: with y = d + noise, noise logistic, a wins when y > e, b when y < -e."""
    from scipy.stats import logistic

    expected = [
        logistic.sf(e, loc=d),
        logistic.cdf(-e, loc=d),
        logistic.cdf(e, loc=d) - logistic.cdf(-e, loc=d),
    ]
    assert outcome_probabilities(np.array([d]), "rao_kupper", e)[0] == pytest.approx(
        expected, rel=1e-6, abs=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(numbers, numbers, st.floats(0.01, 20))
def test_davidson_divides_by_worths_and_their_geometric_mean(r_a, r_b, v):
    a, b = math.exp(r_a), math.exp(r_b)
    even = v * math.sqrt(a * b)
    expected = np.array([a, b, even]) / (a + b + even)
    assert outcome_probabilities(np.array([r_a - r_b]), "davidson", v)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["rao_kupper", "davidson"])
def test_ties_are_told_from_counts_and_far_scores_stay_finite(loss):
    value = 0.8
    raw = torch.tensor(raw_tie(loss, value))
    assert tie_value(loss, raw.item()) == pytest.approx(value, rel=1e-6)
    d = [0.3, -1.0]
    shares = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    objective = Objective(loss=loss, margin=False)
    each = pair_losses(torch.tensor(d), targets(2, votes=shares), objective, raw)
    p = outcome_probabilities(np.array(d), loss, value)
    assert each.numpy() == pytest.approx(-(shares * np.log(p)).sum(axis=1), rel=1e-5)
    far = outcome_logs(torch.tensor([80.0, -80.0]), loss, raw)
    assert torch.isfinite(far).all() and far.exp().sum(dim=1).numpy() == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="tie parameter"):
        pair_losses(torch.tensor(d), targets(2), objective)


@pytest.mark.parametrize("loss", ["rao_kupper", "davidson"])
def test_the_tie_parameter_starts_where_equal_responses_tie_as_often_as_people_said(loss):
    for share in (0.1, 0.35, 0.6):
        p = outcome_probabilities(np.zeros(1), loss, tie_at_start(loss, share))[0]
        assert p[2] == pytest.approx(share, abs=1e-6) and p[0] == pytest.approx(p[1])


@pytest.mark.parametrize("loss", ["rao_kupper", "davidson"])
def test_it_is_learned_from_outcomes_drawn_with_another(loss):
    draw = np.random.default_rng(0)
    d, true = draw.normal(0, 1.5, 6000), 0.9
    p = outcome_probabilities(d, loss, true)
    outcomes = np.eye(3)[[draw.choice(3, p=row) for row in p]]
    raw = torch.tensor(raw_tie(loss, 0.3), requires_grad=True)
    told, objective = targets(len(d), votes=outcomes), Objective(loss=loss, margin=False)
    optimizer = torch.optim.LBFGS([raw], max_iter=50)

    def closure():
        optimizer.zero_grad()
        value = pair_losses(torch.tensor(d, dtype=torch.float32), told, objective, raw).mean()
        value.backward()
        return value

    optimizer.step(closure)
    assert tie_value(loss, raw.item()) == pytest.approx(true, abs=0.07)
