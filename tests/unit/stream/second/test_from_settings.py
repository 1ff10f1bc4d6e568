"""From the settings to a second model, and the settings that make none."""

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.stream.second.adviser import SecondError
from tagstream.stream.second.by_endpoint import EndpointAdviser
from tagstream.stream.second.from_settings import adviser_of, budget_of
from tagstream.stream.second.prompt import Prompt
from tagstream.stream.settings.second import Second
from tagstream.stream.settings.settings import Settings

ENDPOINT = {"endpoint": "http://127.0.0.1:9/v1", "model": "large"}


def made(**second: Any) -> Any:
    """The second model of these settings."""
    settings = Settings(second=Second(**second))
    return adviser_of(settings, budget_of(settings))


def test_nobody_is_asked_unless_a_setting_says_so() -> None:
    """A key, a model and prices name nobody."""
    assert made(model="large", input_price=1.0, calls_a_day=5) is None


def test_an_endpoint_is_asked_with_the_labels_of_the_bundle(tmp_path: Path) -> None:
    """And other guidelines are another prompt."""
    guidelines = tmp_path / "guidelines.md"
    guidelines.write_text("mlops: how models are run.")
    plain, guided = made(**ENDPOINT), made(**ENDPOINT, guidelines=guidelines)
    assert isinstance(plain, EndpointAdviser)
    assert plain._prompt.labels == read(DEFAULT_BUNDLE).manifest.labels
    assert plain._prompt.digest != guided._prompt.digest


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({**ENDPOINT, "bundle": DEFAULT_BUNDLE}, "both set"),
        ({"endpoint": "http://127.0.0.1:9/v1"}, "without second.model"),
        ({**ENDPOINT, "endpoint": "http://models.example/v1"}, "Next: use https"),
        ({**ENDPOINT, "endpoint": "https://user:secret@models.example/v1"}, "second.key_file"),
        ({**ENDPOINT, "endpoint": "models.example"}, "http:// or https://"),
        ({**ENDPOINT, "fields": " , "}, "names no field"),
        ({**ENDPOINT, "requests_a_minute": 1}, "wait 240 s for their turns"),
        ({"input_price": -1}, "greater than or equal to 0"),
        ({"cost_a_day": -0.01}, "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_the_next_step(second: dict[str, Any], said: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ValidationError, match=said):
        Second(**second)


def test_what_cannot_be_a_second_is_refused(tmp_path: Path) -> None:
    """The deciding bundle itself, guidelines that are no text, a label that is the answer of who cannot tell."""
    with pytest.raises(SecondError, match="agree with itself"):
        made(bundle=DEFAULT_BUNDLE)
    with pytest.raises(SecondError, match="cannot be read"):
        made(**ENDPOINT, guidelines=tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(SecondError, match="not UTF-8"):
        made(**ENDPOINT, guidelines=tmp_path / "bytes")
    (tmp_path / "long").write_text("x" * 70_000)
    with pytest.raises(SecondError, match="shorten"):
        made(**ENDPOINT, guidelines=tmp_path / "long")
    with pytest.raises(SecondError, match="rename the label"):
        Prompt(model="large", labels=("unsure", "mlops"), guidelines="", fields=("title",), answer_tokens=9)


def test_a_bundle_needs_no_stamina_and_an_endpoint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named only to whom it is missing."""
    monkeypatch.setitem(sys.modules, "stamina", None)
    monkeypatch.delitem(sys.modules, "tagstream.stream.second.by_endpoint", raising=False)
    with pytest.raises(SecondError, match=r"stamina is not installed\. Next: .*second"):
        made(**ENDPOINT)
    with pytest.raises(SecondError, match="agree with itself"):
        made(bundle=DEFAULT_BUNDLE)
