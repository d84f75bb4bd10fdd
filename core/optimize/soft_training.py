"""Training the vectors of a soft prompt through a frozen language model.

`peft` brings the three parametrisations (its prompt encoders); where their vectors stand and
how they are read is core/llm/soft.py's, the same as in use. The loss is -log p(answer |
request), for labels the mean over examples of the whole label's, for references the mean over
the answers' tokens. One difference from the papers: an encoder that starts from a text adds
to it, and starts at zero (its last layer is), because what a random encoder makes of a text
is no longer that text; `peft` has the same start for prefixes as `init_weights="zero"`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import (
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptLearningConfig,
    PromptTuningConfig,
    get_peft_model,
)

from core.llm.labels import split_answers
from core.llm.local import LocalHost
from core.llm.passes import forward
from core.llm.protocol import Messages
from core.llm.sharing import Ids
from core.llm.soft import Shelf, SoftPrompt, moved, nearest, yardstick
from core.llm.soft_names import EMBEDDINGS, KEYS_VALUES, Card, mark
from core.runs.context import WorkError

TRAINED = "0" * 16  # the name under which the vectors in training are on the host's shelf
CLIP = 1.0  # norm of the gradient


@dataclass(frozen=True)
class Recipe:
    """What is trained. `method`: prompt_tuning, prefix_tuning or p_tuning; `tokens`: virtual
    tokens (0: as many as the text has); `init`: text or random; `encoder`: none, mlp or
    lstm, with `hidden` units."""

    method: str
    tokens: int = 0
    init: str = "text"
    encoder: str = "none"
    hidden: int = 128
    learning_rate: float = 1e-3
    seed: int = 0

    def config(self, tokens: int) -> PromptLearningConfig:
        common: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": tokens}
        if self.method == "prompt_tuning":
            return PromptTuningConfig(**common, prompt_tuning_init="RANDOM")
        if self.method == "p_tuning":
            return PromptEncoderConfig(
                **common,
                encoder_reparameterization_type=self.encoder.upper(),
                encoder_hidden_size=self.hidden,
            )
        return PrefixTuningConfig(
            **common,
            prefix_projection=self.encoder == "mlp",
            encoder_hidden_size=self.hidden,
            init_weights="zero" if self.init == "text" else None,
        )


@dataclass(frozen=True)
class Lesson:
    """A request with the mark of TRAINED where the vectors stand, and its right answer."""

    request: Messages
    answer: str


@dataclass
class Tuning:
    """The vectors in training, on one host. `words`: the labels, for a labelled task; without
    them an answer is a reference, learned with its end, up to `answer_tokens`."""

    host: LocalHost
    recipe: Recipe
    text: str
    first: Messages  # any request with the mark: what stands before the vectors
    words: Sequence[str] | None = None
    answer_tokens: int = 128
    steps: int = 0
    began: Ids = field(init=False)
    base: torch.Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not self.host.keeps_cache:
            raise WorkError(
                f"The model of “{self.host.spec.name}” keeps no keys and values, which soft prompts need.",
                "Choose a transformer.",
            )
        assert self.host.shelf is not None
        self.shelf: Shelf = self.host.shelf
        self.began = self._text_tokens()
        config = self.recipe.config(len(self.began))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            # Also freezes the model: none of its weights takes a gradient from here on.
            wrapped: Any = get_peft_model(self.host.model, config)
        self.config: Any = wrapped.peft_config["default"]
        self.encoder: torch.nn.Module = wrapped.prompt_encoder["default"].float().train()
        self.kind = KEYS_VALUES if self.recipe.method == "prefix_tuning" else EMBEDDINGS
        self.yardstick = 0.0
        if self.kind == KEYS_VALUES:
            self._check_shape()
        else:
            self.yardstick = yardstick(self.host)
        if self.recipe.init == "text":
            self._begin_as_text()
        self.start = self.vectors().detach().clone()
        self.parameters = [weight for weight in self.encoder.parameters() if weight.requires_grad]
        self.adam = torch.optim.Adam(self.parameters, lr=self.recipe.learning_rate)

    # --- where it starts -------------------------------------------------------------------

    def _text_tokens(self) -> Ids:
        """The text's tokens, cut or repeated to the number of virtual tokens (as `peft`)."""
        ids = self.host.tokenizer(self.text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise WorkError("The start prompt has no text to begin from.", "Choose another start prompt.")
        wanted = self.recipe.tokens or len(ids)
        return (ids * -(-wanted // len(ids)))[:wanted]

    def _check_shape(self) -> None:
        """Prefixes need the same key-value heads in every layer, as `peft` reckons them."""
        with torch.inference_mode():
            cache = self.host.read(self.began[:1])
        there = {tuple(layer.keys.shape[1::2]) for layer in cache.layers}
        heads = self.config.num_attention_heads
        wanted = (heads, self.config.token_dim // heads)
        if there != {wanted} or len(cache.layers) != self.config.num_layers:
            raise WorkError(
                f"The layers of “{self.host.spec.model}” keep keys and values of different shapes, "
                "which prefix-tuning cannot set.",
                "Choose prompt tuning or P-tuning.",
            )

    @torch.no_grad()
    def _begin_as_text(self) -> None:
        device = self.host.device
        if self.kind == EMBEDDINGS:
            ids = torch.tensor(self.began, device=device)
            text = self.host.model.get_input_embeddings()(ids).float()  # (K, d)
        else:
            text = self._text_keys_values()  # (K, 2 L H D)
        encoder: Any = self.encoder
        if self.recipe.encoder == "none":
            encoder.embedding.weight.copy_(text)
            return
        self.base = text
        last = encoder.transform[-1] if self.kind == KEYS_VALUES else encoder.mlp_head[-1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)

    def _text_keys_values(self) -> torch.Tensor:
        """Keys and values that the model itself makes of the text in its place (Li and Liang
        2021, section 7.4), flat as `peft` keeps them: (K, 2 L H D)."""
        front = self.host.rendered(self.first).partition(mark(TRAINED))[0]
        before = self.host.tokens(front) if front else []
        cache = self.host.read([*before, *self.began])
        layers = [(layer.keys, layer.values) for layer in cache.layers]
        stacked = torch.stack([kept[0, :, len(before) :] for pair in layers for kept in pair])
        return stacked.permute(2, 0, 1, 3).flatten(1).float()  # (2 L, H, K, D) -> (K, 2 L H D)

    # --- the vectors -----------------------------------------------------------------------

    def vectors(self) -> torch.Tensor:
        """As core/llm/soft.py reads them; gradients reach the encoder."""
        places = torch.arange(len(self.began), device=self.host.device)
        made = self.encoder(places.unsqueeze(0))[0]  # (K, d), or (K, 2 L H D)
        if self.base is not None:
            made = made + self.base
        if self.kind == EMBEDDINGS:
            return made
        heads = self.config.num_attention_heads
        shape = (len(self.began), 2 * self.config.num_layers, heads, self.config.token_dim // heads)
        return made.view(shape).permute(1, 2, 0, 3)

    def soft_prompt(self) -> SoftPrompt:
        return SoftPrompt(self.kind, self.vectors(), self.host.fingerprint)

    @property
    def trained(self) -> int:
        return sum(weight.numel() for weight in self.parameters)

    def keep(self) -> str:
        """Put the vectors as they are on the shelf, with their card; answers their name."""
        soft = self.soft_prompt()
        vectors = soft.vectors.detach()
        by_text = self.recipe.init == "text"
        if self.kind == EMBEDDINGS:
            rows = nearest(self.host, vectors, self.began if by_text else [])
        else:
            rows = moved(vectors, self.start)
        return self.shelf.keep(
            soft,
            Card(
                kind=self.kind,
                method=self.recipe.method,
                model=self.host.spec.model,
                fingerprint=soft.fingerprint,
                tokens=soft.tokens,
                numbers=vectors.numel(),
                trained=self.trained,
                steps=self.steps,
                text=self.host.tokenizer.decode(self.began) if by_text else "",
                rows=rows,
                yardstick=self.yardstick,
            ),
        )

    # --- a step ----------------------------------------------------------------------------

    def learn(self, lessons: Sequence[Lesson]) -> float:
        """One step of Adam on a batch; answers the loss before it."""
        self.adam.zero_grad(set_to_none=True)
        loss = self.loss(lessons)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.adam.step()
        self.steps += 1
        return float(loss.detach())

    def loss(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """-log p of the right answers. What stands before the vectors, and they, are read once
        for all of the batch that share it, as in use."""
        self.shelf.held[TRAINED] = self.soft_prompt()
        try:
            rows = [self._tokens(lesson) for lesson in lessons]
            total = torch.zeros((), device=self.host.device)
            for head in dict.fromkeys(head for head, _, _ in rows):
                cache = self.host.read(list(head.ids), head)
                group = [(ids[len(head.ids) :], answer) for other, ids, answer in rows if other == head]
                total = total + self._negative_log_likelihood(cache, len(head.ids), group)
        finally:
            del self.shelf.held[TRAINED]
        count = len(rows) if self.words is not None else sum(len(answer) for _, _, answer in rows)
        return total / count

    def _tokens(self, lesson: Lesson) -> tuple[Any, Ids, Ids]:
        """(head, prompt with its head, answer)."""
        if self.words is not None:
            head, prompt, answers = split_answers(self.host, lesson.request, self.words)
            return head, prompt, answers[list(self.words).index(lesson.answer)]
        head, prompt, answers = split_answers(self.host, lesson.request, [lesson.answer])
        answer = [*answers[0], self.host.eos[0]]
        answer = answer[: self.answer_tokens]
        problem = self.host._too_long(prompt, len(answer))
        if problem:
            raise WorkError(problem, "Shorten the prompt or the examples, or choose fewer answer tokens.")
        return head, prompt, answer

    def _negative_log_likelihood(
        self, cache: Any, read: int, rows: Sequence[tuple[Ids, Ids]]
    ) -> torch.Tensor:
        """Summed over rows of (what follows the vectors, answer). Rows end together, so the
        answers' logits are the last ones."""
        cache.batch_repeat_interleave(len(rows))
        ids, mask = self.host._padded([prompt + answer for prompt, answer in rows])  # (B, L)
        before = torch.ones(len(rows), read, device=mask.device, dtype=mask.dtype)
        keep = max(len(answer) for _, answer in rows) + 1
        out = forward(self.host, ids, torch.cat([before, mask], 1), cache, keep=keep)
        logp = out.logits[:, -keep:-1].float().log_softmax(-1)  # (B, keep - 1, V)
        answers = ids[:, 1 - keep :]
        picked = logp.gather(2, answers.unsqueeze(2)).squeeze(2)
        places = torch.arange(keep - 1, device=ids.device)
        lengths = torch.tensor([len(answer) for _, answer in rows], device=ids.device)
        return -(picked * (places >= keep - 1 - lengths.unsqueeze(1))).sum()

    # --- the state -------------------------------------------------------------------------

    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and the moments of Adam. (What it started from follows from the seed.)"""
        kept: dict[str, torch.Tensor] = {}
        for i, weight in enumerate(self.parameters):
            moments = self.adam.state.get(weight, {})
            first = moments.get("exp_avg", torch.zeros_like(weight))
            second = moments.get("exp_avg_sq", torch.zeros_like(weight))
            kept |= {f"weight {i}": weight.detach().clone(), f"first {i}": first, f"second {i}": second}
        return kept

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, torch.Tensor], steps: int) -> None:
        self.steps = steps
        for i, weight in enumerate(self.parameters):
            weight.copy_(tensors[f"weight {i}"])
            if steps:
                self.adam.state[weight] = {
                    "step": torch.tensor(float(steps)),
                    "exp_avg": tensors[f"first {i}"].to(weight.device),
                    "exp_avg_sq": tensors[f"second {i}"].to(weight.device),
                }
