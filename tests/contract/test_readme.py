"""The record in the README is the one that the program gives."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tagstream.stream.cli.main import app

ROOT = Path(__file__).parents[2]
# When it was decided, and a digest that is cut for the eye.
CLOCK = "tagged_at"


@pytest.fixture(scope="module")
def given() -> dict[str, object]:
    """The record of `tagstream classify --json` for the README's second row."""
    row = "title,description\nFeature stores in production,How to serve the same features to training and inference.\n"
    ran = CliRunner().invoke(app, ["classify", "--json", "-"], input=row)
    assert ran.exit_code == 0, ran.output
    found: dict[str, object] = json.loads(ran.stdout)
    return found


def test_the_record_in_the_readme_is_given_by_the_program(given: dict[str, object]) -> None:
    """A reader who tries the example gets the same id, figures and prediction id."""
    (block,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    shown = json.loads(block)
    digest = shown["model"].pop("digest").removesuffix("...")
    model = dict(given["model"])  # type: ignore[call-overload]
    assert model.pop("digest").startswith(digest)
    expected = {name: value for name, value in given.items() if name not in {CLOCK, "destination", "model"}} | {"model": model}
    assert {name: value for name, value in shown.items() if name != CLOCK} == expected
    assert list(shown) == [name for name in given if name != "destination"]


def test_the_consumers_page_shows_the_same_prediction_id(given: dict[str, object]) -> None:
    """The example on the page for consumers is of the same record."""
    assert f'"{given["prediction_id"]}"' in (ROOT / "docs" / "consumers.md").read_text(encoding="utf-8")
