"""The work of a run of kind `optimize`, from its folder alone.

inputs/examples.parquet   id, split, input, fields (JSON), messages (JSON), reference
inputs/host.json          a HostSpec: the model whose prompt is worked on
inputs/optimizer_host.json  a HostSpec: the model that proposes; often the same
inputs/reward.json        {"kind": "labels", "words": {reference: word}},
                          {"kind": "reward_model", "folder": …, "sampling": {…}}, or a composed
                          one (core/optimize/rewards/freezing.py)
inputs/known.parquet      what earlier runs were answered (core/optimize/known.py), if anything
inputs/grades.parquet     what judges said in earlier runs (core/optimize/known_grades.py), if anything
state/search.json         the optimiser, after its last step
state/answers.jsonl       every answer paid for
artifacts/soft/           the vectors of candidates that are soft prompts (core/llm/soft.py)
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from core.llm.ledger import Ledger
from core.llm.protocol import Host, HostSpec, Sampling
from core.llm.soft_names import SOFT
from core.optimize.answers import Answers, Payer
from core.optimize.curve import in_time
from core.optimize.evaluate import HostEvaluator
from core.optimize.instruction import Instruction
from core.optimize.known_work import read_grades, read_known
from core.optimize.methods import method_named
from core.optimize.objectives import LabelScore, Objective, RewardScore
from core.optimize.protocol import (
    FINISH_WORDS,
    AnyOf,
    Cancel,
    Candidate,
    Limits,
    NoImprovement,
    Optimizer,
    Pause,
    Rows,
    StopCondition,
    Target,
)
from core.optimize.report import Report
from core.optimize.rewards.composed import Composed
from core.optimize.rewards.kinds import kind_of_reward
from core.optimize.rewards.lengths import explained
from core.optimize.rewards.scores import what_breaks
from core.optimize.search import PARTIAL, Outcome, Search
from core.optimize.watch import Watch, agreement
from core.optimize.watched import GoldFalls
from core.runs.context import RunContext, WorkError
from core.runs.folder import write_json

if TYPE_CHECKING:
    from core.reward.score import RewardScorer

# Requests a host gets at once. In process it sorts them by length and cuts batches that fit
# its memory; behind a URL a batch is what a kill can lose.
BATCH = {"labels": 256, "reward_model": 32, "composed": 32}
BATCH_REMOTE = 16


def open_host(spec: HostSpec, models_dir: Path) -> Host:
    from core.llm.hosts import open_host as open_

    return open_(spec, models_dir)


def open_scorer(folder: Path) -> "RewardScorer":
    if not folder.exists():
        raise WorkError(
            f"The reward model's folder {folder} is gone.", "Activate another reward model and start again."
        )
    from core.reward.score import RewardScorer

    return RewardScorer(folder)


def run(context: RunContext) -> dict[str, Any]:
    config, began = context.config, time.monotonic()
    rows = read_rows(context.inputs / "examples.parquet")
    spec = HostSpec(**_read(context.inputs / "host.json"))
    context.progress(0.0, "Opening the language model")
    hosts = Hosts(context)
    host = hosts(spec)
    proposer = proposer_of(context, hosts, spec)
    reward = _read(context.inputs / "reward.json")
    objective = open_objective(reward, hosts)
    lengths = objective.lengths if isinstance(objective, Composed) else {}
    for name, found in lengths.items():
        context.log(f"“{name}”: {explained(found)}")
    if hasattr(host, "shelf"):  # a model in process can read vectors
        from core.llm.soft import Shelf

        host.shelf = Shelf(context.artifacts / SOFT)
    if objective.needs not in host.access:
        raise WorkError(
            f"The host “{spec.name}” gives no {objective.needs}, which this reward needs.",
            "Choose an in-process host, or optimise against the reward model.",
        )
    ledger = Ledger(config["budget"]["calls"])
    grades = read_grades(context.inputs / "grades.parquet")
    known = read_known(context.inputs / "known.parquet", objective, spec, grades)
    answers = Answers(
        context.state / "answers.jsonl",
        ledger,
        payer(spec),
        payer(proposer.spec),
        known.outcomes,
        judges_of(reward),
        known.responses,
    )
    plan = config["plan"]
    evaluator = HostEvaluator(
        host,
        objective,
        Instruction(**config["start"]),
        rows,
        answers,
        optimizer_host=proposer,
        reserve=plan["reserve"],
        batch=BATCH[objective.name] if spec.kind == "local" else BATCH_REMOTE,
        between=context.check_cancelled,
        limits=limits_of(config),
        grades=grades,
    )
    optimizer = make_optimizer(config, context.seed)
    people = watch_over(context, evaluator, optimizer)
    report = Report(context, ledger, optimizer, plan, evaluator)
    state_file = context.state / "search.json"
    search = Search(
        optimizer,
        evaluator,
        stop_condition(config, context, optimizer),
        state_file,
        report,
        pause=lambda: context.paused,
    )
    report.seconds = lambda: search.seconds
    if state_file.exists():
        search.load(_read(state_file))
        context.log(f"Going on after {len(optimizer.candidates)} candidates and {ledger.calls} calls.")
        for candidate in in_time(optimizer.candidates):  # a line may have been lost with the process
            report.candidate(candidate)
        report.learned(getattr(optimizer, "learned", lambda: None)())
    else:
        context.progress(0.0, f"Scoring the start on {len(rows['train'])} train examples")
    try:
        reason = search.run()
        context.log(FINISH_WORDS[reason])
        report.last_part = True
        outcome = search.finish(reason, plan["finalists"])
    finally:
        ledger.emit(context)
        answers.close()
    if outcome.reason != "paused":
        context.progress(1.0, FINISH_WORDS[outcome.reason])
    result = summary(outcome, optimizer, evaluator, Instruction(**config["start"]))
    return {**result, "agreement": people, "lengths": lengths, "method": config["method"], "reward": kind_of_reward(config["reward"]),
            "seconds": search.before + time.monotonic() - began}  # fmt: skip


def make_optimizer(config: dict[str, Any], seed: int) -> Optimizer:
    method = method_named(config["method"])
    return method.make(Instruction(**config["start"]).text, seed, config["options"])


def payer(spec: HostSpec) -> Payer:
    return Payer(spec.name, count_lost=spec.kind != "local")


def judges_of(reward: dict[str, Any]) -> dict[str, Payer]:
    """Who is paid for judging, by the name that a composed reward gives them."""
    return {f"judge/{name}": payer(HostSpec(**spec)) for name, spec in reward.get("hosts", {}).items()}


class Hosts:
    """Opens each language model once: the one that proposes or judges is often the target."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.open: list[tuple[HostSpec, Host]] = []

    def __call__(self, spec: HostSpec, what: str = "") -> Host:
        there = next((host for known, host in self.open if known == spec), None)
        if there is not None:
            return there
        if what:
            self.context.progress(0.0, f"Opening the language model that {what}")
        host = stoppable(open_host(spec, self.context.models_dir), self.context)
        self.open.append((spec, host))
        return host


def proposer_of(context: RunContext, hosts: Hosts, target: HostSpec) -> Host:
    """The optimiser's host: the target's, unless another one was named."""
    file = context.inputs / "optimizer_host.json"
    # A run frozen before there was a choice has no such file.
    return hosts(HostSpec(**_read(file)) if file.exists() else target, "proposes")


def stoppable(host: Host, context: RunContext) -> Host:
    """A model in process gives up the batch in hand when a person stops the search."""
    if hasattr(host, "stop"):
        host.stop = lambda: context.cancelled
    return host


def open_objective(reward: dict[str, Any], hosts: Hosts) -> Objective:
    if reward["kind"] == "labels":
        return LabelScore(reward["words"])
    if reward["kind"] == "composed":
        from core.optimize.rewards.opening import open_composed

        return open_composed(reward, open_scorer, lambda spec: hosts(spec, "judges"))
    return RewardScore(open_scorer(Path(reward["folder"])), Sampling(**reward["sampling"]))


def watch_over(context: RunContext, evaluator: HostEvaluator, optimizer: Optimizer) -> dict[str, Any]:
    """Watch what is generated (core/optimize/watch.py). Answers how often the reward's model and
    the gold one agree with sealed votes of people, by name."""
    file = context.inputs / "watch.json"
    if not file.exists():
        return {}
    watch = _read(file)
    gold = open_scorer(Path(watch["gold"]["folder"])) if watch["gold"] else None
    evaluator.watch = Watch(gold, getattr(optimizer, "kl", lambda: None))
    known, votes = context.state / "agreement.json", context.inputs / "votes.parquet"
    if not known.exists() and votes.exists():
        rows = pq.read_table(votes).to_pylist()
        found = {one["name"]: agreement(open_scorer(Path(one["folder"])), rows) for one in watch["proxy"]}
        if gold is not None:
            found[watch["gold"]["name"]] = agreement(gold, rows)
        write_json(known, found)
        context.emit("agreement", models=found)
    return dict(_read(known)) if known.exists() else {}


def stop_condition(config: dict[str, Any], context: RunContext, optimizer: Optimizer) -> StopCondition:
    stop = config.get("stop", {})
    makers: dict[str, Callable[[Any], StopCondition]] = {
        "target": Target,
        "no_improvement": NoImprovement,
    }
    chosen = [makers[name](value) for name, value in stop.items() if value is not None and name in makers]
    checks = (config.get("watch") or {}).get("stop_after")
    if checks is not None:
        chosen.append(GoldFalls(lambda: optimizer.candidates, checks))
    return AnyOf((Cancel(lambda: context.cancelled), Pause(lambda: context.paused), *chosen))


def limits_of(config: dict[str, Any]) -> Limits:
    stop = config.get("stop", {})
    return Limits(stop.get("tokens"), stop.get("cost"), stop.get("seconds"))


def read_rows(path: Path) -> Rows:
    rows: Rows = {"train": [], "dev": [], "test": []}
    for row in pq.read_table(path).to_pylist():
        earlier = json.loads(row["messages"]) if row.get("messages") else None
        rows[row["split"]].append({**row, "fields": json.loads(row["fields"]), "messages": earlier})
    return rows


def summary(
    outcome: Outcome, optimizer: Optimizer, evaluator: HostEvaluator, instruction: Instruction
) -> dict[str, Any]:
    """The run's result, as JSON."""
    lines = evaluator.ledger.lines
    spent: dict[str, int] = {}
    for (_, purpose), line in lines.items():
        spent[purpose] = spent.get(purpose, 0) + line.calls
    total = evaluator.ledger.total
    return {
        "best": _described(outcome.best, instruction),
        "start": _described(outcome.start, instruction),
        "improved": outcome.best is not outcome.start,
        "gain": outcome.gain,
        "finalists": outcome.finalists,
        "finish_reason": outcome.reason,
        "finish_words": FINISH_WORDS[outcome.reason],
        "partial": outcome.reason in PARTIAL,
        "calls": evaluator.calls,
        "calls_by_purpose": spent,
        "budget": evaluator.ledger.budget_calls,
        "candidates": len(optimizer.candidates),
        "accepted": sum(candidate.accepted for candidate in optimizer.candidates),
        "dropped": optimizer.dropped,
        "infeasible": sum(bool(what_breaks(candidate.scores)) for candidate in optimizer.candidates),
        "breaks": what_breaks(outcome.best.scores),
        "figures": [asdict(figure) for figure in optimizer.figures()],
        "failed_calls": evaluator.failed,
        "lost_calls": evaluator.answers.lost,
        "free_answers": total.cached,
        "tokens_in": total.tokens_in,
        "tokens_out": total.tokens_out,
        "cost": total.cost,
    }


def _described(candidate: Candidate, instruction: Instruction) -> dict[str, Any]:
    system, user = instruction.with_text(candidate.text)
    return {
        "number": candidate.number,
        "text": candidate.text,
        "system": system,
        "user": user,
        "operation": candidate.operation,
        "train": candidate.scores.get("train"),
        "dev": candidate.scores.get("dev"),
        "test": candidate.scores.get("test"),
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
