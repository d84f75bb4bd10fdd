"""A project with pairs that people have voted on, hosts that judge, and runs done here."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from core.access import Principal
from core.llm import registry
from core.runs.context import RunContext
from core.runs.folder import write_json
from core.runs.ingest import finish, ingest
from core.runs.service import get_run, run_folder, start_run
from core.runs.worker import perform
from storage.database import Database
from storage.ids import id_of
from storage.tables import Annotator, Pair, Project, Response, Run, Vote
from tests.annotation.conftest import make_person, make_world
from tests.llm import tiny as tiny_module
from tests.llm.conftest import one_thread  # noqa: F401
from tests.llm.servers import completion

LETTERS = " A B C D"


@dataclass
class Place:
    db: Database
    who: Principal
    project: Project
    pairs: list[Pair]
    texts: dict[str, str]  # response id -> text

    def vote(self, name: str, choices: dict[str, str], simulated: bool = False) -> None:
        """Votes of an annotator: pair id -> a, b, tie or both_bad."""
        pairs = {pair.id: pair for pair in self.pairs}

        def work(session) -> None:
            key = id_of("annotator", self.project.id, name)
            if session.get(Annotator, key) is None:
                session.add(Annotator(id=key, project_id=self.project.id, name=name, simulated=simulated))
            for pair_id, choice in choices.items():
                pair = pairs[pair_id]
                session.add(
                    Vote(
                        project_id=self.project.id, pair_id=pair_id, annotator_id=key,
                        outcome="win" if choice in "ab" else choice,
                        winner={"a": pair.response_a, "b": pair.response_b}.get(choice),
                        left=pair.response_a, simulated=simulated,
                    )
                )  # fmt: skip

        self.db.write(work)

    def rows(self, table) -> list:
        from sqlmodel import select

        with self.db.read() as session:
            return list(session.exec(select(table)))

    def judge(self, before=None, **config) -> Run:
        """Start a run, do its work here, take it in; answers the run as it ended."""
        run = start_run(self.db, self.who, self.project.id, "judge", config)
        return self.carry_on(run.id, before)

    def carry_on(self, run_id: str, before=None) -> Run:
        folder = run_folder(run_id)

        def begin(session) -> None:
            run = session.get(Run, run_id)
            run.status = "running"
            session.add(run)

        self.db.write(begin)
        context = RunContext(folder)
        if before:
            before(context)
        outcome = perform(context, [])
        context.close()
        write_json(folder.path / "result.json", outcome)
        while ingest(self.db, run_id, folder):
            pass
        finish(self.db, run_id, folder, outcome)
        return get_run(self.db, self.who, run_id)


def make_place(db: Database, pairs: int = 6) -> Place:
    who = make_person(db, "admin", "admin")
    world = make_world(db, pairs=pairs, prompts=3, guidelines="Be kind.", criteria=["warm", "short"])

    def read(session):
        found = sorted((session.get(Pair, key) for key in world.pairs), key=lambda pair: pair.id)
        texts = {
            r: session.get(Response, r).text for pair in found for r in (pair.response_a, pair.response_b)
        }
        return found, texts

    found, texts = db.write(read)
    return Place(db, who, world.project, found, texts)


@pytest.fixture
def place(db) -> Callable[..., Place]:
    return lambda **values: make_place(db, **values)


@pytest.fixture(scope="session")
def letters(tmp_path_factory, one_thread):  # noqa: F811
    """The tiny random model, with the letters it answers by in its vocabulary."""
    words = tiny_module._WORDS
    tiny_module._WORDS = words + LETTERS
    try:
        return tiny_module.build(tmp_path_factory.mktemp("letters"), context=1024)
    finally:
        tiny_module._WORDS = words


def sides(body: dict) -> tuple[str, str]:
    """The two responses of a question, in the order they stand."""
    text = body["messages"][0]["content"]
    first = text.split("[Response A]\n")[1].split("\n[End of response A]")[0]
    second = text.split("[Response B]\n")[1].split("\n[End of response B]")[0]
    return first, second


def prefers(better: Callable[[str, str], str]) -> Callable:
    """A server that answers by `better(first, second)`."""
    return lambda n, path, headers, body: (200, completion(better(*sides(body))))


def far(place: Place, url: str, **values) -> None:
    registry.create_host(place.db, place.who, **{"name": "far", "model": "m", "base_url": url, **values})


def books(run_id: str) -> dict:
    return json.loads((run_folder(run_id).state / "books.json").read_text())
