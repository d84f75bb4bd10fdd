"""A project with a history: prompt versions, responses, pairs and votes by the hundred."""

import itertools

import pytest

from core import demo
from core.projects import list_projects
from storage.bulk import insert_many
from storage.ids import new_id
from storage.tables import Annotator, Example, Pair, Prompt, Response, Vote


@pytest.fixture
def demo_project(db, admin):
    demo.seed_once(db)
    return list_projects(db, admin)[0]


class World:
    """`meet(a, b, wins, even, losses)` adds votes on pairs of two prompts, the wins being
    those of `b`."""

    def __init__(self, db, project):
        self.db, self.project = db, project
        self.judges = [Annotator(project_id=project.id, name=f"judge {i}") for i in range(3)]
        db.write(lambda session: session.add_all(self.judges))

    def versions(self, count, name="plain", **values):
        rows, parent = [], None
        for number in range(1, count + 1):
            row = Prompt(
                project_id=self.project.id, name=name, version=number, user=f"{number}: {{{{input}}}}",
                parent_id=parent, operation="edited" if parent else "written", **values,
            )  # fmt: skip
            rows.append(row)
            parent = row.id
        self.db.write(lambda session: session.add_all(rows))
        return rows

    def found(self, parent, version=90):
        row = Prompt(
            project_id=self.project.id, name=parent.name, version=version, user="found {{input}}",
            parent_id=parent.id, operation="grips:delete", run_id="a-run",
        )  # fmt: skip
        self.db.write(lambda session: session.add(row))
        return row

    def meet(self, a, b, wins, even=0, losses=0, split="test", votes=1, simulated=False, host_id=None):
        """`votes` judges say the same about each pair."""
        project_id = self.project.id
        examples, responses, pairs, cast = [], [], [], []
        for outcome, count in (("b", wins), ("tie", even), ("a", losses)):
            for _ in range(count):
                key = new_id()
                example = Example(project_id=project_id, content_hash=key, input=key, split=split)
                one, two = (
                    Response(
                        project_id=project_id, example_id=example.id, prompt_id=prompt.id, text="x",
                        cache_key=new_id(), host_id=host_id, latency_ms=100.0,
                    )
                    for prompt in (a, b)
                )  # fmt: skip
                # Which response is `a` of a pair is by chance.
                left, right = (one, two) if len(pairs) % 2 else (two, one)
                pair = Pair(
                    project_id=project_id, example_id=example.id, response_a=left.id, response_b=right.id
                )
                examples.append(example)
                responses += [one, two]
                pairs.append(pair)
                cast += [
                    Vote(
                        project_id=project_id, pair_id=pair.id, annotator_id=self.judges[i].id,
                        outcome="tie" if outcome == "tie" else "win",
                        winner={"a": one.id, "b": two.id}.get(outcome), simulated=simulated,
                    )
                    for i in range(votes)
                ]  # fmt: skip

        def work(session):
            for table, rows in ((Example, examples), (Response, responses), (Pair, pairs), (Vote, cast)):
                insert_many(session, table, rows)

        self.db.write(work)


@pytest.fixture
def world():
    return World


@pytest.fixture
def plateaued(db, project, world):
    """Four manual versions that are alike, judged by people on held-out examples: a margin
    of 5 points shows a plateau."""
    build = world(db, project)
    versions = build.versions(4)
    for a, b in itertools.pairwise(versions):
        build.meet(a, b, wins=300, losses=300)
    build.meet(versions[0], versions[3], wins=600, losses=600)
    return project
