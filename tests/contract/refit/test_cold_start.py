"""`tagstream model start` and `grow` with the base encoder: from labels in words to a bundle that answers made better."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.bundle.bundle import Bundle, read
from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.bundle.text import compose
from tagstream.model_export.verify import verify
from tagstream.stream.cli import main
from tests.faults.worker.fleet import ROOT

TICKETS = ROOT / "examples" / "tickets"
Ticket = dict[str, str]


def tickets(name: str) -> list[Ticket]:
    """The rows of a file of the example."""
    with (TICKETS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def model(*words: object) -> Result:
    """Run a verb of `tagstream model`."""
    return CliRunner().invoke(main.app, ["model", *map(str, words)], catch_exceptions=False)


def right(bundle: Bundle) -> float:
    """The share right of the gold tickets."""
    gold = tickets("gold.csv")
    found = OnnxClassifier(bundle).classify([compose(one["title"], one["description"] or None) for one in gold])
    return sum(one.label == ticket["tag"] for one, ticket in zip(found, gold, strict=True)) / len(gold)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, str]:
    """A first bundle of the tickets, and what the command printed."""
    folder = tmp_path_factory.mktemp("cold") / "tickets"
    found = model("start", folder, "--labels", TICKETS / "labels.toml", "--texts", TICKETS / "rows.csv")
    assert found.exit_code == 0, found.output
    return read(folder), found.stdout


def test_a_first_bundle_is_honest_and_better_than_a_guess(started: tuple[Bundle, str]) -> None:
    """It verifies, publishes nothing, says so and what to do next, and its suggestions are right far more often than by chance."""
    bundle, printed = started
    assert verify(bundle.path).digest == bundle.digest
    assert set(bundle.manifest.asked_below().values()) == {ALWAYS_ASK}
    assert "it publishes nothing" in printed
    assert "tagstream model grow" in printed
    assert len(printed.splitlines()) <= 10
    assert bundle.manifest.reference["rows"] == 600
    assert right(bundle) > 3 / len(bundle.manifest.labels)


def test_sixty_answers_make_it_better(started: tuple[Bundle, str], tmp_path: Path) -> None:
    """More is right, nothing is certified by so few, and the table has every label with its answers."""
    bundle, _ = started
    lines = [
        {"id": one["id"], "title": one["title"], "description": one["description"], "tag": one["tag"]}
        for one in tickets("rows.csv")
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, lines[:60])), encoding="utf-8")
    named = ("--name", "tickets of ours", "--version", "2026.12")
    found = model("grow", bundle.path, tmp_path / "grown", "--answers", tmp_path / "answers.jsonl", *named)
    assert found.exit_code == 0, found.output
    assert "verification of the bundle: done" in found.stderr
    assert found.stdout.splitlines()[-2].startswith("it publishes nothing")
    grown = read(tmp_path / "grown")
    assert (grown.manifest.name, grown.manifest.version) == ("tickets of ours", "2026.12")
    assert verify(grown.path).labels == bundle.manifest.labels
    assert right(grown) > right(bundle)
    assert set(grown.manifest.asked_below().values()) == {ALWAYS_ASK}
    assert "what the answers certify" in found.stdout
    assert all(label in found.stdout for label in bundle.manifest.labels)
