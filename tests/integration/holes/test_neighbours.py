"""Texts of labels that a bundle does not have: the training says how near they come; it needs the second environment."""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.faults.worker.fleet import ROOT
from tests.integration.holes.test_formats import tagstream_within

TICKETS = ROOT / "examples" / "tickets"
STRANGE = "integration"
NEIGHBOURS = re.compile(r"neighbours: ([0-9.]+)% of ([0-9,]+) texts of the labels pass it by fits without their label")
# The share of one label is not that of all labels, which the training says.
LUCK = 0.15
# A training takes 35 s on two free cores, and twelve times as long beside seven others.
BOUND_SECONDS = 800


@pytest.fixture
def rows() -> dict[bool, list[dict[str, str]]]:
    """The example's tickets: those of the label that is no label here, and all others."""
    with (TICKETS / "rows.csv").open(encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    return {strange: [row for row in every if (row["tag"] == STRANGE) is strange] for strange in (True, False)}


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    """A file of rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def test_a_training_says_how_many_neighbours_pass_and_no_more_do(
    rows: dict[bool, list[dict[str, str]]], tmp_path: Path
) -> None:
    """Without `--none`, labels left out in turn say how many texts of a label that the bundle lacks pass its limit; of one that it lacks no more are published."""
    own, strange = (written(tmp_path / f"{name}.csv", rows[which]) for name, which in (("own", False), ("strange", True)))
    words = ("model", "train", "bundle", "--data", own, "--quick", "--lose", "0.02")
    trained = tagstream_within(tmp_path, *words, seconds=BOUND_SECONDS)
    assert trained.returncode == 0, trained.stderr.decode()
    said = NEIGHBOURS.search(trained.stdout.decode())
    assert said
    assert int(said[2].replace(",", "")) > 0.7 * len(rows[False])
    shown = tagstream_within(tmp_path, "model", "inspect", "bundle").stdout.decode()
    assert said[0] in shown
    lines = tagstream_within(tmp_path, "classify", strange, "--bundle", "bundle", "--json").stdout.splitlines()
    published = sum(json.loads(line)["destination"] == "tagged" for line in lines) / len(lines)
    assert (len(lines), published <= float(said[1]) / 100 + LUCK) == (len(rows[True]), True), (published, said[1])


def test_a_share_to_lose_that_is_none_is_refused_before_the_rows_are_read(tmp_path: Path) -> None:
    """`--lose` takes 0 to 0.5, and is for a file of the user's own rows."""
    for words in (("--lose", "2"), ("--lose", "nan"), ("--lose", "-0.1")):
        refused = tagstream_within(tmp_path, "model", "train", "out", "--data", "missing.csv", "--quick", *words)
        assert (refused.returncode, b"--lose" in refused.stderr) == (2, True), refused.stderr.decode()
    shipped = tagstream_within(tmp_path, "model", "train", "out", "--lose", "0.02")
    assert (shipped.returncode, b"Next: give --data FILE" in shipped.stderr) == (2, True), shipped.stderr.decode()
