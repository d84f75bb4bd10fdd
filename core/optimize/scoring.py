"""How a text is answered on examples, batch by batch: a response is generated, judges are asked about
it, and its outcome is made. Each is paid for and kept before the next begins (core/optimize/answers.py):
should a judge's host fail, or the process be killed, what there is stays.

A batch is cut at fixed places, and what is lost with a killed process is asked again just as it was, so
that padding to another length cannot change an answer.
"""

from collections.abc import Callable, Sequence
from typing import Any

from core.llm.protocol import Host, Messages
from core.optimize.answers import Answers
from core.optimize.graded import Grades
from core.optimize.objectives import Graded, Heard, Judging, Objective, Outcome, respond
from core.optimize.protocol import Row
from core.runs.context import WorkError

Asked = tuple[str, dict[str, Any]]  # a text, and the example that it is to be scored on
IN_A_ROW = 4  # so many calls in a row that failed: the judge is silent


class Scoring:
    """`request(text, row)`: what the target is asked. `begin(examples)` is called before a batch that
    costs something, and `between()` before any: each may raise to stop. `grades`: what judges said in
    earlier runs, and in this one elsewhere."""

    def __init__(
        self,
        host: Host,
        objective: Objective,
        answers: Answers,
        grades: Grades,
        request: Callable[[str, Row], Messages],
        begin: Callable[[int], None],
        between: Callable[[], None],
    ) -> None:
        self.host, self.objective, self.answers, self.grades = host, objective, answers, grades
        self.request, self.begin, self.between = request, begin, between
        self._failed_in_a_row: dict[str, int] = {}
        for example, text, found in answers.graded():
            grades.keep(example, text, found)

    def takes(self, text: str, row: Row) -> int:
        """Calls that it takes at most, of those that are not paid for yet."""
        if self.answers.outcome(text, row["id"]) is not None:
            return 0
        return self._price(text, row) - self.answers.judged(text, row["id"])

    def _price(self, text: str, row: Row) -> int:
        """Calls that it takes once its response is there, or with the response, where that is not."""
        price = self.objective.price
        known = self.answers.response(text, row["id"])
        if known is not None:
            price = self.objective.again(known)
        elif self.answers.heard(text, row["id"]) is not None:
            price = self.objective.again(Heard(""))
        return sum(price.values())

    def answer(self, part: Sequence[Asked]) -> None:
        """One batch: ask what is not known."""
        part = list({(text, row["id"]): (text, row) for text, row in part}.values())
        self.answers.use(_keys(part))
        known = [one for one in self._open(part) if self._known(*one)]
        if known:
            # It begins like any other, where somebody is paid for it.
            if any(self.objective.again(self._graded(*one)) for one in known):
                self.begin(len(part))
            self.answers.take(_keys(known))
        fresh = [(text, row) for text, row in self._open(part) if not self.answers.heard(text, row["id"])]
        if fresh:
            self.begin(len(part))
            (self._answer_at_once if self.objective.sampling is None else self._respond)(fresh)
        rest = self._open(part)
        if rest:
            self.between()
            for judge in self.objective.judges:
                self._have_judged(judge, rest)
            self._score(rest)

    def _open(self, part: Sequence[Asked]) -> list[Asked]:
        return [(text, row) for text, row in part if self.answers.outcome(text, row["id"]) is None]

    def _known(self, text: str, row: Row) -> bool:
        """Whether the target said it in an earlier run, and it is not taken up yet."""
        heard = self.answers.heard(text, row["id"]) is not None
        return not heard and self.answers.response(text, row["id"]) is not None

    def _answer_at_once(self, asked: list[Asked]) -> None:
        """Where nothing is generated."""
        nothing = [Heard("")] * len(asked)
        self.answers.pay_for_outcomes(
            _keys(asked), lambda: self._outcomes(asked, nothing), self.objective.price
        )

    def _respond(self, asked: list[Asked]) -> None:
        def make() -> list[Heard]:
            said = respond(self.objective, self.host, [self.request(text, row) for text, row in asked])
            errors = [one.error for one in said if one.error]
            if len(errors) == len(said):  # not an answer: nothing to keep
                raise silent(self.host, errors)
            return said

        self.answers.pay_for_responses(_keys(asked), make)

    def _have_judged(self, judge: Judging, asked: list[Asked]) -> None:
        """Ask a judge about each response that it has not seen, once."""
        new: dict[tuple[str, str], Asked] = {}  # by example and response
        seen: set[tuple[str, str]] = set()
        for text, row in asked:
            said = self._graded(text, row)
            seen.add((row["id"], said.text))
            if judge.name not in said.grades:
                new.setdefault((row["id"], said.text), (text, row))
        if not new:
            return

        def make() -> list[Graded]:
            found = judge.ask([row for _, row in new.values()], [said for _, said in new])
            self._refuse_silence(judge, found, alone=len(new) == len(seen))
            return found

        grades = self.answers.pay_for_grades(judge, _keys(list(new.values())), make)
        for (example, said_text), grade in zip(new, grades, strict=True):
            self.grades.keep(example, said_text, {judge.name: grade})

    def _refuse_silence(self, judge: Judging, found: Sequence[Graded], *, alone: bool) -> None:
        """One call that failed may be odd, and so may a few beside others that were answered before
        (not `alone`): they count as the lowest grade. Many in a row are no answer to keep."""
        errors = [one.error for one in found if one.error]
        row = self._failed_in_a_row.get(judge.name, 0) + len(errors) if len(errors) == len(found) else 0
        self._failed_in_a_row[judge.name] = row
        if row >= IN_A_ROW or (row and alone and len(found) > 1):
            raise WorkError(
                f"The judge “{judge.name}” answered none of {len(errors)} requests: {errors[0]}",
                "See to its host, then resume the run: what was answered is kept.",
            )

    def _score(self, asked: list[Asked]) -> None:
        said = [self._graded(text, row) for text, row in asked]
        prices = [self.objective.again(one) for one in said]
        judging = sum(self._price(*one) for one in asked) - sum(sum(price.values()) for price in prices)
        self.answers.pay_for_scoring(_keys(asked), lambda: self._outcomes(asked, said), prices, judging)

    def _outcomes(self, asked: list[Asked], said: Sequence[Heard]) -> list[Outcome]:
        requests, rows = [self.request(text, row) for text, row in asked], [row for _, row in asked]
        return self.objective.outcomes(self.host, requests, rows, said)

    def _graded(self, text: str, row: Row) -> Heard:
        said = self.answers.response(text, row["id"]) or self.answers.heard(text, row["id"])
        assert said is not None  # it was just given
        return self.grades.on(row["id"], said)


def _keys(asked: Sequence[Asked]) -> list[tuple[str, str]]:
    return [(text, row["id"]) for text, row in asked]


def silent(host: Host, errors: list[str]) -> WorkError:
    return WorkError(
        f"The host “{host.spec.name}” answered none of {len(errors)} requests: {errors[0]}",
        "See to the host, then resume the run: what was answered is kept.",
    )
