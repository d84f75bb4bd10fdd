"""Gold: pairs whose answer a lead knows. Training pairs are shown, with the explanation,
before real pairs are given; checks are mixed in unseen later.

A gold pair waits for no ordinary votes: its slots are closed, also one that lies on
somebody's desk. Votes that were cast on it stay, and count.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlmodel import Session, select

from core import audit
from core.access import Principal, require
from core.annotation.probing import Probing, check_pool, probing_in
from core.errors import Invalid, NotFound
from core.projects import find_project
from core.stats import wilson
from storage import probe_results
from storage import probes as stored
from storage.database import Database
from storage.ids import now
from storage.project_documents import save_document
from storage.rows import CHOICES
from storage.slots import adjust_slots, wanted
from storage.tables import Gold, Pair, Project, Vote

Use = Literal["training", "check"]
USES: tuple[Use, ...] = get_args(Use)
MAX_EXPLANATION = 4_000
SOURCE = "gold"  # of a pair that was imported as gold


@dataclass(frozen=True)
class GoldPair:
    """A gold pair with its texts. `choice`: a, b, tie or both_bad; an imported one has its
    row's a and b, as its explanation may name them. `answered`: how many judged
    it as a probe, `right` of them as expected (Wilson's 95 % interval: low, high)."""

    id: str
    pair_id: str
    use: str
    choice: str
    explanation: str
    input: str
    response_a: str
    response_b: str
    answered: int
    right: int
    low: float | None
    high: float | None
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True)
class Marked:
    """`closed`: slots that waited for votes; `taken`: of those, that lay on a desk."""

    id: str
    closed: int = 0
    taken: int = 0


def list_gold(db: Database, who: Principal, project_id: str, *, retired: bool = False) -> list[GoldPair]:
    """The gold pairs of a project, the newest first; also those that were retired, if asked."""
    require(who, "quality.view")
    with db.read() as session:
        find_project(session, project_id)
        return stored_gold(session, project_id, retired=retired)


def stored_gold(session: Session, project_id: str, *, retired: bool) -> list[GoldPair]:
    rows = stored.gold_rows(session, project_id, retired=retired)
    said = probe_results.of_gold(session, project_id)
    swapped = stored.swapped_gold(session, project_id)
    return [
        _gold_pair(gold, pair, texts, said.get(pair.id, (0, 0)), pair.id in swapped)
        for gold, pair, texts in rows
    ]


def mark(
    db: Database,
    who: Principal,
    project_id: str,
    pair_id: str,
    use: str,
    choice: str,
    explanation: str = "",
) -> Marked:
    """Make a pair of the project gold: `choice` is a, b, tie or both_bad. The same again
    changes what is expected; a retired one is taken up again."""
    require(who, "annotator.manage")

    def work(session: Session) -> Marked:
        project = find_project(session, project_id)
        pair = session.get(Pair, pair_id)
        if pair is None or pair.project_id != project.id:
            raise NotFound(f"There is no pair {pair_id} in this project.")
        made = mark_pair(
            session, who, project, pair, checked_use(use), _expected(pair, choice), checked_words(explanation)
        )
        keep_sides(session, who, project.id, set(), {pair.id})
        audit.record(
            session, who, "gold.mark", "gold", made.id, project.id,
            pair=pair.id, use=use, choice=choice, slots_closed=made.closed, taken_back=made.taken,
        )  # fmt: skip
        return made

    return db.write(work)


def change(
    db: Database,
    who: Principal,
    project_id: str,
    gold_id: str,
    *,
    use: str | None = None,
    choice: str | None = None,
    explanation: str | None = None,
) -> None:
    """Change what is named. Answers that were given keep what was expected then."""
    require(who, "annotator.manage")

    def work(session: Session) -> None:
        gold = _find(session, project_id, gold_id)
        pair = session.get(Pair, gold.pair_id)
        if pair is None:
            raise NotFound(f"The pair {gold.pair_id} is gone.")
        before = gold.model_dump()
        if use is not None and checked_use(use) != gold.use:
            _may_leave_training(session, gold)
            stored.drop_open(
                session, pair_ids=[pair.id], kind="training" if gold.use == "training" else "gold"
            )
            gold.use = use
        if choice is not None:
            swapped = pair.id in stored.swapped_gold(session, project_id)
            gold.outcome, gold.winner = _expected(pair, choice, swapped)
        if explanation is not None:
            gold.explanation = checked_words(explanation)
        after = gold.model_dump()
        changed = sorted(name for name in after if after[name] != before[name])
        if changed:
            session.add(gold)
            audit.record(session, who, "gold.edit", "gold", gold.id, project_id, changed=changed)

    db.write(work)


def retire(db: Database, who: Principal, project_id: str, gold_id: str) -> int:
    """Give a gold pair to nobody any more; what was answered stays. A pair that was not
    imported as gold waits for votes again, as many as the project asks for: answers how many
    slots were opened. Again is the same as once."""
    require(who, "annotator.manage")

    def work(session: Session) -> int:
        project = find_project(session, project_id)
        gold = _find(session, project_id, gold_id)
        pair = session.get(Pair, gold.pair_id)
        if gold.retired_at is not None or pair is None:
            return 0
        _may_leave_training(session, gold)
        gold.retired_at = now()
        session.add(gold)
        session.flush()
        stored.drop_open(
            session, pair_ids=[gold.pair_id], kind="training" if gold.use == "training" else "gold"
        )
        opened = 0
        if pair.source != SOURCE:
            votes = len(session.exec(select(Vote.id).where(Vote.pair_id == pair.id)).all())
            opened, _ = adjust_slots(session, {pair.id: wanted(project.votes_per_pair, votes)})
        audit.record(
            session, who, "gold.retire", "gold", gold.id, project_id, pair=pair.id, slots_opened=opened
        )
        return opened

    return db.write(work)


# --- parts ----------------------------------------------------------------------------------


def mark_pair(
    session: Session,
    who: Principal,
    project: Project,
    pair: Pair,
    use: Use,
    expected: tuple[str, str | None],
    explanation: str,
) -> Marked:
    gold = session.exec(select(Gold).where(Gold.pair_id == pair.id)).first()
    if gold is None:
        gold = Gold(
            project_id=project.id,
            pair_id=pair.id,
            use=use,
            outcome=expected[0],
            winner=expected[1],
            explanation=explanation,
            created_by=who.user_id,
        )
    else:
        if gold.use != use:
            if gold.retired_at is None:
                _may_leave_training(session, gold)
            stored.drop_open(session, pair_ids=[pair.id])
        gold.use, (gold.outcome, gold.winner) = use, expected
        gold.explanation, gold.retired_at = explanation, None
    session.add(gold)
    session.flush()
    stored.drop_open(session, pair_ids=[pair.id], kind="repeat")
    opened, leased = stored.close_slots(session, pair.id)
    return Marked(gold.id, opened + leased, leased)


def _may_leave_training(session: Session, gold: Gold) -> None:
    """Qualification must keep as many training pairs as it asks for."""
    probing = probing_in(session, gold.project_id) or Probing()
    if gold.use == "training" and gold.retired_at is None and probing.qualify:
        check_pool(session, gold.project_id, probing, fewer=1)


def _find(session: Session, project_id: str, gold_id: str) -> Gold:
    find_project(session, project_id)
    gold = session.get(Gold, gold_id)
    if gold is None or gold.project_id != project_id:
        raise NotFound(f"There is no gold pair {gold_id} in this project.")
    return gold


def checked_use(value: str) -> Use:
    if value not in USES:
        raise Invalid(f"use: “{value[:40]}” is none of {', '.join(USES)}.")
    return value  # type: ignore[return-value]


def checked_words(explanation: str) -> str:
    explanation = explanation.strip()
    if len(explanation) > MAX_EXPLANATION:
        raise Invalid(f"explanation: at most {MAX_EXPLANATION:,} characters.")
    return explanation


def keep_sides(session: Session, who: Principal, project_id: str, turned: set[str], named: set[str]) -> None:
    before = stored.swapped_gold(session, project_id)
    after = (before - named) | turned
    if after != before:
        body = {"swapped": sorted(after)}
        save_document(session, project_id, stored.GOLD_SIDES, "Gold", body, who.user_id, who.name)


def _expected(pair: Pair, choice: str, swapped: bool = False) -> tuple[str, str | None]:
    if choice not in CHOICES:
        raise Invalid(f"choice: “{choice}” is none of {', '.join(CHOICES)}.")
    winner = {"ab"[swapped]: pair.response_a, "ba"[swapped]: pair.response_b}.get(choice)
    return ("win" if winner else choice), winner


def _gold_pair(
    gold: Gold, pair: Pair, texts: tuple[str, str, str], said: tuple[int, int], swapped: bool
) -> GoldPair:
    first = pair.response_b if swapped else pair.response_a
    choice = gold.outcome if gold.outcome != "win" else "a" if gold.winner == first else "b"
    if swapped:
        texts = (texts[0], texts[2], texts[1])
    n, right = said
    low, high = wilson(right, n) if n else (None, None)
    return GoldPair(
        gold.id, pair.id, gold.use, choice, gold.explanation, *texts, n, right, low, high,
        gold.created_at, gold.retired_at,
    )  # fmt: skip
