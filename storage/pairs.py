"""Making pairs, with room for the votes they want, and the annotators who give them."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from storage.bulk import chunks, insert_many
from storage.groups import audiences_for
from storage.ids import id_of, now
from storage.tables import Annotator, Pair, Project, Slot

MACHINE_LEFT_OUT = "Machine votes count only when a lead says so"


@dataclass(frozen=True)
class NewPair:
    """Two responses to one example. `votes`: how many slots to open (None: what the
    project asks for)."""

    example_id: str
    response_x: str
    response_y: str
    source: str = "generate"
    priority: float = 0.0
    run_id: str | None = None
    external_id: str | None = None
    votes: int | None = None


def pair_id_of(response_x: str, response_y: str) -> str:
    """The id of the pair of these two responses, whichever comes first."""
    return id_of("pair", *sorted((response_x, response_y)))


def add_pairs(session: Session, project: Project, wanted: list[NewPair]) -> tuple[list[str], int]:
    """Add what is not there yet; answers the ids of the new pairs, and how many were
    there already. A response paired with itself is refused (ValueError)."""
    # Plain dicts: making an instance of each costs more than storing it.
    rows: dict[str, tuple[dict[str, Any], int]] = {}
    for new in wanted:
        if new.response_x == new.response_y:
            raise ValueError("a pair needs two different responses")
        first, second = sorted((new.response_x, new.response_y))
        pair_id = pair_id_of(first, second)
        pair = {
            "id": pair_id,
            "project_id": project.id,
            "example_id": new.example_id,
            "response_a": first,
            "response_b": second,
            "priority": new.priority,
            "source": new.source,
            "run_id": new.run_id,
            "external_id": new.external_id,
        }
        rows.setdefault(pair_id, (pair, project.votes_per_pair if new.votes is None else new.votes))
    there: set[str] = set()
    for part in chunks(rows):
        there |= set(session.exec(select(Pair.id).where(col(Pair.id).in_(part))))
    added = {pair_id: row for pair_id, row in rows.items() if pair_id not in there}
    insert_many(session, Pair, [pair for pair, _ in added.values()])
    audience = audiences_for(session, project.id, added)
    slots = [
        slot
        for pair_id, (pair, votes) in added.items()
        for slot in slots_for(project.id, pair_id, pair["priority"], range(votes), audience.get(pair_id))
    ]
    insert_many(session, Slot, slots)
    return list(added), len(wanted) - len(added)


def slots_for(
    project_id: str, pair_id: str, priority: float, ordinals: range, audience: str | None = None
) -> list[dict[str, Any]]:
    """Rows of slots in the order they should be claimed: higher priority first, then every
    pair's first vote before any pair's second, in an order that mixes the examples.
    `audience`: who may have them (`storage.groups.audiences_for`)."""
    digest = hashlib.sha256(pair_id.encode()).digest()
    place = int.from_bytes(digest[:6], "big") / 2**48
    return [
        {
            "id": id_of("slot", pair_id, str(ordinal)),
            "project_id": project_id,
            "pair_id": pair_id,
            "position": ordinal + place - 1000.0 * priority,
            "audience": audience,
        }
        for ordinal in ordinals
    ]


def annotator_of_user(session: Session, project_id: str, user_id: str, name: str) -> Annotator:
    """The judge that a user is in a project, made when first needed."""
    found = session.get(Annotator, id_of("annotator", project_id, "user", user_id))
    return found or annotators_of_users(session, project_id, {user_id: name})[user_id]


def annotators_of_users(session: Session, project_id: str, names: dict[str, str]) -> dict[str, Annotator]:
    """The judges that users (by id, with their names) are in a project, made when first
    needed. Their ids follow from the users, so that two requests at once make the same ones."""
    ids = {user_id: id_of("annotator", project_id, "user", user_id) for user_id in names}
    there = {
        item.id: item for item in session.exec(select(Annotator).where(col(Annotator.id).in_(ids.values())))
    }
    missing = [user_id for user_id, key in ids.items() if key not in there]
    if missing:
        wanted = [names[user_id] for user_id in missing]
        query = select(Annotator.name).where(
            Annotator.project_id == project_id, col(Annotator.name).in_(wanted)
        )
        taken = set(session.exec(query))
        for user_id in missing:
            name = names[user_id]
            made = Annotator(
                id=ids[user_id],
                project_id=project_id,
                name=f"{name} ({user_id[-6:]})" if name in taken else name,
                user_id=user_id,
            )
            taken.add(name)
            session.add(made)
            there[made.id] = made
        session.flush()
    return {user_id: there[key] for user_id, key in ids.items()}


def annotators_named(
    session: Session, project_id: str, names: set[str], *, simulated: bool = False, machine: bool = False
) -> dict[str, Annotator]:
    """Judges known by name (imports, simulations), made when first named. The votes of a
    `machine`, a language model, are left out until a lead takes them in."""
    query = select(Annotator).where(Annotator.project_id == project_id)
    found = {item.name: item for item in session.exec(query)}
    for name in names - set(found):
        found[name] = Annotator(
            id=id_of("annotator", project_id, "name", name),
            project_id=project_id,
            name=name,
            simulated=simulated,
            machine=machine or None,
            excluded_at=now() if machine else None,
            excluded_reason=MACHINE_LEFT_OUT if machine else None,
        )
        session.add(found[name])
    return {name: found[name] for name in names}
