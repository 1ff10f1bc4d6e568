"""Writes every file that is made from the code: `python -m docs.generate`. With `--check` it writes none and says what is not current."""

import argparse
import sys
from pathlib import Path

from docs.generate import alerts, boards, metrics_page, python_face, settings_page
from tagstream.model_export.bundle import bundle
from tagstream.model_export.make import card
from tagstream.monitoring.alarms import ALERTS
from tagstream.stream.contract.schema import pages

ROOT = Path(__file__).parents[2]
RUNBOOKS = Path("docs/runbooks/README.md")
RECORDING = Path("monitoring/prometheus/recording.yml")
CONTRACT = Path("docs/contract")
BUNDLE = Path("model_export/bundles/default")


def made(root: Path = ROOT) -> dict[Path, str]:
    """The content of each file, by its path from the project's root."""
    rules, recording = alerts.rules(), alerts.recording((root / RECORDING).read_text(encoding="utf-8"))
    return {
        Path("monitoring/prometheus/alerts.yml"): rules,
        RECORDING: recording,
        Path("deploy/kubernetes/components/monitoring/rules.yaml"): alerts.operator(recording, rules),
        RUNBOOKS: alerts.index((root / RUNBOOKS).read_text(encoding="utf-8")),
        **{Path(alert.runbook): alerts.runbook(alert, _text(root / alert.runbook)) for alert in ALERTS},
        **{boards.DASHBOARDS / f"{board.name}.json": boards.text(board) for board in boards.BOARDS},
        Path("docs/metrics.md"): metrics_page.page(),
        Path("docs/settings.md"): settings_page.page(),
        Path("docs/python.txt"): python_face.page(),
        **{CONTRACT / name: text for name, text in pages.pages().items()},
        **{BUNDLE / name: text for name, text in card.files(bundle.read_manifest(root / BUNDLE)[0]).items()},
    }


def stale(root: Path, files: dict[Path, str]) -> list[Path]:
    """The files that are missing or have another content."""
    return [path for path, text in files.items() if not _is(root / path, text)]


def left_over(root: Path, files: dict[Path, str]) -> list[Path]:
    """Boards and schemas that are made no longer. Grafana would show them, and a reader believe them."""
    found = [path.relative_to(root) for folder in (boards.DASHBOARDS, CONTRACT) for path in (root / folder).glob("*.json")]
    return sorted(path for path in found if path not in files)


def _is(path: Path, text: str) -> bool:
    return path.is_file() and _text(path) == text


def _text(path: Path) -> str:
    """The content of a file; empty where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def check(root: Path = ROOT) -> list[str]:
    """A sentence for each file that is not current, and for each place that an alarm, a signal, a comparison of a window, a setting or a metric lacks."""
    files = made(root)
    return [
        *(f"{path} is not what the code says. Next: python -m docs.generate" for path in stale(root, files)),
        *(f"{path} is made no longer. Next: python -m docs.generate" for path in left_over(root, files)),
        *boards.unplaced(),
        *settings_page.unplaced(),
        *settings_page.unread(),
        *metrics_page.unmoved(),
        *alerts.incomplete(root),
    ]


def write(root: Path = ROOT) -> list[Path]:
    """Write what has changed and remove what is made no longer; their paths."""
    files = made(root)
    changed, gone = stale(root, files), left_over(root, files)
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(files[path], encoding="utf-8")
    for path in gone:
        (root / path).unlink()
    return [*changed, *gone]


def main() -> None:
    """Write, or check and exit 1 with what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write no file; exit 1 where one is not current")
    if parser.parse_args().check:
        wrong = check()
        sys.stderr.writelines(f"{sentence}\n" for sentence in wrong)
        sys.exit(1 if wrong else 0)
    sys.stdout.writelines(f"{path}\n" for path in write())


if __name__ == "__main__":
    main()
