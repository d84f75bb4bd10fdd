"""Generate runs, worker side: ask the host, and write what it answers batch by batch.

Each batch is a file of its own under artifacts/, written by write-then-rename and then
announced, so that whatever ends the run, what was answered is kept. A run that goes on
after a kill reads these files and asks only for the rest.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.llm.hosts import open_host
from core.llm.ledger import Ledger
from core.llm.protocol import Completion, Host, HostSpec, Sampling
from core.llm.soft_names import SOFT
from core.runs.context import Cancelled, RunContext, WorkError
from core.runs.folder import write_json

PURPOSE = "target"
_CPU_BATCH = 16
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("response_id", pa.string()),
        ("prompt_id", pa.string()),
        ("example_id", pa.string()),
        ("text", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("latency_ms", pa.float64()),
        ("cost", pa.float64()),
        ("finish_reason", pa.string()),
        ("error", pa.string()),
    ]
)


def run(context: RunContext) -> dict[str, Any]:
    """Ask for everything in inputs/requests.parquet. Raises WorkError when the host cannot
    work, or answered nothing at all."""
    spec = HostSpec(**json.loads((context.inputs / "host.json").read_text(encoding="utf-8")))
    requests = _read(context.inputs / "requests.parquet")
    work = _Work(context, spec)
    work.recover()
    left = [request for request in requests if request["key"] not in work.answered]
    if left:
        loading = f"Loading the model ({spec.model})" if spec.kind == "local" else ""
        context.progress(work.fraction(len(requests)), loading)
        context.check_cancelled()
        host: Any = open_host(spec, context.models_dir)
        if spec.kind == "local":
            host.stop = lambda: context.cancelled
        if (context.inputs / SOFT).exists():
            from core.llm.soft import Shelf

            host.shelf = Shelf(context.inputs / SOFT)
        sampling = Sampling(**context.config["params"], seed=context.seed)
        work.say(len(requests))
        for batch in _batches(left, host):
            if context.cancelled:
                break
            work.ask(host, batch, sampling, len(requests))
    return work.result(len(requests), cancelled=context.cancelled)


def _read(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist() if path.exists() else []


def _batches(requests: list[dict[str, Any]], host: Any) -> Iterator[list[dict[str, Any]]]:
    """What is answered and written together. On a processor half of what would be quickest:
    a cancel gives up the batch in the making. For a host behind a URL some rounds of what it
    answers at once, so that one slow answer does not hold up the others."""
    if host.spec.kind == "local":
        size = min(host.batch_size, _CPU_BATCH) if host.device == "cpu" else host.batch_size
    else:
        size = max(16, 4 * host.spec.concurrency)
    for start in range(0, len(requests), size):
        yield requests[start : start + size]


class _Work:
    """What was answered so far, on the disk and in the books."""

    def __init__(self, context: RunContext, spec: HostSpec) -> None:
        self.context, self.spec = context, spec
        self.ledger = Ledger()
        self.answered: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}  # by key; an answer that came later takes it off
        self.seconds = 0.0
        self.files = 0

    def recover(self) -> None:
        """Go on from the files and the books that an earlier worker left."""
        state = self._state
        if state.exists():
            kept = json.loads(state.read_text(encoding="utf-8"))
            self.seconds = kept["seconds"]
            self.ledger.charge(self.spec.name, PURPOSE, kept["calls"])
        announced = {
            e["data"].get("path") for e in self.context.folder.read_events()[0] if e["type"] == "artifact"
        }
        for path in sorted(self.context.artifacts.glob("responses-*.parquet")):
            self.files = max(self.files, int(path.stem.rsplit("-", 1)[1]))
            rows = _read(path)
            self._note(rows)
            if str(path.relative_to(self.context.folder.path)) not in announced:
                self.context.artifact("responses", path, rows=len(rows))  # killed just before

    @property
    def _state(self) -> Path:
        return self.context.state / "books.json"

    def _keep_books(self) -> None:
        write_json(self._state, {"calls": self.ledger.calls, "seconds": round(self.seconds, 3)})

    def _note(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["error"]:
                self.errors[row["key"]] = row["error"]
            else:
                self.answered[row["key"]] = row
                self.errors.pop(row["key"], None)
            self.ledger.record(
                self.spec.name, PURPOSE, row["tokens_in"] or 0, row["tokens_out"] or 0, row["cost"] or 0.0
            )

    def fraction(self, total: int, more: int = 0) -> float:
        return (len(self.answered) + more) / total if total else 1.0

    def ask(self, host: Host, batch: list[dict[str, Any]], sampling: Sampling, total: int) -> None:
        """One batch: charged, asked, written, announced. Whatever breaks off the asking,
        the answers that came are kept."""
        started = time.monotonic()
        before = self.seconds
        rows: list[dict[str, Any]] = []
        last = started

        def on_done(i: int, answer: Completion) -> None:
            nonlocal last
            rows.append(_row(batch[i], answer))
            if self.spec.kind == "local":
                return  # a whole batch comes at once
            if time.monotonic() - last > 1.0:
                last = time.monotonic()
                self.say(total, len(rows))
            self.context.check_cancelled()

        self.ledger.charge(self.spec.name, PURPOSE, len(batch))
        self._keep_books()  # before the calls: those lost with a kill are counted, too
        try:
            host.generate([json.loads(request["messages"]) for request in batch], sampling, on_done)
        except Cancelled:
            pass  # the caller sees it as well
        finally:
            self.seconds = before + time.monotonic() - started
            if rows:
                self._write(rows)
            self._keep_books()
            self.ledger.emit(self.context)
            self.say(total)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self.files += 1
        path = self.context.artifacts / f"responses-{self.files:05d}.parquet"
        part = path.with_suffix(".part")
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), part, compression="zstd")
        part.replace(path)
        self._note(rows)
        self.context.artifact("responses", path, rows=len(rows))
        for row in rows:
            if row["error"]:
                self.context.log(f"Failed: {row['error']}")

    def say(self, total: int, more: int = 0) -> None:
        done = len(self.answered) + more
        out = self.ledger.total.tokens_out
        speed = f", {out / self.seconds:,.0f} tokens/s" if self.seconds > 0 and out else ""
        self.context.progress(self.fraction(total, more), f"{done:,} of {total:,} answers{speed}")

    def result(self, total: int, *, cancelled: bool) -> dict[str, Any]:
        if total and not self.answered and self.errors and not cancelled:
            raise WorkError(
                f"None of the {total:,} requests was answered by “{self.spec.name}”: "
                f"{next(iter(self.errors.values()))}",
                "Test the host on the page Hosts; then resume.",
            )
        books = self.ledger.total
        latencies = sorted(row["latency_ms"] for row in self.answered.values())
        return {
            "responses": len(self.answered),
            "reused": int(self.context.config.get("reused", 0)),
            "failed": len(self.errors),
            "errors": list(dict.fromkeys(self.errors.values()))[:5],
            "calls": books.calls,
            "tokens_in": books.tokens_in,
            "tokens_out": books.tokens_out,
            "cost": round(books.cost, 6),
            "seconds": round(self.seconds, 2),
            "tokens_per_s": round(books.tokens_out / self.seconds, 1) if self.seconds > 0 else None,
            "latency_ms_median": round(latencies[len(latencies) // 2], 1) if latencies else None,
            "partial": cancelled and len(self.answered) + len(self.errors) < total,
        }


def _row(request: dict[str, Any], answer: Completion) -> dict[str, Any]:
    return {
        "key": request["key"],
        "response_id": request["response_id"],
        "prompt_id": request["prompt_id"],
        "example_id": request["example_id"],
        "text": answer.text,
        "tokens_in": answer.tokens_in,
        "tokens_out": answer.tokens_out,
        "latency_ms": answer.latency_ms,
        "cost": answer.cost,
        "finish_reason": answer.finish_reason,
        "error": answer.error,
    }
