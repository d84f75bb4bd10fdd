"""OPRO: optimisation by prompting (Yang, Wang, Lu, Liu, Le, Zhou, Chen 2023, arXiv
2309.03409). Read beside sections 2 and 5.1 of the paper.

    score the start
    repeat at most `iterations` times:
        the meta-prompt: the best instructions so far (at most 20, at or above the
            threshold) in ASCENDING order of score, each with its score as one of the whole
            numbers 0 to 100, and 3 examples of the task, drawn anew each step
        the language model answers it 8 times at temperature 1
        what is new, not too long and readable is scored on train

What differs from the paper, and why:
- The wording of the meta-prompt is ours; order, buckets and numbers are the paper's.
- Scores shown are accuracy, or for a reward the share of a standard normal below it,
  so that both are whole numbers from 0 to 100.
- The released code loses answers without the tag silently. Here each is counted.
- A model in process has its answer begun with the tag (`request_form`): small ones seldom
  write it themselves.
- Answers that repeat the placeholder or leave the task's slots damaged are dropped too.
"""

from collections.abc import Sequence

from core.llm.protocol import Messages
from core.optimize.proposals import Proposals
from core.optimize.protocol import Evaluator, Event, Iterated, Shown
from core.optimize.reading import slots_note

SHOWN_AT_MOST = 20
LONGEST = 500  # characters


class Opro(Proposals):
    name = "opro"

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        proposals: int = 8,
        iterations: int = 200,
        exemplars: int = 3,
        buckets: int = 100,
        threshold: int = 0,
        temperature: float = 1.0,
        request_form: str = "automatic",
    ) -> None:
        super().__init__(start, seed)
        self.form = request_form
        self.proposals, self.iterations, self.exemplars = proposals, iterations, exemplars
        self.buckets, self.threshold, self.temperature = buckets, threshold, temperature

    def propose(self, evaluator: Evaluator) -> list[Event]:
        request = self.meta_prompt(evaluator)
        events: list[Event] = []
        for text in self.ask_tagged(
            evaluator, [request] * self.proposals, "INS", "opro", events,
            temperature=self.temperature, max_new_tokens=192,
        ):  # fmt: skip
            if text is None:
                continue
            if "<INS>" in text.upper() or "INS" in text.split():
                self.drop(events, "opro", "repeats the placeholder", text)
                continue
            self.offer(text, self.best(), "opro", events, LONGEST)
        return events

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        if numbers == [0]:
            return []
        before = max(self.train(number) for number in range(numbers[0]))
        better = max(numbers, key=lambda number: (self.train(number), -number))
        accepted = better if self.train(better) > before else None
        if accepted is not None:
            self.candidates[accepted].accepted = True
        self.iteration += 1
        if self.iteration >= self.iterations:
            self.finished = "iterations"
        note = "the best so far" if accepted is not None else "none is better than the best so far"
        return [Iterated(self.iteration - 1, accepted, note)]

    def fraction(self) -> float:
        return min(1.0, self.iteration / self.iterations)

    # --- the meta-prompt -----------------------------------------------------------------------

    def meta_prompt(self, evaluator: Evaluator) -> Messages:
        scored = self.trajectory(evaluator)
        drawn = self.rng("exemplars").sample(list(evaluator.shown), min(self.exemplars, len(evaluator.shown)))
        return meta_prompt(scored, drawn, slots_note(self.start))

    def trajectory(self, evaluator: Evaluator) -> list[tuple[str, int]]:
        """(text, bucketed score), the worst first: the last `SHOWN_AT_MOST` at or above the
        threshold. Of those that show the same, the better by the search's own score stands later (by
        labels it is another one than what is shown), and of equals the older first."""
        rows = [
            (
                candidate.text,
                self.bucket(evaluator.percent(candidate.scores["train"])),
                self.train(candidate.number),
            )
            for candidate in self.candidates
        ]
        rows = [row for row in rows if row[1] >= self.threshold]
        rows.sort(key=lambda row: row[1:])  # stable: the order of candidates for equals
        return [(text, score) for text, score, _ in rows[-SHOWN_AT_MOST:]]

    def bucket(self, percent: float) -> int:
        """A score from 0 to 100, rounded to one of `buckets` equal steps."""
        return round(round(percent * self.buckets / 100) * 100 / self.buckets)


def meta_prompt(scored: Sequence[tuple[str, int]], exemplars: Sequence[Shown], note: str = "") -> Messages:
    parts = []
    if scored:
        parts.append(
            "Here are some instructions with their scores. They stand in ascending order of score; a higher "
            "score is better, and 100 is the best there can be."
        )
        parts += [f"instruction:\n{text}\nscore:\n{score}" for text, score in scored]
    if exemplars:
        parts.append(
            "The following shows how an instruction is used: it takes the place of <INS>, then the input is "
            "read and the output is given."
        )
        parts += [
            f"input:\n<INS>\n{one.input}" + (f"\noutput:\n{one.answer}" if one.answer else "")
            for one in exemplars
        ]
    parts.append(
        "Write a new instruction that is different from all of the old ones and has a score as high as "
        f"possible.{note} Write it between <INS> and </INS>."
    )
    return [{"role": "user", "content": "\n\n".join(parts)}]
