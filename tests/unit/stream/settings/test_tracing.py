"""The settings of traces: an address that cannot be one is refused, and no password in it is printed."""

from pathlib import Path

import pytest

from tagstream.stream.settings.loading import SettingsError, load

SECRET = "tr0ub4dor-and-3"  # noqa: S105 - must never be printed


def refused(folder: Path, name: str, value: str) -> str:
    """The message with which this setting is refused."""
    with pytest.raises(SettingsError, match=r"Next: ") as caught:
        load({f"TAGSTREAM_TRACING__{name}": value}, folder=folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector.example.com", "https://collector.example.com/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ("https://example.com/otlp/v1/traces", "https://example.com/otlp/v1/traces"),
    ],
)
def test_spans_are_posted_to_the_standard_path_unless_the_address_names_one(tmp_path: Path, given: str, url: str) -> None:
    """OTLP's path for traces is added to an address without a path."""
    assert load({"TAGSTREAM_TRACING__ENDPOINT": given}, folder=tmp_path).settings.tracing.url == url


@pytest.mark.parametrize(
    "given",
    ["", "collector:4318", "grpc://collector:4317", "http://", "http://h:0", "http://h:99999", "http://h:x", "http://h/p?q=1"],
)
def test_what_is_no_address_of_a_receiver_is_refused(tmp_path: Path, given: str) -> None:
    """The message names the setting and says how an address looks."""
    assert "tracing.endpoint" in refused(tmp_path, "ENDPOINT", given)


def test_a_password_in_the_address_is_refused_and_not_printed(tmp_path: Path) -> None:
    """The message names the variable in which a token belongs."""
    said = refused(tmp_path, "ENDPOINT", f"http://me:{SECRET}@collector:4318")
    assert "OTEL_EXPORTER_OTLP_HEADERS" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("given", "why"), [("1.5", "at most 1"), ("-1", "at least 0"), ("some", "not a number"), ("nan", "at least 0")]
)
def test_a_share_outside_of_0_to_1_is_refused_in_words(tmp_path: Path, given: str, why: str) -> None:
    """A bound of a setting in a table is named as one of any other."""
    assert why in refused(tmp_path, "SAMPLE_RATIO", given)


def test_a_switch_is_no_share(tmp_path: Path) -> None:
    """`sample_ratio = true` is not 1."""
    (tmp_path / "tagstream.toml").write_text("[tracing]\nsample_ratio = true\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="not a switch"):
        load({}, folder=tmp_path)
