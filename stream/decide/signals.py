"""The signals in which drift is looked for, of one prediction. Pure."""

from model_export.bundle.prediction import Prediction
from model_export.bundle.text import is_described, tokens_per_word, words
from monitoring.observer import Signals
from monitoring.vocabulary import MAX_SOURCE_CHARACTERS
from stream.contract.events import ContentEvent


def signals_of(event: ContentEvent, prediction: Prediction, *, text: str, out_of_distribution: bool) -> Signals:
    """
    The words of the text that was read, its source, and the network's figures.

    Args:
        event: The event.
        prediction: Of its text.
        text: The text that the classifier was given.
        out_of_distribution: The decider finds the text unlike the training data.
    """
    return Signals(
        event_id=event.id,
        energy=prediction.energy,
        tokens=prediction.tokens,
        tokens_per_word=tokens_per_word(text, prediction.tokens),
        words=words(text),
        described=is_described(event.description),
        source=(event.source or "").strip()[:MAX_SOURCE_CHARACTERS] or None,
        out_of_distribution=out_of_distribution,
    )
