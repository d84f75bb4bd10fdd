import numpy as np
import pytest

from core import demo
from core.annotation.leaderboard import leaderboard
from core.annotation.quality import alpha_nominal, quality
from core.planning.evidence import alpha_of_blocks, gather
from core.projects import list_projects
from storage.tables import Interaction, Prompt, Signal


@pytest.fixture
def demo_project(db, admin):
    demo.seed_once(db)
    return list_projects(db, admin)[0]


def test_the_demo_agrees_with_the_leaderboard_and_the_quality_page(db, person, demo_project):
    lead = person("lead")
    found = gather(db, lead, demo_project.id)
    assert found.champion.name == "plain" and found.simulated_only
    board = leaderboard(db, lead, demo_project.id)
    order = board["matrix"]["prompts"]
    i, j = order.index(found.champion.id), order.index(found.baseline.id)
    assert found.win_rate.n == board["matrix"]["n"][i][j]
    assert found.win_rate.value == pytest.approx(board["matrix"]["wins"][i][j] / found.win_rate.n)
    assert found.win_rate.low < found.win_rate.value < found.win_rate.high
    assert "simulated" in found.win_rate.source
    figures = quality(db, lead, demo_project.id)
    assert found.agreement.value == pytest.approx(figures["alpha_nominal"])
    # Another interval (jackknife over blocks, not bootstrap over pairs), about as wide.
    width = figures["alpha_high"] - figures["alpha_low"]
    assert found.agreement.high - found.agreement.low == pytest.approx(width, rel=0.5)
    assert found.pace.votes == figures["votes"]
    assert found.seconds_per_vote.value == pytest.approx(figures["median_duration_ms"] / 1000)
    assert found.seconds_per_vote.low <= found.seconds_per_vote.value <= found.seconds_per_vote.high


def test_alpha_of_blocks_is_alpha():
    rng = np.random.default_rng(3)
    counts = np.array([np.bincount(rng.integers(0, 4, rng.integers(2, 6)), minlength=4) for _ in range(300)])
    blocks = []
    for block in range(16):
        part = counts[block::16]
        n = part.sum(1)
        same = (part * (part - 1)).sum(1) / (n - 1)
        a, b, tie, bad = part.sum(0)
        blocks.append((int(n.sum()), float(same.sum()), int(a + b), int(tie), int(bad)))
    assert alpha_of_blocks(blocks).value == pytest.approx(alpha_nominal(counts)["alpha_nominal"])
    assert alpha_of_blocks([]) is None
    assert alpha_of_blocks([(4, 4.0, 0, 4, 0)]) is None  # everybody said the same


def test_an_empty_project_says_what_is_missing(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    found = gather(any_db, lead, project.id)
    assert found.win_rate is None and found.agreement is None and found.votes_per_day is None
    assert set(found.missing) == {"win_rate", "agreement", "seconds_per_vote", "interactions_per_month"}


def test_success_in_production(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    prompt = Prompt(project_id=project.id, name="plain", user="{{input}}")

    def work(session):
        session.add(prompt)
        for value in (1, 1, 1, -1):
            use = Interaction(project_id=project.id, prompt_id=prompt.id)
            session.add(use)
            session.add(Signal(project_id=project.id, interaction_id=use.id, kind="thumb", value=value))

    any_db.write(work)
    found = gather(any_db, lead, project.id).success[prompt.id]
    assert (found.value, found.n) == (0.75, 4)
    assert found.low < 0.75 < found.high
