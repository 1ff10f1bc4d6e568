"""Files that are made from the code: current, complete, and found out where they are not."""

import shutil
from enum import StrEnum
from pathlib import Path

import pytest
import yaml

from docs.generate import alerts, boards, metrics_page, settings_page
from docs.generate.__main__ import BUNDLE, ROOT, check, write
from tagstream.model_export.bundle.manifest import MANIFEST
from tagstream.model_export.bundle.signature import DESCRIPTIONS
from tagstream.monitoring.alarms import ALERTS, GROUPS, Alert
from tagstream.monitoring.figures.limited import LABEL_MIX
from tagstream.monitoring.signals import DISTRIBUTIONS, JUDGED, TOKENS_PER_WORD
from tagstream.monitoring.vocabulary import DriftScore
from tagstream.stream.settings.reference import SUBJECTS
from tagstream.stream.settings.settings import Settings
from tests.replacing import replace

COPIED = (
    "docs/runbooks",
    "docs/contract",
    "monitoring/prometheus",
    "monitoring/grafana/dashboards",
    "deploy/kubernetes/components/monitoring",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of all that is made, and of the runbooks and cases."""
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for page in ("metrics.md", "settings.md", "python.txt"):
        shutil.copy(ROOT / "docs" / page, tmp_path / "docs")
    (tmp_path / BUNDLE).mkdir(parents=True)
    for name in (MANIFEST, *DESCRIPTIONS):
        shutil.copy(ROOT / BUNDLE / name, tmp_path / BUNDLE)
    return tmp_path


def test_every_file_is_current_and_no_alarm_lacks_a_part() -> None:
    """If this fails, it says what to do; `make check` says the same."""
    assert check() == []


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("monitoring/prometheus/alerts.yml", "> 0.2"),
        ("monitoring/grafana/dashboards/quality.json", "Label mix"),
        ("monitoring/prometheus/recording.yml", "increase(tagstream_energy_score_bucket[1h])"),
        ("deploy/kubernetes/components/monitoring/rules.yaml", "> 0.2"),
        ("docs/runbooks/README.md", "(Stalled.md) | page"),
        ("docs/runbooks/Stalled.md", "no outcome for five minutes"),
        ("docs/metrics.md", "in one stage"),
        ("docs/settings.md", "consumer group"),
        ("docs/contract/tagged.json", "confidence"),
        ("model_export/bundles/default/README.md", "weighted F1"),
        ("model_export/bundles/default/bundle.cdx.json", "machine-learning-model"),
    ],
)
def test_an_edit_by_hand_is_found_and_undone(copy: Path, path: str, word: str) -> None:
    """A change that is not in the code is named by `--check`, and overwritten by the next run."""
    before = (copy / path).read_text(encoding="utf-8")
    (copy / path).write_text(before.replace(word, "EDITED"), encoding="utf-8")
    assert check(copy) == [f"{path} is not what the code says. Next: python -m docs.generate"]
    assert write(copy) == [Path(path)]
    assert (copy / path).read_text(encoding="utf-8") == before


@pytest.mark.parametrize("path", ["monitoring/grafana/dashboards/old.json", "docs/contract/old.json"])
def test_a_file_that_is_made_no_longer_goes(copy: Path, path: str) -> None:
    """Grafana would provision a board that is left over, and a consumer would read a schema."""
    (copy / path).write_text("{}", encoding="utf-8")
    assert check(copy) == [f"{path} is made no longer. Next: python -m docs.generate"]
    assert write(copy) == [Path(path)]
    assert not (copy / path).exists()


def test_an_alarm_without_a_runbook_is_found(copy: Path) -> None:
    """A page that is missing is named, and so is one whose alarm is gone. The next run makes the one and leaves the other, which a person wrote."""
    runbooks = copy / "docs" / "runbooks"
    (runbooks / "Stalled.md").rename(runbooks / "Stopped.md")
    missing, over = check(copy)
    assert missing == "docs/runbooks/Stalled.md is not what the code says. Next: python -m docs.generate"
    assert over.startswith("docs/runbooks/Stopped.md belongs to no alarm. Next: ")
    assert write(copy) == [Path("docs/runbooks/Stalled.md")]
    assert (runbooks / "Stalled.md").read_text(encoding="utf-8").endswith(f"\n\n{alerts.RUNBOOK_MARK}\n")
    assert check(copy) == [over]


def test_a_runbooks_own_text_outlives_a_run(copy: Path) -> None:
    """A run makes the head anew, and what a person wrote behind its mark stays."""
    page = copy / "docs" / "runbooks" / "Stalled.md"
    _, _, own = page.read_text(encoding="utf-8").partition(alerts.RUNBOOK_MARK)
    page.write_text(f"# Another head\n\n{alerts.RUNBOOK_MARK}{own}\nSaid by a person.\n", encoding="utf-8")
    assert write(copy) == [Path("docs/runbooks/Stalled.md")]
    made = page.read_text(encoding="utf-8")
    assert made.startswith("# Stalled\n\nPage. The workers have published no outcome ")
    assert made.endswith(f"{alerts.RUNBOOK_MARK}{own}\nSaid by a person.\n")


def test_a_runbook_without_the_mark_is_refused() -> None:
    """Which of its words are a person's is not known, so none is overwritten."""
    with pytest.raises(ValueError, match=r"^docs/runbooks/\w+\.md has no mark\. Next: "):
        alerts.runbook(ALERTS[0], "# Somebody's own page\n")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_head_of_a_runbook_has_no_template(alert: Alert) -> None:
    """Prometheus fills a template; on a page it would be read as it stands."""
    head = alerts.runbook(alert, "")
    assert "{{" not in head
    assert "``" not in head


def test_an_alarm_without_cases_is_found(copy: Path) -> None:
    """An alarm needs a case where it fires and another one where it is silent."""
    cases = copy / "monitoring" / "prometheus" / "tests" / "people_tickets.yml"
    cases.write_text(cases.read_text(encoding="utf-8").replace("ConfidenceGap", "AccuracyBelowPromise"), encoding="utf-8")
    assert [sentence.split(" Next:")[0] for sentence in check(copy)] == [
        "ConfidenceGap has no case where it fires.",
        "ConfidenceGap has no case where it is silent.",
    ]


def test_an_alarm_on_no_panel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The panel that an alarm names is on the board that it links to."""
    monkeypatch.setattr(boards, "BOARDS", [board for board in boards.BOARDS if board.name != "review"])
    assert [sentence.split(" is shown")[0] for sentence in boards.unplaced()] == ["ReviewShareOverBudget", "ReviewShareRise"]


def test_a_setting_under_no_subject_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stand neither on the page nor in `config show`."""
    monkeypatch.setitem(SUBJECTS, "Brokers and group", ("brokers", "group_instance_id", "session_timeout_seconds"))
    assert settings_page.unplaced() == [
        "the setting group stands under no subject. Next: SUBJECTS in stream/settings/reference.py"
    ]


def test_a_setting_that_no_code_reads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person would set it, and nothing would change."""

    class More(Settings):
        forgotten_entirely: int = 1

    monkeypatch.setattr(settings_page, "Settings", More)
    assert settings_page.unread() == [
        "the setting forgotten_entirely is read nowhere. Next: read it where it counts, or remove it from stream/settings/settings.py"
    ]


def test_a_metric_that_nothing_moves_is_found(tmp_path: Path) -> None:
    """It would stand at zero for ever; one that is moved elsewhere in the room is not named."""
    (tmp_path / "monitoring").mkdir()
    made = 'self.moved = new.counter("a", "A.")\nself.still = new.gauge("b", "B.")\nself._waits = Gauge("c", "C.")\n'
    (tmp_path / "monitoring" / "made.py").write_text(made)
    (tmp_path / "monitoring" / "moves.py").write_text("families.moved.inc()\n")
    assert [sentence.split(" of ")[0] for sentence in metrics_page.unmoved(tmp_path)] == [
        "the metric still",
        "the metric _waits",
    ]


def test_a_signal_without_an_alarm_or_a_panel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A distance with a limit has an alarm, and each distribution and distance is drawn."""
    digits = replace(TOKENS_PER_WORD, name="digits")
    counted = replace(DISTRIBUTIONS[TOKENS_PER_WORD], reference="tagstream_reference_digits_cdf")
    for module in (alerts, boards):
        monkeypatch.setattr(module, "DISTRIBUTIONS", {**DISTRIBUTIONS, digits: counted})
        monkeypatch.setattr(module, "JUDGED", {**JUDGED, digits: 0.1})
    assert list(alerts.incomplete(ROOT)) == [
        "The distance of digits has a limit and no alarm. Next: add one on it to monitoring/alarms.py."
    ]
    assert [sentence.split(" is drawn")[0] for sentence in boards.unplaced()] == [
        "tagstream_reference_digits_cdf",
        "job:tagstream_digits_drift:ks1h",
    ]


def test_a_comparison_of_a_window_without_a_panel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison of a window is on a board, by its whole name."""
    scores = StrEnum("scores", {score.name: score.value for score in DriftScore} | {"LANGUAGES": "languages", "WORD": "word"})
    monkeypatch.setattr(boards, "DriftScore", scores)
    assert boards.unplaced() == [
        f"The comparison {name} of a window is drawn by no panel. Next: add one to docs/generate/quality.py."
        for name in ("languages", "word")
    ]


def test_a_file_of_rules_without_the_group_of_distances_is_refused() -> None:
    """The distances are put where the head of their group stands, and what follows the group stays."""
    with pytest.raises(ValueError, match=r"has no group of distances\. Next: "):
        alerts.recording("groups:\n")
    last = alerts.recording(f"groups:\n{alerts.DISTANCES_HEAD}      - record: old\n        expr: old\n")
    assert "old" not in last
    assert last.endswith("        ))\n")


def test_the_rules_of_prometheus_are_the_records() -> None:
    """Each field of a record arrives in alerts.yml as it is, whatever signs of YAML it has."""

    def rule(alert: Alert) -> dict[str, object]:
        return {
            "alert": alert.name,
            "expr": alert.expr.lstrip(),
            **({"for": alert.wait} if alert.wait else {}),
            "labels": {"tier": alert.tier.value, **(alert.labels or {})},
            "annotations": {
                "summary": alert.summary,
                "description": f"{alert.says} Next: {alert.next}",
                "runbook_url": f"docs/runbooks/{alert.name}.md",
                "dashboard": f"/d/tagstream-{alert.board.value}",
            },
        }

    assert yaml.safe_load(alerts.rules()) == {
        "groups": [
            {"name": group.name, "interval": group.interval, "rules": [rule(alert) for alert in group.alerts]}
            for group in GROUPS
        ]
    }


def test_a_panel_has_the_lines_and_runbooks_of_its_alarms() -> None:
    """A board draws where an alarm fires, and its description leads to the runbook."""
    (panel,) = (
        board.with_alerts(panel)
        for board in boards.BOARDS
        for _, row in board.rows
        for panel in row
        if panel.title == "Drift of the label mix (PSI)"
    )
    assert [line.value for line in panel.lines] == [LABEL_MIX.limit]
    assert panel.description.endswith("Alerts: PredictionDrift (docs/runbooks/PredictionDrift.md)")


def test_a_page_without_the_table_is_refused() -> None:
    """The index is put where its head stands, and nowhere else."""
    with pytest.raises(ValueError, match=r"has no table of alerts\. Next: "):
        alerts.index("# Runbooks\n")
