"""What a decision says: its checks, proposals from evidence, overrides, recommendation."""

import pytest

from core.errors import Forbidden, Invalid
from core.planning import documents
from core.planning.decision import tables
from core.planning.decision.changes import changes
from core.planning.decision.evidence import ACCESS, collect
from core.planning.decision.model import (
    COMPLEXITY,
    CONTINUOUS,
    DATA,
    DISCRETE,
    GAP,
    IMPROVEMENT,
    MANUAL,
    TIME,
    Alternative,
    Decision,
    Factor,
    Needs,
    Plateau,
    Score,
)
from core.planning.decision.proposals import propose
from core.planning.decision.results import compute
from core.planning.decision.section import section
from core.planning.documents import checked
from core.planning.quantity import fixed
from storage.tables import Annotator, Host, RewardModel, Vote
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"factors": []}, "factors"),
        ({"factors": [{"title": "a", "weight": -1}]}, "factors.0.weight"),
        ({"factors": [{"title": "a", "weight": 0}]}, "at least one weight must be above zero"),
        ({"factors": [{"title": "Speed"}, {"title": "speed "}]}, "“speed” is there twice"),
        ({"alternatives": [{"title": "only one"}]}, "alternatives"),
        ({"scores": [{"alternative": MANUAL, "factor": GAP, "value": 11}]}, "scores.0.value"),
        ({"scores": [{"alternative": "nobody", "factor": GAP, "value": 1}]}, "no alternative “nobody”"),
        ({"scores": 2 * [{"alternative": MANUAL, "factor": GAP, "value": 1}]}, "there twice"),
        ({"comparisons": [{"a": GAP, "b": DATA, "value": 10}]}, "comparisons.0.value"),
        ({"comparisons": [{"a": GAP, "b": DATA, "value": 0.1}]}, "comparisons.0.value"),
        ({"comparisons": [{"a": GAP, "b": GAP, "value": 2}]}, "compared with itself"),
        ({"comparisons": [{"a": GAP, "b": DATA}, {"a": DATA, "b": GAP}]}, "there twice"),
        ({"needs": {"desired": 0}}, "needs.desired"),
        ({"needs": {"current": {"value": 1.4}}}, "must not be above 1"),
        ({"plateau": {"margin": 0}}, "plateau.margin"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(values, said):
    with pytest.raises(Invalid, match=said):
        checked(Decision, values)


def test_an_empty_project_gets_judgement_and_says_so(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    result = compute(any_db, lead, project.id, Decision())
    assert len(result.body.scores) == 25
    assert not any(item.measured for item in result.proposals.values() if item.factor != DATA)
    assert result.recommendation.winner == MANUAL
    assert set(result.found.missing) == {
        "preferences", "agreement", "reward_accuracy", "searches", "found", "current", "transfer"
    }  # fmt: skip
    told = section(any_db, lead, project.id)
    assert told.empty and "nobody has voted" in told.answer


def test_the_plateau_of_a_project_and_what_follows(db, person, plateaued):
    lead = person("lead")
    body = Decision(plateau=Plateau(margin=5))
    result = compute(db, lead, plateaued.id, body)
    history = result.found.history
    assert (history.outcome, history.steps, history.n) == ("plateaued", 3, 3000)
    assert history.verdict.gain == pytest.approx(0, abs=1e-6)
    assert result.proposals[MANUAL, IMPROVEMENT].value == 1.0
    assert result.proposals[MANUAL, IMPROVEMENT].measured
    answer = result.recommendation.answer
    assert "less than 5 points over the last three versions: manual work has plateaued" in answer
    assert "Recommended: Discrete search now (start with GrIPS)" in answer
    assert result.proposals[DISCRETE, DATA].value >= 7
    # At one point these votes cannot tell.
    unsure = compute(db, lead, plateaued.id, Decision())
    assert unsure.found.history.outcome == "undecided" and unsure.found.history.verdict.more > 0


def test_labels_are_named_with_their_figures(db, person, plateaued):
    """As in the issue: how many, and alpha with its interval."""
    reason = propose(Decision(), collect(db, person("lead"), plateaued.id, Decision()))[DISCRETE, DATA].reason
    assert reason == "3,000 preferences of the 100 it needs, agreement not known: enough for a reward model."
    judges = [Annotator(project_id=plateaued.id, name=f"second {i}") for i in range(1)]

    def second(session):
        from sqlmodel import select

        session.add_all(judges)
        for i, vote in enumerate(session.exec(select(Vote).limit(400)).all()):
            values = vote.model_dump(exclude={"id", "created_at", "annotator_id", "lease", "slot_id"})
            if i % 5 == 0:
                values |= {"outcome": "tie", "winner": None}
            session.add(Vote(**values, annotator_id=judges[0].id))

    db.write(second)
    found = collect(db, person("lead"), plateaued.id, Decision())
    reason = propose(Decision(), found)[DISCRETE, DATA].reason
    alpha = found.agreement
    assert (
        f"alpha {alpha.value:.2f} ({alpha.low:.2f} to {alpha.high:.2f}): enough for a reward model" in reason
    )


def test_simulated_preferences_are_not_taken_for_peoples(db, person, demo_project):
    result = compute(db, person("lead"), demo_project.id, Decision())
    found = result.found
    assert found.simulated_only and "all simulated" in result.recommendation.answer
    assert "labels do not suffice yet" in result.recommendation.answer
    assert "people must vote" in found.missing["preferences"]
    assert result.proposals[DISCRETE, DATA].value <= 5


def test_the_host_decides_what_is_possible(db, person, project):
    host = Host(name="vendor", kind="openai", model="m", base_url="http://x/v1")
    db.write(lambda session: session.add(host))
    body = Decision(needs=Needs(host="vendor"))
    result = compute(db, person("lead"), project.id, body)
    assert "gives text, and it needs gradients" in result.blocked[CONTINUOUS]
    assert result.proposals[CONTINUOUS, COMPLEXITY].value == 0
    assert [row["Possible here"] for row in tables.ranking_rows(result)][-2:] == ["no", "no"]
    assert result.draws.wins[[a.key for a in body.alternatives].index(CONTINUOUS)] == 0
    later = dict(result.recommendation.later)
    assert "host that gives gradients" in later["Continuous prompts"]
    readable = compute(db, person("lead"), project.id, Decision(needs=Needs(interpretability="required")))
    assert "must be readable" in readable.blocked[CONTINUOUS]


def test_what_hosts_give_is_what_their_classes_say():
    for kind, file in (("local", "local.py"), ("openai", "remote.py")):
        source = (ROOT / "core" / "llm" / file).read_text(encoding="utf-8")
        line = next(line for line in source.splitlines() if line.strip().startswith("access = frozenset("))
        named = set(line.split("{")[1].split("}")[0].replace('"', "").replace(" ", "").split(","))
        assert named == set(ACCESS[kind])


def test_the_reward_model_moves_what_learns_from_it(db, person, project):
    lead = person("lead")
    before = compute(db, lead, project.id, Decision())
    metrics = {"accuracy": 0.80, "accuracy_low": 0.77, "accuracy_high": 0.83, "n_test": 700}
    model = RewardModel(project_id=project.id, run_id="r", name="m", folder="x", metrics=metrics)

    def work(session):
        session.add(model)
        here = session.get(type(project), project.id)
        here.reward_model_id = model.id
        session.add(here)

    db.write(work)
    after = compute(db, lead, project.id, Decision())
    cell = after.proposals["rl-over-prompts", IMPROVEMENT]
    assert cell.value == 9.0 and cell.measured  # 10 (0.77 - 0.5) / 0.3
    assert "80 % (77 to 83, n 700)" in cell.reason
    assert before.proposals["rl-over-prompts", IMPROVEMENT].value != cell.value


def test_the_gap_is_measured_or_given(db, person, project):
    given = Decision(needs=Needs(desired=0.8, current=fixed(0.74)))
    result = compute(db, person("lead"), project.id, given)
    assert result.proposals[DISCRETE, GAP].value == 10  # 6 points of 6
    assert result.proposals[MANUAL, GAP].value == 5  # 3 points of 6
    met = compute(db, person("lead"), project.id, Decision(needs=Needs(desired=0.7, current=fixed(0.74))))
    assert {met.proposals[a.key, GAP].value for a in met.body.alternatives} == {10.0}


def test_an_override_keeps_the_proposal_beside_it(db, person, project):
    mine = Score(alternative=DISCRETE, factor=TIME, value=2, reason="No one has time.")
    result = compute(db, person("lead"), project.id, Decision(scores=[mine]))
    cell = result.body.score(DISCRETE, TIME)
    assert (cell.value, cell.origin, cell.proposed, cell.reason) == (2, "overridden", 8, "No one has time.")
    assert tables.origin(result, DISCRETE, TIME) == "overridden"
    j = [f.key for f in result.body.factors].index(TIME)
    i = [a.key for a in result.body.alternatives].index(DISCRETE)
    assert result.scores[i, j] == 2
    assert changes(Decision(), result.body) == [
        "Discrete search, Time to deploy and iterate: 2 instead of the proposed 8."
    ]


def test_ones_own_factors_and_alternatives_stand_in_the_middle(db, person, project):
    body = Decision()
    body = body.model_copy(
        update={
            "factors": [*body.factors, Factor(title="Compliance", weight=10)],
            "alternatives": [*body.alternatives, Alternative(title="Buy a service")],
        }
    )
    result = compute(db, person("lead"), project.id, checked(Decision, body.model_dump(mode="json")))
    assert result.proposals["buy-a-service", GAP].value == 5
    assert "your own" in result.proposals[MANUAL, "compliance"].reason
    assert result.scores.shape == (6, 6)
    assert result.weights.sum() == pytest.approx(1)
    total = {row["Alternative"]: 0.0 for row in tables.contribution_rows(result)}
    for row in tables.contribution_rows(result):
        total[row["Alternative"]] += row["Contribution"]
    for row in tables.ranking_rows(result):
        assert total[row["Alternative"]] == pytest.approx(row["Weighted sum"], abs=0.01)


def test_pairwise_comparisons_make_the_weights(db, person, project):
    said = [{"a": GAP, "b": key, "value": 9} for key in (DATA, IMPROVEMENT, COMPLEXITY, TIME)]
    result = compute(
        db, person("lead"), project.id, checked(Decision, {"weighting": "pairwise", "comparisons": said})
    )
    assert result.weights == pytest.approx([9 / 13] + [1 / 13] * 4)
    assert result.priorities.ratio == pytest.approx(0, abs=1e-9)


def test_what_is_kept_is_computed_anew_when_votes_come(db, person, plateaued, world):
    lead = person("lead")
    before = collect(db, lead, plateaued.id, Decision())
    assert collect(db, lead, plateaued.id, Decision()) is before
    line = [before.common.prompts[v.prompt_id] for v in before.history.versions]
    other = world.__new__(world)
    other.db, other.project = db, plateaued
    other.judges = [Annotator(project_id=plateaued.id, name="late")]
    db.write(lambda session: session.add_all(other.judges))
    other.meet(line[2], line[3], wins=5)
    after = collect(db, lead, plateaued.id, Decision())
    assert after.history.n == before.history.n + 5


def test_who_may(db, person, project):
    with pytest.raises(Forbidden):
        compute(db, person("annotator"), project.id, Decision())
    compute(db, person("engineer"), project.id, Decision())


def test_the_brief_gets_charts_that_draw(db, person, plateaued):
    documents.save(db, person("lead"), plateaued.id, Decision(plateau=Plateau(margin=5)))
    told = section(db, person("lead"), plateaued.id)
    assert not told.empty and "plateaued" in told.answer
    assert set(told.charts) == {"Contributions", "Ranking", "Manual versions"}
    for chart in told.charts.values():
        assert chart.to_dict()["$schema"]
    assert {"Ranking", "Weights"} == set(told.tables) and len(told.figures) == 4
