"""What earlier runs of a project were answered, for a new search to use: a (host, prompt, example,
parameters) that was answered once is free for ever after.

Gathered when a run is frozen, into inputs/known.parquet, and not looked up while it works: so a
run that goes on after a kill, or is repeated from its folder, knows just what it knew. Looked
through are the newest searches and transfers. What decides an answer has to be the same: the host
(not its name, price or patience), the template around the instruction, the example's fields and
messages, the sampling. Then

    the reward is the same, too      the answer is taken with its score
    the reward is another            the response is taken, and scored anew

A judge's grades are known by themselves (core/optimize/known_grades.py).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from core.llm.protocol import HostSpec
from core.optimize import books
from core.optimize.books import UNSCORED, entries, frame_of, gave_up, host_key, same_examples
from core.optimize.graded import taken_by_judges
from core.optimize.instruction import Instruction
from core.optimize.rewards.alike import decides, same_responses
from storage.tables import Project

_ANSWERED = ("fields", "messages")  # of an example: what the host is shown
_SCORED = (*_ANSWERED, "input", "reference")  # and what a reward may look at


def known_answers(
    session: Session,
    project: Project,
    documents: Mapping[str, Any],
    start: Mapping[str, Any],
    examples: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Rows of text (its hash), example, score, output, tokens_in, tokens_out, error, detail (JSON)
    and scored: whether the score holds for a run with these documents, start and examples, or only
    the output does."""
    host, reward, frame = HostSpec(**documents["host"]), documents["reward"], frame_of(Instruction(**start))
    scored: dict[tuple[str, str], dict[str, Any]] = {}
    said: dict[tuple[str, str], dict[str, Any]] = {}
    left = books.BYTES

    def same_frame(config: Mapping[str, Any]) -> bool:
        return frame_of(Instruction(**config["start"])) == frame

    for book in books.books(session, project.id, same_frame):
        if left <= 0 or len(scored) + len(said) >= books.ANSWERS:
            break
        if book.frame != frame or host_key(book.host) != host_key(host):
            continue
        whole = decides(book.reward, book.host) == decides(reward, host)
        if not whole and not same_responses(book.reward, reward):
            continue
        shown = same_examples(book.folder, examples, _ANSWERED)
        alike = same_examples(book.folder, examples, _SCORED)
        for kind, text, example, outcome in entries(book.path, left):
            if gave_up(outcome):
                continue
            holds = whole and kind not in UNSCORED
            for mine in (alike if holds else shown).get(example, ()):
                if holds:
                    said.pop((text, mine), None)  # its response came before
                there = (text, mine) in scored or (text, mine) in said
                if not there and len(scored) + len(said) < books.ANSWERS:
                    (scored if holds else said)[text, mine] = _row(text, mine, outcome, holds)
        left -= book.size
    return [{**row, "detail": json.dumps(row["detail"])} for row in (*scored.values(), *said.values())]


def _row(text: str, example: str, outcome: Mapping[str, Any], whole: bool) -> dict[str, Any]:
    """What was paid for it was paid then. Of a response that is scored anew it is kept that it was
    cut."""
    known = outcome.get("detail", {})
    detail = {name: of for name, of in known.items() if name == "cut"}
    if whole:
        detail = {name: of for name, of in known.items() if name not in ("spent", "judged")}
        tokens_in, tokens_out, _ = taken_by_judges(known)
        if tokens_in:
            detail["judged"] = [tokens_in, tokens_out, 0.0]
    return {
        "text": text,
        "example": example,
        "score": float(outcome["score"]) if whole else 0.0,
        **{name: outcome[name] for name in ("output", "tokens_in", "tokens_out", "error")},
        "detail": detail,
        "scored": whole,
    }
