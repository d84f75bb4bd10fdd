"""The data set of a training: the one it names, or, where it names none, one that is made and
frozen with the run, so that every model can be traced to its votes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from core.access import Principal, require
from core.errors import Conflict, Invalid, NotFound
from core.kept import Kept
from core.projects import find_project
from core.reward.snapshots import frozen, service
from core.reward.snapshots.build import DataSet, build
from core.reward.snapshots.checks import failed
from core.reward.snapshots.filters import Filters
from core.reward.snapshots.gather import Material, gather
from storage import snapshots as stored
from storage.database import Database
from storage.ids import id_of, now
from storage.tables import Project, Snapshot

Row = dict[str, Any]
# So many decided pairs of people's own make simulated votes unwelcome by default.
ENOUGH_TRAIN, ENOUGH_TEST = 100, 20
_both: Kept[tuple[DataSet, DataSet]] = Kept(most=2)


@dataclass(frozen=True)
class Chosen:
    """The data a training is frozen with. `store`, called in the unit of work that stores the
    run, adds the snapshot where it is new. `leaks`: failed checks that the person overrides."""

    snapshot_id: str
    name: str
    pairs: list[Row]
    votes: list[Row]
    counts: Row
    filters: Filters
    leaks: list[Row]
    simulated_by_default: bool
    with_simulated: Row | None  # counts with simulated votes taken in, where they were not
    store: Callable[[Session], None]


def snapshot_for(session: Session, project: Project, config: dict[str, Any], seed: int) -> Chosen:
    """Of the config: snapshot (id of one of the project's; default: made from the votes as they
    are now), simulated (exclude, include; only without a snapshot), allow_leaks (train though
    a leak check failed). The seed changes nothing: the same votes are the same data set. Raises
    Invalid naming the field."""
    allow = config.get("allow_leaks", False)
    if not isinstance(allow, bool):
        raise Invalid("allow_leaks: true or false.")
    asked = config.get("simulated")
    if asked not in (None, "exclude", "include"):
        raise Invalid(f"simulated: there is no “{asked}”.", "One of: exclude, include.")
    named = config.get("snapshot")
    chosen = _named(session, project, named, asked) if named is not None else _made(session, project, asked)
    if chosen.leaks and not allow:
        found = " ".join(f"{check['title']}: {check['said']}" for check in chosen.leaks)
        raise Invalid(
            f"snapshot: “{chosen.name}” failed a leak check. {found}",
            "A model trained on it would look better than it is. Mend the data, or set allow_leaks to true to "
            "train on it all the same.",
        )
    return chosen


def _named(session: Session, project: Project, named: Any, simulated: str | None) -> Chosen:
    snapshot = session.get(Snapshot, named) if isinstance(named, str) else None
    if snapshot is None or snapshot.project_id != project.id:
        raise NotFound(f"snapshot: there is no preference data set {named} in this project.")
    if snapshot.archived_at is not None:
        raise Conflict(f"snapshot: “{snapshot.name}” was put away.", "Choose another one.")
    filters = service.filters_of(snapshot.filters)
    if simulated not in (None, filters.simulated):
        raise Invalid(
            f"simulated: the data set “{snapshot.name}” was made with “{filters.simulated}”.",
            "Leave the field out, or make another data set.",
        )
    folder = service.folder_of(snapshot)
    return Chosen(
        snapshot.id, snapshot.name, frozen.read_pairs(folder), frozen.read_votes(folder), snapshot.counts,
        filters, failed(snapshot.checks), False, None, lambda _: None,
    )  # fmt: skip


def _made(session: Session, project: Project, simulated: str | None) -> Chosen:
    material = gather(session, project.id, project.criteria)
    people, everything = both_ways(project, material)
    if simulated is None:
        simulated_by_default, simulated = True, _default(people.counts, everything.counts)
    else:
        simulated_by_default = False
    data = everything if simulated == "include" else people
    hash_ = data.content_hash
    there = stored.snapshot_with(session, project.id, hash_)
    moment = now()
    name = there.name if there else f"Votes of {moment:%-d %b %Y, %H:%M}"
    # The same votes are the same snapshot, also for two who train at the same moment.
    snapshot = there or service.frozen_row(
        project, data, name, id_of("snapshot", project.id, hash_), None, True
    )
    leaks = failed(data.checks)
    if data.pairs:
        service.write_folder(snapshot, project, data)

    def store(session: Session) -> None:
        if session.get(Snapshot, snapshot.id) is None:
            row = snapshot.model_copy(update={"name": _free_name(session, project.id, name)})
            session.add(Snapshot(**row.model_dump()))
            service.recorded(session, None, row)

    return Chosen(
        snapshot.id, name, data.pairs, data.votes, data.counts, data.filters, leaks,
        simulated_by_default, None if data is everything else everything.counts, store,
    )  # fmt: skip


def both_ways(project: Project, material: Material) -> tuple[DataSet, DataSet]:
    """The project's votes as they are now: those of people alone, and with simulated ones where
    nobody else voted. Machine judges count where a lead took them in."""
    filters = service.defaults(project)
    if any(voter.machine for voter in material.cast.voters):
        filters = filters.model_copy(update={"machine": "include"})
    people = build(material, filters)
    return people, build(material, filters.model_copy(update={"simulated": "include"}))


def preview_both(db: Database, who: Principal, project_id: str) -> tuple[DataSet, DataSet]:
    """`both_ways`, of votes as they are now; read it only: it is shared."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        material, state = service.kept_material(db, session, project)
    key = (db.url, project_id, service.defaults(project).method)
    return _both.get(key, state, lambda: both_ways(project, material))


def enough(train: int, test: int, people: int, everything: int) -> bool:
    """Whether people's votes do without simulated ones, where nobody said: of decided pairs by
    people in the two splits, and in all by people and with simulated votes."""
    return (train >= ENOUGH_TRAIN and test >= ENOUGH_TEST) or everything == people


def _default(people: Row, everything: Row) -> str:
    train, test = (people["splits"][split]["decided"] for split in ("train", "test"))
    return "exclude" if enough(train, test, people["decided"], everything["decided"]) else "include"


def _free_name(session: Session, project_id: str, name: str) -> str:
    number, found = 1, name
    while stored.name_taken(session, project_id, found):
        number += 1
        found = f"{name} ({number})"
    return found
