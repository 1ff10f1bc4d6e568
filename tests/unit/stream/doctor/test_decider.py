"""Checks of the decider: bundle, rules, thresholds, drift reference and circuit breaker."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import LabelThreshold
from tagstream.model_export.bundle.rules import RULES
from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.baseline import Baseline, BaselineError, FigureCounts
from tagstream.stream.decide.from_settings import decider_of_bundle
from tagstream.stream.decide.pipeline import release_of
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.doctor import decider
from tagstream.stream.doctor.examine import examine
from tagstream.stream.doctor.findings import CheckFinding, Status
from tagstream.stream.drift.observer import watch_of
from tagstream.stream.settings.settings import Settings
from tests.fakes import KeywordClassifier
from tests.foreign import bundles as foreign

NO_BROKER = "127.0.0.1:1"
NO_BUNDLE = Path("/nonexistent/bundle")


def own(confidence: float, *, certified: bool) -> LabelThreshold:
    """A label's own threshold, certified or not."""
    return LabelThreshold(
        confidence=confidence,
        target_precision=0.95,
        precision=0.99,
        precision_lower_bound=0.96,
        bound_level=0.9875,
        rows=300,
        label_rows=400,
        certified=certified,
    )


def reference(folder: Path, model: str = "") -> Path:
    """A file with a drift reference, made with this bundle."""
    path = folder / "reference.json"
    none = FigureCounts(distributions={}, undescribed=0, out_of_distribution=0, truncated=0, reviewed=0)
    made = Baseline(
        events=9, words={"a": 2}, sources={}, without_source=9, lone_sources=0, labels={"other": 9}, figures=none, model=model
    )
    path.write_bytes(baseline.render(made))
    return path


@pytest.mark.parametrize("content", [None, b"not json", b"{}"])
def test_a_drift_reference_that_a_worker_refuses_fails_the_check(
    tmp_path: Path, content: bytes | None, tiny_bundle: Bundle
) -> None:
    """A reference that a worker refuses fails the check with the worker's own message."""
    path = tmp_path / "reference.json"
    if content is not None:
        path.write_bytes(content)
    settings = Settings(drift_reference=path, brokers=NO_BROKER)
    with pytest.raises(BaselineError) as caught:
        watch_of(settings, decider_of_bundle(tiny_bundle, KeywordClassifier()))
    found = decider.drift_reference(settings)
    assert (found.status, f"{found.detail} Next: {found.fix}") == (Status.FAIL, str(caught.value))
    assert (
        found
        in examine(
            settings.model_copy(update={"brokers": NO_BROKER, "startup_timeout_seconds": 0.1}), create_topics=False
        ).findings
    )


@pytest.mark.parametrize(
    ("knobs", "status", "says"),
    [
        ({"decider": "rules"}, Status.WARN, "is no drift reference"),
        ({"drift_window_events": 0}, Status.OK, "not looked for"),
        ({"drift_reference": None}, Status.OK, "the first 5 windows of 1000 decisions"),
        ({"drift_reference": None, "decider": "rules"}, Status.OK, "not looked for while the rules decide"),
    ],
)
def test_a_drift_reference_that_no_worker_reads_fails_nothing(
    tmp_path: Path, knobs: dict[str, Any], status: Status, says: str
) -> None:
    """Where drift is switched off, or the rules decide, no worker reads the reference."""
    found = decider.drift_reference(Settings(**{"drift_reference": tmp_path / "none", **knobs}))
    assert found.status is status
    assert says in found.detail


def test_a_drift_reference_of_another_bundle_is_warned_of(
    tmp_path: Path, tiny_bundle: Bundle, tiny_bundle_folder: Path
) -> None:
    """A worker takes it, but the difference between the bundles would look like drift."""
    ours, silent, other = (
        decider.drift_reference(Settings(bundle=tiny_bundle_folder, drift_reference=reference(tmp_path, model)))
        for model in (tiny_bundle.digest, "", "e" * 64)
    )
    assert (ours.status, silent.status, other.status) == (Status.OK, Status.OK, Status.WARN)
    assert f"bundle eeeeeeeeeeee and not with {tiny_bundle.digest[:12]}" in other.detail


def test_an_open_breaker_fails_the_check_until_a_person_has_answered(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """The finding names the file, the time, the reason and the next step; the doctor's look does not close the breaker."""
    settings = Settings(state_folder=tmp_path, bundle=tiny_bundle.path, brokers=NO_BROKER, startup_timeout_seconds=0.1)
    opened = BreakerFile(settings, release=release_of(tiny_bundle.digest))

    def found(*, create_topics: bool = False, **knobs: object) -> CheckFinding:
        report = examine(settings.model_copy(update=knobs), create_topics=create_topics)
        (one,) = [one for one in report.findings if one.check == "circuit breaker"]
        return one

    assert (found().status, found().detail) == (Status.OK, "closed")
    opened.write("30 of the last 100 events are dead letters")
    waiting = found()
    assert waiting.status is Status.FAIL
    assert re.fullmatch(
        rf"{re.escape(str(opened.path))}: open since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ, a worker waits and decides nothing: "
        r"30 of the last 100 events are dead letters",
        waiting.detail,
    )
    assert waiting.fix == f"docs/runbooks/CircuitBreakerOpen.md, then remove {opened.path}"
    assert found(create_topics=True).status is Status.WARN
    answered = found(breaker_dead_letter_ratio=0.9)
    assert (answered.status, "was open since" in answered.detail) == (Status.WARN, True)
    assert found(decider="rules").status is Status.OK
    opened.path.write_bytes(b"{")
    assert (found().status, "cannot be read" in found().detail) == (Status.FAIL, True)
    opened.path.unlink()
    assert found().status is Status.OK


def test_a_refused_bundle_hides_the_breaker(tmp_path: Path) -> None:
    """No worker starts with this bundle, and another bundle may close the breaker."""
    settings = Settings(state_folder=tmp_path, bundle=tmp_path / "none")
    BreakerFile(settings, release="1").write("too many")
    assert list(decider.circuit_breaker(settings, opened=Status.FAIL)) == []


@pytest.mark.parametrize(("bundle", "status", "fix"), [(NO_BUNDLE, "WARN", "once"), (None, "OK", "now")])
def test_the_rules_are_a_warning_with_the_way_back(
    tiny_bundle_folder: Path, bundle: Path | None, status: str, fix: str
) -> None:
    """A worker works under the rules, so this is a warning, with a look whether the bundle verifies."""
    rules, found = decider.decider(Settings(decider="rules", bundle=bundle or tiny_bundle_folder))
    assert (rules.check, rules.status.value, found.check, found.status.value) == ("decider", "WARN", "bundle", status)
    assert rules.fix.startswith(f"TAGSTREAM_DECIDER=model {fix}")


def test_the_doctor_names_the_thresholds_that_a_worker_would_apply(tiny_bundle: Bundle) -> None:
    """The setting if there is one, else the bundle's own and how many are certified; a bundle may have a single one."""
    labels = tiny_bundle.manifest.labels
    manifest = msgspec.structs.replace(
        tiny_bundle.manifest, thresholds={label: own(0.9, certified=label == labels[0]) for label in labels}
    )
    bundle = msgspec.structs.replace(tiny_bundle, manifest=manifest)
    said = decider.thresholds_in_words(decider_of_bundle(bundle, KeywordClassifier()), manifest.thresholds, None)
    assert all(f"{label} 0.9" in said for label in labels)
    asked = {label: own(1.0001, certified=False) for label in labels}
    always = msgspec.structs.replace(bundle, manifest=msgspec.structs.replace(manifest, thresholds=asked))
    assert f"thresholds {labels[0]} never, " in decider.thresholds_in_words(
        decider_of_bundle(always, KeywordClassifier()), asked, None
    )
    assert said.endswith(f"(1 of {len(labels)} certified, for texts about these labels)")
    together = msgspec.structs.replace(
        manifest.threshold, target_precision=0.9, precision_lower_bound=0.91, promise="overall", certified=True
    )
    said = decider.thresholds_in_words(decider_of_bundle(bundle, KeywordClassifier()), manifest.thresholds, None, together)
    assert said.endswith("(precision 0.9 certified of all published together, for texts about these labels)")
    assert (
        decider.thresholds_in_words(decider_of_bundle(bundle, KeywordClassifier(), threshold=0.0), manifest.thresholds, 0.0)
        == "threshold 0.0 for every tag (setting confidence_threshold)"
    )
    wanted = f"threshold {tiny_bundle.manifest.threshold.confidence}"
    assert decider.thresholds_in_words(decider_of_bundle(tiny_bundle, KeywordClassifier()), {}, None) == wanted


def test_the_doctor_says_beforehand_that_the_rules_would_not_start(tmp_path: Path) -> None:
    """Rules that are named and do not fit the bundle are a warning while the model decides, and a failure once they decide; rules that nobody names are none."""
    folder = foreign.write(tmp_path / "bundle").path
    examples = Path(__file__).parents[4] / "examples" / "tickets"
    bundle, rules = decider.decider(Settings(bundle=folder, rules=RULES))
    assert (bundle.status, rules.check, rules.status) == (Status.OK, "rules", Status.WARN)
    assert "access, billing, bug, data, feature-request and 2 more of the bundle" in rules.detail
    assert "TAGSTREAM_RULES" in rules.fix
    (refused,) = decider.decider(Settings(bundle=folder, decider="rules"))
    assert (refused.check, refused.status) == ("decider", Status.FAIL)
    for named in (None, examples / "rules.toml"):
        assert [one.check for one in decider.decider(Settings(bundle=folder, rules=named))] == ["bundle"]
