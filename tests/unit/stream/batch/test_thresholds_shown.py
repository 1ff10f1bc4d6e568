"""The command line shows the applied thresholds and the reasons for review."""

import pytest

from model_export.bundle.manifest import ALWAYS_ASK
from model_export.bundle.prediction import Prediction
from model_export.bundle.strangeness import OodLimits
from model_export.bundle.text import read
from stream.batch.classify import Classified
from stream.batch.show import print_outcome
from stream.contract.events import ContentEvent, decode
from tests.fakes import deciding, raw


@pytest.mark.parametrize(
    ("threshold", "energy", "said"),
    [
        (0.95, -5.0, "below the threshold 0.95 of mlops: a person would be asked"),
        (ALWAYS_ASK, -5.0, "the bundle leaves no mlops to the model: a person would be asked"),
        (0.5, 0.0, "unlike what the model was made for: a person would be asked"),
        (0.95, 0.0, "below the threshold 0.95 of mlops, unlike what the model was made for: a person would be asked"),
        (0.5, -5.0, None),
    ],
)
def test_classify_says_why_a_person_would_be_asked(
    threshold: float, energy: float, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unusual text above the threshold is not said to be below it."""
    event = decode(raw(b'{"title":"Hello"}'))
    assert isinstance(event, ContentEvent)
    prediction = Prediction(
        label="mlops", confidence=0.9, probabilities={"mlops": 0.9, "other": 0.1}, energy=energy, tokens=3, truncated=False
    )
    decider = deciding(thresholds={"mlops": threshold}, ood=OodLimits(energy=-1.0))
    outcome = decider.decide(event, prediction, read(event.title, None))
    print_outcome(Classified(outcome=outcome, number=0, begins=1, line=b""), of_file=False)
    shown = capsys.readouterr().out
    assert ("a person" in shown) == (said is not None)
    assert said is None or said in shown
