"""The doctor makes the second model as its process would, and says what keeps it from being asked."""

from pathlib import Path
from typing import Any

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.stream.doctor.examine import examine
from tagstream.stream.doctor.findings import CheckFinding, Status
from tagstream.stream.doctor.second import second
from tagstream.stream.settings.settings import Settings

ENDPOINT = {"endpoint": "http://127.0.0.1:9/v1", "model": "large"}


def settings(**said: Any) -> Settings:
    """Settings with this second model."""
    return Settings.model_validate({"second": said})


def found(**said: Any) -> CheckFinding:
    """The finding about this second model."""
    (finding,) = second(settings(**said))
    return finding


def test_no_second_model_is_no_finding() -> None:
    """It is off by default, and nothing is said of it."""
    assert list(second(settings())) == []


def test_an_endpoint_is_told_with_what_leaves_and_what_it_may_cost() -> None:
    """Nobody is asked: nothing listens at this address."""
    finding = found(**ENDPOINT, fields="title", calls_a_day=7, cost_a_day=2.5, input_price=0.5)
    assert finding.status is Status.OK
    assert "model large (not asked now): title of an event leave, at most 7 requests and 2.5 of money a day" in finding.detail


@pytest.mark.parametrize("budget", [{"calls_a_day": 0}, {"input_price": 0.1}, {"output_price": 0.1}])
def test_a_budget_that_pays_for_nothing_is_a_warning(budget: dict[str, float]) -> None:
    """The process would run, and ask about no item."""
    finding = found(**ENDPOINT, **budget)
    assert finding.status is Status.WARN
    assert "second.cost_a_day" in finding.fix


def test_a_key_that_cannot_be_read_is_a_warning_with_the_next_step(tmp_path: Path) -> None:
    """The finding names the setting and the file."""
    finding = found(**ENDPOINT, key_file=tmp_path / "gone")
    assert finding.status is Status.WARN
    assert "second.key_file" in finding.detail
    assert str(tmp_path / "gone") in finding.detail
    assert finding.fix


def test_a_bundle_that_cannot_be_asked_is_a_warning(tmp_path: Path) -> None:
    """The bundle that decides would agree with itself; one that is not there has nothing to say."""
    same, gone = found(bundle=DEFAULT_BUNDLE), found(bundle=tmp_path / "gone")
    assert [one.status for one in (same, gone)] == [Status.WARN, Status.WARN]
    assert "agree with itself" in same.detail
    assert str(tmp_path / "gone") in gone.detail


def test_another_bundle_with_the_same_labels_is_well(tiny_bundle_folder: Path) -> None:
    """The finding names its folder."""
    (finding,) = second(Settings.model_validate({"bundle": tiny_bundle_folder, "second": {"bundle": DEFAULT_BUNDLE}}))
    assert finding.status is Status.OK
    assert finding.detail.startswith(str(DEFAULT_BUNDLE))


def test_the_doctor_makes_the_check() -> None:
    """A warning about it is no failure of a worker."""
    report = examine(settings(**ENDPOINT, calls_a_day=0), create_topics=False)
    (finding,) = [one for one in report.findings if one.check == "second"]
    assert finding.status is Status.WARN
