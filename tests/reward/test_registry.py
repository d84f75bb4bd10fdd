"""Versions: stages, cards, a download that loads anywhere, an upload that is believed nothing."""

import io
import json
import shutil
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sqlmodel import select

from core.access import Scope
from core.errors import Conflict, Forbidden, Invalid
from core.reward import archive as archive_module
from core.reward import cards, stages
from core.reward.download import model_zip
from core.reward.upload import staging, upload_model
from core.runs.service import run_folder
from storage.tables import Annotator, AuditEntry, Example, Pair, Project, RewardModel, Run, Vote
from tests.reward.test_pages import texts
from tests.reward.test_scoring import Shop, folders  # noqa: F401


@pytest.fixture
def shop(db) -> Shop:
    return Shop(db)


def zipped(folder, top="model", leave_out=(), **more) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in leave_out:
                archive.write(path, f"{top}/{name}" if top else name)
        for name, data in more.items():
            archive.writestr(name, data)
    return file.getvalue()


def take_in(shop, data: bytes, name="mine") -> Run:
    run = upload_model(shop.db, shop.who, shop.project.id, iter([data]), name)
    return shop.carry_on(run.id)


def test_stages_follow_from_what_is(shop, folders):  # noqa: F811
    one = shop.model(folders[0], "one", active=True)
    two = shop.model(folders[1], "two")
    found = {version.model.id: version for version in stages.versions(shop.db, shop.who, shop.project.id)}
    assert (found[one].stage, found[two].stage) == ("active", "candidate") and found[one].bytes > 1000
    with pytest.raises(Conflict, match="is the active one"):
        stages.archive(shop.db, shop.who, one)
    stages.archive(shop.db, shop.who, two)
    stages.archive(shop.db, shop.who, two)
    assert [v.model.id for v in stages.versions(shop.db, shop.who, shop.project.id, "archived")] == [two]
    stages.restore(shop.db, shop.who, two)
    assert stages.version(shop.db, shop.who, two).stage == "candidate"
    said = [entry.action for entry in shop.rows(AuditEntry) if entry.entity_id == two]
    assert said == ["reward.archive", "reward.restore"]


def test_a_card_is_generated_and_edits_are_kept(shop, folders, person):  # noqa: F811
    key = shop.model(folders[0], "one")

    def judged(session):
        model = session.get(RewardModel, key)
        model.backbone, model.simulated_share = "embedded", 0.4
        model.metrics = {
            "accuracy": 0.64, "accuracy_low": 0.58, "accuracy_high": 0.7, "n_test": 250, "n_test_pairs": 262,
            "n_train": 1400, "baselines": {"longer": {"accuracy": 0.44, "low": 0.38, "high": 0.5, "n": 250}},
            "notes": ["It may know little more than length."],
        }  # fmt: skip

    shop.db.write(judged)
    card = cards.card_of(shop.db, shop.who, key)
    for said in ("64.0 % (58.0 to 70.0)", "1,400 train", "40 % of the votes are simulated", "apache-2.0",
                 "It may know little more than length.", "all-MiniLM-L6-v2", "44.0 % (38.0 to 50.0)"):  # fmt: skip
        assert said in card.generated, said
    assert card.edited is None and card.edits == []
    cards.edit_card(shop.db, shop.who, key, "For support answers only.")
    cards.edit_card(shop.db, shop.who, key, "For support answers in English only.")
    cards.edit_card(shop.db, shop.who, key, "")
    card = cards.card_of(shop.db, shop.who, key)
    assert card.edited is None and card.text == card.generated
    assert [edit.text for edit in card.edits] == [
        "",
        "For support answers in English only.",
        "For support answers only.",
    ]
    assert sum(entry.action == "reward.card" for entry in shop.rows(AuditEntry)) == 3
    with pytest.raises(Forbidden):
        cards.edit_card(shop.db, person("lead"), key, "x")


def test_a_download_loads_outside_and_gives_the_same_scores(shop, folders, tmp_path):  # noqa: F811
    from core.reward.score import RewardScorer

    key = shop.model(folders[0], "One / two")
    cards.edit_card(shop.db, shop.who, key, "# Ours")
    name, pieces = model_zip(shop.db, shop.who, key)
    data = b"".join(pieces)
    assert name == "one-two.zip" and data == b"".join(model_zip(shop.db, shop.who, key)[1])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path)
    readme = (tmp_path / "one-two" / "README.md").read_text()
    assert readme.startswith("---\n") and "library_name: transformers" in readme and "# Ours" in readme
    inputs = ["word1 word2 word3", "word4 " * 70]
    responses = ["kind clear", "rude word5 vague"]
    code = (
        "import json, sys\nfrom pathlib import Path\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        "folder = sys.argv[1]\n"
        "card = json.loads((Path(folder) / 'reward.json').read_text())\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side='left')\n"
        "model = AutoModelForSequenceClassification.from_pretrained(folder)\n"
        "for input, response in json.loads(sys.argv[2]):\n"
        "    encoded = tokenizer(input, response, truncation='only_first', max_length=card['max_length'],\n"
        "                        return_token_type_ids=False, return_tensors='pt')\n"
        "    print(float(model(**encoded).logits[0, 0]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "one-two"), json.dumps(list(zip(inputs, responses, strict=True)))],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    outside = np.array([float(line) for line in done.stdout.split()])
    scorer = RewardScorer(folders[0])
    inside = scorer.score(inputs, responses) * scorer.std + scorer.mean
    assert inside == pytest.approx(outside, abs=2e-2)  # ours in bfloat16


def votes_for(shop) -> None:
    """A vote on every pair; a third of the examples go to the dev and the test split each."""

    def work(session):
        judge = Annotator(project_id=shop.project.id, name="judge")
        session.add(judge)
        for place, example in enumerate(session.exec(select(Example).order_by(Example.id))):
            example.split = ("test", "dev", "train")[place % 3]
        for place, pair in enumerate(session.exec(select(Pair))):
            winner = pair.response_a if place % 2 else pair.response_b
            session.add(
                Vote(
                    project_id=pair.project_id,
                    pair_id=pair.id,
                    annotator_id=judge.id,
                    outcome="win",
                    winner=winner,
                )
            )

    shop.db.write(work)


def test_an_upload_is_measured_judged_and_a_candidate(db, folders, open_page):  # noqa: F811
    shop = Shop(db, pairs=24)
    votes_for(shop)
    shop.model(folders[1], "active", active=True)
    run = take_in(shop, zipped(folders[0], leave_out=("reward.json",)))
    assert run.status == "succeeded", run.error
    (version,) = [v for v in stages.versions(db, shop.who, shop.project.id) if v.uploaded]
    assert (version.stage, version.model.name, version.model.id) == (
        "candidate",
        "mine",
        run.result["reward_model_id"],
    )
    result = run.result
    assert result["n_test"] == 8 and result["n_dev"] == 8 and 0 <= result["accuracy"] <= 1
    assert result["accuracy_low"] < result["accuracy"] < result["accuracy_high"]
    assert any("8 dev pairs" in note for note in result["notes"])
    from core.reward.score import RewardScorer

    folder = run_folder(run.id).artifacts / "model"
    card = json.loads((folder / "reward.json").read_text())
    assert (card["mean"], card["std"]) == (result["normalisation"]["mean"], result["normalisation"]["std"])
    assert result["normalisation"]["n"] == 48
    # Normalised on the reference: all responses of this small project.
    examples = {example.id: example.input for example in shop.rows(Example)}
    from storage.tables import Response

    responses = shop.rows(Response)
    scores = RewardScorer(folder).score(
        [examples[r.example_id] for r in responses], [r.text for r in responses]
    )
    assert (scores.mean(), scores.std()) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.1))
    assert list(staging().iterdir()) == []
    make_active(shop, version.model.id)
    at = open_page(shop.who, "reward_models.py", shop.project)
    assert not at.exception and "which votes it was trained on is not known" in texts(at)
    # It can be used at once, and goes out and in again with its own card.
    data = b"".join(model_zip(db, shop.who, version.model.id)[1])
    again = take_in(shop, data, "")
    assert again.status == "succeeded", again.error
    kept = json.loads((run_folder(again.id).artifacts / "model" / "reward.json").read_text())
    assert kept == card and again.result["card_was_there"]
    assert again.result["accuracy"] == pytest.approx(result["accuracy"])


def make_active(shop, model_id: str) -> None:
    def work(session):
        session.get(Project, shop.project.id).reward_model_id = model_id

    shop.db.write(work)


def test_an_upload_without_votes_is_not_judged_and_says_so(shop, folders, open_page):  # noqa: F811
    run = take_in(shop, zipped(folders[0], top="", leave_out=("reward.json",)), "plain")
    assert run.status == "succeeded", run.error
    assert run.result["accuracy"] is None and run.result["n_test"] == 0
    assert any("It has not been judged" in note for note in run.result["notes"])
    make_active(shop, run.result["reward_model_id"])
    at = open_page(shop.who, "reward_models.py", shop.project)
    assert not at.exception
    table = next(item.value for item in at.dataframe if "Stage" in item.value)
    assert list(table["Accuracy (95 % interval)"]) == ["not judged"] and list(table["Trained on"]) == [
        "not known"
    ]
    card = cards.card_of(shop.db, shop.who, run.result["reward_model_id"]).generated
    assert "has not been judged" in card and "Uploaded on" in card and "licence is not known" in card


BAD_ZIPS = {
    "not a zip archive": lambda folder: b"no zip",
    "no config.json": lambda folder: zipped(folder, leave_out=("config.json",)),
    "no model.safetensors": lambda folder: zipped(folder, leave_out=("model.safetensors",)),
    "leads out of the folder": lambda folder: zipped(folder, **{"model/../../evil.json": b"{}"}),
    "this name leads out": lambda folder: zipped(folder, **{"/etc/evil.json": b"{}"}),
    "safetensors only": lambda folder: zipped(folder, **{"model/pytorch_model.bin": b"x"}),
    "has no such file": lambda folder: zipped(folder, **{"model/modeling.py": b"x"}),
    "lies beside": lambda folder: zipped(folder, **{"other/x.json": b"{}"}),
}


@pytest.mark.parametrize("said", BAD_ZIPS)
def test_a_bad_zip_is_refused_at_once(shop, folders, said):  # noqa: F811
    with pytest.raises(Invalid, match=said):
        upload_model(shop.db, shop.who, shop.project.id, iter([BAD_ZIPS[said](folders[0])]), "x")
    assert shop.rows(Run) == [] and list(staging().iterdir()) == []


def test_links_bombs_and_large_files_are_refused(shop, folders, settings, monkeypatch, tmp_path):  # noqa: F811
    link = zipfile.ZipInfo("model/link.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    file = io.BytesIO(zipped(folders[0]))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(Invalid, match="it is a link"):
        upload_model(shop.db, shop.who, shop.project.id, iter([file.getvalue()]))
    bomb = io.BytesIO(zipped(folders[0]))
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/big.json", b"0" * (3 * 2**20))
    monkeypatch.setattr(settings, "max_model_mb", 2)
    with pytest.raises(Invalid, match="unpacked, where 2 MB are allowed"):
        upload_model(shop.db, shop.who, shop.project.id, iter([bomb.getvalue()]))
    with pytest.raises(Invalid, match="larger than 2 MB"):
        upload_model(shop.db, shop.who, shop.project.id, iter([b"0" * 2**20] * 3))
    # A table of contents that lies: the bytes are counted while they come.
    path = tmp_path / "model.zip"
    path.write_bytes(zipped(folders[0]))
    (tmp_path / "out").mkdir()
    real = archive_module.entries(path, 2**30)
    monkeypatch.setattr(archive_module, "entries", lambda *_: real)
    with pytest.raises(Invalid, match="more than it says"):
        archive_module.unpack(path, tmp_path / "out", 1000)


def test_what_transformers_cannot_use_is_named(shop, folders, tmp_path):  # noqa: F811
    def changed(**files) -> bytes:
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(folders[0], folder)
        for name, data in files.items():
            path = folder / name.replace("__", ".")
            path.write_bytes(data) if data is not None else path.unlink()
        return zipped(folder)

    config = json.loads((folders[0] / "config.json").read_text())
    labels = {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    for data, said in (
        (changed(model__safetensors=b"0" * 64), "model.safetensors is not a safetensors file"),
        (changed(config__json=b"no"), "config.json is not a JSON object"),
        (changed(config__json=json.dumps({**config, **labels}).encode()), "The model has 2 outputs"),
        (changed(config__json=json.dumps({**config, "auto_map": {}}).encode()), "needs code of its own"),
        (
            changed(reward__json=b'{"max_length": 64, "mean": 0, "std": 0, "temperature": 1}'),
            "reward.json: std",
        ),
    ):
        run = take_in(shop, data)
        assert run.status == "failed" and said in run.error, run.error
    encoder = tmp_path / "encoder"
    shutil.copytree(folders[0].parent / "backbone", encoder)
    run = take_in(shop, zipped(encoder))
    assert run.status == "failed" and "a BertModel, which has no score head" in run.error
    shape = {**json.loads((encoder / "config.json").read_text()), "architectures": None, "num_labels": 1}
    (encoder / "config.json").write_text(json.dumps(shape))
    run = take_in(shop, zipped(encoder))
    assert run.status == "failed" and "lacks 2 weights" in run.error, run.error
    with shop.db.read() as session:
        assert session.exec(select(RewardModel)).all() == []


def test_programs_manage_versions(db, api, shop, folders, person):  # noqa: F811
    one, two = shop.model(folders[0], "one", active=True), shop.model(folders[1], "two")
    client = api(shop.who)
    listed = client.get(f"/projects/{shop.project.id}/reward-models/versions").json()
    assert {item["id"]: item["stage"] for item in listed} == {one: "active", two: "candidate"}
    assert client.post(f"/reward-models/{one}/archive").status_code == 409
    assert client.post(f"/reward-models/{two}/archive").json()["stage"] == "archived"
    assert client.post(f"/reward-models/{two}/restore").json()["stage"] == "candidate"
    assert client.put(f"/reward-models/{one}/card", json={"text": "Mine"}).json()["edited"] == "Mine"
    assert client.get(f"/reward-models/{one}/card").json()["edits"][0]["author"] == "admin"
    answer = client.get(f"/reward-models/{one}/download")
    assert answer.headers["content-type"] == "application/zip"
    assert "one/model.safetensors" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    path = f"/projects/{shop.project.id}/reward-models/upload"
    refused = client.post(path, content=b"no zip")
    assert refused.status_code == 422 and "not a zip" in refused.json()["detail"]
    started = client.post(path, params={"name": "sent"}, content=zipped(folders[2]))
    assert started.status_code == 202 and started.json()["kind"] == "reward_upload", started.text
    assert shop.carry_on(started.json()["id"]).status == "succeeded"
    lead = api(person("lead"))
    assert lead.get(f"/reward-models/{one}/download").status_code == 200
    assert lead.post(f"/reward-models/{two}/archive").status_code == 403
    assert lead.post(path, content=zipped(folders[2])).status_code == 403
    reader = api(shop.who, Scope.READ)
    assert reader.get(f"/reward-models/{one}/card").status_code == 200
    assert reader.put(f"/reward-models/{one}/card", json={"text": "x"}).status_code == 403


def with_files(at, key: str):
    at.session_state[f"reward_tab_{key}"] = "Card and files"
    return at.run()


def test_the_page_shows_versions_and_archives(shop, folders, open_page, person):  # noqa: F811
    one, two = shop.model(folders[0], "one", active=True), shop.model(folders[1], "two")
    at = with_files(open_page(shop.who, "reward_models.py", shop.project), one)
    assert not at.exception
    (table,) = (item.value for item in at.dataframe if "Stage" in item.value)  # one table says it all
    assert dict(zip(table["Model"], table["Stage"], strict=True)) == {"one": "Active", "two": "Candidate"}
    assert "the votes as they were then" in texts(at)
    at.segmented_control(key=f"card_{one}").set_value("Edit").run()
    at.text_area[0].set_value("A card of mine")
    next(button for button in at.button if button.label == "Save").click().run()
    assert not at.exception
    with shop.db.read() as session:
        assert session.get(RewardModel, one).card == "A card of mine"
        assert session.get(Project, shop.project.id).reward_model_id == one
    # Another one is chosen, put away, looked at all the same, and brought back.
    with_files(at.selectbox(key=f"model_{shop.project.id}").set_value(two).run(), two)
    at.button(key=f"archive_{two}").click().run()
    table = next(item.value for item in at.dataframe if "Stage" in item.value)
    assert not at.exception and set(table["Stage"]) == {"Active"}
    at.toggle(key=f"archived_{shop.project.id}").set_value(True).run()
    table = next(item.value for item in at.dataframe if "Stage" in item.value)
    assert set(table["Stage"]) == {"Active", "Archived"}
    with_files(at.selectbox(key=f"model_{shop.project.id}").set_value(two).run(), two)
    assert not [b for b in at.button if b.key == f"activate_{two}"]
    at.button(key=f"restore_{two}").click().run()
    assert not at.exception and stages.version(shop.db, shop.who, two).stage == "candidate"
    lead = with_files(open_page(person("lead"), "reward_models.py", shop.project), one)
    assert not lead.exception and not [b for b in lead.button if b.label in ("Archive", "Take it in")]


def test_where_all_are_archived_the_page_says_so(shop, folders, open_page):  # noqa: F811
    one = shop.model(folders[0], "one")
    stages.archive(shop.db, shop.who, one)
    at = open_page(shop.who, "reward_models.py", shop.project)
    assert not at.exception and "None but archived ones." in texts(at)
    assert [b for b in at.button if b.label == "Take it in"]
    at.toggle(key=f"archived_{shop.project.id}").set_value(True).run()
    assert not at.exception and next(item.value for item in at.dataframe if "Stage" in item.value) is not None
