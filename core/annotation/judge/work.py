"""Judge runs, worker side: ask the host about each pair in both orders, and keep what it says.

Answers are kept in state/ batch by batch, by write-then-rename, before anything is made of
them: whatever ends the run, no answer is paid for twice. Pairs of which both orders were
answered become judgements: files under artifacts/, written likewise and then announced.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.annotation.judge.prompt import (
    FIRST,
    SECOND,
    asked_again,
    consistent,
    letters,
    question,
    read_answer,
    verdict,
)
from core.llm.hosts import open_host
from core.llm.ledger import Ledger
from core.llm.protocol import Completion, HostSpec, Messages, Sampling
from core.runs.context import Cancelled, RunContext, WorkError
from core.runs.folder import write_json

PURPOSE = "judge"
ORDERS = (0, 1)  # response a stands first, response b stands first
ASKED_AT_MOST = 2  # an answer that cannot be read is asked for once more
KEPT_TEXT = 2_000  # characters of an answer
_PAIRS_ON_CPU = 8
_ANSWERS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("order", pa.int64()),
        ("answer", pa.string()),  # A, B, C, D; null: it could not be read
        ("asked", pa.int64()),
        ("said", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost", pa.float64()),
        ("error", pa.string()),
    ]
)
_JUDGEMENTS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("verdict", pa.string()),  # a, b, tie, both_bad
        ("consistent", pa.bool_()),
        ("a_first", pa.string()),  # the answer when response a stood first
        ("b_first", pa.string()),
    ]
)
Row = dict[str, Any]
Key = tuple[str, int]


def run(context: RunContext) -> dict[str, Any]:
    """Judge every pair of inputs/pairs.parquet. Raises WorkError when the host cannot work, or
    nothing that it said can be used."""
    spec = HostSpec(**json.loads((context.inputs / "host.json").read_text(encoding="utf-8")))
    work = _Work(context, spec)
    work.recover()
    left = [pair for pair in work.pairs if work.questions(pair)]
    if left:
        loading = f"Loading the model ({spec.model})" if spec.kind == "local" else ""
        context.progress(work.fraction, loading)
        context.check_cancelled()
        host: Any = open_host(spec, context.models_dir)
        if spec.kind == "local":
            host.stop = lambda: context.cancelled
        work.say()
        for batch in _batches(left, host):
            if context.cancelled:
                break
            work.judge(host, batch)
    return work.result(cancelled=context.cancelled)


def _batches(pairs: list[Row], host: Any) -> Iterator[list[Row]]:
    """What is asked and written together."""
    if host.spec.kind == "local":
        size = _PAIRS_ON_CPU if host.device == "cpu" else max(1, host.batch_size // 2)
    else:
        size = max(8, 2 * host.spec.concurrency)
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


class _Work:
    """What was answered and judged so far, on the disk and in the books."""

    def __init__(self, context: RunContext, spec: HostSpec) -> None:
        self.context, self.spec = context, spec
        self.pairs: list[Row] = pq.read_table(context.inputs / "pairs.parquet").to_pylist()
        self.judge_asked = json.loads((context.inputs / "judge.json").read_text(encoding="utf-8"))
        self.allowed = letters(self.judge_asked["template"])
        self.sampling = Sampling(int(context.config["max_new_tokens"]), 0.0, 1.0, context.seed)
        self.ledger = Ledger()
        self.answers: dict[Key, Row] = {}
        self.judged: dict[str, Row] = {}
        self.asked_again = 0
        self.seconds = 0.0
        self.files = {"answers": 0, "judgements": 0}

    # --- going on ---------------------------------------------------------------------------

    def recover(self) -> None:
        """Go on from the files and the books that an earlier worker left."""
        if self._books.exists():
            kept = json.loads(self._books.read_text(encoding="utf-8"))
            self.seconds = kept["seconds"]
            self.ledger.charge(self.spec.name, PURPOSE, kept["calls"])
        for path in sorted(self.context.state.glob("answers-*.parquet")):
            self.files["answers"] = int(path.stem.rsplit("-", 1)[1])
            self._note(pq.read_table(path).to_pylist())
        announced = {
            e["data"].get("path") for e in self.context.folder.read_events()[0] if e["type"] == "artifact"
        }
        for path in sorted(self.context.artifacts.glob("judgements-*.parquet")):
            self.files["judgements"] = int(path.stem.rsplit("-", 1)[1])
            rows = pq.read_table(path).to_pylist()
            self.judged |= {row["pair_id"]: row for row in rows}
            if str(path.relative_to(self.context.folder.path)) not in announced:
                self.context.artifact("judgements", path, rows=len(rows))  # killed just before
        self._judge_answered(self.pairs)  # killed between an answer and what it means

    @property
    def _books(self) -> Path:
        return self.context.state / "books.json"

    def _keep_books(self) -> None:
        write_json(self._books, {"calls": self.ledger.calls, "seconds": round(self.seconds, 3)})

    def _note(self, rows: list[Row]) -> None:
        for row in rows:
            before = self.answers.get((row["pair_id"], row["order"]))
            self.answers[row["pair_id"], row["order"]] = row
            if before is not None and not before["error"]:
                self.asked_again += 1
            self.ledger.record(self.spec.name, PURPOSE, row["tokens_in"], row["tokens_out"], row["cost"])

    # --- asking -----------------------------------------------------------------------------

    def questions(self, pair: Row) -> list[tuple[Key, Messages]]:
        """What is still to be asked about a pair: orders without an answer, and those whose
        first answer could not be read."""
        found = []
        for order in ORDERS:
            row = self.answers.get((pair["pair_id"], order))
            if row is not None and not row["error"] and (row["answer"] or row["asked"] >= ASKED_AT_MOST):
                continue
            two = (pair["text_a"], pair["text_b"]) if order == 0 else (pair["text_b"], pair["text_a"])
            asked = question(self.judge_asked["template"], {**self.judge_asked, "input": pair["input"]}, *two)
            if row is not None and not row["error"]:
                asked = asked_again(asked, row["said"], self.allowed)
            found.append(((pair["pair_id"], order), asked))
        return found

    def judge(self, host: Any, pairs: list[Row]) -> None:
        """A batch: asked, and what could not be read asked once more."""
        started, before = time.monotonic(), self.seconds
        try:
            for attempt in range(ASKED_AT_MOST):
                failed = {key for key, row in self.answers.items() if row["error"]} if attempt else set()
                todo = [item for pair in pairs for item in self.questions(pair) if item[0] not in failed]
                if todo:
                    self._ask(host, todo)
        except Cancelled:
            pass  # the caller sees it as well
        finally:
            self.seconds = before + time.monotonic() - started
            self._judge_answered(pairs)
            self._keep_books()
            self.ledger.emit(self.context)
            self.say()

    def _ask(self, host: Any, todo: list[tuple[Key, Messages]]) -> None:
        """Charged, asked, written. Whatever breaks off the asking, the answers that came are
        kept."""
        rows: list[Row] = []
        try:
            if "label_logprobs" in host.access:
                self._ask_for_letters(host, todo, rows)
            else:
                self._charge(len(todo))
                host.generate([asked for _, asked in todo], self.sampling, self._listener(todo, rows))
        finally:
            if rows:
                self._write("answers", self.context.state, rows, _ANSWERS)
                self._note(rows)

    def _charge(self, calls: int) -> None:
        self.ledger.charge(self.spec.name, PURPOSE, calls)
        self._keep_books()  # before the calls: those lost with a kill are counted, too

    def _ask_for_letters(self, host: Any, todo: list[tuple[Key, Messages]], rows: list[Row]) -> None:
        """The likeliest of the letters as the answer. One pair that does not fit the
        model's context is that pair's error."""
        fitting = []
        for key, asked in todo:
            tokens = len(host.tokens(host.rendered(asked)))
            if host.context is not None and tokens + 1 > host.context:
                said = f"{tokens:,} tokens are more than the {host.context:,} that the model takes."
                rows.append(self._row(key, None, Completion("", error=said)))
            else:
                fitting.append((key, asked, tokens))
        if not fitting:
            return
        self._charge(len(fitting))
        chosen = host.label_logprobs([asked for _, asked, _ in fitting], self.allowed).argmax(axis=1)
        for (key, _, tokens), letter in zip(fitting, chosen, strict=True):
            answer = Completion(
                self.allowed[letter], tokens_in=tokens, tokens_out=1,
                cost=(tokens * self.spec.price_in + self.spec.price_out) / 1e6,
            )  # fmt: skip
            rows.append(self._row(key, self.allowed[letter], answer))

    def _listener(self, todo: list[tuple[Key, Messages]], rows: list[Row]) -> Any:
        last = time.monotonic()

        def on_done(i: int, answer: Completion) -> None:
            nonlocal last
            rows.append(self._row(todo[i][0], read_answer(answer.text, self.allowed), answer))
            if time.monotonic() - last > 1.0:
                last = time.monotonic()
                self.say()
            self.context.check_cancelled()

        return on_done

    def _row(self, key: Key, letter: str | None, answer: Completion) -> Row:
        before = self.answers.get(key)
        asked = before["asked"] if before is not None and not before["error"] else 0
        return {
            "pair_id": key[0], "order": key[1], "answer": letter, "asked": asked + 1,
            "said": answer.text[:KEPT_TEXT], "tokens_in": answer.tokens_in,
            "tokens_out": answer.tokens_out, "cost": answer.cost, "error": answer.error,
        }  # fmt: skip

    # --- what it means ------------------------------------------------------------------------

    def _judge_answered(self, pairs: list[Row]) -> None:
        rows = []
        for pair in pairs:
            key = pair["pair_id"]
            first, second = ((self.answers.get((key, order)) or {}).get("answer") for order in ORDERS)
            if key in self.judged or first is None or second is None:
                continue
            rows.append(
                {
                    "pair_id": key,
                    "verdict": verdict(first, second),
                    "consistent": consistent(first, second),
                    "a_first": first,
                    "b_first": second,
                }
            )
        if rows:
            path = self._write("judgements", self.context.artifacts, rows, _JUDGEMENTS)
            self.judged |= {row["pair_id"]: row for row in rows}
            self.context.artifact("judgements", path, rows=len(rows))

    def _write(self, name: str, folder: Path, rows: list[Row], schema: pa.Schema) -> Path:
        self.files[name] += 1
        path = folder / f"{name}-{self.files[name]:05d}.parquet"
        part = path.with_suffix(".part")
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), part, compression="zstd")
        part.replace(path)
        return path

    @property
    def fraction(self) -> float:
        return len(self.answers) / (2 * len(self.pairs)) if self.pairs else 1.0

    def say(self) -> None:
        total = self.ledger.total
        cost = f", cost {total.cost:,.4f}" if total.cost else ""
        self.context.progress(
            self.fraction,
            f"{len(self.judged):,} of {len(self.pairs):,} pairs judged, {total.tokens_in:,} tokens in{cost}",
        )

    def result(self, *, cancelled: bool) -> dict[str, Any]:
        errors = [row["error"] for row in self.answers.values() if row["error"]]
        unread = [row for row in self.answers.values() if not row["error"] and row["answer"] is None]
        if self.pairs and not self.judged and not cancelled:
            self._nothing(errors, unread)
        orders = Counter(row["a_first"] + row["b_first"] for row in self.judged.values())
        verdicts = Counter(row["verdict"] for row in self.judged.values())
        books = self.ledger.total
        return {
            "pairs": len(self.pairs),
            "judged": len(self.judged),
            "wins": verdicts["a"] + verdicts["b"],
            "ties": verdicts["tie"],
            "both_bad": verdicts["both_bad"],
            "inconsistent": sum(not row["consistent"] for row in self.judged.values()),
            "orders": dict(orders),  # answers with a first, with b first -> pairs
            "unparsable": len({row["pair_id"] for row in unread}),
            "unparsable_answers": len(unread),
            "asked_again": self.asked_again,
            "failed": len({key[0] for key, row in self.answers.items() if row["error"]}),
            "errors": list(dict.fromkeys(errors))[:5],
            "first_share": _first_share(orders),
            "calls": books.calls,
            "tokens_in": books.tokens_in,
            "tokens_out": books.tokens_out,
            "cost": round(books.cost, 6),
            "seconds": round(self.seconds, 2),
            "partial": cancelled and len(self.answers) < 2 * len(self.pairs),
        }

    def _nothing(self, errors: list[str], unread: list[Row]) -> None:
        if errors:
            raise WorkError(
                f"None of the {len(self.pairs):,} pairs was judged by “{self.spec.name}”: {errors[0]}",
                "Test the host on the page Hosts; then resume.",
            )
        said = " ".join((unread[0]["said"] if unread else "").split())[:200]
        raise WorkError(
            f"None of the answers of “{self.spec.name}” could be read as "
            f"{', '.join(self.allowed[:-1])} or {self.allowed[-1]}. It said, for example: “{said}”",
            "Change the judge's prompt so that it asks for one letter, give more room for the answer, or "
            "take another model.",
        )


def _first_share(orders: Counter[str]) -> float | None:
    """Of the answers that prefer one response: the share for the one that stood first."""
    picked = [(letter, pairs) for two, pairs in orders.items() for letter in two if letter in (FIRST, SECOND)]
    total = sum(pairs for _, pairs in picked)
    return sum(pairs for letter, pairs in picked if letter == FIRST) / total if total else None
