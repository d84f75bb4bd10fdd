"""What a host of a language model is: one protocol for models in process and behind a URL."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

Messages = list[dict[str, str]]  # [{"role": "system" | "user" | "assistant", "content": …}]


@dataclass(frozen=True)
class HostSpec:
    """Where a model runs, as frozen in a run's inputs (`host.json`). `model` of a local
    host is `embedded`, a folder or a hub id. The key itself is never written down:
    `api_key_env` names the environment variable that holds it."""

    kind: str = "local"  # local, openai
    model: str = "embedded"
    name: str = "embedded"
    base_url: str = ""
    api_key_env: str = ""
    price_in: float = 0.0  # per million tokens
    price_out: float = 0.0
    concurrency: int = 8
    timeout_s: float = 60.0
    params: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Sampling:
    max_new_tokens: int = 128
    temperature: float = 0.7  # 0: greedy
    top_p: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """One answer. `error` is set, and `text` empty, when this one request failed for
    good (the others of the batch still answer)."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    latency_ms: float = 0.0
    cost: float = 0.0
    finish_reason: str = "stop"  # stop, length, error
    error: str = ""


class Host(Protocol):
    """`access` says what the host can give: `text`, `label_logprobs`, `gradients`.
    Methods raise core.runs.context.WorkError when the host as a whole cannot work
    (wrong key, URL or model; out of memory), with a hint a person can act on."""

    spec: HostSpec
    access: frozenset[str]

    def generate(
        self,
        requests: Sequence[Messages],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[Completion]:
        """Answer each request, in order. The seed of request i depends on its content
        and `sampling.seed` (or `seeds[i]`, so that one request can be answered several
        times in one batch), not on its place in the batch. `on_done(i, completion)` is
        called as each finishes, so that partial work can be kept."""
        ...

    def label_logprobs(self, requests: Sequence[Messages], labels: Sequence[str]) -> np.ndarray:
        """(len(requests), len(labels)) log-probabilities of each whole label as the
        answer, comparable within a row. Raises WorkError where `access` lacks it."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A host that can say how long requests are before or beside answering them."""

    def count_tokens(self, requests: Sequence[Messages]) -> list[int]:
        """Tokens of each request, as `Completion.tokens_in` has them."""
        ...
