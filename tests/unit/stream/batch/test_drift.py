"""`tagstream drift --from`: a file in, reference and TOML out."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.baseline import BaselineError
from tagstream.monitoring.drift.calibration import TooFewError
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.batch import drift
from tagstream.stream.batch.drift import DriftError
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.settings.loading import SettingsError, load
from tagstream.stream.settings.settings import Settings
from tests.fakes import deciding


@pytest.fixture(autouse=True)
def keywords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the network by the keyword classifier, which is fast."""
    pipeline = Pipeline(decider=deciding(), observer=NullObserver())
    monkeypatch.setattr(drift, "pipeline_of", lambda _: pipeline)


def written(path: Path, rows: Sequence[object]) -> str:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def events(count: int) -> list[dict[str, str]]:
    """Ordinary events."""
    return [
        {"id": f"e{number}", "title": f"an {('image', 'deployment')[number % 2]} of kind{number % 7}", "source": "papers"}
        for number in range(count)
    ]


def test_a_reference_is_made_of_records_as_topics_and_tail_give_them(tmp_path: Path) -> None:
    """Events, decided records, and lines of `tail --json`; events that cannot be decided are left out."""
    plain, decided, rejected = (
        {"id": "a", "title": "image of x"},
        {"id": "b", "title": "image of x", "tag": "mlops"},
        {"id": "c"},
    )
    tailed = {"topic": "tagged", "partition": 0, "offset": 7, "value": {"id": "d", "title": "image of x", "source": "papers"}}
    out = tmp_path / "reference.json"
    drift.reference(Settings(), written(tmp_path / "rows.jsonl", [plain, decided, rejected, tailed]), out=out, allow_few=True)
    made = baseline.read(out)
    assert (made.events, made.words, made.sources, made.without_source) == (3, {"image": 3, "of": 3}, {"papers": 1}, 2)
    assert made.labels == {"computer-vision": 3}
    assert made.model == read(DEFAULT_BUNDLE).digest


def test_few_events_are_no_reference_unless_told_so(tmp_path: Path) -> None:
    """A reference needs 5,000 events, or any number above zero with --allow-few, and the error gives the next step."""
    rows, out = written(tmp_path / "rows.jsonl", events(10)), tmp_path / "reference.json"
    with pytest.raises(DriftError, match=r"holds 10 events .* needs 5000.*--allow-few"):
        drift.reference(Settings(), rows, out=out, allow_few=False)
    assert not out.exists()
    with pytest.raises(DriftError, match=r"none.jsonl holds no event that can be decided: .*Next: give events"):
        drift.reference(Settings(), written(tmp_path / "none.jsonl", [{"id": "x"}]), out=out, allow_few=True)
    with pytest.raises(DriftError, match=r"cannot be written.*--out"):
        drift.reference(Settings(), rows, out=tmp_path / "nowhere" / "x", allow_few=True)


def test_thresholds_are_settings_that_can_be_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is a `tagstream.toml` that loads, and the reference is written as without thresholds."""
    settings, rows = Settings(drift_window_events=100), written(tmp_path / "rows.jsonl", events(1_200))
    drift.reference(settings, rows, out=tmp_path / "alone.json", allow_few=True)
    assert capsys.readouterr().out == ""
    drift.reference(settings, rows, out=tmp_path / "both.json", allow_few=True, run_events=1_000)
    assert (tmp_path / "both.json").read_bytes() == (tmp_path / "alone.json").read_bytes()
    printed = capsys.readouterr()
    table = tomllib.loads(printed.out)
    assert table.keys() == {"drift_change_delta", "drift_words_z", "drift_labels_psi", "drift_sources_ratio"}
    (tmp_path / "tagstream.toml").write_text(printed.out)
    assert load({}, folder=tmp_path).settings.drift_words_z == table["drift_words_z"]
    assert "events between false alarms" in printed.err
    assert "change of confidence" in printed.err


def test_thresholds_need_events_and_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few events, or drift switched off, is an error before anything is decided, and no reference is written."""
    rows, out = written(tmp_path / "rows.jsonl", events(20)), tmp_path / "reference.json"
    monkeypatch.setattr(drift, "pipeline_of", lambda _: pytest.fail("events were decided"))
    with pytest.raises(TooFewError, match=r"20 rows are too few .* give 10000 events or more"):
        drift.reference(Settings(), rows, out=out, allow_few=True, run_events=1_000)
    with pytest.raises(DriftError, match="nothing to calibrate"):
        drift.reference(Settings(drift_window_events=0), rows, out=out, allow_few=True, run_events=1_000)
    assert not out.exists()


@pytest.mark.parametrize("value", ["1", "99", "-1", "30000"])
def test_a_window_is_off_or_large_enough(value: str) -> None:
    """Small windows drift by chance, so the setting refuses them."""
    with pytest.raises(SettingsError, match="drift_window_events"):
        load({"TAGSTREAM_DRIFT_WINDOW_EVENTS": value}, folder=Path("/nonexistent"))


def test_a_missing_file_is_no_reference() -> None:
    """A reference that cannot be read is an error, not an empty reference."""
    with pytest.raises(BaselineError, match="cannot be read"):
        baseline.read(Path("/nonexistent/reference.json"))
