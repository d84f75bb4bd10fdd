"""A better response than either of a pair, written by an annotator: training data for
fine-tuning, with its author. One for each pair and author; what is taken away is kept,
marked as deleted."""

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.annotation.asked import annotator_id_of
from core.annotation.disguise import disguised, pair_behind
from core.annotation.marks import check_text
from core.errors import Forbidden, Invalid, NotFound
from core.projects import find_project
from storage.claims import pair_and_project, skip_of, vote_on
from storage.database import Database
from storage.ids import id_of, now
from storage.tables import Demonstration, Slot

LONGEST = 100_000


def write(db: Database, who: Principal, pair_id: str, text: str) -> Demonstration:
    """Write, or write anew, one's own better response to a pair one was given. The same
    again changes nothing. Raises Forbidden for a pair this person never had."""
    require(who, "annotate")
    text = text.strip()
    if not 1 <= len(text) <= LONGEST:
        raise Invalid(f"text: 1 to {LONGEST:,} characters.")
    check_text("text", text, LONGEST)

    def work(session: Session) -> Demonstration:
        hidden = pair_behind(session, who, pair_id)
        found = pair_and_project(session, hidden or pair_id)
        if found is None:
            raise NotFound(f"There is no pair {pair_id}.")
        pair, project = found
        if hidden is None and not _was_given(session, pair_id, annotator_id_of(project.id, who)):
            raise Forbidden(
                "You were not given this pair.", "A better response is written where a pair is judged."
            )
        key = id_of("demonstration", pair_id, who.user_id)  # of a pair that came hidden: one more
        mine = session.get(Demonstration, key)
        if mine is None:
            mine = Demonstration(
                id=key,
                project_id=project.id,
                example_id=pair.example_id,
                pair_id=pair.id,
                author_id=who.user_id,
                author=who.name,
                text=text,
            )
        elif mine.text == text and mine.deleted_at is None:
            return mine
        else:
            mine.text, mine.updated_at, mine.deleted_at = text, now(), None
        session.add(mine)
        audit.record(session, who, "demonstration.write", "demonstration", key, project.id, pair=pair.id)
        return mine

    return db.write(work)


def change(db: Database, who: Principal, demonstration_id: str, text: str) -> Demonstration:
    """Another text for one's own."""
    require(who, "annotate")
    with db.read() as session:
        pair_id = shown_pair(_own(session, who, demonstration_id))
    if pair_id is None:
        raise Invalid("This one was imported, and is not changed here.")
    return write(db, who, pair_id, text)


def shown_pair(item: Demonstration) -> str | None:
    """Its pair's id, as its author knows it."""
    if item.pair_id is None or item.author_id is None:
        return item.pair_id
    if item.id == id_of("demonstration", item.pair_id, item.author_id):
        return item.pair_id
    return disguised(id_of("annotator", item.project_id, "user", item.author_id), item.pair_id)


def delete(db: Database, who: Principal, demonstration_id: str) -> None:
    """Take one's own away, from training too. Again is the same as once."""
    require(who, "annotate")

    def work(session: Session) -> None:
        mine = _own(session, who, demonstration_id)
        if mine.deleted_at is None:
            mine.deleted_at = now()
            session.add(mine)
            audit.record(session, who, "demonstration.delete", "demonstration", mine.id, mine.project_id)

    db.write(work)


def of_project(db: Database, who: Principal, project_id: str) -> list[Demonstration]:
    """Everybody's, for those who may export data; newest first."""
    require(who, "data.export")
    return _listed(db, project_id, None)


def mine(db: Database, who: Principal, project_id: str) -> list[Demonstration]:
    """One's own; newest first."""
    require(who, "annotate")
    return _listed(db, project_id, who.user_id)


def _listed(db: Database, project_id: str, author_id: str | None) -> list[Demonstration]:
    with db.read() as session:
        project = find_project(session, project_id)
        query = select(Demonstration).where(
            Demonstration.project_id == project.id, col(Demonstration.deleted_at).is_(None)
        )
        if author_id is not None:
            query = query.where(Demonstration.author_id == author_id)
        return list(session.exec(query.order_by(col(Demonstration.created_at).desc()).limit(10_000)))


def _own(session: Session, who: Principal, demonstration_id: str) -> Demonstration:
    found = session.get(Demonstration, demonstration_id)
    if found is None:
        raise NotFound(f"There is no demonstration {demonstration_id}.")
    if found.author_id != who.user_id:
        raise Forbidden("Somebody else wrote this.", "You can change your own only.")
    return found


def _was_given(session: Session, pair_id: str, annotator_id: str) -> bool:
    if vote_on(session, pair_id, annotator_id) or skip_of(session, pair_id, annotator_id):
        return True
    holds = select(Slot.id).where(Slot.pair_id == pair_id, Slot.annotator_id == annotator_id)
    return session.exec(holds).first() is not None
