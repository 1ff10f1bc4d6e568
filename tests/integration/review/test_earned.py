"""`model calibrate --reviewed topic`, on Apache Kafka; it needs the second environment."""

from pathlib import Path

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef, publish_all
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.settings.settings import Settings
from tests.answering import NOW_MS, answer, audited, reviewed
from tests.fakes import deciding, raw
from tests.integration.command_line import Command, lines
from tests.integration.review.test_exchange import write

pytestmark = pytest.mark.broker


def test_thresholds_are_earned_from_the_topic(
    tagstream: Command, environ: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """Right answers about one label lower its threshold; the bundle verifies, and what waits is spoken for."""
    shipped = read(DEFAULT_BUNDLE)
    model = ModelRef(name=shipped.manifest.name, version=shipped.manifest.version, digest=shipped.digest)
    pipeline = Pipeline(decider=deciding(model=model), observer=NullObserver())
    events = [
        raw(b'{"id":"m-%d","title":"%b deployment"}' % (number, b"maybe" if number % 2 else b"a")) for number in range(1200)
    ]
    made = publish_all(events, pipeline.decide(events), NOW_MS)
    found = [Record(key=one.key, value=one.value, headers=one.headers) for one in made]
    asked = [audited(record, 0.5) if number % 2 == 0 else record for number, record in enumerate(found)]
    doors = ["review" if number % 2 else "audit" for number in range(1200)]
    answered = [
        ("reviewed", reviewed(record, answer(record, "mlops", asked_by=door)))  # type: ignore[arg-type]
        for record, door in list(zip(asked, doors, strict=True))[:1000]
    ]
    write(settings, *zip(doors, asked, strict=True), *answered)
    out = tmp_path / "earned"
    done = tagstream("model", "calibrate", DEFAULT_BUNDLE, "--out", out, "--reviewed", "topic", "--json", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    [gain] = lines(done.stdout)
    labels = gain["labels"]
    assert isinstance(labels, dict)
    assert {label: found["verdict"] for label, found in labels.items()} == {"all labels": "earned"}
    assert gain["answers"] == 1000
    assert labels["all labels"]["confidence"] < 0.4
    assert (gain["published_before"], gain["published_after"]) == (pytest.approx(2 / 3, abs=0.001), 1.0)
    assert read(out).digest == gain["digest"]
