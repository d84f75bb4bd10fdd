"""A composed reward from the config to the page: what is frozen, what is refused, what is free
for the next search, what people and programs see."""

import json

import pyarrow.parquet as pq
import pytest

from core.errors import Invalid
from core.llm.registry import create_host
from core.optimize.rewards.classifier import TextClassifier
from core.optimize.view import preview
from core.runs.context import WorkError
from core.runs.service import list_runs, run_folder, start_run
from storage.decisions import searches
from tests.optimize.test_page import texts
from tests.reward.tiny import BAD, GOOD, PLAIN, tiny_backbone

LENGTH = {"kind": "length", "limit": 5, "margin": 5}
RULES = {"kind": "rules", "forbidden": ["/!{5,}/"], "threshold": 0.5}
REWARD = {"components": [{"kind": "reward_model"}, LENGTH], "constraints": [RULES]}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A tiny random text classifier of two labels."""
    import torch
    from transformers import BertForSequenceClassification

    folder = tiny_backbone(tmp_path_factory.mktemp("classifier") / "model")
    torch.manual_seed(1)
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=2, initializer_range=0.5)
    model.config.id2label, model.config.label2id = {0: "fine", 1: "toxic"}, {"fine": 0, "toxic": 1}
    torch.nn.init.normal_(model.classifier.weight, std=3.0)
    model.save_pretrained(folder)
    return folder


def test_a_classifier_reads_a_long_text_in_windows(classifier):
    import torch

    found = TextClassifier(str(classifier), "Toxic")
    long = " ".join((PLAIN + GOOD + BAD) * 6)
    given = ["kind clear", long, ""]
    p = found.probability(given)

    def alone(ids):
        with torch.no_grad():
            logits = found.model(input_ids=torch.tensor([ids])).logits[0].tolist()
        return 1 / (1 + pow(2.718281828459045, logits[0] - logits[1]))

    tok = found.tokenizer
    ids = tok(long, add_special_tokens=False)["input_ids"]
    step = found.longest - 2
    windows = [ids[i : i + step] for i in range(0, len(ids), step - 32) if i == 0 or i + 32 < len(ids)]
    assert len(windows) > 1
    each = [alone([tok.cls_token_id, *window, tok.sep_token_id]) for window in windows]
    assert p[1] == pytest.approx(max(each), abs=1e-4)
    assert p[0] == pytest.approx(alone(tok("kind clear")["input_ids"]), abs=1e-4)
    with pytest.raises(WorkError, match="no label “rude”"):
        TextClassifier(str(classifier), "rude")


WRONG = [
    ({}, "reward.components: a reward needs at least one component"),
    ({"components": [{"kind": "magic"}]}, "reward.components\\[0\\].kind: there is no “magic”"),
    ({"components": ["labels"]}, "components\\[0\\].kind: there is no “labels”"),
    ({"components": [{**LENGTH, "limit": 0}]}, "reward.components\\[0\\].limit: a whole number from 1"),
    ({"components": [{**LENGTH, "weight": -1}]}, "components\\[0\\].weight: a number from 0"),
    ({"components": [{**LENGTH, "weight": 0}]}, "at least one weight must be more than 0"),
    ({"components": [{**LENGTH, "lenght": 3}]}, "components\\[0\\].lenght: not a setting of this kind"),
    ({"components": [LENGTH], "rules": []}, "reward.rules: not a field"),
    ({"components": [{"kind": "metric", "metric": "regex"}]}, "pattern: the metric “regex” needs a pattern"),
    ({"components": [{"kind": "metric", "metric": "regex", "pattern": "("}]}, "\\[0\\].pattern: “\\(” is no regular"),
    ({"components": [{"kind": "judge"}]}, "components\\[0\\].host: say which host judges"),
    ({"components": [{"kind": "judge", "host": "nobody"}]}, "components\\[0\\].host: there is no host “nobody”"),
    ({"components": [{"kind": "cost", "of": "money"}]}, "\\[0\\].of: the host “embedded” has no prices"),
    ({"components": [{"kind": "reward_model", "ensemble": "worst"}]}, "\\[0\\].ensemble: “worst” needs several members"),
    ({"components": [{"kind": "reward_model", "models": ["x"]}]}, "models: there is no reward model x"),
    ({"components": [LENGTH], "constraints": [{"kind": "rules"}]}, "constraints\\[0\\].forbidden: a rule list needs"),
    ({"components": [LENGTH], "constraints": [{"kind": "rules", "forbidden": ["/(/"]}]}, "forbidden\\[0\\]: “\\(” is no"),
    ({"components": [LENGTH], "constraints": [{"kind": "classifier", "model": "/no/where", "label": "x"}]}, "no folder"),
    ({"components": [{"kind": "labels"}, {"kind": "labels"}]}, "labels can be scored once"),
    ({"components": [{**LENGTH, "name": "a"}, {**LENGTH, "name": "a"}]}, "\\[1\\].name: “a” is there twice"),
]  # fmt: skip


def test_what_is_wrong_is_named(db, admin, project, examples, champion, reward_model, classifier):
    examples()
    toxic = {"kind": "classifier", "model": str(classifier), "label": "rude"}
    wrong = [
        *WRONG,
        ({"components": [LENGTH], "constraints": [toxic]}, "label: .* has no label “rude”.*fine, toxic"),
    ]
    for reward, message in wrong:
        with pytest.raises(Invalid) as refused:
            start_run(db, admin, project.id, "optimize", {"reward": reward})
        assert __import__("re").search(message, f"{refused.value.message} {refused.value.hint}"), (
            refused.value
        )
    assert list_runs(db, admin, project.id, kind="optimize") == []


def test_what_is_frozen_and_sent_again(db, admin, project, examples, champion, reward_model, settings):
    examples()
    create_host(
        db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1", price_in=2.0
    )
    asked = {"components": [*REWARD["components"], {"kind": "judge", "host": "far"}], "constraints": [RULES]}
    run = start_run(db, admin, project.id, "optimize", {"reward": asked, "seed": 1})
    written = json.loads((run_folder(run.id).inputs / "reward.json").read_text())
    assert written["models"][reward_model.id]["folder"] == str(
        (settings.data_dir / reward_model.folder).resolve()
    )
    assert written["hosts"]["far"]["price_in"] == 2.0 and written["reward"] == run.config["reward"]
    assert run.config["plan"]["price"] == 2
    assert run.config["plan"]["reserve"] == 2 * (
        4 * run.config["plan"]["dev"] + 2 * run.config["plan"]["test"]
    )
    assert run.name == "GrIPS on Careful v1, reward model + length + judge, 1 constrained"
    spend = preview(db, admin, project.id, run.config).spend
    assert "for judging (a rule of thumb)" in spend.source and spend.cost > 0  # the judge has a price
    again = start_run(db, admin, project.id, "optimize", run.config)
    assert again.config["reward"] == run.config["reward"]


def test_other_weights_find_the_same_answers_and_other_settings_do_not(
    db, admin, project, examples, champion, reward_model, search
):
    examples(train=30)
    first = search(reward=REWARD, budget={"calls": 300})

    def known(reward):
        run = start_run(
            db, admin, project.id, "optimize", {"reward": reward, "seed": 5, "budget": {"calls": 300}}
        )
        path = run_folder(run.id).inputs / "known.parquet"
        return [row for row in (pq.read_table(path).to_pylist() if path.exists() else []) if row["scored"]]

    assert len(known(REWARD)) > 50
    heavier = {**REWARD, "components": [{"kind": "reward_model", "weight": 3.0}, {**LENGTH, "weight": 0.5}]}
    assert len(known(heavier)) == len(known(REWARD))
    assert known({**REWARD, "constraints": [{**RULES, "forbidden": ["other"]}]}) == []
    assert (
        known({"components": [{"kind": "reward_model"}, {**LENGTH, "limit": 9}], "constraints": [RULES]})
        == []
    )
    assert known("reward_model") == []
    run = search(reward=heavier, budget={"calls": 300})
    start, before = run.result["start"]["train"], first.result["start"]["train"]
    assert run.result["free_answers"] > 0
    assert start["parts"]["length"]["score"] == before["parts"]["length"]["score"]
    expected = 3 * before["parts"]["reward model"]["score"] + 0.5 * before["parts"]["length"]["score"]
    assert start["score"] == pytest.approx(expected)


def test_the_page_shows_components_and_constraints(db, admin, api, project, open_page, examples, champion, reward_model, search):  # fmt: skip
    examples(train=30)
    run = search(reward=REWARD, budget={"calls": 500})
    assert run.status == "succeeded", run.error
    with db.read() as session:
        assert [row.reward for row in searches(session, project.id)] == ["composed"]
    at = open_page(admin, "optimize.py", project)
    assert not at.exception and "Rewards by component" in texts(at)
    table = next(frame.value for frame in at.dataframe if "Constraints" in frame.value)
    assert {"reward model", "length"} <= set(table.columns)
    kept = next(frame.value for frame in at.dataframe if "Constraint" in frame.value)
    assert set(kept["Allowed"]) == {"50 %"} and set(kept["Split"]) == {"train", "dev", "test"}
    client = api(admin)
    (start, *_) = client.get(f"/runs/{run.id}/candidates").json()
    assert start["scores"]["train"]["parts"]["length"]["n"] == start["scores"]["train"]["n"]
    kinds = client.get("/rewards").json()
    assert {kind["kind"] for kind in kinds["constraints"]} == {"rules", "classifier"}
    body = {"kind": "optimize", "config": {"reward": {"components": [{"kind": "length", "unit": "miles"}]}}}
    answer = client.post(f"/projects/{project.id}/runs", json=body)
    assert answer.status_code == 422 and "reward.components[0].unit" in answer.text


def test_a_reward_is_composed_in_the_form(db, admin, project, open_page, examples, champion, reward_model):
    examples(train=30)
    at = open_page(admin, "optimize.py", project)
    at.segmented_control(key="optimize_reward").set_value("composed").run()
    assert not at.exception
    at.number_input(key="compose_length_limit").set_value(40).run()
    at.number_input(key="compose_length_weight").set_value(0.5).run()
    at.multiselect(key="compose_constraints").set_value(["rules"]).run()
    assert "a rule list needs a rule" in texts(at) and at.button(key="optimize_start").disabled
    at.text_area(key="compose_rules_forbidden").set_value("as an AI\nsorry").run()
    at.button(key="optimize_start").click().run()
    assert not at.exception
    (run,) = list_runs(db, admin, project.id, kind="optimize")
    model, length = run.config["reward"]["components"]
    assert (model["kind"], model["models"], length["limit"], length["weight"]) == ("reward_model", [reward_model.id], 40, 0.5)  # fmt: skip
    assert run.config["reward"]["constraints"][0]["forbidden"] == ["as an AI", "sorry"]
