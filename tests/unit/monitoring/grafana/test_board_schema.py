"""Grafana's own schema takes the boards: its published SDK reads them strictly."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docs.generate.boards import BOARDS, DASHBOARDS
from tests.go.programs import ROOT, EngineError, GoProgram, built, cache_folder, run_to_end
from tests.lacking import program

# Compiling it takes a minute, once on a machine.
pytestmark = pytest.mark.slow

SDK = "github.com/grafana/grafana-foundation-sdk/go"
CHECK = GoProgram(
    name="boards",
    module=SDK,
    version="v0.0.22",
    package=".",
    imported=SDK + "/dashboard",
    source=ROOT / "tests" / "go" / "boards" / "main.go",
)
CHECK_SECONDS = 60.0


def check(*files: Path) -> None:
    """
    Read boards by the schema.

    Raises:
        EngineError: The schema refuses one of them, or the SDK cannot be had.
    """
    program("go")
    run_to_end((str(built(CHECK, cache_folder("grafana"))), *map(str, files)), os.environ, CHECK_SECONDS)


def panel(board: dict[str, Any], kind: str) -> dict[str, Any]:
    """The first panel of a type."""
    found: dict[str, Any] = next(each for each in board["panels"] if each["type"] == kind)
    return found


def custom(board: dict[str, Any]) -> dict[str, Any]:
    """How the lines of a panel are drawn."""
    found: dict[str, Any] = panel(board, "timeseries")["fieldConfig"]["defaults"]["custom"]
    return found


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no schema version": (lambda it: it.pop("schemaVersion"), "schemaVersion: required"),
    "an unknown field of the board": (lambda it: it.update(folder="x"), "'folder'"),
    "an unknown field of a panel": (lambda it: panel(it, "timeseries").update(unit="s"), "'unit'"),
    "an unknown option of a heatmap": (lambda it: panel(it, "heatmap")["options"].update(cellgap=1), "'cellgap'"),
    "an unknown option of a curve": (lambda it: panel(it, "trend")["options"].update(xfield="le"), "'xfield'"),
    "a misspelt line": (lambda it: custom(it).update(linewidth=2), "'linewidth'"),
    "an unknown field of a query": (lambda it: panel(it, "trend")["targets"][0].update(query="up"), "'query'"),
    "a width that is text": (lambda it: panel(it, "trend")["gridPos"].update(w="8"), "gridPos.w"),
    "an unknown field of a variable": (lambda it: it["templating"]["list"][0].update(querry="x"), "'querry'"),
    "an unknown field of an annotation": (lambda it: it["annotations"]["list"][1].update(expression="x"), "'expression'"),
    "an unknown field of a link": (lambda it: it["links"][0].update(uri="x"), "'uri'"),
}


def test_the_schema_takes_every_board() -> None:
    """No field is unknown or of another type, and none that is required is missing."""
    check(*(ROOT / DASHBOARDS / f"{board.name}.json" for board in BOARDS))


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_board_is_found(fault: str, tmp_path: Path) -> None:
    """One fault in a good board, and the message names it."""
    spoil, named = BAD[fault]
    board = json.loads((ROOT / DASHBOARDS / "quality.json").read_text(encoding="utf-8"))
    spoil(board)
    (tmp_path / "bad.json").write_text(json.dumps(board), encoding="utf-8")
    with pytest.raises(EngineError) as refused:
        check(tmp_path / "bad.json")
    assert named in str(refused.value)
