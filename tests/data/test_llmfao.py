"""Real human comparisons: 8,931 votes by 124 people on 2,139 pairs, through the page's
functions and through the API."""

import json

import krippendorff
import numpy as np
import pytest
from sqlmodel import func, select

from core import data
from core.annotation.quality import quality
from storage.tables import Annotator, Pair, Response, Slot, Vote
from tests.data import llmfao

pytestmark = pytest.mark.skipif(
    not llmfao.FOLDER.is_dir(), reason="the crowd's comparisons (shared/data/llmfao) are not here"
)


@pytest.fixture(scope="module")
def rows():
    return llmfao.rows()


def check_figures(db, who, project):
    shown = quality(db, who, project.id)
    assert round(shown["alpha_nominal"], 3) == 0.291 and round(shown["left_share"], 3) == 0.533
    assert [shown[name] for name in ("votes", "pairs", "annotators")] == [8931, 2139, 124]
    with db.read() as session:

        def count(table):
            return session.exec(select(func.count()).where(table.project_id == project.id)).one()

        assert [count(table) for table in (Vote, Pair, Annotator, Response)] == [8931, 2139, 124, 750]
        votes = session.exec(
            select(Vote.pair_id, Vote.annotator_id, Vote.outcome, Vote.winner, Vote.left).where(
                Vote.project_id == project.id
            )
        ).all()
        per_pair = dict(
            session.exec(
                select(Slot.pair_id, func.count())
                .where(Slot.project_id == project.id, Slot.status == "open")
                .group_by(Slot.pair_id)
            ).all()
        )
    decisive = [vote for vote in votes if vote.outcome == "win"]
    assert round(sum(vote.winner == vote.left for vote in decisive) / len(decisive), 3) == 0.533
    pairs = {key: place for place, key in enumerate({vote.pair_id for vote in votes})}
    judges = {key: place for place, key in enumerate({vote.annotator_id for vote in votes})}
    table = np.full((len(judges), len(pairs)), np.nan)
    number = dict.fromkeys(pairs, 0)
    for vote in votes:
        # Nominal alpha depends on which side is called what; here every pair always stood one
        # way, so left and right are names that everybody can give.
        value = 2 if vote.outcome == "tie" else int(vote.winner == vote.left)
        table[judges[vote.annotator_id], pairs[vote.pair_id]] = value
        number[vote.pair_id] += 1
    assert round(krippendorff.alpha(table, level_of_measurement="nominal"), 3) == 0.291
    # Every pair waits for what it lacks of the project's votes per pair, and no more.
    lacking = {pair: project.votes_per_pair - n for pair, n in number.items() if n < project.votes_per_pair}
    assert per_pair == lacking


def test_through_the_pages_functions(db, admin, project, rows):
    file = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    table = data.read_upload("crowd.jsonl", file)
    planned = data.import_comparisons(db, admin, project.id, table.rows, dry_run=True)
    report = data.import_comparisons(db, admin, project.id, table.rows)
    assert planned == report
    assert (report.imported, report.duplicates, report.skipped) == (8931, 0, [])
    check_figures(db, admin, project)
    again = data.import_comparisons(db, admin, project.id, table.rows)
    assert (again.imported, again.duplicates, again.skipped) == (0, 8931, [])
    check_figures(db, admin, project)


@pytest.mark.parametrize("batch", [1000, 10_000])
def test_through_the_api(db, admin, project, api, rows, batch):
    client = api(admin)
    total = 0
    for first in range(0, len(rows), batch):
        answer = client.post(f"/projects/{project.id}/comparisons", json=rows[first : first + batch])
        assert answer.status_code == 200, answer.text
        assert (answer.json()["duplicates"], answer.json()["skipped"]) == (0, [])
        total += answer.json()["imported"]
    assert total == 8931
    check_figures(db, admin, project)
