"""What was paid for, in one file that is only appended to: state/answers.jsonl.

A line is written before calls are made (`charged`) and after they were answered
(`answers` or `said`). It is the books and the cache in one: a search that goes on after a
kill counts what it had spent, and pays for no (text, example) and no question twice. Calls
that were charged and never answered were lost with the process; they are known, too.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.llm.ledger import Ledger
from core.optimize.objectives import Outcome
from storage.ids import content_hash


class Answers:
    def __init__(self, path: Path, host: str, ledger: Ledger, *, count_lost: bool) -> None:
        """Read what is there into the cache and the ledger. `count_lost`: whether calls
        that were lost with a killed process still cost something (a host behind a URL),
        and so count against the budget."""
        self.host, self.ledger = host, ledger
        self.lost = 0
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._said: dict[str, str] = {}
        self._read(path, count_lost)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def outcome(self, text: str, example: str) -> Outcome | None:
        return self._outcomes.get((content_hash(text), example))

    def said(self, key: str) -> str | None:
        return self._said.get(key)

    def pay_for_outcomes(
        self, text: str, examples: list[str], make: Callable[[], Iterable[Outcome]]
    ) -> list[Outcome]:
        """Charge one call per example, make them, keep the answers."""
        self._charge("target", len(examples))
        outcomes = list(make())
        key = content_hash(text)
        answers = [[example, asdict(outcome)] for example, outcome in zip(examples, outcomes, strict=True)]
        self._write({"purpose": "target", "text": key, "answers": answers})
        self._keep(key, answers)
        return outcomes

    def pay_for_saying(self, key: str, make: Callable[[], tuple[str, dict[str, Any]]]) -> str:
        """Charge one call of the optimiser's own, make it, keep what was said. `make`
        answers the text, and tokens_in, tokens_out and cost."""
        self._charge("optimizer", 1)
        text, spent = make()
        self._write({"purpose": "optimizer", "key": key, "said": text, "spent": spent})
        self._said[key] = text
        self.ledger.record(self.host, "optimizer", **spent)
        return text

    def _charge(self, purpose: str, calls: int) -> None:
        self.ledger.charge(self.host, purpose, calls)
        self._write({"purpose": purpose, "charged": calls})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()

    def _keep(self, text: str, answers: list[Any]) -> None:
        for example, values in answers:
            outcome = Outcome(**values)
            self._outcomes[text, example] = outcome
            self.ledger.record(self.host, "target", outcome.tokens_in, outcome.tokens_out, outcome.cost)

    def _read(self, path: Path, count_lost: bool) -> None:
        if not path.exists():
            return
        block = path.read_bytes()
        whole = block[: block.rfind(b"\n") + 1]
        if len(whole) < len(block):  # half a line, of a writer that was killed
            with path.open("r+b") as file:
                file.truncate(len(whole))
        pending: tuple[str, int] | None = None
        for raw in whole.splitlines():
            line = json.loads(raw)
            if "charged" in line:
                self._settle(pending, answered=False, count_lost=count_lost)
                pending = line["purpose"], line["charged"]
                continue
            self._settle(pending, answered=True, count_lost=count_lost)
            pending = None
            if "said" in line:
                self._said[line["key"]] = line["said"]
                self.ledger.record(self.host, "optimizer", **line["spent"])
            else:
                self._keep(line["text"], line["answers"])
        self._settle(pending, answered=False, count_lost=count_lost)

    def _settle(self, pending: tuple[str, int] | None, *, answered: bool, count_lost: bool) -> None:
        if pending is None:
            return
        purpose, calls = pending
        if not answered:
            self.lost += calls
        if answered or count_lost:
            self.ledger.charge(self.host, purpose, calls)

    def close(self) -> None:
        self._file.close()
