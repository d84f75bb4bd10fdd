"""The work of a run of kind `transfer`, from its folder alone: prompts x hosts on the examples of
one split.

inputs/examples.parquet   as of the search, one split
inputs/reward.json        as of the search
inputs/hosts.json         HostSpecs, each with its key
inputs/texts.json         the prompts, the start first (core/optimize/transfer.py, Text)
inputs/known.parquet      what the search and earlier such runs were answered, if anything
inputs/grades.parquet     what judges said in earlier runs (core/optimize/known_grades.py), if anything
state/answers-<host>-<prompt>.jsonl  every answer paid for

A killed run goes on from the answers it has; a cancelled one keeps the cells that are done.
"""

import gc
import json
from collections import defaultdict
from typing import Any

import pyarrow.parquet as pq

from core.llm.ledger import Ledger
from core.llm.protocol import Host, HostSpec
from core.optimize.answers import Answers, Payer, answers_file
from core.optimize.evaluate import HostEvaluator, paired
from core.optimize.instruction import Instruction
from core.optimize.known_work import read_grades
from core.optimize.objectives import Objective, Outcome
from core.optimize.protocol import Evaluation, Rows
from core.optimize.work import (
    BATCH,
    BATCH_REMOTE,
    Hosts,
    judges_of,
    open_host,
    open_objective,
    payer,
    read_rows,
    stoppable,
)
from core.runs.context import Cancelled, RunContext, WorkError

Known = dict[str, dict[tuple[str, str], Outcome]]  # by file


def run(context: RunContext) -> dict[str, Any]:
    rows = read_rows(context.inputs / "examples.parquet")
    hosts, texts = (json.loads((context.inputs / f"{name}.json").read_text()) for name in ("hosts", "texts"))
    reward = json.loads((context.inputs / "reward.json").read_text())
    objective = open_objective(reward, Hosts(context))
    work = Work(context, rows, objective, texts, len(hosts), judges_of(reward))
    try:
        for number, host in enumerate(hosts):
            key = host.pop("key")
            work.on(HostSpec(**host), key, number)
            gc.collect()  # one model at a time
    except Cancelled:
        if not work.cells:
            raise
        return work.result(partial=True)
    finally:
        work.ledger.emit(context)
    context.progress(1.0, "Done")
    return work.result(partial=False)


class Work:
    def __init__(
        self,
        context: RunContext,
        rows: Rows,
        objective: Objective,
        texts: list[dict[str, Any]],
        hosts: int,
        judges: dict[str, Payer],
    ) -> None:
        self.judges = judges  # of a composed reward: paid beside the host
        self.context, self.rows, self.objective, self.texts, self.hosts = (
            context,
            rows,
            objective,
            texts,
            hosts,
        )
        self.split = context.config["split"]
        self.ledger = Ledger()
        self.known = read_known(context)
        self.grades = read_grades(context.inputs / "grades.parquet")
        self.cells: list[dict[str, Any]] = []
        self.failed = 0

    def on(self, spec: HostSpec, key: str, number: int) -> None:
        """All prompts on one host."""
        self._say(number, 0, f"Opening “{spec.name}”")
        self.context.check_cancelled()
        host = stoppable(open_host(spec, self.context.models_dir), self.context)
        if self.objective.needs not in host.access:
            raise WorkError(
                f"The host “{spec.name}” gives no {self.objective.needs}, which this reward needs."
            )
        start: Evaluation | None = None
        for place, text in enumerate(self.texts):
            self._say(number, place, f"{text['name']} on “{spec.name}”")
            scored, cell = self._score(host, key, text)
            start = start or scored
            cell["gain"] = None if scored is start else self._gain(scored, start)
            self.cells.append({"split": self.split, "host": spec.name, **cell})
            self.ledger.emit(self.context)

    def _score(self, host: Host, key: str, text: dict[str, Any]) -> tuple[Evaluation, dict[str, Any]]:
        file = answers_file(key, text["key"])
        answers = Answers(
            self.context.state / file,
            self.ledger,
            payer(host.spec),
            earlier=self.known.get(file, {}),
            others=self.judges,
        )
        try:
            evaluator = HostEvaluator(
                host,
                self.objective,
                Instruction(**text["instruction"]),
                self.rows,
                answers,
                batch=BATCH[self.objective.name] if host.spec.kind == "local" else BATCH_REMOTE,
                between=self.context.check_cancelled,
                grades=self.grades,
            )
            scored = evaluator.evaluate([text["text"]], self.split)
            self.failed += evaluator.failed
            scores = evaluator.measure(scored)
        finally:
            answers.close()
        named = {"prompt": text["name"], **{name: text[name] for name in ("key", "candidate", "prompt_id")}}
        return scored, {**named, "scores": scores}

    def _gain(self, scored: Evaluation, start: Evaluation) -> dict[str, Any]:
        rows = self.rows[self.split]
        return paired(
            self.objective, rows, (scored.scores[0], scored.outputs[0]), (start.scores[0], start.outputs[0])
        )

    def _say(self, host: int, text: int, message: str) -> None:
        done = (host * len(self.texts) + text) / (self.hosts * len(self.texts))
        self.context.progress(done, message)

    def result(self, partial: bool) -> dict[str, Any]:
        total = self.ledger.total
        return {
            "cells": self.cells,
            "split": self.split,
            "n": len(self.rows[self.split]),
            "calls": total.calls,
            "free_answers": total.cached,
            "failed_calls": self.failed,
            "tokens_in": total.tokens_in,
            "tokens_out": total.tokens_out,
            "cost": total.cost,
            "partial": partial,
        }


def read_known(context: RunContext) -> Known:
    path = context.inputs / "known.parquet"
    found: Known = defaultdict(dict)
    if path.exists():
        for row in pq.read_table(path).to_pylist():
            found[row["file"]][row["text"], row["example"]] = Outcome(**json.loads(row["outcome"]))
    return found
