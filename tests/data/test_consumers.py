"""Every export is read by who it is made for: TRL's trainers take a step on it, and
`datasets.load_dataset` opens the folder."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import yaml

from core import data
from core.projects import create_project
from storage.exporting import Order
from storage.formats import FORMATS
from storage.tables import Demonstration
from tests.data.test_importing import WHO, vote
from tests.llm import tiny

TURNS = [
    {"role": "user", "content": "tell me how"},
    {"role": "assistant", "content": "to cook what ?"},
    {"role": "user", "content": "soup please"},
]


@pytest.fixture
def project_id(db):
    """Wins with strengths, a tie, a pair that is bad, a conversation, a demonstration."""
    project = create_project(db, WHO, name="Soup: <b>“hot”</b>", guidelines="# Be kind", votes_per_pair=2)
    answers = {"response_a": "boil water please", "response_b": "no heat"}
    rows = [vote("x", "a", input=f"how to cook soup {i}", strength="clearly", **answers) for i in range(8)]
    rows += [vote("x", "b", input=TURNS, **answers), vote("y", "tie", input=TURNS, **answers)]
    rows += [vote("x", "tie", input="a tie", **answers), vote("x", "both_bad", input="bad", **answers)]
    assert not data.import_comparisons(db, WHO, project.id, rows).skipped

    def write(session):
        for example in data.list_examples(db, WHO, project.id).rows[:4]:
            session.add(
                Demonstration(project_id=project.id, example_id=example.id, author="x", text="stir the pan")
            )

    db.write(write)
    return project.id


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("tiny"))


def file_of(db, project_id, folder, format, as_="parquet", **policy):
    path = folder / f"{format}.{as_}"
    path.write_bytes(b"".join(data.export_file(db, WHO, project_id, Order(format, **policy), as_)))
    return path


# kto: a batch of good ones alone has no loss; 16 rows hold both.
TRAINED = {
    "trl": "Reward", "trl-conversational": "Reward", "trl-margin": "Reward",
    "trl-margin-conversational": "Reward", "dpo": "DPO", "dpo-conversational": "DPO",
    "kto": "KTO", "kto-conversational": "KTO",
    "sft": "SFT", "sft-conversational": "SFT", "sft-messages": "SFT",
}  # fmt: skip


def test_every_format_has_a_consumer_here():
    assert set(FORMATS) == {*TRAINED, "dpo-openai", "comparisons"}


@pytest.mark.parametrize("format", TRAINED)
def test_a_trainer_takes_a_step(db, project_id, model, tmp_path, format):
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    policy = {"chosen": True} if format.startswith("sft") else {"ties": "both"}
    rows = Dataset.from_parquet(
        str(file_of(db, project_id, tmp_path, format, **policy)), cache_dir=str(tmp_path)
    )
    assert rows.column_names == [name for name, _ in FORMATS[format].columns]
    kind = TRAINED[format]
    config = getattr(trl, f"{kind}Config")(
        output_dir=str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=len(rows), report_to=[],
        use_cpu=True, bf16=False, fp16=False, save_strategy="no", logging_steps=1, learning_rate=0.1,
        disable_tqdm=True, max_length=64,
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(model)
    if kind == "Reward":
        body = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    else:
        body = AutoModelForCausalLM.from_pretrained(model)
    before = [weight.clone() for weight in body.parameters()]
    trainer = getattr(trl, f"{kind}Trainer")(
        model=body, args=config, train_dataset=rows, processing_class=tokenizer
    )
    loss = trainer.train().training_loss
    assert loss > 0 and torch.isfinite(torch.tensor(loss))
    assert any(not torch.equal(x, y) for x, y in zip(before, body.parameters(), strict=True))
    if kind == "Reward":
        assert ("margin" in next(iter(trainer.get_train_dataloader()))) == ("margin" in format)


@pytest.mark.parametrize("format", [name for name, one in FORMATS.items() if "hf" in one.encodings])
def test_datasets_opens_the_folder(db, project_id, tmp_path, format):
    from datasets import load_dataset

    packed = b"".join(data.export_file(db, WHO, project_id, Order(format), "hf"))
    folder = tmp_path / "folder"
    zipfile.ZipFile(io.BytesIO(packed)).extractall(folder)
    opened = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    for split, rows in opened.items():
        assert list(rows) == [filled(row, rows.column_names) for row in json.loads(
            b"".join(data.export_file(db, WHO, project_id, Order(format, split=split), "json"))
        )]  # fmt: skip
    total = len(data.export(db, WHO, project_id, format))
    assert sum(map(len, opened.values())) == total and (len(opened) > 1 or total == 4)
    inputs = [{json.dumps(row.get("prompt") or row.get("input") or row["messages"][:-1]) for row in rows} for rows in opened.values()]  # fmt: skip
    assert len(set().union(*inputs)) == sum(map(len, inputs))
    # The card says what is in it.
    text = (folder / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["pretty_name"] == "Soup: <b>“hot”</b>"
    assert {one["split"] for one in front["configs"][0]["data_files"]} == set(opened)
    assert (front["prefloop"]["rows"], front["prefloop"]["votes"]) == (total, 12)
    assert front["prefloop"]["annotators"] == 2 and front["prefloop"]["simulated_share"] == 0
    assert "<b>" not in text.split("---\n", 2)[2] and "\n    # Be kind" in text


@pytest.mark.parametrize("as_", ["csv", "jsonl", "parquet"])
def test_datasets_opens_each_kind_of_file(db, project_id, tmp_path, as_):
    from datasets import load_dataset

    for format in ("trl", "trl-margin", "kto", "sft", "comparisons"):
        policy = {"chosen": True} if format == "sft" else {}
        path = file_of(db, project_id, tmp_path, format, as_, **policy)
        reader = "json" if as_ == "jsonl" else as_
        rows = load_dataset(reader, data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
        assert len(rows) == len(data.export(db, WHO, project_id, format, **policy))
        assert set(rows.column_names) <= {name for name, _ in FORMATS[format].columns}
        assert any("soup" in str(row) for row in rows)


def filled(row, columns):
    """A row as a table has it."""
    row = {name: row.get(name) for name in columns}
    if "choice" in columns and not isinstance(row["input"], str):
        row["input"] = json.dumps(row["input"], ensure_ascii=False)
    return row


def test_openai_takes_the_lines(db, project_id, tmp_path):
    """What its guide asks: messages in, one message of the assistant's on either side."""
    lines = file_of(db, project_id, tmp_path, "dpo-openai", "jsonl").read_text().splitlines()
    assert len(lines) == 9
    for line in lines:
        row = json.loads(line)
        assert set(row) == {"input", "preferred_output", "non_preferred_output"}
        assert row["input"]["messages"][-1]["role"] == "user"
        for side in ("preferred_output", "non_preferred_output"):
            (message,) = row[side]
            assert message["role"] == "assistant" and message["content"]
