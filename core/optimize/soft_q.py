"""The policy of RLPrompt (Deng et al. 2022, arXiv 2205.12548, sections 2.2 and 2.3) and what it
learns by (Guo et al. 2021, arXiv 2106.07704).

A frozen language model reads the context and the tokens chosen so far; its last hidden state
h (d wide) goes through a small trained network and the model's frozen head, which gives
Q(s, a) for each token a that may be chosen. Then V = logsumexp Q, A = Q - V and the policy
is softmax Q. For d = 768 the network has 3,148,544 parameters.

B prompts, T tokens a prompt, A tokens to choose from.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 2_048
RIGHT, WRONG = 200.0, 180.0  # few-shot reward: what a gap is worth (section 3.1)
SCALE = 5.0  # z-scores: [0, 1] -> [0, 5], as in the released code
CLIP = 5.0
ALIVE = 4.0  # least deviation of the network's inputs to its hidden units, in biases


def network(width: int, seed: int, hidden: int = HIDDEN) -> nn.Sequential:
    """d -> 2048 -> ReLU -> d. Xavier with gain 1e-4 and bias -1e-4: near zero, so the
    policy starts near uniform."""
    into, out = nn.Linear(width, hidden), nn.Linear(hidden, width)
    generator = torch.Generator().manual_seed(seed)
    for layer in (into, out):
        nn.init.xavier_uniform_(layer.weight, gain=1e-4, generator=generator)
        nn.init.constant_(layer.bias, -1e-4)
    return nn.Sequential(into, nn.ReLU(), out)


def state_scale(state: Tensor) -> float:
    """What hidden states (d,) are multiplied by before the network reads them: 1, or more
    where they are so small that the bias of -1e-4 would leave no unit of the network alive at
    the start. GPT-2's are long enough; those after a plain RMS norm are not."""
    wanted = ALIVE * math.sqrt((len(state) + HIDDEN) / 2)
    return max(1.0, wanted / max(float(state.float().norm()), 1e-6))


# --- rewards -----------------------------------------------------------------------------


def few_shot_reward(gaps: np.ndarray) -> np.ndarray:
    """(B, n) gaps, p(right label) less the largest other one, -> (B,): a gap counts 200 where
    the right label is the likeliest and 180 where it is not; mean over the examples."""
    return np.asarray((np.where(gaps > 0, RIGHT, WRONG) * gaps).mean(axis=1))


def shaped(rewards: np.ndarray) -> np.ndarray:
    """(B,) rewards of the prompts of one batch -> their z-scores (population deviation,
    + 1e-4 against a batch of equals), five times as large."""
    return SCALE * (rewards - rewards.mean()) / (rewards.std() + 1e-4)


# --- the loss ----------------------------------------------------------------------------


def soft_q_loss(advantages: Tensor, target_values: Tensor, rewards: Tensor) -> Tensor:
    """Both path consistencies, half their sum, mean over the batch.

    `advantages` (B, T): A_t of the tokens that were chosen; `target_values` (B, T): Vbar_t of
    the target network; `rewards` (B,), paid after the last token.
        one step     sum_t (A_t - (Vbar_{t+1} - Vbar_t))^2, the last: r - Vbar_T
        many steps   sum_t (sum_{s >= t} A_s - (r - Vbar_t))^2
    """
    after = torch.cat([target_values[:, 1:], rewards[:, None]], dim=1)  # (B, T)
    one = advantages - (after - target_values)
    rest = advantages.flip(1).cumsum(1).flip(1)  # (B, T): sum over s >= t
    many = rest - (rewards[:, None] - target_values)
    return ((one**2).sum(1) + (many**2).sum(1)).mean() / 2


# --- the policy --------------------------------------------------------------------------


class Policy:
    """`host` lends the language model, which stays as it is; `allowed`: the tokens that may
    be chosen. `bias` is added to every Q: it leaves the policy as it is and moves V, whose
    natural height is the logarithm of the vocabulary, down to the rewards' scale."""

    def __init__(
        self,
        host: Any,
        context: Sequence[int],
        allowed: Sequence[int],
        *,
        seed: int,
        bias: float = 0.0,
        top_k: int = 256,
        learning_rate: float = 5e-5,
        polyak: float = 1e-3,
        hidden: int = HIDDEN,
    ) -> None:
        self.host, self.context = host, list(context) or [host.eos[0]]
        self.allowed = torch.tensor(list(allowed), device=host.device)
        self.bias, self.top_k, self.polyak = bias, top_k, polyak
        head = host.model.get_output_embeddings()
        self.rows = head.weight.detach()[self.allowed]  # (A, d)
        self.row_bias = None if head.bias is None else head.bias.detach()[self.allowed]
        self.online = network(self.rows.shape[1], seed, hidden).to(host.device)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.adam = torch.optim.Adam(self.online.parameters(), lr=learning_rate)
        with torch.no_grad():
            self.scale = state_scale(_Reading(host, self.context, 1).state[0])

    def q(self, net: nn.Module, states: Tensor) -> Tensor:
        """(…, d) states -> (…, A), float32."""
        changed = net(states).to(self.rows.dtype)
        return F.linear(changed, self.rows, self.row_bias).float() + self.bias

    # --- choosing ------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, count: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
        """(count, length) places in `allowed`, drawn from the top k of the policy, and the
        (count, length, d) states they were drawn in."""
        generator = torch.Generator().manual_seed(seed)

        def draw(q: Tensor) -> Tensor:
            best = q.topk(min(self.top_k, q.shape[1]), dim=1)
            drawn = torch.multinomial(best.values.softmax(1).cpu(), 1, generator=generator)
            return best.indices.gather(1, drawn.to(q.device))[:, 0]

        return self._roll(count, length, draw)

    @torch.no_grad()
    def greedy(self, length: int) -> Tensor:
        """(1, length) places in `allowed`: the likeliest token each time."""
        return self._roll(1, length, lambda q: q.argmax(1))[0]

    def tokens(self, places: Tensor) -> list[list[int]]:
        return [[int(token) for token in row] for row in self.allowed[places]]

    def _roll(self, count: int, length: int, choose: Any) -> tuple[Tensor, Tensor]:
        reading = _Reading(self.host, self.context, count)
        places, states = [], []
        for step in range(length):
            states.append(reading.state.float() * self.scale)
            places.append(choose(self.q(self.online, states[-1])))
            if step < length - 1:
                reading.read(self.allowed[places[-1]])
        return torch.stack(places, 1), torch.stack(states, 1)

    # --- learning ------------------------------------------------------------------------

    def loss(self, places: Tensor, states: Tensor, rewards: Tensor) -> Tensor:
        q = self.q(self.online, states)  # (B, T, A)
        advantages = q.gather(2, places[..., None])[..., 0] - q.logsumexp(2)
        with torch.no_grad():
            target_values = self.q(self.target, states).logsumexp(2)
        return soft_q_loss(advantages, target_values, rewards)

    def learn(self, places: Tensor, states: Tensor, rewards: np.ndarray) -> float:
        """One step on B prompts with shaped rewards (B,); answers the loss before it."""
        loss = self.loss(places, states, torch.as_tensor(rewards, dtype=torch.float32, device=states.device))
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.online.parameters(), CLIP)
        self.adam.step()
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
                slow.lerp_(fast, self.polyak)
        return float(loss.detach())

    @torch.no_grad()
    def entropy(self, states: Tensor) -> float:
        """Mean entropy of the policy in these states, in nats; at most ln A."""
        q = self.q(self.online, states)
        logp = q.log_softmax(-1)
        return float(-(logp.exp() * logp).sum(-1).mean())

    # --- the state -----------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        kept = {f"online.{name}": value for name, value in self.online.state_dict().items()}
        kept |= {f"target.{name}": value for name, value in self.target.state_dict().items()}
        for place, state in self.adam.state_dict()["state"].items():
            kept |= {f"adam.{place}.{name}": value for name, value in state.items()}
        return kept

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"online": {}, "target": {}}
        adam: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, rest = name.split(".", 1)
            if part == "adam":
                place, what = rest.split(".", 1)
                adam.setdefault(int(place), {})[what] = value
            else:
                parts[part][rest] = value
        self.online.load_state_dict(parts["online"])
        self.target.load_state_dict(parts["target"])
        self.adam.load_state_dict({**self.adam.state_dict(), "state": adam})


class _Reading:
    """The frozen model, reading B prompts token by token. `state` (B, d): the last hidden
    state. The context is the same for all, and read once where the model can keep it."""

    def __init__(self, host: Any, context: list[int], count: int) -> None:
        self.model, self.keeps = host.model.base_model, host.keeps_cache
        ids = torch.tensor([context], device=host.device)
        if self.keeps:
            out = self.model(input_ids=ids, use_cache=True)
            self.cache = out.past_key_values
            self.cache.batch_repeat_interleave(count)
            self.state = out.last_hidden_state[:, -1].repeat(count, 1)
        else:
            self.ids = ids.repeat(count, 1)
            self.state = self.model(input_ids=self.ids).last_hidden_state[:, -1]

    def read(self, tokens: Tensor) -> None:
        """tokens: (B,)"""
        if self.keeps:
            out = self.model(input_ids=tokens[:, None], past_key_values=self.cache, use_cache=True)
        else:
            self.ids = torch.cat([self.ids, tokens[:, None]], 1)
            out = self.model(input_ids=self.ids)
        self.state = out.last_hidden_state[:, -1]
