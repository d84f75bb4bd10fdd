"""An uploaded model is judged as a trained one is: a model that goes out and comes in again is told
the same of, its page works alike, and what cannot be known of it is said."""

import json
import random
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from sqlmodel import select

from core.reward import comparing, drift, judged, mistakes, promotion, stages
from core.reward.download import model_zip
from core.reward.judgement import judge as judge_module
from core.reward.upload import upload_model
from core.runs.context import RunContext
from core.runs.folder import write_json
from core.runs.ingest import finish, ingest
from core.runs.service import get_run, resume_run, run_folder, start_run
from core.runs.worker import perform
from storage.tables import Annotator, Example, Pair, Response, RewardModel, Run, Slot, Snapshot, Vote
from tests.reward.test_pages import texts
from tests.reward.test_registry import take_in, zipped
from tests.reward.test_scoring import Shop, folders  # noqa: F401
from tests.reward.tiny import GOOD, tiny_backbone

# Of the parts of a judgement: all but those that rest on what the model was trained on.
SAME = (
    "n", "accuracy", "baselines", "people", "slices", "clusters", "formatting", "length", "sensitivity",
    "mistakes", "position",
)  # fmt: skip


@pytest.fixture
def little(monkeypatch) -> None:
    """Fewer resamples, edits and refits, and as many of them with each preset."""
    small = judge_module.Plan("small", 100, embedded=100, edited=8, sizes=2, orders=1, curve_s=0.5)
    for name in list(judge_module.PLANS):
        monkeypatch.setitem(judge_module.PLANS, name, replace(small, name=name))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("tiny") / "backbone")


@pytest.fixture
def shop(db, settings, monkeypatch, backbone, little) -> Shop:
    monkeypatch.setattr(settings, "reward_backbone", str(backbone))
    shop = Shop(db, pairs=75)
    people_vote(shop)
    split(shop, ("train", "train", "dev", "test", "train"))
    return shop


def split(shop: Shop, splits) -> None:
    """Of the examples, in turn."""

    def work(session) -> None:
        for place, example in enumerate(session.exec(select(Example).order_by(Example.id))):
            example.split = splits[place % len(splits)]

    shop.db.write(work)


def people_vote(shop: Shop) -> None:
    """Three people on every pair, who now and then err."""
    draw = random.Random(1)

    def work(session) -> None:
        judges = [Annotator(project_id=shop.project.id, name=name) for name in ("Ann", "Bo", "Cy")]
        session.add_all(judges)
        for example in session.exec(select(Example).order_by(Example.id)):
            example.input = " ".join(f"{draw.choice('abcdefgh')}{draw.randint(0, 99)}" for _ in range(8))
        said = {response.id: response.text for response in session.exec(select(Response))}
        for pair in session.exec(select(Pair).order_by(Pair.id)):
            good = {
                key: sum(word in GOOD for word in said[key].split())
                for key in (pair.response_a, pair.response_b)
            }
            best = max(good, key=lambda key: (good[key], key))
            other = pair.response_b if best == pair.response_a else pair.response_a
            for judge in judges:
                winner = best if draw.random() < 0.85 else other
                session.add(
                    Vote(
                        project_id=pair.project_id, pair_id=pair.id, annotator_id=judge.id, outcome="win",
                        winner=winner, strength=draw.choice(["slightly", "clearly"]),
                        left=draw.choice([pair.response_a, pair.response_b]),
                    )
                )  # fmt: skip

    shop.db.write(work)


def model_of(shop: Shop, run: Run) -> RewardModel:
    with shop.db.read() as session:
        return session.get_one(RewardModel, run.result["reward_model_id"])


def comparable(told: dict) -> dict:
    found = json.loads(json.dumps({name: told[name] for name in SAME}))
    for row in found["sensitivity"]:
        row.pop("example")
    return found


def test_a_model_that_goes_out_and_comes_in_again_is_told_the_same_of(shop, backbone, open_page, api):
    """The known answer: the judgement at the end of its own training."""
    asked = {"preset": "quick", "backbone": str(backbone), "seed": 0, "precision": "fp32"}
    run = shop.carry_on(start_run(shop.db, shop.who, shop.project.id, "reward_model", asked).id)
    assert run.status == "succeeded", run.error
    own = model_of(shop, run)
    again = take_in(shop, b"".join(model_zip(shop.db, shop.who, own.id)[1]), "again")
    assert again.status == "succeeded", again.error
    came = model_of(shop, again)
    one, two = judged.judgement(own), judged.judgement(came)
    assert close(comparable(one), comparable(two))
    assert {row["name"] for row in two["baselines"]} >= {"longer", "shorter", "left", "overlap", "embeddings"}
    assert all(row["accuracy"]["n"] for row in two["baselines"]), two["baselines"]
    assert two["people"]["several"] == two["n"]["test"] == 15
    assert {"margin", "strength", "annotator", "prompt"} <= {g["by"] for g in two["slices"]["groups"]}
    for part in ("before", "after"):
        assert close(one["calibration"][part], two["calibration"][part])
    assert (one["calibration"]["fitted"], two["calibration"]["fitted"]) == (True, False)
    # What is not known of it is not made up.
    assert one["trained_here"] and not two["trained_here"] and two["curve"] is None
    assert {row["part"]: row["reason"] for row in two["skipped"]}.keys() >= {"curve", "leaks"}
    assert "uploaded" in [row["code"] for row in two["warnings"]]
    assert "uploaded" not in [row["code"] for row in one["warnings"]]
    for name in ("accuracy", "accuracy_low", "baselines", "log_loss", "ece", "length", "human_test"):
        assert close(own.metrics[name], came.metrics[name]), name
    assert came.metrics["judgement"]["path"] == "artifacts/judgement.json"
    # Wherever its accuracy stands it has one interval, and the baseline to beat is the best of all.
    for model, found in ((own, one), (came, two)):
        interval = [model.metrics[key] for key in ("accuracy", "accuracy_low", "accuracy_high", "n_test")]
        assert interval == [found["accuracy"][key] for key in ("value", "low", "high", "n")]
        best = max(row["accuracy"]["value"] for row in found["baselines"] if row["unit"] == "pairs")
        assert model.metrics["judgement"]["best_baseline"]["value"] == best
    assert again.result["seconds"] > 0 and again.config["snapshot"] == run.config["snapshot"]
    assert came.snapshot_id is None and len(shop.rows(Snapshot)) == 1
    # Side by side: the same pairs, no difference; the trained one's own pairs are not held against it.
    found = comparing.compare(shop.db, shop.who, own.id, came.id)
    assert found.n == 15 and found.accuracy.value == 0 and found.table.first_only == 0
    assert found.unknown == [came.name] and not [row for row in found.settings if "none" in row[1:]]
    assert judged.seen(came) is None and judged.seen(own) is not None
    change = promotion.change(shop.db, shop.who, came.id)
    assert change.comparison is not None and "not shown to be better" in change.warning
    # Every tab of its page, and what programs get.
    says = {
        "Summary": "which came with it", "Where it is good": "differ, marked red",
        "What it goes by": "What it was trained on is not known here", "More votes": "It was not trained here",
        "Mistakes": "worst first" if two["mistakes"] else "Nothing to read", "Compare": "What “again” learnt from is not known here", "Benchmarks": "RewardBench",
        "Training": "It was not trained here, so there is no loss curve",
    }  # fmt: skip
    at = open_page(shop.who, "reward_models.py", shop.project)
    at.session_state[f"model_{shop.project.id}"] = came.id
    for tab, words in says.items():
        at.session_state[f"reward_tab_{came.id}"] = tab
        at.run()
        assert not at.exception and not at.error, tab
        assert words in texts(at), tab
    assert "which votes it was trained on is not known here" in texts(at)
    told = came.metrics
    shown = next(table.value for table in at.dataframe if "Best baseline" in table.value)
    shown = shown[shown["Model"] == came.name].iloc[0]
    low, high = 100 * told["accuracy_low"], 100 * told["accuracy_high"]
    assert shown["Votes"] == "judged by people"
    assert f"({low:.1f} to {high:.1f}, n 15)" in shown["Accuracy (95 % interval)"]
    assert shown["Best baseline"] == f"{100 * told['judgement']['best_baseline']['value']:.1f} %"
    assert api(shop.who).get(f"/reward-models/{came.id}/judgement").json() == two


def close(one, two) -> bool:
    """Equal but for the last digits: a text's batch differs."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(close(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(close, one, two))
    if isinstance(one, float) or isinstance(two, float):
        return one is not None and two is not None and one == pytest.approx(two, abs=1e-4)
    return one == two


def test_its_mistakes_are_sent_back_from_its_page_and_by_programs(shop, folders, open_page, api):  # noqa: F811
    run = take_in(shop, zipped(folders[0], leave_out=("reward.json",)))
    model = model_of(shop, run)
    worst = mistakes.worst(shop.db, shop.who, model.id)
    assert worst and worst[0].p < 0.5 and worst[0].text["response_a"] and len(worst[0].votes) == 3
    slots = len(shop.rows(Slot))
    at = open_page(shop.who, "reward_models.py", shop.project)
    at.session_state[f"reward_tab_{model.id}"] = "Mistakes"
    at.run()
    at.button(key=f"choose_five_{model.id}").click().run()
    at.button(key=f"send_back_{model.id}").click().run()
    assert not at.exception and not at.error
    sent = min(5, len(worst))
    assert f"{sent} on their way to annotators" in texts(at) and len(shop.rows(Slot)) == slots + sent
    client = api(shop.who)
    listed = client.get(f"/reward-models/{model.id}/mistakes").json()
    assert [item["pair_id"] for item in listed] == [item.pair_id for item in worst]
    assert sum(item["waiting"] for item in listed) == sent and listed[0]["text"]["input"]
    path = f"/reward-models/{model.id}/mistakes/send-back"
    refused = client.post(path, json={"pairs": [worst[0].pair_id]}).json()
    assert refused["pairs"] == [] and worst[0].pair_id in refused["refused"]


def test_its_temperature_is_fitted_here_and_its_drift_leaves_out_what_it_was_judged_on(shop, folders):  # noqa: F811
    split(shop, ("dev", "dev", "test"))
    run = take_in(shop, zipped(folders[0], leave_out=("reward.json",)))
    model = model_of(shop, run)
    told = judged.judgement(model)
    assert told["calibration"]["fitted"] and told["calibration"]["n_dev"] == 50
    assert told["calibration"]["temperature"]["value"] == pytest.approx(run.result["temperature"])
    # Without any pair to fit a baseline on, the others stand.
    assert (
        told["n"]["train"] == 0 and {r["name"]: r["accuracy"]["n"] for r in told["baselines"]}["longer"] > 0
    )

    def activate(session) -> None:
        project = session.get(type(shop.project), shop.project.id)
        project.reward_model_id = model.id
        late = Annotator(project_id=project.id, name="Di")
        session.add(late)
        for pair in session.exec(select(Pair)):  # each once more, after it came
            session.add(
                Vote(
                    project_id=project.id, pair_id=pair.id, annotator_id=late.id, outcome="win",
                    winner=pair.response_a,
                )
            )  # fmt: skip

    shop.db.write(activate)
    found = drift.drift(shop.db, shop.who, shop.project.id)
    assert found.held_out.n == told["n"]["decided"]
    assert found.new_pairs == len(shop.rows(Pair)) - told["n"]["test"]


def worked(shop: Shop, run_id: str, at: str, how) -> tuple[dict, Run]:
    """The run, with `how(folder)` done when its message is `at` for the first time."""
    folder = run_folder(run_id)

    def begin(session) -> None:
        session.get(Run, run_id).status = "running"

    shop.db.write(begin)
    context = RunContext(folder)
    tell, done = context.progress, []

    def progress(fraction, message="", **more):
        tell(fraction, message, **more)
        if message == at and not done:
            done.append(True)
            how(folder)

    context.progress = progress
    outcome = perform(context, [])
    context.close()
    assert done, at
    write_json(folder.path / "result.json", outcome)
    while ingest(shop.db, run_id, folder):
        pass
    finish(shop.db, run_id, folder, outcome)
    return outcome, get_run(shop.db, shop.who, run_id)


@pytest.mark.parametrize(
    "at", ["scoring the project's responses", "judging on the test split", "scoring edited responses"]
)
def test_cancelled_there_is_no_model_and_resumed_it_is_as_if_nothing_had_been(shop, folders, at):  # noqa: F811
    data = zipped(folders[0], leave_out=("reward.json",))
    whole = take_in(shop, data, "whole")
    run = upload_model(shop.db, shop.who, shop.project.id, iter([data]), "cancelled")
    outcome, after = worked(shop, run.id, at, lambda folder: folder.request_cancel())
    assert (outcome["status"], after.status) == ("cancelled", "cancelled")
    assert len(stages.versions(shop.db, shop.who, shop.project.id)) == 1
    resume_run(shop.db, shop.who, run.id)
    again = shop.carry_on(run.id)
    assert again.status == "succeeded", again.error
    same_files(whole.id, run.id)


class Killed(BaseException):
    pass


def test_killed_while_it_is_judged_it_starts_again_to_the_same_result(shop, folders):  # noqa: F811
    data = zipped(folders[0], leave_out=("reward.json",))
    whole = take_in(shop, data, "whole")
    run = upload_model(shop.db, shop.who, shop.project.id, iter([data]), "killed")
    context = RunContext(run_folder(run.id))
    tell = context.progress

    def progress(fraction, message="", **more):
        tell(fraction, message, **more)
        if message == "choosing without reading":
            raise Killed  # as far as files go, a kill: nothing is written after this

    context.progress = progress
    import core.reward.upload_work as work

    with pytest.raises(Killed):
        work.run(context)
    context.close()
    assert shop.carry_on(run.id).status == "succeeded"
    same_files(whole.id, run.id)


def same_files(one: str, two: str) -> None:
    """Models, cards, pairs and figures of two runs, but for the time they took."""
    a, b = (run_folder(key).artifacts for key in (one, two))
    for name in ("model/reward.json", "model/model.safetensors"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    assert pq.read_table(a / "test_pairs.parquet").equals(pq.read_table(b / "test_pairs.parquet"))
    told = [json.loads((folder / "judgement.json").read_text()) for folder in (a, b)]
    for of in told:
        of.pop("seconds")
    assert told[0] == told[1] and told[0]["sensitivity"]
    assert not (a / "model.part").exists() and not (b / "model.part").exists()


def test_where_the_judgement_fails_the_model_is_taken_in_and_it_is_said(shop, folders, monkeypatch):  # noqa: F811
    def broken(*_, **__):
        raise RuntimeError("no")

    monkeypatch.setattr("core.reward.judgement.running.judge_model", broken)
    run = take_in(shop, zipped(folders[0]))
    assert run.status == "succeeded" and "could not be judged" in run.result["judgement"]["error"]
    assert 0 <= run.result["accuracy"] <= 1


@pytest.mark.parametrize("uploaded", [True, False])
def test_the_interval_of_its_accuracy_is_the_judgements(shop, folders, backbone, monkeypatch, uploaded):  # noqa: F811
    """Where pairs of one example stand together it is wider than one that takes them apart."""

    def wider(*args, **named):
        found = judge_module.judge_model(*args, **named)
        return {**found, "accuracy": {**found["accuracy"], "low": 0.03, "high": 0.97}}

    monkeypatch.setattr("core.reward.judgement.running.judge_model", wider)
    if uploaded:
        run = take_in(shop, zipped(folders[0]))
    else:
        asked = {"preset": "quick", "backbone": str(backbone), "seed": 0, "precision": "fp32"}
        run = shop.carry_on(start_run(shop.db, shop.who, shop.project.id, "reward_model", asked).id)
    assert run.status == "succeeded", run.error
    assert (run.result["accuracy_low"], run.result["accuracy_high"]) == (0.03, 0.97)


def test_the_page_offers_to_resume_an_upload_that_was_cancelled(shop, folders, open_page):  # noqa: F811
    run = upload_model(shop.db, shop.who, shop.project.id, iter([zipped(folders[0])]), "x")
    worked(shop, run.id, "scoring the project's responses", lambda folder: folder.request_cancel())
    at = open_page(shop.who, "reward_models.py", shop.project)
    assert not at.exception and "Taking in the last upload was cancelled." in texts(at)
    at.button(key=f"resume_{run.id}").click().run()
    assert not at.exception and get_run(shop.db, shop.who, run.id).status == "queued"
