"""Tests that need torch, Ray or Spark are collected by `pytest --learning` alone, which `make test-learning` calls."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# Folders and files that import these libraries, or whose tests start programs that do. One that is missing here fails where the
# libraries are missing, so `make test` finds it.
LEARNING = frozenset(
    ROOT / path
    for path in (
        "tagstream/model_export/compare",
        "tagstream/model_export/make",
        "tagstream/model_export/measure/speed.py",
        "tagstream/model_export/onnx",
        "tagstream/model_export/report",
        "tagstream/model_export/train",
        "tests/browser/test_report.py",
        "tests/contract/refit",
        "tests/contract/test_earn.py",
        "tests/contract/test_repository_of_bundles.py",
        "tests/engines",
        "tests/evaluations.py",
        "tests/integration/commands/test_tutorial.py",
        "tests/integration/holes/test_import.py",
        "tests/integration/holes/test_neighbours.py",
        "tests/integration/holes/test_rows_to_learn.py",
        "tests/integration/review/test_earned.py",
        "tests/unit/benchmarks/test_peers.py",
        "tests/unit/model_export/compare",
        "tests/unit/model_export/data/test_errors.py",
        "tests/unit/model_export/make",
        "tests/unit/model_export/measure/test_speed.py",
        "tests/unit/model_export/onnx",
        "tests/unit/model_export/report",
        "tests/unit/model_export/train",
        "tests/unit/stream/cli/models/test_adapt.py",
        "tests/unit/stream/cli/models/test_evaluate.py",
        "tests/unit/stream/cli/models/test_further_training.py",
        "tests/unit/stream/cli/models/test_importing.py",
        "tests/unit/stream/cli/models/test_training.py",
        "tests/unit/stream/cli/people/test_answers_in_files.py",
        "tests/unit/stream/cli/test_model.py",
    )
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--learning`."""
    parser.addoption("--learning", action="store_true", help="only the tests that need torch, Ray or Spark")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what the other environment tests. A path on the command line is collected in any case."""
    if not config.getoption("learning"):
        return collection_path in LEARNING or None
    on_the_way = any(path.is_relative_to(collection_path) or collection_path.is_relative_to(path) for path in LEARNING)
    return None if on_the_way else True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what a run of all tests has left out."""
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.getoption("learning"):
        terminalreporter.write_line("what needs torch, Ray or Spark was not collected: `make test-learning` tests it")
