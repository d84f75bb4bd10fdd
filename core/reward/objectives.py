"""What a training minimises, pair by pair.

With d = r(a) - r(b), q the share of the votes for a (a tie counts half) and m the margin that
the stated strengths ask for (signed: positive speaks for a), the loss of a pair is

bradley_terry   -q log s(d - m) - (1 - q) log s(m - d), with s the logistic function (Bradley
                and Terry 1952; the margin as in Llama 2, arXiv 2307.09288, section 3.2.2)
rao_kupper      a tie is an outcome: P(a) = s(d - e), P(b) = s(-d - e) and P(tie) is the rest,
                e = log theta > 0 (Rao and Kupper 1967, JASA 62, equation 2.4)
davidson        with p = exp(r): P(a) = p_a / Z, P(tie) = v sqrt(p_a p_b) / Z,
                Z = p_a + p_b + v sqrt(p_a p_b), v > 0 (Davidson 1970, JASA 65, equation 2.3)

The two with ties take the shares of votes for a, b and tie in place of q, and their parameter
(e, v) is fixed or learned beside the weights. Added to any of them: label smoothing, which moves
the share `label_smoothing` of each side's votes to the other one (as in conservative DPO); the
weight of the pair; and `centre` x (r_a + r_b)^2, which keeps scores around zero (Eisenstein et
al., arXiv 2312.09244, section 4; TRL's `center_rewards_coefficient`).

Per-criterion heads are Bradley-Terry on the criterion's own votes, masked where there are none,
and their mean is added to the loss of the overall head.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from core.reward.options import Objective


@dataclass
class Targets:
    """What a batch of pairs should be told, as float tensors: q, margin, weight (b,), votes
    (b, 3) shares for a, b and tie, rated_q and rated (b, c): the share for a by criterion, and
    1 where anybody said so."""

    q: torch.Tensor
    margin: torch.Tensor
    weight: torch.Tensor
    votes: torch.Tensor
    rated_q: torch.Tensor
    rated: torch.Tensor


def preference_loss(
    rewards_a: torch.Tensor,
    rewards_b: torch.Tensor,
    targets: Targets,
    objective: Objective,
    tie: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean loss of a batch. Rewards (b, 1 + c): the overall head, then the criteria. `tie`
    is the raw tie parameter (see `raw_tie`), a scalar."""
    a, b = rewards_a[:, 0], rewards_b[:, 0]
    each = pair_losses(a - b, targets, objective, tie)
    loss = (targets.weight * each).mean()
    if objective.centre:
        loss = loss + objective.centre * ((a + b) ** 2).mean()
    if rewards_a.shape[1] > 1:
        of_criteria = bradley_terry(
            rewards_a[:, 1:] - rewards_b[:, 1:], smoothed(targets.rated_q, objective), torch.zeros(())
        )
        masked = targets.rated * targets.weight[:, None] * of_criteria
        loss = loss + masked.sum() / targets.rated.sum().clamp(min=1.0)
    return loss


def pair_losses(
    d: torch.Tensor, targets: Targets, objective: Objective, tie: torch.Tensor | None = None
) -> torch.Tensor:
    """(b,) losses of the overall head, unweighted."""
    if objective.loss == "bradley_terry":
        q = targets.q if objective.soft else hardened(targets.q)
        margin = targets.margin if objective.margin else torch.zeros_like(d)
        return bradley_terry(d, smoothed(q, objective), margin)
    if tie is None:
        raise ValueError(f"{objective.loss} needs a tie parameter")
    votes = targets.votes if objective.soft else hardened_votes(targets.votes)
    e = objective.label_smoothing
    for_a = (1 - e) * votes[:, 0] + e * votes[:, 1]
    for_b = (1 - e) * votes[:, 1] + e * votes[:, 0]
    logs = outcome_logs(d, objective.loss, tie)
    return -(for_a * logs[:, 0] + for_b * logs[:, 1] + votes[:, 2] * logs[:, 2])


def bradley_terry(d: torch.Tensor, q: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
    """Losses of the shape of d: the cross-entropy of the soft label."""
    x = d - margin
    return -(q * F.logsigmoid(x) + (1 - q) * F.logsigmoid(-x))


def outcome_logs(d: torch.Tensor, loss: str, tie: torch.Tensor) -> torch.Tensor:
    """(b, 3): the log-probabilities that a wins, that b wins, and of a tie. Stable for large d.
    `tie` raw."""
    if loss == "rao_kupper":
        e = F.softplus(tie)
        a, b = F.logsigmoid(d - e), F.logsigmoid(-d - e)
        # 1 - P(a) - P(b) = (theta^2 - 1) P(a) P(b)
        even = torch.log(torch.expm1(2 * e)) + a + b
    else:
        half = d / 2
        level = torch.broadcast_to(tie, d.shape)
        whole = torch.logsumexp(torch.stack([half, -half, level]), dim=0)
        a, b, even = half - whole, -half - whole, level - whole
    return torch.stack([a, b, even], dim=1)


def smoothed(q: torch.Tensor, objective: Objective) -> torch.Tensor:
    e = objective.label_smoothing
    return (1 - e) * q + e * (1 - q) if e else q


def hardened(q: torch.Tensor) -> torch.Tensor:
    """What most of the votes say: 1, 0, or a half where they are even."""
    return torch.where(q == 0.5, q, (q > 0.5).to(q.dtype))


def hardened_votes(votes: torch.Tensor) -> torch.Tensor:
    """(b, 3): all to the outcome with most votes; a and b level, or a tie among the first,
    counts as a tie."""
    a, b, even = votes.unbind(dim=1)
    wins_a, wins_b = (a > b) & (a > even), (b > a) & (b > even)
    return torch.stack([wins_a, wins_b, ~(wins_a | wins_b)], dim=1).to(votes.dtype)


# --- the tie parameter: trained without bounds, read with them --------------------------------


def raw_tie(loss: str, value: float) -> float:
    """The unbounded number that stands for e (rao_kupper) or v (davidson)."""
    return math.log(math.expm1(value)) if loss == "rao_kupper" else math.log(value)


def tie_value(loss: str, raw: float) -> float:
    return float(np.logaddexp(0.0, raw)) if loss == "rao_kupper" else math.exp(raw)


def tie_at_start(loss: str, share: float) -> float:
    """The parameter at which two responses of the same reward tie as often as the share of
    ties among the training votes."""
    share = min(max(share, 0.01), 0.9)
    return math.log((1 + share) / (1 - share)) if loss == "rao_kupper" else 2 * share / (1 - share)


def outcome_probabilities(d: np.ndarray, loss: str, value: float) -> np.ndarray:
    """(n, 3): that a wins, that b wins, and of a tie, at the parameter e or v."""
    logs = outcome_logs(
        torch.as_tensor(d, dtype=torch.float64), loss, torch.tensor(raw_tie(loss, value)).double()
    )
    return logs.exp().numpy()
