"""The judges of a project: what they were asked, how consistent they are, where they lean, and
how far they agree with people."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from core.access import Principal, require
from core.annotation.judge.agreement import Agreement, Figure, agreement
from core.annotation.judge.prompt import FIRST, SECOND
from core.projects import find_project
from core.stats import wilson
from storage import judges as store
from storage.database import Database
from storage.tables import LedgerEntry, Run

LEAST_BY_SOURCE = 10  # pairs of one source, to show it apart


@dataclass(frozen=True)
class JudgeState:
    """One judge. Shares have n and a 95 % interval.

    `inconsistent`: pairs on which the answer changed with the order. `first`: answers for the
    response that stood first, of those that prefer one; every pair is asked in both orders, so
    without a pull it is one half; the interval goes over pairs. `longer`: decisive votes for the
    longer response; `people_longer` the same of people on these pairs. `ties`, `both_bad`: of its
    votes. `says_both_bad`: it may, so that agreement takes "both bad" for a choice of its own.
    `by_source`: share of agreement by where the pairs come from, where there are enough.
    """

    id: str
    name: str
    host: str
    model: str
    prompt: str | None  # None: the default one
    counts: bool
    votes: int
    runs: int
    last_run: datetime | None
    agreement: Agreement
    ties: Figure
    both_bad: Figure
    says_both_bad: bool
    inconsistent: Figure
    first: Figure
    longer: Figure
    people_longer: Figure
    by_source: dict[str, Figure]
    unparsable: int
    failed: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost: float


def judges(db: Database, who: Principal, project_id: str) -> list[JudgeState]:
    """Every judge of a project that has voted, by name."""
    require(who, "quality.view")
    with db.read() as session:
        find_project(session, project_id)
        found = store.judges(session, project_id)
        if not found:
            return []
        kinds = store.compared(session, project_id)
        lengths = store.longer(session, project_id)
        runs, spent = _runs(session, project_id)
    return [
        _state(
            annotator, votes, ties, both_bad, [kind for kind in kinds if kind.judge == annotator.id],
            lengths.get(annotator.id, store.Longer(0, 0, 0, 0)), runs.get(annotator.id, []), spent,
        )
        for annotator, votes, ties, both_bad in found
    ]  # fmt: skip


def _runs(session: Session, project_id: str) -> tuple[dict[str, list[Run]], dict[str, list[LedgerEntry]]]:
    """A judge's runs, newest first, and what each cost."""
    query = select(Run).where(Run.project_id == project_id, Run.kind == "judge").order_by(col(Run.id).desc())
    of: dict[str, list[Run]] = {}
    for run in session.exec(query):
        of.setdefault(str(run.config.get("judge_id")), []).append(run)
    books: dict[str, list[LedgerEntry]] = {}
    for entry in session.exec(
        select(LedgerEntry).where(LedgerEntry.project_id == project_id, LedgerEntry.purpose == "judge")
    ):
        books.setdefault(entry.run_id, []).append(entry)
    return of, books


def _state(
    annotator: store.Annotator,
    votes: int,
    ties: int,
    both_bad: int,
    kinds: list[store.Kind],
    length: store.Longer,
    runs: list[Run],
    books: dict[str, list[LedgerEntry]],
) -> JudgeState:
    results = [run.result or {} for run in runs]
    orders: Counter[str] = Counter()
    for result in results:
        orders.update(result.get("orders") or {})
    judged = sum(int(result.get("judged", 0)) for result in results)
    changed = sum(int(result.get("inconsistent", 0)) for result in results)
    spent = [entry for run in runs for entry in books.get(run.id, [])]
    config = runs[0].config if runs else {}
    says = bool(both_bad) or any(run.config.get("both_bad") for run in runs)
    sources = sorted({kind.source for kind in kinds})
    by_source = {
        source: agreement([kind for kind in kinds if kind.source == source], both_bad=says).share
        for source in sources
    }
    return JudgeState(
        id=annotator.id,
        name=annotator.name,
        host=str(config.get("host_name", "")),
        model=str(config.get("model", "")),
        prompt=config.get("prompt"),
        counts=annotator.excluded_at is None,
        votes=votes,
        runs=len(runs),
        last_run=runs[0].finished_at or runs[0].created_at if runs else None,
        agreement=agreement(kinds, both_bad=says),
        ties=_share(ties, votes),
        both_bad=_share(both_bad, votes),
        says_both_bad=says,
        inconsistent=_share(changed, judged),
        first=first_share(orders),
        longer=_share(length.longer, length.n),
        people_longer=_share(length.people_longer, length.people_n),
        by_source={
            source: figure
            for source, figure in by_source.items()
            if len(sources) > 1 and figure.n >= LEAST_BY_SOURCE
        },
        unparsable=sum(int(result.get("unparsable", 0)) for result in results),
        failed=sum(int(result.get("failed", 0)) for result in results),
        calls=sum(entry.calls for entry in spent),
        tokens_in=sum(entry.tokens_in for entry in spent),
        tokens_out=sum(entry.tokens_out for entry in spent),
        cost=sum(entry.cost for entry in spent),
    )


def _share(part: int, n: int) -> Figure:
    return Figure(part / n, *wilson(part, n), n) if n else Figure()


def first_share(orders: Counter[str]) -> Figure:
    """Of the answers that prefer one response: the share for the first. A pair's two answers
    hang together: the interval is a ratio's, linearised, over pairs. `orders`: two answers
    (with a first, with b first) -> pairs."""
    picked = {two: (two.count(FIRST), two.count(FIRST) + two.count(SECOND)) for two in orders}
    answers = sum(picked[two][1] * pairs for two, pairs in orders.items())
    if not answers:
        return Figure()
    share = sum(picked[two][0] * pairs for two, pairs in orders.items()) / answers
    if share in (0.0, 1.0):  # no spread to go by: over pairs, each as one observation
        pairs_picking = sum(pairs for two, pairs in orders.items() if picked[two][1])
        return Figure(share, *wilson(share * pairs_picking, pairs_picking), answers)
    squares = sum(pairs * (picked[two][0] - share * picked[two][1]) ** 2 for two, pairs in orders.items())
    half = 1.959964 * squares**0.5 / answers
    return Figure(share, max(0.0, share - half), min(1.0, share + half), answers)


def leans(figure: Figure) -> str:
    """first, second, or "" where the interval holds one half."""
    if figure.value is None or figure.low is None or figure.high is None:
        return ""
    if figure.low > 0.5:
        return "first"
    return "second" if figure.high < 0.5 else ""
