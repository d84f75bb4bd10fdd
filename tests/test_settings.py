"""Settings are documented, and a wrong one is named."""

import pytest
from pydantic import ValidationError

from core.settings import Settings
from tests.conftest import ROOT


def test_every_setting_is_documented():
    page = (ROOT / "docs" / "settings.md").read_text()
    missing = [name for name in Settings.model_fields if f"`PREFLOOP_{name.upper()}`" not in page]
    assert not missing


def test_a_relative_data_folder_is_meant_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFLOOP_DATA_DIR", "here")
    assert Settings().data_dir == tmp_path / "here"


def test_the_address_of_links(monkeypatch):
    monkeypatch.setenv("PREFLOOP_PORT", "9000")
    assert Settings().url == "http://127.0.0.1:9000"
    monkeypatch.setenv("PREFLOOP_HOST", "0.0.0.0")
    assert Settings().url == "http://127.0.0.1:9000"
    monkeypatch.setenv("PREFLOOP_PUBLIC_URL", "https://prefloop.example.org/")
    assert Settings().url == "https://prefloop.example.org"


def test_a_port_that_is_no_port(monkeypatch):
    monkeypatch.setenv("PREFLOOP_PORT", "70000")
    with pytest.raises(ValidationError, match="port"):
        Settings()
