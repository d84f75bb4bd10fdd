"""Prefloop under load: a whole server of its own, its annotators as programs with tokens, and
what its database says afterwards."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text
from sqlmodel import Session

from benchmarks.load.drive import Refused
from benchmarks.load.lean_http import Client
from benchmarks.load.peer import settled
from core import tokens
from core.access import Principal, Role
from core.data import import_comparisons
from core.projects import create_project
from storage.database import Database
from storage.tables import User
from tests.planning import large
from tests.server import Prefloop

Fill = Callable[[Database], str]


def fill_large(votes: int) -> Fill:
    """A project with that many stored votes, a voted slot for each, and some 50,000 slots (for
    a million votes) that wait."""

    def fill(db: Database) -> str:
        project = large.fill(db, large.Size(votes=votes, runs=10, uses=100))
        with db.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO slot (id, project_id, pair_id, position, status, annotator_id, lease, a_left, "
                    "leased_at, expires_at) SELECT md5('s' || id), project_id, pair_id, random(), 'voted', "
                    "annotator_id, md5('l' || id), true, created_at, created_at FROM vote"
                )
            )
        db.checkpoint()
        return project

    return fill


def fill_pairs(pairs: list[dict[str, str]]) -> Fill:
    """A project with these pairs, imported as a person would; each wants one vote."""

    def fill(db: Database) -> str:
        user = db.write(lambda session: _added(session, User(name="lead", role="admin")))
        who = Principal(user.id, user.name, Role.ADMIN)
        project = create_project(db, who, name="Load", votes_per_pair=1)
        rows = [
            {
                **{key: pair[key] for key in ("input", "response_a", "response_b")},
                "prompt_a": "a",
                "prompt_b": "b",
            }
            for pair in pairs
        ]
        report = import_comparisons(db, who, project.id, rows)
        assert report.imported == len(pairs), report
        return project.id

    return fill


def _added(session: Session, row: User) -> User:
    session.add(row)
    return row


class UnderLoad:
    """A server with `annotators` accounts. The folder may be copied from one that is filled."""

    def __init__(self, folder: Path, annotators: int, fill: Fill, **env: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.server = Prefloop(folder, PREFLOOP_DEMO="false", **env)
        db = self.database()
        db.migrate()
        self.project = fill(db)
        users = [User(name=f"load {i}", role="annotator") for i in range(annotators)]
        db.write(lambda session: [session.add(user) for user in users])
        self.tokens = [tokens.new_token(db, user.id, "load")[1] for user in users]
        db.dispose()

    def database(self) -> Database:
        """Only while the server does not run."""
        return Database(f"duckdb:///{self.folder / 'prefloop.duckdb'}")

    def start(self) -> "UnderLoad":
        self.server.start()
        return self

    def settle(self) -> None:
        """Until the server has nothing to do: after a start it counts large projects."""
        settled(self.server.process.pid)  # type: ignore[union-attr]

    def sessions(self, number: int) -> list["Annotator"]:
        return [Annotator(self.server.url, self.project, token) for token in self.tokens[:number]]

    def stop(self) -> None:
        self.server.stop()

    def check(self, acknowledged: list[str]) -> dict[str, int]:
        """After the server has stopped: what is wrong with the acknowledged votes (by id)."""
        db = self.database()
        with db.read() as session:
            stored = Counter(session.execute(text("SELECT id FROM vote WHERE source = 'api'")).scalars())
            # Claims go through slots: more voted slots than there are is what the cap forbids.
            twice = session.execute(
                text(
                    "SELECT count(*) FROM (SELECT pair_id, annotator_id FROM vote "
                    "GROUP BY pair_id, annotator_id HAVING count(*) > 1)"
                )
            ).scalar_one()
            over = session.execute(
                text(
                    "SELECT count(*) FROM (SELECT slot_id FROM vote WHERE slot_id IS NOT NULL "
                    "GROUP BY slot_id HAVING count(*) > 1)"
                )
            ).scalar_one()
            unbound = session.execute(
                text(
                    "SELECT count(*) FROM vote v LEFT JOIN slot s ON s.id = v.slot_id "
                    "WHERE v.source = 'api' AND (s.status IS DISTINCT FROM 'voted')"
                )
            ).scalar_one()
        db.dispose()
        return {
            "acknowledged": len(acknowledged),
            "lost": sum(1 for vote in set(acknowledged) if vote not in stored),
            "stored_but_not_acknowledged": sum(stored.values()) - len(set(acknowledged)),
            "twice_by_one_annotator": int(twice),
            "over_the_cap": int(over) + int(unbound),
        }

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Annotator:
    """A program that annotates. `voted`: ids of the votes it got an answer to."""

    def __init__(self, url: str, project: str, token: str) -> None:
        self.client = Client(url, {"Authorization": f"Bearer {token}"})
        self.project = project
        self.leases: dict[str, str] = {}
        self.voted: list[str] = []

    async def claim(self) -> str | None:
        answer = await self.client.request("POST", f"/api/v1/projects/{self.project}/pairs/claim")
        if answer.status == 204:
            return None
        if answer.status != 200:
            raise Refused(f"claim: {answer.status} {answer.body[:200]!r}")
        given = json.loads(answer.body)
        self.leases[given["pair_id"]] = given["lease"]
        return str(given["pair_id"])

    async def submit(self, task: str, choice: str) -> None:
        body = {"lease": self.leases[task], "choice": choice, "duration_ms": 1_000}
        answer = await self.client.request("POST", f"/api/v1/pairs/{task}/votes", json.dumps(body).encode())
        if answer.status != 201:
            raise Refused(f"vote: {answer.status} {answer.body[:200]!r}")
        self.voted.append(json.loads(answer.body)["id"])
