"""A language model behind an OpenAI-compatible URL: vLLM, TGI, llama.cpp, a vendor.

Several requests are under way at once. The `openai` client repeats what may pass by
itself (429, 5xx, connections that break) with growing pauses, and honours Retry-After.
What stays wrong for one request is that request's error; what is wrong with the host
(key, URL, model) ends the work with a message that names the host and what to change.
The key is read from the environment when the host is opened, and is never written down.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import numpy as np
import openai
from openai import OpenAI
from openai.types.chat import ChatCompletion

from core.llm.protocol import Completion, HostSpec, Messages, Sampling
from core.runs.context import WorkError

RETRIES = 4  # after pauses of .5, 1, 2 and 4 s, or what the server asks for
_LAST_MOMENT_S = 10.0
# How vLLM and llama.cpp are told that the last message is to be continued.
_GO_ON = {"continue_final_message": True, "add_generation_prompt": False}
_NO_KEY = "none"  # the client wants one; without it, it would send OPENAI_API_KEY to any URL


class RemoteHost:
    """Text only: label probabilities of other servers' chat models cannot be had reliably.

    `spec.params`: `max_retries`, and `extra_body` (an object that is sent along with each
    request, for what only this server knows)."""

    access = frozenset({"text"})

    def __init__(self, spec: HostSpec, client: OpenAI | None = None) -> None:
        self.spec = spec
        self._client = client or client_of(spec)
        self._unwanted: set[str] = set()  # parameters that this server refused
        self._lock = threading.Lock()

    def generate(
        self,
        requests: Sequence[Messages],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[Completion]:
        """As the protocol says. `on_done` is called by one thread at a time. How far a
        server honours a seed is its own affair."""
        answers: dict[int, Completion] = {}
        stop = threading.Event()  # ask nothing more
        closed = False  # nobody listens any more

        def one(i: int) -> None:
            if stop.is_set():
                return
            answer = self._answer(requests[i], replace(sampling, seed=seeds[i]) if seeds else sampling)
            with self._lock:
                if closed:
                    return
                answers[i] = answer
                if on_done is not None:
                    on_done(i, answer)

        pool = ThreadPoolExecutor(max_workers=max(1, self.spec.concurrency))
        futures = [pool.submit(one, i) for i in range(len(requests))]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            # The host as a whole fails, or somebody gave up. What is under way was paid
            # for: it has a moment to arrive.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            wait([future for future in futures if not future.cancelled()], timeout=_LAST_MOMENT_S)
            with self._lock:
                closed = True
        return [answers[i] for i in range(len(requests))]

    def label_logprobs(self, requests: Sequence[Messages], labels: Sequence[str]) -> np.ndarray:
        raise WorkError(
            f"The host “{self.spec.name}” answers with text only, and gives no label probabilities.",
            "Use a local host for this, or a method that needs text alone.",
        )

    def ask(self, request: Messages, sampling: Sampling) -> Completion:
        """One answer. Raises WorkError, or openai.APIError for what is only this request's."""
        started = time.perf_counter()
        return self._completion(self._ask(request, sampling), _since(started))

    def _answer(self, request: Messages, sampling: Sampling) -> Completion:
        started = time.perf_counter()
        try:
            return self.ask(request, sampling)
        except openai.APIError as problem:
            reason = host_problem(self.spec, problem, self._client)
            if reason is not None:
                raise reason from problem
            return Completion("", finish_reason="error", error=said(problem), latency_ms=_since(started))

    def _ask(self, request: Messages, sampling: Sampling) -> ChatCompletion:
        """Ask; when the server refuses a parameter it does not know, ask without it."""
        while True:
            given = self._parameters(sampling, begun=request[-1]["role"] == "assistant")
            try:
                return self._client.chat.completions.create(
                    model=self.spec.model,
                    messages=list(request),  # type: ignore[arg-type]
                    **given,
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as problem:
                refused = _refused_parameter(problem, given)
                if refused is None:
                    raise
                with self._lock:
                    self._unwanted.add(refused)

    def _parameters(self, sampling: Sampling, begun: bool = False) -> dict[str, Any]:
        """`begun`: the request ends with the assistant's words, and the answer goes on from
        there, on servers that know how."""
        given: dict[str, Any] = {"max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature}
        if sampling.temperature > 0:
            given["top_p"] = sampling.top_p
        given["seed"] = sampling.seed % 2**31
        if "max_tokens" in self._unwanted:  # newer vendors have renamed it
            given["max_completion_tokens"] = given["max_tokens"]
        given = {name: value for name, value in given.items() if name not in self._unwanted}
        extra = self.spec.params.get("extra_body")
        extra = dict(extra) if isinstance(extra, dict) else {}
        if begun and not self._unwanted & set(_GO_ON):
            extra |= _GO_ON
        return {**given, "extra_body": extra} if extra else given

    def _completion(self, answer: Any, latency_ms: float) -> Completion:
        choices = getattr(answer, "choices", None)
        if not choices or choices[0].message is None:
            raise WorkError(
                f"The host “{self.spec.name}” at {self.spec.base_url} did not answer like an "
                "OpenAI-compatible server.",
                "Check the URL: for most servers it ends in /v1.",
            )
        usage = answer.usage
        tokens_in = (usage.prompt_tokens or 0) if usage else 0
        tokens_out = (usage.completion_tokens or 0) if usage else 0
        return Completion(
            text=(choices[0].message.content or "").strip(),
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            latency_ms=latency_ms,
            cost=(tokens_in * self.spec.price_in + tokens_out * self.spec.price_out) / 1e6,
            finish_reason="length" if choices[0].finish_reason == "length" else "stop",
        )


def client_of(spec: HostSpec, *, max_retries: int | None = None, timeout_s: float | None = None) -> OpenAI:
    """The client for a host. Raises WorkError when its URL is none, or its key's
    environment variable is not set."""
    if not re.match(r"https?://[^/\s]", spec.base_url):
        raise WorkError(
            f"The host “{spec.name}” has no usable URL (“{spec.base_url}”).",
            "It starts with http:// or https://, and for most servers ends in /v1.",
        )
    key = os.environ.get(spec.api_key_env, "").strip() if spec.api_key_env else _NO_KEY
    if not key:
        raise WorkError(
            f"The host “{spec.name}” reads its key from the environment variable {spec.api_key_env}, "
            "which is not set.",
            f"Set {spec.api_key_env} where Prefloop is started, and start it again.",
        )
    retries = int(spec.params.get("max_retries", RETRIES)) if max_retries is None else max_retries
    client = OpenAI(
        base_url=spec.base_url, api_key=key, timeout=timeout_s or spec.timeout_s, max_retries=retries
    )
    # Of what the environment holds for OpenAI itself, nothing goes to another server.
    client.organization = client.project = None
    return client


def host_problem(spec: HostSpec, problem: openai.APIError, client: OpenAI | None = None) -> WorkError | None:
    """What is wrong with the host as a whole, or None when only this request failed."""
    where = f"The host “{spec.name}” at {spec.base_url}"
    if isinstance(problem, openai.AuthenticationError | openai.PermissionDeniedError):
        key = f"the key in the environment variable {spec.api_key_env}" if spec.api_key_env else "no key"
        what = "refused the key" if spec.api_key_env else "wants a key"
        return WorkError(
            f"{where} {what} ({problem.status_code}): {said(problem)}",
            f"It was asked with {key}. Set the right key there, or name another variable in the host.",
        )
    if isinstance(problem, openai.NotFoundError) or _names_model(spec, problem):
        if _names_model(spec, problem):
            return WorkError(
                f"{where} does not know the model “{spec.model}”: {said(problem)}",
                _known_models(client) or "Check the model's name with whoever runs the server.",
            )
        return WorkError(
            f"{where} has no chat completions there (404): {said(problem)}",
            "Check the URL: for most servers it ends in /v1. Check the model's name, too.",
        )
    if isinstance(problem, openai.RateLimitError) and "quota" in said(problem).lower():
        return WorkError(
            f"{where} refuses further calls: {said(problem)}", "Check the plan and billing of the account."
        )
    if isinstance(problem, openai.APIConnectionError) and not isinstance(problem, openai.APITimeoutError):
        return WorkError(
            f"{where} cannot be reached: {said(problem)}",
            "Check that the server runs, and that this machine may reach the URL.",
        )
    if isinstance(problem, openai.APIResponseValidationError):
        return WorkError(
            f"{where} did not answer like an OpenAI-compatible server: {said(problem)}",
            "Check the URL: for most servers it ends in /v1.",
        )
    return None


def said(problem: openai.APIError) -> str:
    """What the server said, in one line, without a key in it."""
    if isinstance(problem, openai.APITimeoutError):
        return "No answer within the time limit."
    body = problem.body if isinstance(problem.body, dict) else {}
    text = body.get("message") or body.get("detail") or problem.message
    if isinstance(problem, openai.APIConnectionError) and problem.__cause__ is not None:
        text = str(problem.__cause__) or text
    line = " ".join(str(text).split())[:300]
    line = re.sub(r"(sk|pk|hf|gsk|key)[-_][\w*.-]{6,}", "(key)", line)
    if line.startswith("<"):
        line = "a web page instead of an answer"
    if line and line[-1] not in ".!?…":
        line += "."  # what to do about it follows
    if isinstance(problem, openai.InternalServerError | openai.RateLimitError):
        return f"{problem.status_code}: {line}"
    return line


def _names_model(spec: HostSpec, problem: openai.APIError) -> bool:
    """Servers say it with 400, 404 or 422; what they have in common is the name."""
    if not isinstance(
        problem, openai.NotFoundError | openai.BadRequestError | openai.UnprocessableEntityError
    ):
        return False
    text = said(problem).lower()
    code = str(getattr(problem, "code", "") or "").lower()
    named = spec.model.lower() in text or "model" in text
    missing = any(
        word in text
        for word in ("not found", "does not exist", "unknown", "requested", "not exist", "invalid model")
    )
    return "model_not_found" in code or (named and missing)


def _known_models(client: OpenAI | None) -> str:
    if client is None:
        return ""
    try:
        names = [model.id for model in client.with_options(max_retries=0, timeout=5).models.list()]
    except Exception:  # a courtesy: whatever goes wrong here, the first problem is what counts
        return ""
    return f"It has: {', '.join(sorted(names)[:10])}." if names else ""


def _refused_parameter(problem: openai.APIStatusError, given: dict[str, Any]) -> str | None:
    """The parameter a server does not take, of those that can be left out or renamed."""
    body = problem.body if isinstance(problem.body, dict) else {}
    text = f"{body.get('param') or ''} {said(problem)}".lower()
    known = {**given.get("extra_body", {}), **given}
    for name in ("max_tokens", "seed", "top_p", *_GO_ON):
        if name in known and name in text:
            return name
    return None


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
