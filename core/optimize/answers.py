"""What was paid for, in one file that is only appended to: state/answers.jsonl.

A line is written before calls are made (`charged`) and after they were answered or done:

    responses  what the target said to (text, example)
    graded     what a judge said of those responses
    scored     their outcomes
    answers    (text, example) that were answered and scored in one, such as labels
    said       what the optimiser asked for
    worked     a step of training

and when something of an earlier run is used, which is no call:

    free       an outcome, as it was
    taken      a response, to be scored anew
    again      (in older files) such a response, scored; a judge may have been paid for it

It is the books and the cache in one: a search that goes on after a kill counts what it had spent,
and pays for no (text, example), no judge's grade, no question and no step of training twice. Calls
that were charged and never answered were lost with the process; they are known, too.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from core.llm.ledger import BudgetSpent, Ledger
from core.optimize.graded import taken_by_judges
from core.optimize.objectives import TARGET, Graded, Heard, Judging, Outcome
from storage.ids import content_hash

_hash = lru_cache(4_096)(content_hash)  # a text is asked about once for each example
T = TypeVar("T")
# A text; tokens_in, tokens_out and cost; whether the host gave up on it
Said = tuple[str, dict[str, Any], bool]


@dataclass(frozen=True)
class Payer:
    """A host's name in the books. `count_lost`: whether calls that were lost with a killed
    process still cost something (a host behind a URL), and so count against the budget."""

    host: str
    count_lost: bool


def answers_file(host: str, text: str) -> str:
    """The name of the file where there are several: one for each host and prompt, by their keys."""
    return f"answers-{host}-{text}.jsonl"


class Answers:
    def __init__(
        self,
        path: Path,
        ledger: Ledger,
        target: Payer,
        optimizer: Payer | None = None,
        earlier: Mapping[tuple[str, str], Outcome] | None = None,
        others: Mapping[str, Payer] | None = None,
        responses: Mapping[tuple[str, str], Heard] | None = None,
    ) -> None:
        """Read what is there into the cache and the ledger. `target`: the host whose
        prompt is worked on; `optimizer`: the host that proposes, if it is another;
        `earlier`: what other runs paid for, by (hash of the text, example); `others`:
        who else is paid when an example is scored, such as `judge/<host>`; `responses`: what
        the target said in other runs, which this run's reward has not scored."""
        self.ledger = ledger
        self.earlier, self.responses = earlier or {}, responses or {}
        self.saved = 0  # calls that judging was to take, and did not: the grade was known by then
        self.payers = {"target": target, "optimizer": optimizer or target, **(others or {})}
        self.lost = 0
        self.failed = 0  # requests a host gave up on
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._heard: dict[tuple[str, str], Heard] = {}  # responses that are not scored yet
        self._graded: list[tuple[str, str, dict[str, Graded]]] = []
        self._judged: Counter[tuple[str, str]] = Counter()  # calls of judges for what is not scored yet
        self._paid: dict[tuple[str, str], int] = {}  # calls spent once it was paid for
        self._said: dict[str, str] = {}
        self._worked: set[str] = set()
        self._read(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def outcome(self, text: str, example: str) -> Outcome | None:
        key = _hash(text), example
        return self._outcomes.get(key) or self.earlier.get(key)

    def response(self, text: str, example: str) -> Heard | None:
        """What the target said to it in an earlier run, to be scored anew."""
        return self.responses.get((_hash(text), example))

    def heard(self, text: str, example: str) -> Heard | None:
        """What the target said to it in this run, or was taken up by it, and is not scored yet."""
        return self._heard.get((_hash(text), example))

    def judged(self, text: str, example: str) -> int:
        """Calls that judges were paid for this one already, which is not scored yet."""
        return self._judged[_hash(text), example]

    def graded(self) -> Iterable[tuple[str, str, Mapping[str, Graded]]]:
        """(example, response, grades) that this run has paid for."""
        return self._graded

    def outputs(self, examples: Set[str]) -> list[tuple[str, float, str]]:
        """(example, score, output) of every text on these examples so far."""
        return [
            (example, outcome.score, outcome.output)
            for (_, example), outcome in self._outcomes.items()
            if example in examples
        ]

    def use(self, asked: Sequence[tuple[str, str]]) -> None:
        """Take over what an earlier run paid for: counted as cached, and no call."""
        keys = [(_hash(text), example) for text, example in asked]
        free = [
            [*key, asdict(_paid_then(self.earlier[key]))]
            for key in keys
            if key in self.earlier and key not in self._outcomes
        ]
        if free:
            self._write({"purpose": "target", "free": free})
            self._keep_free(free)

    def take(self, asked: Sequence[tuple[str, str]]) -> None:
        """Take up what the target said in an earlier run (`response`): counted as cached, and no
        call. It costs what it would cost today, should the reward look at that."""
        keys = [(_hash(text), example) for text, example in asked]
        taken = [[*key, _plain(self.responses[key])] for key in keys]
        self._write({"purpose": "target", "taken": taken})
        self._keep_taken(taken)

    def paid(self, text: str, examples: Iterable[str]) -> int:
        """Calls the run had spent once a text was scored on all of these."""
        key = _hash(text)
        return max(self._paid[key, example] for example in examples)

    def expected(self) -> tuple[float, float]:
        """Tokens and cost of scoring one text on one example, everybody who is paid for it together,
        as it was so far: the means of those known, and of those that were paid for."""
        spent = [_spent_on(outcome) for outcome in self._outcomes.values()]
        tokens = [sum(tokens_in + tokens_out for tokens_in, tokens_out, _ in each) for each in spent]
        costs = [cost for each in spent if (cost := sum(of[2] for of in each))]
        return sum(tokens) / max(1, len(tokens)), sum(costs) / max(1, len(costs))

    def said(self, key: str) -> str | None:
        return self._said.get(key)

    def pay_for_outcomes(
        self,
        asked: Sequence[tuple[str, str]],
        make: Callable[[], Iterable[Outcome]],
        price: Mapping[str, int] = TARGET,
    ) -> list[Outcome]:
        """Charge the calls of each (text, example), `price` says how many of whom, make
        them, keep the answers."""
        self._charge({payer: calls * len(asked) for payer, calls in price.items()})
        outcomes = list(make())
        answers = [
            [_hash(text), example, asdict(outcome)]
            for (text, example), outcome in zip(asked, outcomes, strict=True)
        ]
        self._write({"purpose": "target", "answers": answers})
        self._keep(answers, sum(price.values()))
        return outcomes

    def pay_for_responses(
        self, asked: Sequence[tuple[str, str]], make: Callable[[], Iterable[Heard]]
    ) -> None:
        """Charge one call of the target each, make them, keep what was said (`heard`)."""
        self._charge({"target": len(asked)})
        responses = [
            [_hash(text), example, _plain(said)] for (text, example), said in zip(asked, make(), strict=True)
        ]
        self._write({"purpose": "target", "responses": responses})
        self._keep_responses(responses)

    def pay_for_grades(
        self, judge: Judging, asked: Sequence[tuple[str, str]], make: Callable[[], Iterable[Graded]]
    ) -> list[Graded]:
        """Charge one call of the judge for each of these, of which the response is `heard`, make
        them, keep the grades."""
        self._charge({judge.payer: len(asked)})
        grades = list(make())
        graded = [
            [_hash(text), example, asdict(grade)]
            for (text, example), grade in zip(asked, grades, strict=True)
        ]
        self._write({"purpose": judge.payer, "judge": judge.name, "graded": graded})
        self._keep_graded(judge.payer, judge.name, graded)
        return grades

    def pay_for_scoring(
        self,
        asked: Sequence[tuple[str, str]],
        make: Callable[[], Iterable[Outcome]],
        prices: Sequence[Mapping[str, int]],
        judging: int = 0,
    ) -> None:
        """Make outcomes of what was `heard`, and judged. `prices` say for each who is paid for it
        all the same, if anybody is; `judging`: calls that judges were to take for all of them."""
        charges: Counter[str] = Counter()
        for price in prices:
            charges.update(price)
        if charges:
            self._charge(charges)
        scored = [
            [_hash(text), example, asdict(outcome)]
            for (text, example), outcome in zip(asked, make(), strict=True)
        ]
        calls = [sum(price.values()) for price in prices]
        line = {"purpose": "target", "scored": scored, "calls": calls}
        self._write({**line, "judging": judging} if judging else line)
        self._keep_scored(scored, calls, judging)

    def pay_for_saying(self, keys: Sequence[str], make: Callable[[], list[Said]]) -> list[str]:
        """Charge one call of the optimiser's own per key, make them, keep what was said."""
        self._charge({"optimizer": len(keys)})
        made = make()
        said = [[key, text, spent] for key, (text, spent, _) in zip(keys, made, strict=True)]
        failed = sum(gave_up for *_, gave_up in made)
        self._write({"purpose": "optimizer", "said": said, **({"failed": failed} if failed else {})})
        self._keep_said(said, failed)
        return [self._said[key] for key in keys]

    def worked(self, key: str) -> bool:
        """Whether this step of training is paid for."""
        return key in self._worked

    def pay_for_work(self, key: str, purpose: str, calls: int, make: Callable[[], T]) -> T:
        """Charge the calls of a step of training, once for each key, and take it. What it
        made is not kept: a step that is taken again is made again, for nothing."""
        if key in self._worked:
            return make()
        self._charge({purpose: calls})
        made = make()
        self._write({"purpose": purpose, "worked": key})
        self._worked.add(key)
        return made

    def _charge(self, charges: Mapping[str, int]) -> None:
        """All of them, or none: whoever asks has seen to it that they fit."""
        remaining, wanted = self.ledger.remaining, sum(charges.values())
        if remaining is not None and wanted > remaining:
            raise BudgetSpent(wanted, remaining, self.ledger.budget_calls or 0)
        for payer, calls in charges.items():
            self.ledger.charge(self.payers[payer].host, _purpose(payer), calls)
        first, *others = charges
        line: dict[str, Any] = {"purpose": first, "charged": charges[first]}
        self._write({**line, "others": {payer: charges[payer] for payer in others}} if others else line)

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()

    def _keep(self, answers: list[Any], each: int) -> None:
        """`each`: calls that one of them took."""
        before = self.ledger.calls - each * len(answers)  # they were charged just now
        for place, (text, example, values) in enumerate(answers, 1):
            self._paid[text, example] = before + each * place
            outcome = Outcome(**values)
            self._outcomes[text, example] = outcome
            self.failed += bool(outcome.error)
            spent = {"target": (outcome.tokens_in, outcome.tokens_out, outcome.cost)}
            for payer, of in {**spent, **outcome.detail.get("spent", {})}.items():
                self.ledger.record(self.payers[payer].host, _purpose(payer), *of)

    def _keep_free(self, free: list[Any]) -> None:
        for text, example, values in free:
            self._outcomes[text, example] = Outcome(**values)
            self._paid[text, example] = self.ledger.calls
        self.ledger.record(self.payers["target"].host, "target", cached=len(free))

    def _keep_responses(self, responses: list[Any]) -> None:
        before = self.ledger.calls - len(responses)
        for place, (text, example, values) in enumerate(responses, 1):
            said = Heard(**values)
            self._heard[text, example] = said
            self._paid[text, example] = before + place
            self.failed += bool(said.error)
            self.ledger.record(
                self.payers["target"].host, "target", said.tokens_in, said.tokens_out, said.cost
            )

    def _keep_taken(self, taken: list[Any]) -> None:
        for text, example, values in taken:
            self._heard[text, example] = Heard(**values)
            self._paid[text, example] = self.ledger.calls
        self.ledger.record(self.payers["target"].host, "target", cached=len(taken))

    def _keep_graded(self, payer: str, judge: str, graded: list[Any]) -> None:
        for text, example, values in graded:
            grade = Graded(**values)
            self._graded.append((example, self._heard[text, example].text, {judge: grade}))
            self._judged[text, example] += 1
            self.failed += bool(grade.error)
            spent = grade.tokens_in, grade.tokens_out, grade.cost
            self.ledger.record(self.payers[payer].host, _purpose(payer), *spent)

    def _keep_scored(self, scored: list[Any], calls: Sequence[int], judging: int) -> None:
        """`calls`: that scoring each of them took."""
        self.saved += judging - sum(self._judged.pop((text, example), 0) for text, example, _ in scored)
        spent = self.ledger.calls - sum(calls)
        for (text, example, values), took in zip(scored, calls, strict=True):
            spent += took
            del self._heard[text, example]
            self._outcomes[text, example] = Outcome(**values)
            if any(calls) or judging:  # else it was known once it was said
                self._paid[text, example] = spent

    def _keep_again(self, answers: list[Any], calls: Sequence[int]) -> None:
        """`calls`: that scoring each of them anew took."""
        self._keep_free(answers)
        spent = self.ledger.calls - sum(calls)
        for (text, example, values), took in zip(answers, calls, strict=True):
            spent += took
            self._paid[text, example] = spent
            self.failed += bool(values["error"])
            for payer, of in values["detail"].get("spent", {}).items():
                self.ledger.record(self.payers[payer].host, _purpose(payer), *of)

    def _keep_said(self, said: list[Any], failed: int) -> None:
        self.failed += failed
        for key, text, spent in said:
            self._said[key] = text
            self.ledger.record(self.payers["optimizer"].host, "optimizer", **spent)

    def _read(self, path: Path) -> None:
        if not path.exists():
            return
        block = path.read_bytes()
        whole = block[: block.rfind(b"\n") + 1]
        if len(whole) < len(block):  # half a line, of a writer that was killed
            with path.open("r+b") as file:
                file.truncate(len(whole))
        pending: dict[str, int] = {}
        for raw in whole.splitlines():
            line = json.loads(raw)
            if "charged" in line:
                self._settle(pending, answered=False)
                pending = {line["purpose"]: line["charged"], **line.get("others", {})}
                continue
            each = sum(pending.values())
            self._settle(pending, answered=self._is_charged(line))
            pending = {}
            if "said" in line:
                self._keep_said(line["said"], line.get("failed", 0))
            elif "free" in line:
                self._keep_free(line["free"])
            elif "taken" in line:
                self._keep_taken(line["taken"])
            elif "responses" in line:
                self._keep_responses(line["responses"])
            elif "graded" in line:
                self._keep_graded(line["purpose"], line["judge"], line["graded"])
            elif "scored" in line:
                self._keep_scored(line["scored"], line["calls"], line.get("judging", 0))
            elif "again" in line:
                same = [each // max(1, len(line["again"]))] * len(line["again"])  # as it once was written
                self._keep_again(line["again"], line.get("calls", same))
            elif "worked" in line:
                self._worked.add(line["worked"])
            else:
                self._keep(line["answers"], each // max(1, len(line["answers"])))
        self._settle(pending, answered=False)

    @staticmethod
    def _is_charged(line: Mapping[str, Any]) -> bool:
        """Whether calls were charged for it. What was charged before a line that takes none was lost
        with a process."""
        if "free" in line or "taken" in line:
            return False
        return any(line["calls"]) if "calls" in line else True

    def _settle(self, pending: Mapping[str, int], *, answered: bool) -> None:
        for payer, calls in pending.items():
            if not answered:
                self.lost += calls
            if answered or self.payers[payer].count_lost:
                self.ledger.charge(self.payers[payer].host, _purpose(payer), calls)

    def close(self) -> None:
        self._file.close()


def _spent_on(outcome: Outcome) -> list[tuple[int, int, float]]:
    """(tokens in, tokens out, cost) of each who was paid, or had been before."""
    return [(outcome.tokens_in, outcome.tokens_out, outcome.cost), taken_by_judges(outcome.detail)]


def _plain(said: Heard) -> dict[str, Any]:
    """Without its grades, which have lines of their own."""
    return {name: of for name, of in asdict(said).items() if name != "grades"}


def _paid_then(outcome: Outcome) -> Outcome:
    """Without what it cost."""
    detail = {name: of for name, of in outcome.detail.items() if name != "spent"}
    return replace(outcome, cost=0.0, detail=detail)


def _purpose(payer: str) -> str:
    """`judge/<host>` is paid for the purpose `judge`."""
    return payer.split("/")[0]
