"""Two models on the same pairs: which pairs, what is said of them, and what follows for the
promotion of one."""

import numpy as np
import pytest
from sqlmodel import select

from core.errors import Conflict, Invalid, NotFound
from core.reward import compare_runs, comparing, promotion, registry
from core.reward.paired import mcnemar_mid, newcombe
from core.runs import service
from storage.tables import AuditEntry, Example, Pair, Project, Response, RewardModel
from tests.reward.test_data import FIRST, Made
from tests.reward.test_scoring import Shop, folders  # noqa: F401
from tests.reward.trained import row, trained

TEST = [f"t{i}" for i in range(40)]


def two(db, project, first_wrong, second_wrong, *, rows=None, **second):
    """Two models that are wrong on these pairs of TEST; the label is always a."""
    rows = rows or [row("train", "train"), *(row(pair) for pair in TEST)]

    later = second.pop("rows_second", rows)

    def scores(wrong):
        return {r["pair_id"]: -1.0 if r["pair_id"] in wrong else 2.0 for r in [*rows, *later]}

    return (
        trained(db, project, rows, scores(first_wrong), accuracy=0.6, n_test=40),
        trained(db, project, later, scores(second_wrong), **second),
    )


def test_difference_interval_and_p_on_the_same_pairs(db, admin, project):
    first, second = two(db, project, TEST[:16], TEST[12:18])
    found = comparing.compare(db, admin, first.id, second.id)
    t = found.table
    assert (t.both, t.second_only, t.first_only, t.neither) == (22, 12, 2, 4)
    assert found.n == 40 and found.examples == 40 and found.source == "test" and not found.by_examples
    assert found.accuracy.value == pytest.approx(10 / 40)
    assert (found.accuracy.low, found.accuracy.high) == newcombe(t)
    assert found.p == mcnemar_mid(12, 2)
    assert found.verdict == "better"
    assert (found.first.accuracy, found.second.accuracy) == (24 / 40, 34 / 40)
    # Cross-entropy by hand: sigma(2) and sigma(-1) on the label a.
    right, wrong = np.log(1 + np.exp(-2)), np.log(1 + np.exp(1))
    assert found.log_loss.value == pytest.approx((10 / 40) * (right - wrong))
    assert found.log_loss.low < found.log_loss.value < found.log_loss.high < 0
    assert {item.pair_id for item in found.disagreements} == set(TEST[:12] + TEST[16:18])
    assert sum(item.right == "second" for item in found.disagreements) == 12
    back = comparing.compare(db, admin, second.id, first.id)
    assert back.verdict == "worse" and back.accuracy.value == -found.accuracy.value and back.p == found.p


def test_no_pair_that_one_of_them_has_seen(db, admin, project):
    one = [*(row(pair) for pair in TEST[:30]), row("x", "train", "example of t3"), row("y", "dev")]
    one.append(row("same", "train", input=" why  T15? "))  # another example, the same question
    other = [*(row(pair) for pair in TEST[10:]), row(TEST[0], "train"), row("z", "train", "example of t12")]
    scores = dict.fromkeys([*TEST, "x", "y", "z", "same"], 1.0)
    first, second = trained(db, project, one, scores), trained(db, project, other, scores)
    found = comparing.compare(db, admin, first.id, second.id)
    # t10 to t29 are in both test splits; the second was trained on t12's example, the first on
    # what t15 asks.
    assert found.n == 18 and found.left_out == {"only_first": 10, "only_second": 10, "seen": 2}
    assert found.verdict == "unclear" and found.accuracy.value == 0


def test_labels_are_those_with_more_votes(db, admin, project):
    rows = [row(pair) for pair in TEST]
    later = [row(pair, q=0.0 if pair == "t0" else 0.5 if pair == "t1" else 1.0, n=3) for pair in TEST]
    first, second = two(db, project, [], ["t0"], rows=rows, rows_second=later)
    found = comparing.compare(db, admin, first.id, second.id)
    assert found.relabelled == 2 and found.n == 39 and found.n_pairs == 40
    assert found.table.second_only == 1 and found.first.accuracy == pytest.approx(38 / 39)


def test_examples_with_several_pairs_count_once(db, admin, project):
    rows = [row(pair, example=f"e{i // 4}") for i, pair in enumerate(TEST)]
    first, second = two(db, project, TEST[:16], TEST[12:14], rows=rows)
    found = comparing.compare(db, admin, first.id, second.id)
    assert found.by_examples and found.examples == 10 and found.n == 40
    low, high = newcombe(found.table)
    assert found.accuracy.high - found.accuracy.low > high - low  # whole examples differ: less is known


def test_without_common_pairs_it_says_so_and_offers_a_run(db, admin, project):
    first, second = two(db, project, [], [], rows=[row("a")], rows_second=[row("a", "train"), row("b")])
    found = comparing.compare(db, admin, first.id, second.id)
    assert found.verdict == "unknown" and found.n == 0
    said = found.as_dict()
    assert said["log_loss"]["low"] is None and said["accuracy"]["n"] == 0
    with pytest.raises(Invalid, match="itself"):
        comparing.compare(db, admin, first.id, first.id)
    with pytest.raises(NotFound):
        comparing.compare(db, admin, first.id, "nothing")
    with pytest.raises(Invalid, match="no comparison"):
        comparing.compare(db, admin, first.id, second.id, source="nothing")


def test_settings_and_data_that_differ(db, admin, project):
    first, second = two(
        db, project, [], [], settings={"max_length": 256, "steps": 3}, n_train=500, simulated_share=0.25
    )
    found = comparing.compare(db, admin, first.id, second.id)
    assert ("max_length", "none", "256") in found.settings and "steps" not in str(found.settings)
    assert ("n_train", "none", "500") in found.data and ("simulated_share", "0.0", "0.25") in found.data


# --- promotion --------------------------------------------------------------------------------


def audited(db):
    with db.read() as session:
        return list(session.exec(select(AuditEntry).where(AuditEntry.action == "reward.activate")))


def test_a_better_model_needs_no_reason_and_says_what_it_changes(db, admin, project):
    _, second = two(db, project, TEST[:16], TEST[12:18], accuracy=0.85, n_test=40)
    change = promotion.change(db, admin, second.id)
    assert change.warning == "" and change.comparison.verdict == "better"
    rows = {item.name: (item.before, item.after) for item in change.rows}
    assert rows["Accuracy on its own test pairs"] == ("60.0 %", "85.0 %")
    done = registry.activate(db, admin, second.id)
    assert done.model.id == second.id and done.change.comparison.n == 40
    [entry] = audited(db)
    assert entry.detail["verdict"] == "better" and entry.detail["difference"] == 0.25
    assert entry.detail["low"] > 0 and entry.detail["reason"] == ""


@pytest.mark.parametrize(
    "wrong, says", [(TEST[:17], "is not shown to be better"), (TEST[:38], "is worse than")]
)
def test_one_that_is_not_better_needs_a_reason(db, admin, project, wrong, says):
    first, second = two(db, project, TEST[:16], wrong)
    with pytest.raises(Conflict, match=says) as caught:
        registry.activate(db, admin, second.id)
    assert "Give a reason" in caught.value.hint and "40 held-out pairs" in caught.value.message
    with pytest.raises(Conflict):
        registry.activate(db, admin, second.id, "   ")
    with pytest.raises(Invalid, match="reason"):
        registry.activate(db, admin, second.id, "x" * 501)
    assert not audited(db)
    registry.activate(db, admin, second.id, "It reads longer responses.")
    [entry] = audited(db)
    assert entry.detail["reason"] == "It reads longer responses."
    assert entry.detail["before"] == first.id and entry.detail["high"] <= 0.2


def test_the_first_and_the_same_one_need_none(db, admin, project):
    first, _ = two(db, project, [], TEST)
    assert registry.activate(db, admin, first.id).change.warning == ""
    assert not audited(db)  # it was made active by the training itself


def test_programs_compare_and_promote(db, api, person, project):
    first, second = two(db, project, TEST[:16], TEST[:17])
    client = api(person("engineer"))
    found = client.get(f"/reward-models/{first.id}/compare/{second.id}").json()
    assert found["verdict"] == "unclear" and found["n"] == 40
    assert found["accuracy"]["low"] < 0 < found["accuracy"]["high"] and 0 < found["p"] <= 1
    assert "not shown to be better" in client.get(f"/reward-models/{second.id}/change").json()["warning"]
    refused = client.post(f"/reward-models/{second.id}/activate")
    assert refused.status_code == 409 and "reason" in refused.json()["detail"]
    done = client.post(f"/reward-models/{second.id}/activate", json={"reason": "Shorter."}).json()
    assert done["active"] is True and done["change"]["comparison"]["verdict"] == "unclear"
    assert client.get(f"/reward-models/{first.id}/compare/nothing").status_code == 404
    outsider = api(person("annotator", "outsider"))
    assert outsider.get(f"/reward-models/{first.id}/compare/{second.id}").status_code == 403


# --- the run ----------------------------------------------------------------------------------


def test_a_run_scores_what_neither_has_seen(db, folders):  # noqa: F811
    """From votes to the comparison, with two tiny models whose training nobody knows: then
    only the project's test split is trusted."""
    shop = Shop(db, pairs=2)
    made = Made(db, shop.project)
    kept = made.pairs(6, "test", FIRST, texts=("kind words here", "rude words here, and more"))
    made.pairs(4, "train", FIRST)
    first, second = shop.model(folders[0], "First", active=True), shop.model(folders[1], "Second")
    with pytest.raises(Invalid, match="pairs: a whole number"):
        service.start_run(db, shop.who, shop.project.id, "reward_compare", {"first": first, "second": second, "pairs": 0})  # fmt: skip
    run = service.start_run(
        db, shop.who, shop.project.id, "reward_compare", {"first": first, "second": second}
    )
    assert run.config["n_pairs"] == 6 and run.config["seen_known"] is False
    assert compare_runs.waiting_run(db, shop.who, shop.project.id, second, first).id == run.id
    done = shop.carry_on(run.id)
    assert done.status == "succeeded", done.error
    found = comparing.compare(db, shop.who, first, second)
    assert found.source == run.id and found.n == 6 and found.examples == 6
    from core.reward.score import RewardScorer

    with db.read() as session:
        texts = {r.id: r.text for r in session.exec(select(Response))}
        inputs = {p.id: session.get(Example, p.example_id).input for p in session.exec(select(Pair))}
        assert session.get(Project, shop.project.id).reward_model_id == first
        assert session.get(RewardModel, second).name == "Second"
    for side, folder in ((found.first, folders[0]), (found.second, folders[1])):
        scorer = RewardScorer(folder)
        p = [
            scorer.preference([inputs[pair_id]], [texts[ids[0]]], [texts[ids[1]]])[0] for pair_id, ids in kept
        ]
        assert side.accuracy == pytest.approx(np.mean(np.array(p) > 0.5))
        assert side.log_loss == pytest.approx(-np.mean(np.log(p)), rel=0.02)  # bf16: padding tells
    turned = comparing.compare(db, shop.who, second, first)
    assert turned.first.log_loss == found.second.log_loss
    assert turned.accuracy.value == -found.accuracy.value
    assert compare_runs.waiting_run(db, shop.who, shop.project.id, first, second) is None


def test_a_run_without_unseen_pairs_says_what_to_do(db, admin, project):
    first, second = two(db, project, [], [])
    with pytest.raises(Invalid, match="No decided pair is left"):
        service.start_run(db, admin, project.id, "reward_compare", {"first": first.id, "second": second.id})
