"""What was known when, with candidates that were scored in full out of the order of their numbers:
the curve, and gold that falls."""

from types import SimpleNamespace

import pytest

from core.optimize import work
from core.optimize.comparing import curves
from core.optimize.curve import best_so_far, in_time
from core.optimize.search import Search
from core.optimize.watched import GoldFalls, before_the_fall, checks, fall
from core.runs.context import RunContext
from pages.optimize_curve import curve_data
from storage.tables import Candidate, Run
from tests.optimize.conftest import add
from tests.optimize.fakes import FakeHost, make_folder


def told(number, calls, score, n=20, accepted=False, **more):
    train = {"score": score, "low": score - 1, "high": score + 1, "n": n, **more}
    return Candidate(
        project_id="p", run_id="r", number=number, operation="o", text=f"t{number}", calls=calls,
        accepted=accepted, scores={"train": train},
    )  # fmt: skip


OUT_OF_ORDER = [
    told(0, 20, 50.0, accepted=True),
    told(1, 200, 70.0),  # tried early, on a few; in full only at 200 calls
    told(2, 60, 55.0, accepted=True),
    told(3, 90, 99.0, n=8),  # in part: not on the same examples
    told(4, 90, 99.0, feasible=False),
    told(5, 120, 52.0),
    told(6, 260, 65.0),
]


def test_the_best_so_far_is_what_was_known_by_then():
    points = best_so_far(OUT_OF_ORDER)
    assert [(p.candidate.number, p.candidate.calls, p.best["score"], p.better) for p in points] == [
        (0, 20, 50.0, True), (2, 60, 55.0, True), (3, 90, 55.0, False), (4, 90, 55.0, False),
        (5, 120, 55.0, False), (1, 200, 70.0, True), (6, 260, 70.0, False),
    ]  # fmt: skip
    assert [p.kind for p in points] == [
        "start", "accepted", "scored in part", "infeasible", "not accepted", "not accepted", "not accepted",
    ]  # fmt: skip
    assert best_so_far([]) == [] and best_so_far(OUT_OF_ORDER[1:]) == []


def test_the_page_plots_it_in_that_order():
    data = curve_data(OUT_OF_ORDER)
    assert list(data["calls"]) == [20, 60, 90, 90, 120, 200, 260]
    assert list(data["best"]) == [50, 55, 55, 55, 55, 70, 70]
    assert list(data["score"]) == [50, 55, 99, 99, 52, 70, 65]  # each candidate's own, not the best
    assert list(data["best_low"]) == [49, 54, 54, 54, 54, 69, 69] and list(data["n"])[2] == 8
    assert curve_data([]).empty


def test_searches_are_compared_by_the_same_curve(db, admin, project):
    run = Run(
        id="r", project_id=project.id, kind="optimize", name="r", seed=1,
        config={"method": "ape", "reward": "labels", "host": "h"},
    )  # fmt: skip
    add(db, run, *(Candidate(**{**one.model_dump(), "project_id": project.id}) for one in OUT_OF_ORDER))
    (found,) = curves(db, admin, ["r"])
    assert [(calls, of["score"]) for calls, of in found.points] == [(20, 50.0), (60, 55.0), (200, 70.0)]
    assert found.searched == 260 and found.at(150)["score"] == 55.0


def watched(number, calls, proxy, gold):
    each = [gold - 0.1 * number, gold + 0.1 * number]
    train = {"score": proxy, "n": 2, "watch": {"gold": {"score": gold, "each": each}}}
    return SimpleNamespace(number=number, calls=calls, accepted=False, scores={"train": train})


LATE = [watched(0, 10, 0.0, 0.0), watched(2, 90, 3.0, -2.0), watched(3, 60, 1.0, 0.5), watched(7, 70, 2.0, -1.0)]  # fmt: skip


def test_gold_falls_in_the_order_in_which_scores_were_known():
    """Candidate 2 is scored in full after candidate 7. By number it would stand before 3 and 7, which
    have less of the proxy, and no fall would be seen but one."""
    assert [one.number for one in checks(LATE)] == [0, 3, 7, 2]
    assert GoldFalls(lambda: LATE, 2)(None) == "gold_falls" and GoldFalls(lambda: LATE, 3)(None) is None
    assert fall(LATE)["score"] == pytest.approx(-2.5)
    may = before_the_fall(LATE)
    assert [one.number for one in in_time(LATE) if may(one)] == [0, 3]  # 2 has a lower number, and came later


def test_a_search_that_was_stopped_for_it_chooses_among_what_was_known_before():
    """Through the end of a search: a late one with a low number and the highest proxy is not chosen."""
    scored = [
        SimpleNamespace(**vars(one), text=f"t{one.number}")
        for one in sorted(LATE, key=lambda one: one.number)
    ]
    optimizer = SimpleNamespace(candidates=scored)
    asked = []

    class Evaluator:
        rows = {"train": [1, 2], "dev": [1], "test": []}  # noqa: RUF012
        price, reserve = 1, 0

        def evaluate(self, texts, split):
            asked.extend(texts)
            return split

        def measure(self, evaluation, row=0):
            return {"score": 1.0, "n": 1}

        def gain(self, *given, **named):
            return None

    search = Search(optimizer, Evaluator(), lambda now: None, None, lambda event: None)
    assert search.finish("gold_falls", 3).best.number == 3
    assert "t2" not in asked and "t7" not in asked


def test_a_search_that_goes_on_tells_its_candidates_in_that_order_again(tmp_path, monkeypatch):
    """So that the best so far, which is told with each, is what was known by then."""
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: FakeHost())
    folder = make_folder(tmp_path / "r", method="ape", calls=900)
    counts = []
    for _ in range(2):
        context = RunContext(folder)
        work.run(context)
        context.close()
        counts.append(len(folder.read_events()[0]))
    again = [one["data"] for one in folder.read_events()[0][counts[0] :] if one["type"] == "metric"]
    full = [one for one in again if one["step"]]
    assert [one["calls"] for one in again] == sorted(one["calls"] for one in again)
    assert [one["step"] for one in full] != sorted(one["step"] for one in full)
    assert all(one["best"] >= one["score"] for one in again)
