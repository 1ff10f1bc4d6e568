"""A record of an evaluation without a network: models whose answers are known, for the tests of reports."""

from collections.abc import Sequence

from tagstream.model_export.bundle.model import NO_LIMITS, OodLimits, Prediction
from tagstream.model_export.bundle.promise.promise import Trade
from tagstream.model_export.compare import contestants, evaluation_record, measurement
from tagstream.model_export.compare.contestants import Contestant
from tagstream.model_export.data.corpus import REGISTERS
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure import slices

# A name that is markup in HTML, mathematics in a plot, and a table's border in Markdown.
NASTY = '<b>$x_1$|"&amp;'

ROWS = [
    Row(
        text=f"{tag} text number {number} " + "word " * (number % 4 * 8),
        tag=tag,
        source="corpus",
        topic=f"{tag}{number}",
        register=REGISTERS[number % len(REGISTERS)],
        described=number % 2 == 0,
    )
    for tag in LABELS
    for number in range(40)
]
TRUTH = {row.text: row.tag for row in ROWS}


def model(name: str, *, every: int, kind: str = contestants.RIVAL) -> Contestant:
    """A model with one error in `every` rows, whose confidence depends on the text alone."""

    def answer(text: str) -> Prediction:
        place = sum(map(ord, text))
        wrong = place % every == 0
        return Prediction(
            label=LABELS[(LABELS.index(TRUTH.get(text, "other")) + wrong) % len(LABELS)],
            confidence=round(0.3 + place % 71 / 101 - 0.1 * wrong, 4),
            probabilities={},
            energy=-1.0,
            tokens=5,
            truncated=False,
        )

    def predict(texts: Sequence[str]) -> list[Prediction]:
        return [answer(text) for text in texts]

    return Contestant(
        name=name,
        kind=kind,
        labels=LABELS,
        predict=predict,
        asked_below=dict.fromkeys(LABELS, 0.8),
        limits=OodLimits(energy=-0.5) if kind == contestants.BUNDLE else NO_LIMITS,
        megabytes=18.1 if kind == contestants.BUNDLE else None,
    )


def of_many_labels(count: int) -> evaluation_record.Measured:
    """A bundle of so many foreign labels, with every fifth row of a label given as the next one."""
    labels = tuple(f"queue {number:03}" for number in range(count))
    rows = [
        Row(text=f"{number} {label}", tag=label, source="own", topic=label) for label in labels for number in range(5)
    ]  # fmt: skip

    def predict(texts: Sequence[str]) -> list[Prediction]:
        told = [(labels.index(text[2:]) + (text[0] == "0")) % count for text in texts]
        return [
            Prediction(label=labels[label], confidence=0.9, probabilities={}, energy=-1.0, tokens=5, truncated=False)
            for label in told
        ]

    bundle = Contestant(
        name="tickets 1",
        kind=contestants.BUNDLE,
        labels=labels,
        predict=predict,
        asked_below=dict.fromkeys(labels, 0.8),
        limits=OodLimits(energy=-0.5),
    )
    return measurement.measure(
        [bundle],
        {"gold": rows},
        digest="0123456789abcdef" * 4,
        target_precision=0.95,
        kinds=slices.of_own(rows),
        rounds=1,
        say=lambda _: None,
    )


TRADE = (
    Trade(target_precision=0.9, confidence=0.6, published=0.75),
    Trade(target_precision=0.95, confidence=0.85, published=0.5),
    Trade(target_precision=0.99, confidence=None, published=0.0),
)


def evaluation(*, others: bool = True) -> evaluation_record.Measured:
    """A bundle, with a much worse model and a bundle called `NASTY` beside it unless told otherwise."""
    models = [model("tagstream-test 1", every=9, kind=contestants.BUNDLE)]
    if others:
        models += [model("worse", every=2), model(NASTY, every=8, kind=contestants.BUNDLE)]
    return measurement.measure(
        models,
        {"corpus_test": ROWS},
        foreign=ROWS[:7],
        digest="0123456789abcdef" * 4,
        target_precision=0.95,
        trade=TRADE,
        rounds=1,
        say=lambda _: None,
    )
