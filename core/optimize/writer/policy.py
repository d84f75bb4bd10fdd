"""The policy: a causal language model in process with a low-rank adapter (LoRA: Hu et al.
2021, arXiv 2106.09685). Only the adapter learns. The same model with the adapter off is the
reference that the policy is held to, so no second set of weights is in memory.

The host's own model is not touched: the policy is a copy of its modules on the same
weights. So the host may be the target of the search as well, and answers as before.
"""

import copy
import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, LogitsProcessorList

from core.llm.protocol import Messages
from core.llm.sampling import OwnStream, request_seed, uniforms

Ids = list[int]
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Read:
    """What a model says of B written prompts of at most T tokens. `logp`: (B, T), nats, of
    each token under the distribution it was drawn from; `entropy`: (B, T), of that
    distribution; `hidden`: (B, T, d), the last layer where each token was chosen; `mask`:
    (B, T), true where there is a token. What is masked means nothing."""

    logp: torch.Tensor
    entropy: torch.Tensor
    hidden: torch.Tensor
    mask: torch.Tensor


def lora(rank: int) -> LoraConfig:
    """An adapter on every linear layer but the head; alpha = 2 r, no dropout."""
    return LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def twin(model: Any) -> Any:
    """A copy of a model's modules that shares its weights."""
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, memo=shared)


def trained_weights(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


class Policy:
    """`request` is what the policy is always asked; `temperature` belongs to the policy: it is
    the distribution at that temperature that writes, and learns."""

    def __init__(
        self,
        host: Any,
        request: Messages,
        *,
        rank: int,
        temperature: float,
        tokens: int,
        seed: int,
    ) -> None:
        self.host, self.request = host, request
        self.temperature, self.tokens = temperature, tokens
        self.prompt: Ids = host.tokens(host.rendered(request))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model: Any = get_peft_model(twin(host.model), lora(rank))
        takes = inspect.signature(host.model.forward).parameters
        self._keeps = "logits_to_keep" in takes

    # --- to write ---------------------------------------------------------------------------

    @torch.no_grad()
    def write(self, count: int, seed: int) -> list[Ids]:
        """`count` prompts, each with its end token if it came; prompt i is drawn with its own
        stream of numbers, which follows from (request, seed, i). The request is read once."""
        self.model.eval()
        prompt = torch.tensor([self.prompt], device=self.host.device)
        u = uniforms([request_seed(self.request, seed + i) for i in range(count)], self.tokens)
        stream = OwnStream(torch.from_numpy(u).to(prompt.device, torch.float32), self.temperature, 1.0)
        self.model.generation_config = GenerationConfig()
        out = self.model.generate(
            input_ids=prompt.expand(count, -1),
            attention_mask=torch.ones_like(prompt).expand(count, -1),
            logits_processor=LogitsProcessorList([stream]),
            generation_config=GenerationConfig(
                max_new_tokens=self.tokens,
                do_sample=False,  # the stream has drawn already
                eos_token_id=self.host.eos,
                pad_token_id=self.host.pad,
                bos_token_id=self.host.tokenizer.bos_token_id,
            ),
        )
        return [self._until_end(row) for row in out[:, prompt.shape[1] :].tolist()]

    def _until_end(self, row: Ids) -> Ids:
        for i, token in enumerate(row):
            if token in self.host.eos:
                return row[: i + 1]
        return row

    def text(self, written: Ids) -> str:
        return str(self.host.tokenizer.decode(written, skip_special_tokens=True))

    # --- to read what was written -----------------------------------------------------------

    def read(self, written: Sequence[Ids], *, reference: bool = False) -> Read:
        """How likely the policy, or the reference, was to write these."""
        length = max(len(row) for row in written)
        ids = [self.prompt + row + [self.host.pad] * (length - len(row)) for row in written]
        seen = [[1] * (len(self.prompt) + len(row)) + [0] * (length - len(row)) for row in written]
        tokens = torch.tensor(ids, device=self.host.device)
        off: AbstractContextManager[Any] = self.model.disable_adapter() if reference else nullcontext()
        self.model.eval()
        with off:
            out = self.model(
                input_ids=tokens,
                attention_mask=torch.tensor(seen, device=self.host.device),
                output_hidden_states=True,
                use_cache=False,
                **({"logits_to_keep": length + 1} if self._keeps else {}),
            )
        # The token at place t was chosen where the one before it was read.
        logits = out.logits[:, -length - 1 : -1].float() / self.temperature
        spread = F.log_softmax(logits, dim=-1)
        logp = spread.gather(-1, tokens[:, -length:].unsqueeze(-1)).squeeze(-1)
        entropy = -(spread.exp() * spread).sum(-1)
        hidden = out.hidden_states[-1][:, -length - 1 : -1].float()
        mask = torch.tensor([row[len(self.prompt) :] for row in seen], device=tokens.device).bool()
        return Read(logp, entropy, hidden, mask)


# --- what is kept between steps ----------------------------------------------------------------


def kept(trained: Mapping[str, torch.nn.Parameter], adam: torch.optim.Optimizer) -> Tensors:
    """Copies of the weights that learn, and of what Adam remembers of each."""
    tensors: Tensors = {}
    for name, weight in trained.items():
        tensors[f"weight/{name}"] = weight.detach().clone()
        for part, value in adam.state.get(weight, {}).items():
            tensors[f"{part}/{name}"] = value.detach().clone()
    return tensors


def restore(
    tensors: Mapping[str, torch.Tensor],
    trained: Mapping[str, torch.nn.Parameter],
    adam: torch.optim.Optimizer,
) -> None:
    """Put weights and Adam's memory back, bit for bit."""
    adam.state.clear()
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(tensors[f"weight/{name}"])
            parts = {part for part in ADAM if f"{part}/{name}" in tensors}
            if parts:
                adam.state[weight] = {
                    part: tensors[f"{part}/{name}"].clone().to("cpu" if part == "step" else weight.device)
                    for part in parts
                }


ADAM = ("step", "exp_avg", "exp_avg_sq")
