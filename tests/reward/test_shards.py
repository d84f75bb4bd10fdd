"""A model whose weights lie in several files: taken in, used, downloaded; and every way in which
its index can be wrong, named."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from core.errors import Invalid
from core.reward import stages
from core.reward.download import model_zip
from core.reward.shards import INDEX, MOST_INDEX_BYTES, WHOLE, read_index
from core.reward.upload import staging, upload_model
from core.runs.service import run_folder
from storage.tables import RewardModel, Run
from tests.reward.test_registry import take_in, zipped
from tests.reward.test_scoring import Shop, folders  # noqa: F401


@pytest.fixture
def shop(db) -> Shop:
    return Shop(db)


@pytest.fixture(scope="module")
def sharded(folders, tmp_path_factory) -> Path:  # noqa: F811
    """The first tiny model, saved in several files."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("sharded") / "model"
    AutoModelForSequenceClassification.from_pretrained(folders[0]).save_pretrained(
        folder, max_shard_size="20KB"
    )
    AutoTokenizer.from_pretrained(folders[0]).save_pretrained(folder)
    assert len(shards_of(folder)) >= 3 and not (folder / WHOLE).exists()
    return folder


def shards_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("model-*.safetensors"))


def index_of(folder: Path) -> dict:
    return json.loads((folder / INDEX).read_text())


def test_a_sharded_model_is_taken_in_scores_alike_and_goes_out_again(
    shop, folders, sharded, open_page, tmp_path  # noqa: F811
):  # fmt: skip
    from core.reward.score import RewardScorer

    run = take_in(shop, zipped(sharded), "in parts")
    assert run.status == "succeeded", run.error
    folder = run_folder(run.id).artifacts / "model"
    assert shards_of(folder) == shards_of(sharded) and not (folder / WHOLE).exists()
    # Known answer: the same weights in one file.
    texts = ["word1 word2", "word3 kind"], ["kind clear", "rude vague word4"]
    one, several = RewardScorer(folders[0]), RewardScorer(folder)
    raw = [scorer.score(*texts) * scorer.std + scorer.mean for scorer in (one, several)]
    assert raw[0] == pytest.approx(raw[1], abs=1e-6) and np.ptp(raw[0]) > 1e-3
    (version,) = stages.versions(shop.db, shop.who, shop.project.id)
    assert version.files and version.bytes > 1000
    data = b"".join(model_zip(shop.db, shop.who, version.model.id)[1])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        inside = {Path(name).name for name in archive.namelist()}
        assert {*shards_of(sharded), INDEX} <= inside and WHOLE not in inside
        for name in shards_of(sharded):
            assert archive.read(f"in-parts/{name}") == (sharded / name).read_bytes()
        archive.extractall(tmp_path)
    from transformers import AutoModelForSequenceClassification

    outside = AutoModelForSequenceClassification.from_pretrained(tmp_path / "in-parts").state_dict()
    for name, value in AutoModelForSequenceClassification.from_pretrained(folders[0]).state_dict().items():
        assert (outside[name] == value).all(), name
    again = take_in(shop, data, "again")
    assert again.status == "succeeded" and again.result["card_was_there"], again.error
    at = open_page(shop.who, "reward_models.py", shop.project)
    assert not at.exception


def changed_index(folder: Path, change) -> dict[str, str]:
    index = index_of(folder)
    change(index)
    return {f"model/{INDEX}": json.dumps(index)}


def _elsewhere(index: dict) -> None:
    index["weight_map"][next(iter(index["weight_map"]))] = "../../other.safetensors"


def _absolute(index: dict) -> None:
    index["weight_map"][next(iter(index["weight_map"]))] = "/etc/other.safetensors"


def _pickled(index: dict) -> None:
    index["weight_map"][next(iter(index["weight_map"]))] = "pytorch_model.bin"


def _number(index: dict) -> None:
    index["weight_map"][next(iter(index["weight_map"]))] = 3


BAD = {
    "none of its [0-9]+ shards is in the zip .*model-00001": lambda f: zipped(f, leave_out=shards_of(f)),
    "1 of its [0-9]+ shards is not in the zip: model-00002-of": lambda f: zipped(f, leave_out=shards_of(f)[1:2]),
    "2 of its [0-9]+ shards are not in the zip": lambda f: zipped(f, leave_out=shards_of(f)[1:3]),
    f"has model-00001-of-[0-9]+.safetensors, but no {INDEX}": lambda f: zipped(f, leave_out=(INDEX,)),
    f"weights twice: {WHOLE}, and {INDEX}": lambda f: zipped(f, **{f"model/{WHOLE}": b"x"}),
    f"weights twice: {WHOLE}, and model-00001": lambda f: zipped(
        f, leave_out=(INDEX,), **{f"model/{WHOLE}": b"x"}
    ),
    f"has no {WHOLE}": lambda f: zipped(f, leave_out=(INDEX, *shards_of(f))),
    "does not know model-00009-of-00009.safetensors, which is in the zip": lambda f: zipped(
        f, **{"model/model-00009-of-00009.safetensors": b"x"}
    ),
    "does not know other.safetensors": lambda f: zipped(f, **{"model/other.safetensors": b"x"}),
    "has no “weight_map”": lambda f: zipped(f, leave_out=(INDEX,), **{f"model/{INDEX}": "[]"}),
    "no “weight_map” that": lambda f: zipped(f, leave_out=(INDEX,), **{f"model/{INDEX}": "no json"}),
    "has no “metadata”": lambda f: zipped(
        f, leave_out=(INDEX,), **changed_index(f, lambda index: index.pop("metadata"))
    ),
    "'../../other.safetensors', which is not a file of this folder": lambda f: zipped(
        f, leave_out=(INDEX,), **changed_index(f, _elsewhere)
    ),
    "'/etc/other.safetensors', which is not a file": lambda f: zipped(
        f, leave_out=(INDEX,), **changed_index(f, _absolute)
    ),
    "'pytorch_model.bin', which is no safetensors": lambda f: zipped(
        f, leave_out=(INDEX,), **changed_index(f, _pickled)
    ),
    "lies in '3', which is no safetensors": lambda f: zipped(f, leave_out=(INDEX,), **changed_index(f, _number)),
    "adapter_config.json: this is an adapter": lambda f: zipped(f, **{"model/adapter_config.json": "{}"}),
}  # fmt: skip


@pytest.mark.parametrize("said", BAD)
def test_a_wrong_index_is_refused_at_once(shop, sharded, said):
    with pytest.raises(Invalid, match=said):
        upload_model(shop.db, shop.who, shop.project.id, iter([BAD[said](sharded)]), "x")
    assert shop.rows(Run) == [] and list(staging().iterdir()) == []


def test_shards_that_do_not_hold_what_the_index_says(shop, sharded):
    first, second, *_ = shards_of(sharded)
    data = (sharded / second).read_bytes()
    weight = next(w for w, name in index_of(sharded)["weight_map"].items() if name == first)
    dropped = changed_index(sharded, lambda index: index["weight_map"].pop(weight))

    def misplaced(index: dict) -> None:
        index["weight_map"][weight] = second

    config = json.loads((sharded / "config.json").read_text())
    other = {**config, "transformers_weights": "evil.safetensors.index.json"}
    for zip_, said in (
        (zipped(sharded, leave_out=(second,), **{f"model/{second}": data[: len(data) // 2]}),
         f"{second} is not a safetensors file"),
        (zipped(sharded, leave_out=(second,), **{f"model/{second}": b"\xff" * len(data)}),
         f"{second} is not a safetensors file"),
        # The index and the files are each sound, and do not belong together.
        (zipped(sharded, leave_out=(INDEX,), **dropped), f"{first}: it holds 1 weights that {INDEX} does not"),
        (zipped(sharded, leave_out=(INDEX,), **changed_index(sharded, misplaced)), weight),
        (zipped(sharded, leave_out=("config.json",), **{"model/config.json": json.dumps(other)}),
         "“transformers_weights” names another file"),
    ):  # fmt: skip
        run = take_in(shop, zip_)
        assert run.status == "failed" and said in run.error, (said, run.error)
    assert shop.rows(RewardModel) == []


def test_a_large_index_is_not_read():
    with pytest.raises(Invalid, match="larger than 32 MB"):
        read_index(b" " * (MOST_INDEX_BYTES + 1), [])
