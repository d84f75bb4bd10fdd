"""Any backbone: padding, LoRA, accumulation, precision, logging elsewhere."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from core.reward import presets
from core.runs.context import RunContext, WorkError
from tests.reward import backbones
from tests.reward.test_members import sides, train
from tests.reward.test_work import FragileContext, Killed
from tests.reward.tiny import pair_rows, run_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: make(tmp_path_factory.mktemp(kind)) for kind, make in backbones.KINDS.items()}


@pytest.fixture(autouse=True)
def fast_learning(monkeypatch):
    import torch

    for name, preset in presets.PRESETS.items():
        monkeypatch.setitem(
            presets.PRESETS, name, replace(preset, learning_rate=3e-3, lora_rate=1e-2, frozen=0.0, epochs=2)
        )
    torch.set_num_threads(1)
    monkeypatch.setattr(presets, "MIN_STEPS", 20)
    monkeypatch.setattr("core.reward.work.judge_run", lambda *args, **options: {"path": None})


@pytest.mark.parametrize("kind", backbones.KINDS)
def test_it_trains_saves_and_loads_elsewhere_with_the_same_scores(folders, kind, tmp_path):
    """Alone or in a batch, padded on either side: as transformers itself reads the folder."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from core.reward.score import RewardScorer

    folder = run_folder(tmp_path / "run", pair_rows(60), folders[kind], precision="fp32", max_length=64)
    result = train(folder)
    assert result["settings"]["precision"] == "fp32" and result["n_test"] > 0
    place = folder.artifacts / "model"
    scorer = RewardScorer(place)
    inputs, a, _ = sides(pair_rows(60)[:6])
    ours = scorer.score(inputs, a) * scorer.std + scorer.mean
    model = AutoModelForSequenceClassification.from_pretrained(place, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(place)
    assert tokenizer.padding_side == "right" and tokenizer.pad_token_id == model.config.pad_token_id
    ids, _ = scorer.encode(inputs, a)
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([of])).logits.item() for of in ids]
        padded = {
            side: model(**tokenizer.pad({"input_ids": ids}, padding_side=side, return_tensors="pt")).logits[
                :, 0
            ]
            for side in ("right", "left")
        }
    assert np.allclose(ours, alone, atol=1e-4) and np.allclose(padded["right"], alone, atol=1e-4)
    if kind in ("qwen", "llama"):  # relative positions; BERT's are not, and it is padded on the right
        assert np.allclose(padded["left"], alone, atol=1e-3)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_lora_is_added_into_the_weights_and_kept_beside_them(folders, kind, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from core.reward.score import RewardScorer

    lora = {"r": 4, "alpha": 8, "dropout": 0.1}
    rows, options = pair_rows(100), {"lora": lora, "checkpoint_s": 0, "precision": "fp32", "max_length": 64}
    whole = run_folder(tmp_path / "whole", rows, folders[kind], **options)
    expected = train(whole)
    place = whole.artifacts / "model"
    assert (place / "adapter" / "adapter_model.safetensors").exists()
    model, said = AutoModelForSequenceClassification.from_pretrained(
        place, output_loading_info=True, dtype=torch.float32
    )
    assert not said["missing_keys"] and not said["unexpected_keys"] and "peft" not in type(model).__module__
    # The adapter on the backbone as it came says the same.
    bare = AutoModelForSequenceClassification.from_pretrained(
        folders[kind], num_labels=1, dtype=torch.float32
    )
    bare.config.pad_token_id = model.config.pad_token_id
    adapted = PeftModel.from_pretrained(bare, place / "adapter").eval()
    scorer = RewardScorer(place)
    inputs, a, _ = sides(rows[:4])
    ids = scorer.encode(inputs, a)[0]
    with torch.no_grad():
        found = [adapted(input_ids=torch.tensor([of])).logits.item() for of in ids]
    assert np.allclose(scorer.score(inputs, a) * scorer.std + scorer.mean, found, atol=1e-4)
    if kind == "bert":
        return
    # Killed with dropout on, it goes on to the same weights.
    killed = run_folder(tmp_path / "killed", rows, folders[kind], **options)
    with pytest.raises(Killed):
        train(killed, FragileContext, die_at=expected["settings"]["steps"] // 2)
    train(killed)
    from safetensors.numpy import load_file

    one, other = (load_file(f.artifacts / "model" / "model.safetensors") for f in (whole, killed))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_accumulated_steps_are_the_steps_of_larger_batches(folders, tmp_path):
    from safetensors.numpy import load_file

    rows = pair_rows(200)[:182]  # 128 training pairs: whole batches
    found = []
    for accumulation in (1, 4):
        folder = run_folder(
            tmp_path / str(accumulation), rows, folders["bert"], accumulation=accumulation, precision="fp32"
        )
        result = train(folder)
        found.append(
            (load_file(folder.artifacts / "model" / "model.safetensors"), result["settings"]["steps"])
        )
    (one, steps), (other, same) = found
    assert steps == same
    apart = sum(((one[name] - other[name]) ** 2).sum() for name in one if "key.bias" not in name)
    assert apart < 1e-2 * sum((value**2).sum() for value in one.values())


def test_sixteen_bits_without_a_gpu_are_refused(folders, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(WorkError, match="precision: fp16 needs a GPU"):
        train(run_folder(tmp_path / "run", pair_rows(60), folders["bert"], precision="fp16"))


def test_what_is_reported_elsewhere_goes_through_transformers_own_callback(folders, tmp_path, monkeypatch):
    """A stand-in for tensorboardX that writes down what it is told."""
    package = tmp_path / "packages" / "tensorboardX"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "told = []\n"
        "class SummaryWriter:\n"
        "    def __init__(self, log_dir=None): told.append(('dir', log_dir, None))\n"
        "    def add_scalar(self, name, value, step): told.append((name, value, step))\n"
        "    def __getattr__(self, name): return lambda *args, **more: None\n"
    )
    from core.errors import Invalid
    from core.reward.options import installed_reporters, read_options

    assert "tensorboard" not in installed_reporters()
    with pytest.raises(Invalid, match="report_to: tensorboard is not installed"):
        read_options({"report_to": "tensorboard"})
    monkeypatch.syspath_prepend(str(package.parent))
    assert installed_reporters() == ["tensorboard"]
    assert read_options({"report_to": "tensorboard"}).report_to == ("tensorboard",)
    folder = run_folder(tmp_path / "run", pair_rows(60), folders["bert"], report_to=["tensorboard"])
    train(folder)
    told = sys.modules.pop("tensorboardX").told
    assert told[0][1] == str(folder.artifacts / "tensorboard" / "member-0")
    names = {name for name, _, _ in told}
    assert {"train/loss", "train/accuracy", "train/learning_rate", "train/grad_norm"} <= names
    steps = [step for name, _, step in told if name == "train/loss"]
    assert steps == sorted(steps) and len(steps) > 10


@pytest.mark.slow
def test_two_processes_train_as_one(folders, tmp_path):
    """By `accelerate launch`, two processes of one thread each, with gloo."""
    rows = pair_rows(120)
    one = run_folder(tmp_path / "one", rows, folders["bert"], precision="fp32")
    expected = train(one)
    two = run_folder(tmp_path / "two", rows, folders["bert"], precision="fp32", processes=2)
    result = train(two)
    assert result["settings"]["processes"] == 2 and result["partial"] is False
    assert result["settings"]["batch_size"] == expected["settings"]["batch_size"]
    steps = [e["data"]["step"] for e in two.read_events()[0] if e["type"] == "metric"]
    numbers = [e["n"] for e in two.read_events()[0]]
    assert steps and numbers == list(range(1, len(numbers) + 1))
    assert (two.artifacts / "model" / "reward.json").exists()


def test_more_processes_than_there_are_is_said(folders, tmp_path):
    with pytest.raises(WorkError, match="processes: 64"):
        train(run_folder(tmp_path / "run", pair_rows(60), folders["bert"], processes=64))


def test_the_context_of_further_processes_is_silent(folders, tmp_path):
    from core.reward.launched import Silent

    folder = run_folder(tmp_path / "run", pair_rows(20), folders["bert"])
    RunContext(folder).log("one")
    silent = Silent(folder)
    silent.log("two")
    silent.progress(0.5)
    assert len(folder.read_events()[0]) == 1
