"""The command line shows the applied thresholds and the reasons for review."""

import msgspec
import pytest

from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.model import OodLimits, Prediction
from tagstream.model_export.bundle.text import read
from tagstream.model_export.data.reader import InputRow
from tagstream.stream.batch.classify import print_outcome
from tagstream.stream.batch.run import DecidedRow, decided
from tagstream.stream.contract.event import ContentEvent, decode
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tests.fakes import deciding, raw


@pytest.mark.parametrize("of_file", [True, False])
@pytest.mark.parametrize(
    ("threshold", "energy", "title", "said"),
    [
        (0.95, -5.0, "Hello", "below the threshold 0.95 of its tag"),
        (ALWAYS_ASK, -5.0, "Hello", "the bundle publishes no mlops without a person"),
        (0.5, 0.0, "Hello", "unlike the training texts"),
        (0.95, 0.0, "Hello", "below the threshold 0.95 of its tag, unlike the training texts"),
        (0.5, -5.0, "Hel\u200blo", "hidden or deceptive characters: invisible characters"),
        (0.5, -5.0, "Hello", None),
    ],
)
def test_classify_says_why_a_person_would_be_asked(
    threshold: float, energy: float, title: str, said: str | None, of_file: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text and a row of a file show each reason in words, so that low confidence is told from an unusual text."""
    event = decode(raw(msgspec.json.encode({"title": title})))
    assert isinstance(event, ContentEvent)
    prediction = Prediction(
        label="mlops", confidence=0.9, probabilities={"mlops": 0.9, "other": 0.1}, energy=energy, tokens=3, truncated=False
    )
    decider = deciding(thresholds={"mlops": threshold}, ood=OodLimits(energy=-1.0))
    outcome = decider.decide(event, prediction, read(event.title, None))
    (publication,) = publish_all([event.record], [outcome], 0)
    found = DecidedRow(row=InputRow(1, b""), place=0, number=0, at=0.0, publication=publication, outcome=outcome)
    print_outcome(found, of_file=of_file)
    shown = capsys.readouterr().out
    if said is None:
        assert shown.startswith("tagged")
        assert "[" not in shown
        assert "for a person" not in shown
    else:
        assert shown.startswith("review")
        assert (f"  [{said}]\n" if of_file else f"        for a person: {said}\n") in shown


def test_a_guess_of_the_rules_is_called_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a model a person is asked about every event, whatever the threshold is."""
    row = InputRow(1, b'{"title":"Image segmentation"}')
    (found,) = decided(pipeline_of(Settings(decider="rules")), [row])
    print_outcome(found, of_file=True)
    assert capsys.readouterr().out.endswith("  Image segmentation  [the rules only guess]\n")
