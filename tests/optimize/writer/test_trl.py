"""What TRL's trainers compute from our rewards, against NumPy; and that their reference is
the model with the adapter off, before and after a kill."""

import numpy as np
import pytest
import torch

from core.optimize.writer.policy import Policy, trained_weights
from tests.optimize.rules import run


def steps(optimizer, books, count):
    """Grades and advantages of each step of the policy."""
    found = []
    run(optimizer, books, steps=1)
    while len(found) < count:
        before = optimizer.trained
        tensors = {key: tensor.clone() for key, tensor in optimizer.tensors().items()}
        optimizer.step(books)
        if optimizer.trained > before:
            grades = [one.reward for one in optimizer.grader.graded]
            found.append((tensors, grades, list(optimizer.trainer._logs["advantages"])))
    return found


def test_grpo_s_advantage_is_in_deviations_of_the_group(made, evaluator):
    optimizer = made("grpo", batch=6)
    for _, grades, advantages in steps(optimizer, evaluator(), 3):
        r = np.array(grades)
        assert r.std() > 0
        assert advantages == pytest.approx((r - r.mean()) / (r.std(ddof=1) + 1e-4), abs=1e-4)
    assert optimizer.trainer.beta == 0.05 and optimizer.trainer.ref_model is None


def policy_with(tensors, optimizer, host):
    """Our own policy with the trainer's weights."""
    policy = Policy(host, optimizer.request, rank=2, temperature=optimizer.temperature, tokens=12, seed=9)
    with torch.no_grad():
        for name, weight in trained_weights(policy.model).items():
            weight.copy_(tensors[f"weight/{name}"])
    return policy


def kl_of(policy, written):
    with torch.no_grad():
        now, reference = policy.read(written), policy.read(written, reference=True)
    return ((now.logp - reference.logp) * now.mask).sum(1).numpy(), now, reference


@pytest.mark.parametrize("resumed", [False, True])
def test_rloo_s_advantage_is_left_by_the_others_and_its_reward_pays_for_kl(made, evaluator, tiny, resumed):
    optimizer, books = made("rloo", batch=5, beta=0.3), evaluator()
    (_, grades, advantages), _ = steps(optimizer, books, 2)
    r = np.array(grades)  # the first step: the policy is the reference
    others = (r.sum() - r) / 4
    assert advantages == pytest.approx(r - others, abs=1e-5)
    if resumed:
        again = made("rloo", batch=5, beta=0.3)
        again.load_state_dict(optimizer.state_dict())
        again.load_tensors(optimizer.tensors())
        optimizer = again
    tensors, grades, advantages, written = watched(optimizer, books)
    kl, *_ = kl_of(policy_with(tensors, optimizer, tiny), written)
    assert abs(kl).max() > 0.05
    r = np.array(grades) - 0.3 * kl
    assert advantages == pytest.approx(r - (r.sum() - r) / 4, abs=1e-3)
    assert optimizer.kl()["score"] == pytest.approx(kl.mean(), abs=1e-3)


def test_grpo_s_kl_is_never_negative_and_told_for_a_whole_prompt(made, evaluator, tiny):
    optimizer, books = made("grpo", batch=5), evaluator()
    steps(optimizer, books, 2)
    tensors, _, _, written = watched(optimizer, books)
    _, now, reference = kl_of(policy_with(tensors, optimizer, tiny), written)
    log = (reference.logp - now.logp).numpy()
    k3 = (np.exp(log) - log - 1) * now.mask.numpy()
    assert optimizer.kl()["score"] == pytest.approx(k3.sum(1).mean(), rel=1e-3) and (k3 >= 0).all()


def watched(optimizer, books):
    """The next step of the policy: weights before it, grades, advantages, tokens."""
    while optimizer.queue:
        optimizer.step(books)
    tensors = {key: tensor.clone() for key, tensor in optimizer.tensors().items()}
    written = []
    learn = optimizer.learn

    def spy(grader, seed):
        reward = grader.reward

        def seen(prompts, completions, *, completion_ids, **columns):
            written.extend(completion_ids)
            return reward(prompts, completions, completion_ids=completion_ids, **columns)

        grader.reward = seen
        return learn(grader, seed)

    optimizer.learn = spy
    optimizer.step(books)
    grades = [one.reward for one in optimizer.grader.graded]
    return tensors, grades, list(optimizer.trainer._logs["advantages"]), written
