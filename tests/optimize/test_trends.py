"""What the page of a search shows of its reward and its policy over calls, and its log: rows with known
answers, and the page itself with searches that ran."""

import numpy as np
import pyarrow as pa
import pytest

from core.llm.registry import create_host
from core.optimize.policy_figures import FIGURES
from core.optimize.trends import correlations, figure, gold_rows, looked_at, steps_of, trend
from core.optimize.view import candidates_of
from core.runs.folder import write_json
from core.runs.service import latest_events
from pages.optimize_log import LONGEST, lines
from storage.ids import now
from storage.tables import Run, RunEvent
from tests.llm.tiny import build
from tests.optimize.conftest import add
from tests.optimize.fakes import FakeScorer
from tests.optimize.test_curve import watched
from tests.optimize.test_page import texts


def event(number, type, **data):
    return RunEvent(run_id="r", number=number, at=now(), type=type, data=data)


def mean(score, n=4, half=1.0):
    return {"score": score, "low": score - half, "high": score + half, "n": n}


def looked(number, calls, proxy, gold, **watch):
    one = watched(number, calls, proxy, gold)
    one.scores["train"] |= {"low": proxy - 1, "high": proxy + 1}
    one.scores["train"]["watch"] |= watch
    one.scores["train"]["watch"]["gold"] |= {"low": gold - 1, "high": gold + 1, "n": 2}
    return one


SEARCH = [
    looked(0, 10, 0.0, 0.0, words=mean(5.0)),
    looked(1, 80, 2.0, -1.0, words=mean(9.0), kl=0.7),  # scored late
    looked(2, 30, 1.0, 0.5, words=mean(7.0), kl=mean(0.4, n=8)),
    looked(3, 90, 0.5, 3.0, words=mean(6.0)),
]


def test_rows_over_calls():
    assert [one.number for one in looked_at(SEARCH)] == [0, 2, 1, 3]
    assert [(row["calls"], row["candidate"], row["mean"]) for row in trend(SEARCH, "words")] == [
        (10, 0, 5.0), (30, 2, 7.0), (80, 1, 9.0), (90, 3, 6.0),
    ]  # fmt: skip
    assert trend(SEARCH, "words")[1] == {"candidate": 2, "calls": 30, "mean": 7.0, "low": 6.0, "high": 8.0, "n": 4}  # fmt: skip
    assert [row["n"] for row in trend(SEARCH, "kl")] == [8, None]  # of an older search: a bare number
    assert trend(SEARCH, "disagreement") == []
    assert figure({"kl": 0.5}, "kl") == {"score": 0.5} and figure({}, "kl") is None


def test_gold_beside_the_reward():
    rows = gold_rows(SEARCH)
    assert [(row["candidate"], row["which"], row["check"], row["mean"]) for row in rows] == [
        (0, "reward", True, 0.0), (0, "gold", True, 0.0), (2, "reward", True, 1.0), (2, "gold", True, 0.5),
        (1, "reward", True, 2.0), (1, "gold", True, -1.0), (3, "reward", False, 0.5), (3, "gold", False, 3.0),
    ]  # fmt: skip
    assert {row["n"] for row in rows} == {2}


def test_steps_that_were_told_again_count_as_they_were_told_first():
    told = [(2, 40, 0.2), (1, 20, 0.1), (2, 55, 0.2), (3, 60, 0.3)]
    found = steps_of([event(i, "policy", step=s, calls=c, figures={"kl": mean(k, n=8)}) for i, (s, c, k) in enumerate(told)])  # fmt: skip
    assert [(one.step, one.calls) for one in found] == [(1, 20), (2, 40), (3, 60)]
    assert found[2].rows("kl") == [{"step": 3, "calls": 60, "mean": 0.3, "low": -0.7, "high": 1.3, "n": 8}]
    assert found[2].rows("entropy") == []
    rows = correlations([event(1, "watch", length_correlation=mean(0.2)), event(2, "watch", calls=9, length_correlation=mean(0.3))])  # fmt: skip
    assert [(row["calls"], row["mean"]) for row in rows] == [(9, 0.3)]  # older events do not say when


def test_a_line_of_the_log_is_one_line_and_a_text_cannot_pass_for_several():
    said = lines([event(1, "log", text="Dropped: **bold**\n12:00:00  all is well"), event(2, "log", text="x" * 2_000)])  # fmt: skip
    second, first = said.split("\n")  # the newest on top
    assert first[8:] == "  Dropped: **bold** 12:00:00 all is well" and len(second) == 10 + LONGEST


# --- the page ----------------------------------------------------------------------------------------


def drawn(at, column, no="best"):
    """Rows with the one column and not the other, of the first chart that has most of them."""
    tables = [
        pa.ipc.open_stream(one.data.data).read_pandas()
        for element in at.get("vega_lite_chart")
        for one in element.proto.datasets
    ]
    return max((table for table in tables if column in table and no not in table), key=len).reset_index(
        drop=True
    )


class Two(FakeScorer):
    """An ensemble of two that differ the more the louder the response is."""

    def score_members(self, inputs, responses):
        loud = np.array([0.1 * response.count("!") for response in responses])
        return np.stack([self.score(inputs, responses), self.score(inputs, responses) + loud], axis=1)


@pytest.fixture
def ensemble(db, settings, reward_model, monkeypatch):
    write_json(settings.data_dir / reward_model.folder / "reward.json", {"members": 2})
    monkeypatch.setattr("tests.optimize.conftest.FakeScorer", Two)
    return {"components": [{"kind": "reward_model"}]}


def metrics(at):
    return {metric.label: metric for metric in at.metric}


def test_kl_and_disagreement_stand_beside_each_other(
    admin, project, open_page, examples, champion, ensemble, search
):
    """The reward is an ensemble, and the method moves away from a policy."""
    examples(train=30)
    run = search(method="best_of_n", reward=ensemble, n=12, batch=4, budget={"calls": 900})
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    found = metrics(at)
    assert {"KL to the reference (nats)", "Members disagree by", "Words an output"} <= set(found)
    best = run.result["best"]["train"]["watch"]
    assert found["KL to the reference (nats)"].value == f"{best['kl']['score']:.2f}"
    assert found["KL to the reference (nats)"].delta == f"n {best['kl']['n']}"
    assert found["Members disagree by"].value == f"{best['disagreement']['score']:.2f}"
    assert found["Members disagree by"].delta.endswith(f"n {best['disagreement']['n']}")


def test_the_newest_stands_beside_the_best(
    db, admin, project, open_page, examples, champion, ensemble, search
):
    """A policy goes on moving after it wrote the best prompt."""
    examples(train=30)
    run = search(method="best_of_n", reward=ensemble, n=12, batch=4, budget={"calls": 900})
    moved = {"kl": mean(7.5, n=8, half=0.5), "entropy": {"score": 1.25, "n": 90}, "clip_fraction": {"score": 0.25, "n": 180},
             "explained_variance": {"score": -0.5, "n": 90}}  # fmt: skip
    add(db, RunEvent(run_id=run.id, number=10_000, at=now(), type="policy", data={"step": 99, "calls": 890, "figures": moved}))  # fmt: skip
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    found = metrics(at)
    assert float(found["KL to the reference (nats)"].value) < 2  # the best candidate's
    assert "Newest, step 99: 7.50 (7.00 to 8.00, n 8)" in texts(at)
    newest = max(candidates_of(db, admin, run.id), key=lambda c: (c.calls, c.number))
    assert newest.number != run.result["best"]["number"]
    words = newest.scores["train"]["watch"]["words"]
    assert f"Newest, candidate {newest.number}: {words['score']:.2f} ({words['low']:.2f} to" in texts(at)
    assert (found["Entropy (nats a token)"].value, found["Entropy (nats a token)"].delta) == ("1.25", "n 90")
    assert (found["Clip fraction"].value, found["Clip fraction"].delta) == ("25 %", "n 180")
    assert found["Explained variance"].value == "-0.50"
    # The KL is drawn once, step by step; what is watched of prompts is drawn over all of them.
    assert not [metric for metric in at.metric if metric.label == FIGURES["kl"][0]]
    found = candidates_of(db, admin, run.id)
    kl, words = drawn(at, "step"), drawn(at, "candidate")
    assert (
        list(kl["step"]) == [1, 2, 3, 99] and list(kl["mean"])[-1] == 7.5 and list(kl["n"]) == [4, 8, 12, 8]
    )
    assert words.to_dict("records") == trend(found, "words") and len(words) == len(found)


def test_the_best_so_far_on_the_page_goes_by_calls(db, admin, project, open_page, examples, champion, search):
    """APE scores in full late what it proposed early."""
    examples(train=30)
    run = search(method="ape", budget={"calls": 900})
    found = candidates_of(db, admin, run.id)
    assert sorted(found, key=lambda c: c.calls) != sorted(found, key=lambda c: c.number)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    shown = drawn(at, "best", no="step")
    assert len(shown) == len(found)
    assert list(shown["calls"]) == sorted(shown["calls"]) and list(shown["best"]) == sorted(shown["best"])
    full = {
        c.number: c.scores["train"]["score"]
        for c in found
        if c.scores["train"]["n"] == found[0].scores["train"]["n"]
    }
    assert list(shown["best"])[-1] == pytest.approx(max(full.values()))


def test_a_policy_on_a_labelled_task_shows_how_it_moves(
    db, admin, project, open_page, examples, tmp_path, search
):
    """With labels nothing is watched for being exploited; the policy's own figures are there."""
    examples(train=30)
    model = build(tmp_path / "tiny", context=256)
    params = {"dtype": "float32", "device": "cpu"}
    create_host(db, admin, name="tiny", kind="local", model=str(model), params=params)
    options = {
        "batch": 3,
        "minibatch": 4,
        "steps": 2,
        "every": 2,
        "finals": 1,
        "tokens": 8,
        "rank": 2,
        "epochs": 2,
    }
    run = search(method="ppo", host="tiny", real=True, budget={"calls": 600}, exemplars=1, **options)
    events = latest_events(db, admin, run.id, 100, ["policy"])
    assert [one.data["step"] for one in events] == [1, 2]
    for running in (False, True):
        if running:
            db.write(lambda session: set_running(session, run.id))
        at = open_page(admin, "optimize.py", project)
        assert not at.exception and "The policy, step by step" in texts(at)
        assert "Is the reward being exploited?" not in texts(at)
        assert "its newest step: 2 of at most 2" in texts(at)
        for name, (label, help) in FIGURES.items():
            of = events[-1].data["figures"][name]
            (shown,) = [metric for metric in at.metric if metric.label == label]  # once, with its n
            assert shown.help == help and shown.delta.endswith(f"n {of['n']}"), name


def set_running(session, run_id):
    row = session.get(Run, run_id)
    row.status, row.finished_at, row.result = "running", None, None
    session.add(row)


def test_the_log_on_the_page(db, admin, project, open_page, examples, champion, search):
    examples(train=30)
    run = search(end=False, kill_at=200)
    add(db, RunEvent(run_id=run.id, number=10_000, at=now(), type="log", data={"text": "**bold** <b>b</b>\n:red[x]"}))  # fmt: skip
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    (folded,) = [one for one in at.expander if one.label == "Log"]
    assert not folded.code  # nothing is read until it is opened
    at.session_state[f"optimize_log_{run.id}"] = True
    at.run()
    assert not at.exception
    (opened,) = [one for one in at.expander if one.label == "Log"]
    shown = opened.code[0]
    assert shown.language in ("", "plaintext", None) and "Dropped a proposal" in shown.value
    assert shown.value.split("\n")[0].endswith("  **bold** <b>b</b> :red[x]")
    # What is said later is there when the page draws itself anew.
    add(db, RunEvent(run_id=run.id, number=10_001, at=now(), type="log", data={"text": "Later."}))
    at.run()
    (opened,) = [one for one in at.expander if one.label == "Log"]
    assert opened.code[0].value.split("\n")[0].endswith("  Later.")
    (link,) = opened.get("page_link")
    assert "run=" + run.id in str(link.proto)
