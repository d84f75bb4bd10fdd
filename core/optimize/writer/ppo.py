"""PPO: proximal policy optimisation of a prompt writer (Schulman, Wolski, Dhariwal, Radford,
Klimov 2017, arXiv 1707.06347), with the reward and the value function of Ouyang et al. 2022
(InstructGPT, arXiv 2203.02155) and the advantages of Schulman et al. 2016 (arXiv 1506.02438).

    write B prompts with the policy pi; grade them
    reward of token t:      r_t = -beta (log pi - log pi_ref), plus the grade at the last token
    advantage:              A_t = sum_l (gamma lambda)^l delta_{t+l}, gamma 1, lambda .95,
                            delta_t = r_t + gamma V_{t+1} - V_t; whitened over all tokens
    return:                 R_t = A_t + V_t, before whitening
    for `epochs` passes over the B prompts, rho_t = pi / pi_old:
        loss = -min(rho A, clip(rho, 1 - .2, 1 + .2) A)
               + .1 x 1/2 max((V - R)^2, (clip(V, V_old - .2, V_old + .2) - R)^2)
        each a mean over tokens; Adam; gradients clipped to norm 1

What differs from the paper, and why:
- The value function is a linear head on the policy's own last layer, not a model of its own:
  there is no reward model of the same shape to start it from. It starts at 0, which is what a
  prompt is worth that does as well as the start.
- A batch is a few prompts, so an epoch is one step of Adam on all of them, not mini-batches.
- A prompt without an end gets the penalty instead of a grade: it is never tried.
"""

from typing import Any

import torch

from core.optimize.protocol import Scores
from core.optimize.rewards.scores import mean_of
from core.optimize.writer.policy import Policy, Read, trained_weights
from core.optimize.writer.writing import Grader, Writer

GAMMA, LAMBDA = 1.0, 0.95
CLIP, CLIP_VALUE = 0.2, 0.2
VALUE_WEIGHT = 0.1
MAX_NORM = 1.0


class Ppo(Writer):
    name = "ppo"

    def open(self, host: Any) -> None:
        self.policy = Policy(
            host,
            self.request,
            rank=self.rank,
            temperature=self.temperature,
            tokens=self.tokens,
            seed=self.seed,
        )
        width = host.model.get_input_embeddings().embedding_dim
        self.value = torch.nn.Linear(width, 1, device=host.device)
        torch.nn.init.zeros_(self.value.weight)
        torch.nn.init.zeros_(self.value.bias)
        head = {f"value.{name}": weight for name, weight in self.value.named_parameters()}
        self.weights = {**trained_weights(self.policy.model), **head}
        self.adam = torch.optim.Adam(self.weights.values(), lr=self.learning_rate, eps=1e-5)

    def learn(self, grader: Grader, seed: int) -> dict[str, Scores]:
        policy = self.policy
        written = policy.write(self.batch, seed)
        grades = grader.reward(
            [policy.request] * self.batch, [policy.text(ids) for ids in written], completion_ids=written
        )
        with torch.no_grad():
            old, reference = policy.read(written), policy.read(written, reference=True)
            values = self.values(old)
            grade = torch.tensor(grades, device=old.logp.device)
            rewards = shaped(grade, old.logp, reference.logp, old.mask, self.beta)
            advantages = gae(rewards, values, old.mask)
            returns = advantages + values
            advantages = whitened(advantages, old.mask)
        clipped = []
        for _ in range(self.epochs):
            now = policy.read(written)
            loss, share = policy_loss(now.logp, old.logp, advantages, old.mask)
            loss = loss + VALUE_WEIGHT * value_loss(self.values(now), values, returns, old.mask)
            self.adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights.values(), MAX_NORM)
            self.adam.step()
            clipped.append(share)
        moved = ((old.logp - reference.logp) * old.mask).sum(1)  # (B,)
        tokens = int(old.mask.sum())
        return {
            "kl": mean_of(moved.double().cpu().numpy()),
            "entropy": {"score": float(mean(old.entropy, old.mask)), "n": tokens},
            "clip_fraction": {"score": sum(clipped) / len(clipped), "n": tokens * len(clipped)},
            "explained_variance": {"score": explained_variance(values, returns, old.mask), "n": tokens},
        }

    def values(self, read: Read) -> torch.Tensor:
        """(B, T): V before each token."""
        values: torch.Tensor = self.value(read.hidden).squeeze(-1)
        return values


# --- the formulas: all tensors (B, T), masked by `mask` (B, T) -------------------------------------


def shaped(
    grades: torch.Tensor, logp: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor, beta: float
) -> torch.Tensor:
    """A penalty for each token's distance from the reference, and the grade (B,) at the last."""
    rewards = -beta * (logp - reference) * mask
    last = mask.sum(1) - 1
    rewards[torch.arange(len(grades)), last] += grades
    return rewards


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float = GAMMA, lam: float = LAMBDA
) -> torch.Tensor:
    """Generalised advantages; nothing is worth anything after the last token."""
    advantages = torch.zeros_like(rewards)
    ahead = torch.zeros_like(rewards[:, 0])
    worth = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        there = mask[:, t]
        delta = rewards[:, t] + gamma * worth - values[:, t]
        ahead = torch.where(there, delta + gamma * lam * ahead, 0.0)
        worth = torch.where(there, values[:, t], 0.0)
        advantages[:, t] = ahead
    return advantages


def whitened(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean 0 and (sample) variance 1 over all tokens."""
    there = values[mask]
    spread = there.var() if len(there) > 1 else torch.ones((), device=values.device)
    return (values - there.mean()) * torch.rsqrt(spread + 1e-8) * mask


def policy_loss(
    logp: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """The clipped surrogate, and the share of tokens whose ratio the clip held back."""
    ratio = torch.exp((logp - old).masked_fill(~mask, 0.0))
    free, held = ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages
    return mean(-torch.min(free, held), mask), float(mean((held < free).float(), mask))


def value_loss(
    values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Half the squared error, of the value or of the value held near the old one: the larger."""
    held = old + (values - old).clamp(-CLIP_VALUE, CLIP_VALUE)
    return 0.5 * mean(torch.max((values - returns) ** 2, (held - returns) ** 2), mask)


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """1 - Var(R - V) / Var(R); 0 when the returns do not differ."""
    spread = float(returns[mask].var(correction=0))
    return 1 - float((returns - values)[mask].var(correction=0)) / spread if spread > 0 else 0.0


def mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return values[mask].mean()
