"""What labelling needs: projects with pairs to label."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from core.access import Principal, Role
from storage.database import Database
from storage.ids import id_of, now
from storage.pairs import NewPair, add_pairs
from storage.tables import Example, Project, Prompt, Response, SignIn, User


def make_person(db: Database, name: str = "annotator", role: str = "annotator") -> Principal:
    user = User(name=name, role=role)
    sign_in = SignIn(user_id=user.id, expires_at=now() + timedelta(hours=1))

    def work(session):
        session.add(user)
        session.add(sign_in)

    db.write(work)
    return Principal(user.id, name, Role(role), sign_in_id=sign_in.id)


@dataclass
class World:
    """A project with `pairs` (ids); texts name their prompt, which the API must not."""

    project: Project
    pairs: list[str]
    prompts: list[Prompt]


def make_world(db: Database, pairs: int = 3, votes: int = 2, prompts: int = 2, **fields) -> World:
    """`pairs` examples, each with responses by two of the prompts, in turn."""
    project = Project(
        **{"name": "World", "criteria": ["helpful", "accurate"], "votes_per_pair": votes, **fields}
    )
    made = [Prompt(project_id=project.id, name=f"prompt {i}") for i in range(prompts)]

    def work(session) -> list[str]:
        session.add(project)
        session.add_all(made)
        wanted = []
        for i in range(pairs):
            example = Example(
                id=id_of(project.id, str(i)), project_id=project.id, content_hash=str(i), input=f"Input {i}"
            )
            session.add(example)
            two = [made[i % prompts], made[(i + 1) % prompts]]
            ids = [id_of(project.id, "response", str(i), prompt.id) for prompt in two]
            for key, prompt in zip(ids, two, strict=True):
                session.add(
                    Response(
                        id=key,
                        project_id=project.id,
                        example_id=example.id,
                        prompt_id=prompt.id,
                        cache_key=key,
                        text=f"Response {key} to {i}",
                    )
                )
            wanted.append(NewPair(example.id, *ids))
        added, _ = add_pairs(session, project, wanted)
        return added

    return World(project, db.write(work), made)


@pytest.fixture
def world(db: Database) -> Callable[..., World]:
    return lambda **values: make_world(db, **values)
