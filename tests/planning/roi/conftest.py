from datetime import timedelta

import pytest

from core import demo
from core.projects import list_projects
from storage.ids import now
from storage.tables import (
    Annotator,
    AuditEntry,
    Example,
    Interaction,
    LedgerEntry,
    Pair,
    Project,
    Prompt,
    Response,
    Run,
    Signal,
    Vote,
)


@pytest.fixture
def demo_project(db, admin):
    demo.seed_once(db)
    return list_projects(db, admin)[0]


class Lab:
    """A project with a past: prompts, votes, runs and uses at chosen times (days ago)."""

    def __init__(self, db, project):
        self.db, self.project = db, project
        self.rows = []

    def add(self, row):
        self.rows.append(row)
        return row

    def at(self, days):
        return now() - timedelta(days=days)

    def prompt(self, name, parent=None, operation="written"):
        return self.add(
            Prompt(project_id=self.project.id, name=name, user="{{input}}", operation=operation,
                   parent_id=parent.id if parent else None)
        )  # fmt: skip

    def votes(self, new, old, outcomes, days, seconds=10, simulated=False):
        """`outcomes`: w (for the new one), l and t, a pair and an annotator for each."""
        judge = self.add(
            Annotator(project_id=self.project.id, name=f"J{len(self.rows)}", simulated=simulated)
        )
        for letter in outcomes:
            example = self.add(
                Example(project_id=self.project.id, content_hash=f"{len(self.rows)}", input="q")
            )
            a, b = (
                self.add(
                    Response(project_id=self.project.id, example_id=example.id, prompt_id=prompt.id, text="a",
                             cache_key=f"{prompt.id}{len(self.rows)}")
                )
                for prompt in (new, old)
            )  # fmt: skip
            pair = self.add(
                Pair(project_id=self.project.id, example_id=example.id, response_a=a.id, response_b=b.id)
            )
            winner = {"w": a.id, "l": b.id, "t": None}[letter]
            self.add(
                Vote(project_id=self.project.id, pair_id=pair.id, annotator_id=judge.id, winner=winner,
                     outcome="win" if winner else "tie", duration_ms=1000 * seconds if seconds else None,
                     simulated=simulated, created_at=self.at(days))
            )  # fmt: skip

    def run(self, kind, days, seconds, calls=0, cost=0.0, status="succeeded"):
        begun = self.at(days)
        run = self.add(
            Run(project_id=self.project.id, kind=kind, status=status, created_at=begun, started_at=begun,
                finished_at=begun + timedelta(seconds=seconds))
        )  # fmt: skip
        if calls:
            self.add(
                LedgerEntry(run_id=run.id, project_id=self.project.id, host="h", purpose="target", calls=calls,
                            tokens_in=100 * calls, tokens_out=50 * calls, cost=cost)
            )  # fmt: skip

    def promoted(self, prompt, before, days):
        self.add(
            AuditEntry(at=self.at(days), user_name="Ada", action="prompt.promote", entity="prompt",
                       entity_id=prompt.id, project_id=self.project.id,
                       detail={"name": prompt.name, "before": before.id if before else None})
        )  # fmt: skip

    def uses(self, prompt, good, bad, days=10):
        for value in [1] * good + [-1] * bad:
            use = self.add(
                Interaction(project_id=self.project.id, prompt_id=prompt.id, created_at=self.at(days))
            )
            self.add(Signal(project_id=self.project.id, interaction_id=use.id, kind="thumb", value=value))

    def keep(self, champion=None):
        rows, self.rows = self.rows, []

        def work(session):
            for row in rows:
                session.add(row)
            if champion is not None:
                project = session.get(Project, self.project.id)
                project.champion_prompt_id = champion.id
                session.add(project)

        self.db.write(work)


@pytest.fixture
def lab():
    return Lab
