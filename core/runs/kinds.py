"""The kinds of run, in one table: what prepares them, what works, what is done with the end.

    prepare(session, project, config, seed) -> Prepared   in the web process: checks the
        config, fills in defaults, and gathers the inputs that are frozen with the run
    work(context) -> result                               in the worker: no database
    finish(session, run, folder, result)                  in the web process, in the same
        transaction that marks the run as ended: what the result means for the project
    on_artifact(session, run, path, data)                 likewise, per announced artifact

Named by import path, so that the web process never imports torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from core.errors import Invalid


@dataclass
class Prepared:
    """What a run is frozen with. `tables` become inputs/<name>.parquet (lists of flat
    dicts), `documents` inputs/<name>.json, and `files` are copied to inputs/<name>. `store` is called in the unit of work that stores
    the run, for what must be there with it; it may be called again after a conflict."""

    config: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    name: str = ""
    store: Callable[[Any], None] | None = None  # a session; the worker knows no database


@dataclass(frozen=True)
class Kind:
    title: str
    module: str  # web side: prepare, finish and, if it announces any, on_artifact
    worker: str  # worker side: run
    seed: int | None = None  # when nobody names one; None: it is drawn
    pauses: bool = False  # whether the work looks for `context.paused` between its steps

    def web(self, name: str) -> Callable[..., Any] | None:
        return getattr(import_module(self.module), name, None)

    def work(self) -> Callable[..., dict[str, Any]]:
        return import_module(self.worker).run


KINDS: dict[str, Kind] = {
    "generate": Kind("Generate responses", "core.llm.generate", "core.llm.generate_work", seed=0),
    "reward_model": Kind("Train a reward model", "core.reward.runs", "core.reward.work"),
    "score_file": Kind("Score a file", "core.reward.files", "core.reward.files_work", seed=0),
    "reward_upload": Kind("Take in a reward model", "core.reward.upload", "core.reward.upload_work", seed=0),
    "optimize": Kind("Optimise a prompt", "core.optimize.runs", "core.optimize.work", pauses=True),
    "transfer": Kind(
        "Score prompts on other hosts", "core.optimize.transfer", "core.optimize.transfer_work", seed=0
    ),
    "judge": Kind("Judge pairs", "core.annotation.judge.runs", "core.annotation.judge.work", seed=0),
    "score": Kind("Score responses", "core.reward.scoring", "core.reward.score_work", seed=0),
    "reward_compare": Kind(
        "Compare reward models", "core.reward.compare_runs", "core.reward.compare_work", seed=0
    ),
    "reward_bench": Kind("Benchmark a reward model", "core.reward.bench", "core.reward.bench_work", seed=0),
}


def kind_of(name: str) -> Kind:
    if name not in KINDS:
        raise Invalid(f"There is no kind of run called “{name}”.", f"Kinds: {', '.join(KINDS)}.")
    return KINDS[name]
