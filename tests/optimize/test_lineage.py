"""The tree of candidates, and searches at equal calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.optimize.comparing import curves, equal_calls
from core.optimize.lineage import best_number, layout, way_to, worth_showing
from core.optimize.view import candidates_of, other_parents
from pages.optimize_lineage import tree
from storage.tables import Candidate


def made(number, parent, score=0.0, accepted=False, n=10, calls=0):
    return Candidate(
        run_id="r", number=number, parent=parent, text=f"text {number}", operation="edit", accepted=accepted,
        scores={"train": {"score": score, "low": score, "high": score, "n": n}}, calls=calls,
    )  # fmt: skip


#       0 ── 1 ── 3
#       │    └─── 4 ── 5
#       └─── 2
TREE = [made(0, None), made(1, 0), made(2, 0), made(3, 1), made(4, 1), made(5, 4)]


def test_the_layout_of_a_small_tree():
    found = {node.candidate.number: (node.depth, node.row) for node in layout(TREE)}
    assert found == {3: (2, 0.0), 5: (3, 1.0), 4: (2, 1.0), 1: (1, 0.5), 2: (1, 2.0), 0: (0, 1.25)}


def test_the_way_from_the_start():
    assert [step.number for step in way_to(TREE, 5)] == [0, 1, 4, 5]
    assert [step.number for step in way_to(TREE, 0)] == [0]


def test_the_best_is_one_that_saw_all_examples():
    rows = [made(0, None, 1.0), made(1, 0, 9.0, n=3), made(2, 0, 4.0), made(3, 0, 4.0)]
    assert best_number(rows) == 2


def test_accepted_ones_and_their_parents_are_shown_first():
    rows = [made(0, None), *[made(i, 0, score=i) for i in range(1, 50)], made(50, 7, -5.0, accepted=True)]
    shown = [one.number for one in worth_showing(rows, most=6)]
    assert shown == [0, 7, 47, 48, 49, 50]


@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_every_candidate_has_a_place_of_its_own(parents):
    rows = [made(0, None), *[made(i, parent % i) for i, parent in enumerate(parents, 1)]]
    nodes = {node.candidate.number: node for node in layout(rows)}
    assert len({(node.depth, node.row) for node in nodes.values()}) == len(rows)
    for node in nodes.values():
        if node.candidate.parent is not None:
            assert node.depth == nodes[node.candidate.parent].depth + 1
    leaves = sorted(node.row for n, node in nodes.items() if not any(r.parent == n for r in rows))
    assert leaves == [float(i) for i in range(len(leaves))]


def test_a_chain_of_a_thousand_edits():
    rows = [made(i, i - 1 if i else None) for i in range(1_500)]
    assert layout(rows)[-1].depth == 1_499


def test_further_parents_are_kept_and_drawn(db, admin, api, examples, champion, search):
    """As the operation tells them: from the worker by events to the tree and the API."""
    examples(train=30)
    run = search(method="evoprompt_de", population=4, generations=2, budget={"calls": 900})
    found = candidates_of(db, admin, run.id)
    others = other_parents(db, admin, run.id)
    crossed = {c.number: c for c in found if c.operation.startswith("differential evolution")}
    assert crossed and set(others) == set(crossed)
    for number, candidate in crossed.items():
        said = candidate.operation.removeprefix("differential evolution with ").split(" and ")
        assert others[number] == [int(one) for one in said] and len(said) == 3
    rows = {row["number"]: row["others"] for row in api(admin).get(f"/runs/{run.id}/candidates").json()}
    assert rows == {c.number: others.get(c.number, []) for c in found}
    edges = tree(found, others).to_dict()["layer"][0]
    drawn = [row["further"] for row in tree(found, others).to_dict()["datasets"][edges["data"]["name"]]]
    assert drawn.count(True) == 3 * len(crossed) and drawn.count(False) == len(found) - 1
    assert other_parents(db, admin, search(method="random", source="edits", candidates=4).id) == {}


def test_searches_at_equal_calls(db, admin, examples, champion, search):
    examples(train=30)
    # Without what the first has paid for: its start would cost the second nothing.
    grips = search(method="grips")
    chance = search(method="random", source="edits", candidates=8, reuse=False)
    found = curves(db, admin, [grips.id, chance.id])
    assert found[0].like == found[1].like and [curve.label for curve in found] == [
        "GrIPS, seed 5",
        "Random search, seed 5",
    ]
    calls = equal_calls(found)
    assert calls == min(curve.searched for curve in found) > 0
    for curve in found:
        scores = [scores["score"] for _, scores in curve.points]
        assert scores == sorted(scores)
        wanted = max(score["score"] for spent, score in curve.points if spent <= calls)
        assert curve.at(calls)["score"] == pytest.approx(wanted)
        assert curve.at(0) is None
