"""The worst mistakes of a reward model, to read, and to send back to annotators.

A mistake may be the model's or the label's: one more vote of somebody who has not judged the
pair tells them apart. Sending a pair back asks for exactly one vote more than it was to get
(`storage.again`); it is nobody's who voted on it or passed it, and what it said is shown here
afterwards.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.errors import Invalid, NotFound
from core.reward import judged
from core.reward.text import input_text
from storage import again
from storage.counting import counted
from storage.database import Database
from storage.tables import Annotator, Example, Pair, Prompt, Response, RewardModel, Vote

MOST_AT_ONCE = 50
_OF_FILE = ("d", "p", "q", "n", "length_difference", "cluster")


@dataclass(frozen=True)
class Said:
    """A vote on a pair: `choice` is a, b, tie or both_bad. `again`: it came of sending the pair
    back."""

    choice: str
    strength: str | None
    reason: str
    by: str
    simulated: bool
    machine: bool
    at: datetime
    again: bool


@dataclass(frozen=True)
class Mistake:
    """A test pair of which the model prefers the other side than people: `preferred` a or b,
    `d` score of a less b, `p` the chance it gave the side that people prefer,
    `length_difference` characters of that side less the other's. `sent`: times it
    was sent back; `waiting`: a vote is on its way; `refused`: why it cannot be sent back."""

    pair_id: str
    example_id: str
    preferred: str
    d: float
    p: float
    q: float
    n: int
    length_difference: float | None
    cluster: str | None
    text: dict[str, Any]
    votes: list[Said]
    sent: int
    waiting: bool
    refused: str

    @property
    def came_back(self) -> list[Said]:
        return [vote for vote in self.votes if vote.again]

    @property
    def verdict(self) -> str:
        """What the votes that came back say: people (as before), model, even; "" without any."""
        other = "b" if self.preferred == "a" else "a"
        choices = [vote.choice for vote in self.came_back]
        if not choices:
            return ""
        with_people, with_model = choices.count(self.preferred), choices.count(other)
        if with_people == with_model:
            return "even"
        return "people" if with_people > with_model else "model"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Sent:
    """`pairs` that were sent back; `refused`: pair id -> why not."""

    pairs: list[str]
    refused: dict[str, str]


def worst(db: Database, who: Principal, model_id: str) -> list[Mistake]:
    """The worst first; empty for a model without a judgement, or without mistakes."""
    require(who, "run.view")
    with db.read() as session:
        model = _model(session, model_id)
        listed = [row for row in (judged.judgement(model) or {}).get("mistakes") or [] if "pair_id" in row]
        ids = [row["pair_id"] for row in listed]
        if not ids:
            return []
        texts = _texts(session, model, ids)
        votes = _votes(session, model.project_id, ids)
        asked = again.asked_again(session, ids)
        why = again.refused(session, model.project_id, ids)
    return [
        Mistake(
            pair_id=row["pair_id"],
            example_id=str(row.get("example_id") or ""),
            preferred="a" if row["q"] > 0.5 else "b",
            **{key: row.get(key) for key in _OF_FILE},
            text=texts.get(row["pair_id"], {}),
            votes=votes.get(row["pair_id"], []),
            sent=len(asked.get(row["pair_id"], [])),
            waiting=any(item.waiting for item in asked.get(row["pair_id"], [])),
            refused=why.get(row["pair_id"], ""),
        )
        for row in listed
    ]


def why_none(db: Database, who: Principal, model_id: str) -> str:
    """A sentence for a model of which `worst` is empty: a mistake is one by people's votes."""
    require(who, "run.view")
    with db.read() as session:
        model = _model(session, model_id)
    pairs = judged.test_pairs(model)
    if pairs is None:
        return "This model was not judged pair by pair, so there are no mistakes to read."
    decided = pairs["q"] != 0.5
    by_people = int((decided & (pairs["n_people"] > 0)).sum())
    if not by_people:
        return (
            f"None of the {int(decided.sum()):,} decided test pairs was decided by people's votes, so there is no "
            "mistake to read yet: against simulated or machine votes alone, either may be wrong."
        )
    return f"Nothing to read: this model got all {by_people:,} test pairs right that people decided."


def texts(db: Database, who: Principal, model_id: str, pair_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """pair id -> input, response_a, response_b, prompt_a, prompt_b: as the model was trained
    with them, else as they are now."""
    require(who, "run.view")
    with db.read() as session:
        return _texts(session, _model(session, model_id), pair_ids)


def send_back(db: Database, who: Principal, model_id: str, pair_ids: Sequence[str]) -> Sent:
    """Ask for one vote more on each of these pairs. Those that cannot be asked again are left
    with the reason. Raises NotFound, or Invalid for none or too many pairs."""
    require(who, "reward.send_back")
    wanted = list(dict.fromkeys(pair_ids))
    if not wanted:
        raise Invalid("pairs: choose at least one.")
    if len(wanted) > MOST_AT_ONCE:
        raise Invalid(f"pairs: at most {MOST_AT_ONCE} at once.")

    def work(session: Session) -> Sent:
        model = _model(session, model_id)
        why = again.refused(session, model.project_id, wanted)
        done = again.ask_again(session, model.project_id, wanted)
        if done:
            audit.record(
                session, who, "reward.send_back", "reward_model", model.id, model.project_id,
                name=model.name, pairs=done,
            )  # fmt: skip
        return Sent(done, why)

    return db.write(work)


def _model(session: Session, model_id: str) -> RewardModel:
    model = session.get(RewardModel, model_id)
    if model is None:
        raise NotFound(f"There is no reward model {model_id}.")
    return model


def _votes(session: Session, project_id: str, pair_ids: Sequence[str]) -> dict[str, list[Said]]:
    """Votes that count, in the order they were cast."""
    query = (
        select(Vote, Annotator, Pair)
        .join(Annotator, col(Annotator.id) == Vote.annotator_id)
        .join(Pair, col(Pair.id) == Vote.pair_id)
        .where(col(Vote.pair_id).in_(pair_ids), counted(project_id))
        .order_by(col(Vote.created_at), col(Vote.id))
    )
    slots = {again.again_id(pair_id, k) for pair_id in pair_ids for k in range(again.MOST)}
    found: dict[str, list[Said]] = defaultdict(list)
    for vote, annotator, pair in session.exec(query):
        choice = vote.outcome if vote.outcome != "win" else "a" if vote.winner == pair.response_a else "b"
        found[vote.pair_id].append(
            Said(
                choice,
                vote.strength,
                vote.reason,
                annotator.name,
                vote.simulated,
                bool(annotator.machine),
                vote.created_at,
                vote.slot_id in slots,
            )
        )
    return dict(found)


def _texts(session: Session, model: RewardModel, pair_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    names = ("input", "response_a", "response_b", "prompt_a", "prompt_b")
    found = {
        key: {name: row.get(name, "") for name in names}
        for key, row in judged.rows_of(model, pair_ids).items()
    }
    missing = [key for key in pair_ids if key not in found]
    if missing:
        found |= _texts_now(session, missing)
    return found


def _texts_now(session: Session, pair_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    pairs = list(session.exec(select(Pair).where(col(Pair.id).in_(pair_ids))))
    wanted = [key for pair in pairs for key in (pair.response_a, pair.response_b)]
    responses = {r.id: r for r in session.exec(select(Response).where(col(Response.id).in_(wanted)))}
    examples = {
        e.id: e
        for e in session.exec(select(Example).where(col(Example.id).in_([p.example_id for p in pairs])))
    }
    prompts = {
        p.id: f"{p.name} v{p.version}"
        for p in session.exec(
            select(Prompt).where(col(Prompt.id).in_({r.prompt_id for r in responses.values()}))
        )
    }
    found = {}
    for pair in pairs:
        a, b = responses.get(pair.response_a), responses.get(pair.response_b)
        example = examples.get(pair.example_id)
        if a is None or b is None or example is None:
            continue
        found[pair.id] = {
            "input": input_text(example.input, example.messages),
            "response_a": a.text,
            "response_b": b.text,
            "prompt_a": prompts.get(a.prompt_id, ""),
            "prompt_b": prompts.get(b.prompt_id, ""),
        }
    return found
