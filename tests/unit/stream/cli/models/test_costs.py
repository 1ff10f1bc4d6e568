"""`--costs` of the verbs that choose thresholds: what is refused, before any work."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate.priced_promise import PricedPromise
from tagstream.monitoring.quality.costs import CostsError
from tagstream.stream.cli import main
from tagstream.stream.cli.models.options import PromiseOptions
from tests.conftest import TINY_BUNDLE

GOOD = "item = 0.5\nwrong_publication = 3\n"


def costs(folder: Path, text: str) -> Path:
    """A file of prices."""
    file = folder / "prices.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (None, (), "prices.toml does not exist"),
        ("item = -1\nwrong_publication = 3", (), "item = -1 is not a price"),
        ("item = 1\nwrong_publication = -3", (), "wrong_publication = -3 is not a price"),
        ("person_minute = 1\nwrong_publication = 3", (), "how many minutes an item takes is not known here"),
        ("item = 1\n[wrong_publication]\nmlop = 3", (), "mlop is no label"),
        (GOOD, ("--precision", "0.9"), "in place of one promise"),
        (GOOD, ("--promise", "both"), "in place of one promise"),
        (GOOD, ("--review-budget", "0.2"), "in place of one promise"),
        (GOOD, ("--floor", "0"), "no label's precision can be certified to be 0"),
        (GOOD, ("--floor", "1"), "no label's precision can be certified to be 1"),
        ("person_minute = 1\nwrong_publication = 3", ("--reviewed", "answers.jsonl"), "how many minutes an item takes"),
    ],
)
def test_prices_that_cannot_be_used_are_refused(text: str | None, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """With exit code 2, a sentence and the next step, and nothing is written."""
    file = tmp_path / "prices.toml" if text is None else costs(tmp_path, text)
    given = ["model", "calibrate", str(TINY_BUNDLE), "--out", str(tmp_path / "out"), "--costs", str(file), *words]
    result = CliRunner().invoke(main.app, given)
    told = result.stderr if result.exception is None or isinstance(result.exception, SystemExit) else str(result.exception)
    assert getattr(result.exception, "exit_code", result.exit_code) == 2, told
    assert said in told
    assert "Next: " in told
    assert not (tmp_path / "out").exists()


def test_prices_stand_in_place_of_one_promise(tmp_path: Path) -> None:
    """The floor is the precision of each label; without prices the promise is what it was."""
    asked = PromiseOptions(costs=costs(tmp_path, GOOD), floor=0.8).asked()
    assert isinstance(asked, PricedPromise)
    assert (asked.kind, asked.precision, asked.costs.item) == ("per-label", 0.8, 0.5)
    assert PromiseOptions().asked() == Promise()
    with pytest.raises(CostsError, match="is not TOML"):
        PromiseOptions(costs=costs(tmp_path, "item")).asked()
