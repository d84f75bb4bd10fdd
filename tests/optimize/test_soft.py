"""Soft prompts: what is trained, where it stands, that nothing else changes, kills, refusals."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from core.errors import Invalid
from core.llm import generate_work
from core.llm.hosts import open_host
from core.llm.protocol import HostSpec, Sampling
from core.llm.registry import create_host
from core.llm.soft import Shelf
from core.llm.soft_names import EMBEDDINGS, KEYS_VALUES, card_of, mark, names_in
from core.optimize import work
from core.optimize.methods import METHODS
from core.optimize.promote import queue_candidates
from core.optimize.protocol import FINISH_WORDS
from core.optimize.soft_training import TRAINED, Lesson, Recipe, Tuning
from core.prompts.portable import export_prompts, import_prompts
from core.prompts.soft import soft_card, soft_folder
from core.prompts.versions import create_prompt, list_prompts
from core.runs.context import RunContext, WorkError
from core.runs.folder import write_json
from core.runs.service import list_runs, run_folder, start_run
from storage.tables import Example, Project
from tests.llm.conftest import local_spec
from tests.llm.tiny import build
from tests.optimize.fakes import START, FakeScorer, Killed, make_folder

TEXT = "tell me was the film good not bad"
EXAMPLES = ["the film was great", "boring film terrible", "the cook loved soup", "salt water"]
LABELS = ["positive", "negative"]
KINDS = [
    ("prompt_tuning", "none"), ("p_tuning", "mlp"), ("p_tuning", "lstm"),
    ("prefix_tuning", "none"), ("prefix_tuning", "mlp"),
]  # fmt: skip
each_kind = pytest.mark.parametrize(("method", "encoder"), KINDS)
# Of the tiny model: width, layers, key-value heads (half the attention heads), their width.
D, LAYERS, HEADS, WIDTH = 32, 2, 2, 8


def request(text, example):
    return [{"role": "system", "content": text}, {"role": "user", "content": example}]


def requests(text):
    return [request(text, example) for example in EXAMPLES]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return local_spec(build(tmp_path_factory.mktemp("tiny") / "model", context=512))


@pytest.fixture
def host(spec, tmp_path):
    torch.set_num_threads(1)
    one = open_host(spec, tmp_path)
    one.shelf = Shelf(tmp_path / "soft")
    return one


def tuning(host, method, encoder="none", words=LABELS, text=TEXT, **more):
    recipe = Recipe(method, **{"encoder": encoder, "hidden": 16, "learning_rate": 0.02, **more})
    return Tuning(host, recipe, text, request(mark(TRAINED), EXAMPLES[0]), words)


def lessons():
    return [Lesson(request(mark(TRAINED), example), LABELS[i % 2]) for i, example in enumerate(EXAMPLES)]


# --- what is trained ---------------------------------------------------------------------------


def parameters(method, encoder, k, h=16):
    """By hand, from the papers' own description of each."""
    if method == "prompt_tuning":
        return k * D
    if method == "p_tuning" and encoder == "mlp":
        return k * D + (D * h + h) + (h * h + h) + (h * D + D)
    if method == "p_tuning":  # two layers, both ways; 4 gates with two biases; then the MLP
        lstm = 2 * 4 * (D * h + h * h + 2 * h) + 2 * 4 * (2 * h * h + h * h + 2 * h)
        return k * D + lstm + (2 * h * 2 * h + 2 * h) + (2 * h * D + D)
    keys_values = 2 * LAYERS * HEADS * WIDTH
    if encoder == "none":
        return k * keys_values
    kept = HEADS * WIDTH  # as wide as the keys of a layer
    return k * kept + (kept * h + h) + (h * keys_values + keys_values)


@each_kind
@pytest.mark.parametrize("tokens", [0, 11])
def test_it_trains_as_many_parameters_as_the_formula_says(host, method, encoder, tokens):
    one = tuning(host, method, encoder, tokens=tokens)
    k = tokens or len(TEXT.split())
    assert one.trained == parameters(method, encoder, k)
    kept = k * D if method != "prefix_tuning" else k * 2 * LAYERS * HEADS * WIDTH
    card = card_of(host.shelf.folder, one.keep())
    assert (card.tokens, card.numbers, card.trained) == (k, kept, one.trained)


@each_kind
def test_from_a_text_it_begins_as_the_text_in_its_place(host, method, encoder):
    named = mark(tuning(host, method, encoder).keep())
    written = host.label_logprobs(requests(TEXT), LABELS)
    assert np.allclose(host.label_logprobs(requests(named), LABELS), written, atol=1e-4)
    random = mark(tuning(host, method, encoder, init="random").keep())
    assert not np.allclose(host.label_logprobs(requests(random), LABELS), written, atol=0.1)


@each_kind
def test_the_loss_falls_and_the_model_stays_as_it_was(host, method, encoder):
    before = {name: weight.clone() for name, weight in host.model.state_dict().items()}
    one = tuning(host, method, encoder)
    written = host.label_logprobs(requests(TEXT), LABELS)
    right = np.array([0, 1, 0, 1])
    expected = -written[np.arange(4), right].mean()
    losses = [one.learn(lessons()) for _ in range(15)]
    assert losses[0] == pytest.approx(expected, abs=1e-4)  # -log p, mean over the examples
    assert losses[-1] < 0.8 * losses[0]
    for name, weight in host.model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert all(weight.grad is None for weight in host.model.parameters())
    assert np.array_equal(host.label_logprobs(requests(TEXT), LABELS), written)


def test_a_reference_is_learned_with_its_end(host):
    """The loss against the whole sequence read at once, without anything kept."""
    one = tuning(host, "prompt_tuning", words=None)
    answer = "the film was good ."
    lesson = Lesson(request(mark(TRAINED), EXAMPLES[1]), answer)
    prompt = host.tokens(host.rendered(request(TEXT, EXAMPLES[1])))
    whole = [*prompt, *host.tokens(answer), host.eos[0]]
    with torch.inference_mode():
        logp = host.model(torch.tensor([whole])).logits[0].log_softmax(-1)
    places = range(len(prompt), len(whole))
    expected = -sum(float(logp[i - 1, whole[i]]) for i in places) / len(places)
    assert one.loss([lesson]).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_with_nothing_before_them_it_is_what_peft_computes(tmp_path, method):
    """The library puts vectors before everything: without a chat template, so do we."""
    from peft import get_peft_model

    host = open_host(local_spec(build(tmp_path / "plain", chat=False)), tmp_path)
    host.shelf = Shelf(tmp_path / "soft")
    one = tuning(host, method, init="random")
    named = mark(one.keep())
    wrapped = get_peft_model(host.model, one.recipe.config(len(one.began))).eval()
    wrapped.prompt_encoder["default"].load_state_dict(one.encoder.state_dict())
    for example in EXAMPLES:
        ids = torch.tensor([host.tokens(f"\n\n{example}", begins=False)])
        with torch.inference_mode():
            logits = wrapped(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        wanted = logits.log_softmax(-1)[host.tokenizer.convert_tokens_to_ids(LABELS)]
        found = host.label_logprobs([request(named, example)], LABELS)[0]
        assert np.allclose(found, wanted.numpy(), atol=1e-4)


# --- what is shown -----------------------------------------------------------------------------


def test_the_nearest_token_is_the_nearest_of_all(host):
    one = tuning(host, "prompt_tuning")
    for _ in range(12):
        one.learn(lessons())
    card = card_of(host.shelf.folder, one.keep())
    table = host.model.get_input_embeddings().weight.detach().double().numpy()
    vectors = one.vectors().detach().double().numpy()
    assert card.kind == EMBEDDINGS and card.text == TEXT and card.steps == 12
    for row, vector, word in zip(card.rows, vectors, TEXT.split(), strict=True):
        distances = np.sqrt(((table - vector) ** 2).sum(axis=1))
        best = int(distances.argmin())
        assert row["token"] == host.tokenizer.decode([best]) and row["began"] == word
        assert row["distance"] == pytest.approx(distances[best], abs=1e-3)
        cosine = table[best] @ vector / np.linalg.norm(table[best]) / np.linalg.norm(vector)
        assert row["cosine"] == pytest.approx(cosine, abs=1e-3)
    gaps = np.sqrt(((table[:, None] - table[None]) ** 2).sum(axis=2))
    np.fill_diagonal(gaps, np.inf)
    assert card.yardstick == pytest.approx(np.sort(gaps.min(axis=1))[(len(table) - 1) // 2], abs=1e-3)


def test_a_prefix_has_no_tokens_and_says_how_far_its_layers_moved(host):
    one = tuning(host, "prefix_tuning")
    assert all(row["keys"] == row["values"] == 0 for row in card_of(host.shelf.folder, one.keep()).rows)
    for _ in range(5):
        one.learn(lessons())
    card = card_of(host.shelf.folder, one.keep())
    assert card.kind == KEYS_VALUES and [row["layer"] for row in card.rows] == [1, 2]
    assert all(row["keys"] > 0 and row["values"] > 0 for row in card.rows)


# --- a whole run -------------------------------------------------------------------------------


def folder_of(path, spec, method, reward="labels", calls=260, **options):
    small = {"batch": 4, "every": 3, "steps": 9, **options}
    folder = make_folder(
        path, method=method, reward=reward, calls=calls, sizes=(6, 3, 4), finalists=1, host=spec, **small
    )
    if reward == "reward_model":
        rows = pq.read_table(folder.inputs / "examples.parquet").to_pylist()
        rows = [{**row, "reference": "the film was good ."} for row in rows]
        pq.write_table(pa.Table.from_pylist(rows), folder.inputs / "examples.parquet")
    else:  # the wrong way round: the tiny model happens to have the others right
        words = {"0": "positive", "1": "negative"}
        write_json(folder.inputs / "reward.json", {"kind": "labels", "words": words})
    return folder


def worked(folder):
    context = RunContext(folder)
    try:
        return work.run(context)
    finally:
        context.close()


def stable(result):
    return {name: value for name, value in result.items() if name not in ("seconds", "lost_calls")}


@pytest.mark.parametrize(
    ("method", "reward"),
    [("prompt_tuning", "labels"), ("p_tuning", "labels"), ("prefix_tuning", "reward_model")],
)
def test_a_run_from_its_folder_killed_and_resumed(tmp_path, spec, monkeypatch, method, reward):
    monkeypatch.setattr(work, "open_scorer", lambda folder: FakeScorer())
    torch.set_num_threads(1)
    whole = folder_of(tmp_path / "whole", spec, method, reward)
    result = worked(whole)
    assert result["finish_reason"] == "iterations" and result["candidates"] == 4
    # Start and three candidates on train, nine steps of four, dev of the start and at most one
    # more, test of the start and at most one more.
    assert result["calls"] <= 4 * 6 + 9 * 12 + 2 * 3 + 2 * 4
    assert result["gain"] is not None and result["best"]["test"]["n"] == 4
    for candidate in json.loads(whole.state.joinpath("search.json").read_text())["optimizer"]["candidates"][
        1:
    ]:
        (name,) = names_in(candidate["text"])
        assert card_of(whole.artifacts / "soft", name).method == method
    figures = {figure["label"]: figure["value"] for figure in result["figures"]}
    assert figures["Loss, last steps"] < figures["Loss, first steps"]

    killed = folder_of(tmp_path / "killed", spec, method, reward)
    learn = Tuning.learn
    for at in (2, 7):  # in the middle of a step, and of another after the resume

        def dies(self, batch, at=at):
            if self.steps == at:
                learn(self, batch)
                raise Killed
            return learn(self, batch)

        monkeypatch.setattr(Tuning, "learn", dies)
        with pytest.raises(Killed):
            worked(killed)
    monkeypatch.setattr(Tuning, "learn", learn)
    assert stable(worked(killed)) == stable(result)


def test_what_was_trained_is_scored_before_the_budget_ends(tmp_path, spec):
    result = worked(folder_of(tmp_path / "r", spec, "prompt_tuning", calls=6 + 14 + 24 + 2 + 6, every=50))
    assert result["finish_reason"] == "budget" and result["candidates"] == 2
    assert result["best"]["operation"] in ("start", "2 steps")


# --- what is refused ---------------------------------------------------------------------------


def test_vectors_need_references_and_an_instruction_without_slots(db, admin, project, examples, reward_model):
    examples(labels=None)
    config = {"method": "prompt_tuning", "reward": "reward_model", "prompt": "Answer this question briefly."}
    with pytest.raises(Invalid, match="none of the train examples has a reference"):
        start_run(db, admin, project.id, "optimize", config)
    examples(labels=("yes it is", "no it is not"), fields="topic")
    slotted = {"system": "Answer about {{input}} please.", "user": "{{input}}"}
    with pytest.raises(Invalid, match=r"the instruction has the slot \{\{input\}\}"):
        start_run(db, admin, project.id, "optimize", {**config, "prompt": slotted})
    made = start_run(db, admin, project.id, "optimize", config)
    assert made.config["options"]["init"] == "text" and made.name.startswith("Prompt tuning on")
    with pytest.raises(Invalid, match="asks no language model"):
        start_run(db, admin, project.id, "optimize", {**config, "optimizer_host": "embedded"})


def test_the_table_says_that_they_are_vectors():
    named = {name for name, method in METHODS.items() if method.vectors}
    assert named == {"prompt_tuning", "p_tuning", "prefix_tuning"}
    assert all("gradients" in METHODS[name].needs and not METHODS[name].asks for name in named)
    assert HostSpec().kind == "local" and "iterations" in FINISH_WORDS


# --- in a project: from the search to a prompt that is used --------------------------------------


def said(at):
    kinds = ("caption", "subheader", "markdown", "warning", "error", "success", "text")
    return " ".join(item.value for kind in kinds for item in getattr(at, kind))


@pytest.fixture
def trained(db, admin, project, examples, champion, search, spec):
    """`trained(method=…)`: a finished search on the tiny model, by way of the database."""
    torch.set_num_threads(1)
    create_host(db, admin, name="tiny", kind="local", model=spec.model, params=spec.params)
    examples(train=12, dev=4, test=6)

    def go(method="prompt_tuning"):
        return search(
            real=True, method=method, host="tiny", budget={"calls": 1_500}, steps=40, every=20, batch=8,
            learning_rate=0.03, verbalizer={"negative": "positive", "positive": "negative"},
            examples={"train": 12, "dev": 4, "test": 6},
        )  # fmt: skip

    return go


def test_what_was_found_becomes_a_prompt_that_generates(
    db, admin, project, champion, trained, spec, tmp_path, api
):
    run = trained()
    made = queue_candidates(db, admin, run.id, [2])
    (prompt,), generate = made["prompts"], made["run"]
    (name,) = names_in(prompt.system)
    assert (prompt.name, prompt.version, prompt.operation) == ("Careful", 2, "prompt_tuning:40 steps")
    assert soft_card(prompt).model == spec.model and soft_card(prompt).method == "prompt_tuning"

    told = api(admin).get(f"/prompts/{prompt.id}/soft").json()
    assert (told["kind"], told["tokens"], len(told["rows"])) == (
        "embeddings",
        len(START.split()),
        len(START.split()),
    )
    assert api(admin).get(f"/prompts/{champion.id}/soft").status_code == 404

    folder = run_folder(generate.id)
    context = RunContext(folder)
    result = generate_work.run(context)
    context.close()
    assert result["failed"] == 0
    host = open_host(spec, tmp_path)
    host.shelf = Shelf(soft_folder(project.id))
    asked = [
        one
        for one in pq.read_table(folder.inputs / "requests.parquet").to_pylist()
        if one["prompt_id"] == prompt.id
    ]
    wanted = host.generate([json.loads(one["messages"]) for one in asked], Sampling(seed=generate.seed))
    there = {
        row["key"]: row["text"]
        for path in folder.artifacts.glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert [there[one["key"]] for one in asked] == [answer.text for answer in wanted]
    host.shelf = None  # without the vectors the same requests are answered otherwise
    plain = host.generate([json.loads(one["messages"]) for one in asked], Sampling(seed=generate.seed))
    assert [answer.text for answer in plain] != [answer.text for answer in wanted]

    # It works nowhere else, and nothing starts from it.
    create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    for other, reason in (("far", "takes only text"), ("embedded", "bound to the model")):
        with pytest.raises(Invalid, match=reason):
            start_run(db, admin, project.id, "generate", {"prompts": [prompt.id], "host": other})
    with pytest.raises(Invalid, match="is a soft prompt: vectors"):
        start_run(db, admin, project.id, "optimize", {"reward": "labels", "prompt": prompt.id})
    with pytest.raises(Invalid, match="only the model they were trained for can read"):
        start_run(
            db,
            admin,
            project.id,
            "transfer",
            {"run": run.id, "hosts": ["embedded"], "split": "dev", "candidates": [2]},
        )
    with pytest.raises(Invalid, match="no vectors for"):
        create_prompt(db, admin, project.id, "Made up", mark("0" * 16))
    with pytest.raises(Invalid, match="one soft prompt"):
        create_prompt(db, admin, project.id, "Two", prompt.system, mark("0" * 16))
    edited = create_prompt(db, admin, project.id, "Careful", prompt.system, "So: {{input}}")
    assert soft_card(edited) == soft_card(prompt) and edited.version == 3

    # A model that was changed under the same name is found out by its weights.
    other = open_host(local_spec(build(tmp_path / "other", seed=3)), tmp_path)
    other.shelf = Shelf(soft_folder(project.id))
    with pytest.raises(WorkError, match="other weights"):
        other.generate([json.loads(asked[0]["messages"])], Sampling())
    soft_folder(project.id).joinpath(f"{name}.safetensors").unlink()
    with pytest.raises(Invalid, match="no vectors for"):
        start_run(db, admin, project.id, "generate", {"prompts": [prompt.id], "host": "tiny"})


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_pages_show_it_for_what_it_is(db, admin, project, open_page, trained, method):
    run = trained(method)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    assert run.result["improved"] and "It is not text and cannot be read." in said(at)
    assert "Parameters trained" in [metric.label for metric in at.metric]
    (prompt,) = queue_candidates(db, admin, run.id, [2])["prompts"]
    at = open_page(admin, "prompts.py", project)
    at.session_state[f"prompt_of_{project.id}"] = prompt.id
    at.run()
    assert not at.exception and "It works only in the model it was trained for" in said(at)
    if method == "prompt_tuning":
        table = next(frame.value for frame in at.dataframe if "Nearest token" in frame.value.columns)
        assert len(table) == len(START.split()) and "nearest by Euclidean distance" in said(at)
    else:
        assert "A prefix has no vectors that a token could be nearest to" in said(at)


def test_the_form_says_what_it_is_going_to_do(db, admin, project, open_page, examples, champion):
    examples(train=30)
    at = open_page(admin, "optimize.py", project)
    at.selectbox(key="optimize_method").set_value("prefix_tuning").run()
    assert not at.exception and "whose place the vectors take" in said(at)
    assert at.number_input(key="optimize_prefix_tuning_learning_rate").value == pytest.approx(0.003)
    at.button(key="optimize_start").click().run()
    (run,) = list_runs(db, admin, project.id, kind="optimize")
    plan, options = run.config["plan"], run.config["options"]
    each = 3 * options["batch"] * options["every"] + plan["train"]
    whole, rest = divmod(plan["budget"] - plan["reserve"] - plan["train"], each)
    assert plan["candidates"] == whole + (rest >= 3 * options["batch"] + plan["train"])


def test_another_installation_answers_with_what_was_imported(
    db, admin, project, trained, spec, tmp_path, monkeypatch
):
    """The same weights in a folder of another name, on a machine that has not the one it was
    trained from: the vectors are read there and say the same; other weights are found out."""
    run = trained()
    (prompt,) = queue_candidates(db, admin, run.id, [2])["prompts"]
    file = b"".join(export_prompts(db, admin, project.id)[1])
    elsewhere = Project(name="Elsewhere")
    rows = [Example(project_id=elsewhere.id, content_hash=text, input=text) for text in EXAMPLES]
    db.write(lambda session: session.add_all([elsewhere, *rows]))
    assert import_prompts(db, admin, elsewhere.id, [file]).soft == 1
    taken = next(one for one in list_prompts(db, admin, elsewhere.id) if names_in(one.system))

    same = local_spec(build(tmp_path / "same weights"))
    create_host(db, admin, name="theirs", kind="local", model=same.model, params=same.params)
    asked = {"prompts": [taken.id], "host": "theirs", "pairs": "none"}
    with pytest.raises(Invalid, match="bound to the model"):  # both folders are on this machine
        start_run(db, admin, elsewhere.id, "generate", asked)
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: str(path) != spec.model and exists(path))
    generate = start_run(db, admin, elsewhere.id, "generate", asked)
    context = RunContext(run_folder(generate.id))
    generate_work.run(context)
    context.close()
    texts = [
        row for path in context.folder.artifacts.glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]

    host = open_host(spec, tmp_path)  # where it was trained
    host.shelf = Shelf(soft_folder(project.id))
    frozen = pq.read_table(context.folder.inputs / "requests.parquet").to_pylist()
    wanted = host.generate([json.loads(one["messages"]) for one in frozen], Sampling(seed=generate.seed))
    there = {row["key"]: row["text"] for row in texts}
    assert [there[one["key"]] for one in frozen] == [answer.text for answer in wanted]
    assert len(frozen) == len(EXAMPLES) and prompt.system == taken.system
