"""`tagstream second` without a broker: it says what is missing, and asks nobody."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tagstream.stream.cli.main import app


def run(*words: str) -> Result:
    """The command, to its end."""
    return CliRunner().invoke(app, ["second", *words])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_second_model_nobody_is_asked() -> None:
    """The sentence names both settings."""
    done = run()
    assert done.exit_code == 2
    assert "no second model is set" in done.stderr
    assert "TAGSTREAM_SECOND__BUNDLE" in done.stderr
    assert "TAGSTREAM_SECOND__ENDPOINT" in done.stderr


def test_the_bundle_that_decides_is_no_second_model(tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would agree with itself."""
    monkeypatch.setenv("TAGSTREAM_SECOND__BUNDLE", str(tiny_bundle_folder))
    done = run("--bundle", str(tiny_bundle_folder))
    assert getattr(done.exception, "exit_code", None) == 2
    assert "would agree with itself" in str(done.exception)


def test_the_status_is_a_verb_below() -> None:
    """Its help says what it shows."""
    done = run("status", "--help")
    assert done.exit_code == 0
    assert "what is missing" in done.stdout
