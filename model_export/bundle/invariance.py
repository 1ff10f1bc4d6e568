"""The gate that every new bundle must pass: a prediction does not depend on the other texts of its batch. Needs no torch."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tagstream.model_export.bundle.model import Classifier

BATCH_SIZES = (2, 7, 16, 33, 64)
# Texts of about one length share a run, which is padded to the longest of them.
NEIGHBOURS = 3


class ParityError(Exception):
    """An exported network differs from the trained one, or a prediction depends on its batch; the message says by how much."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariance:
    """The largest differences between predictions of the same texts alone, in batches and in other orders."""

    rows: int
    arrangements: int
    max_probability: float
    max_energy: float


def check_invariance(classifier: Classifier, texts: Sequence[str], *, seed: int) -> Invariance:
    """
    Check that texts get the same predictions alone, in batches of several sizes in shuffled orders, and beside their neighbours in length.

    Each way gives a text another padding, and every digit must stay the same. The energy, from the raw logits and rounded to four decimals,
    shows differences that the rounded probabilities hide. The strangeness is compared together with the energy.

    Raises:
        ParityError: A prediction depends on its neighbours.
    """
    alone = [classifier.classify([text])[0] for text in texts]
    shuffler = random.Random(seed)  # noqa: S311 - a shuffle that repeats, not a secret
    orders = []
    for size in BATCH_SIZES:
        order = list(range(len(texts)))
        shuffler.shuffle(order)
        orders += [order[start : start + size] for start in range(0, len(order), size)]
    by_length = sorted(range(len(texts)), key=lambda place: alone[place].tokens)
    orders += [by_length[start : start + NEIGHBOURS] for start in range(len(texts))]
    worst_probability = worst_energy = 0.0
    for places in orders:
        for place, found in zip(places, classifier.classify([texts[place] for place in places]), strict=True):
            gaps = [abs(found.probabilities[label] - alone[place].probabilities[label]) for label in classifier.labels]
            gaps += [abs(found.label_scores[label] - score) for label, score in alone[place].label_scores.items()]
            worst_probability = max(worst_probability, *gaps)
            worst_energy = max(worst_energy, abs(found.energy - alone[place].energy))
            worst_energy = max(worst_energy, abs((found.strangeness or 0.0) - (alone[place].strangeness or 0.0)))
    if worst_probability or worst_energy:
        msg = f"a prediction depends on its batch: a probability moves by {worst_probability}, an energy or a strangeness by {worst_energy}"
        raise refused(msg)
    return Invariance(rows=len(texts), arrangements=len(BATCH_SIZES) + 2, max_probability=0.0, max_energy=0.0)


def refused(why: str) -> ParityError:
    """The error of a failed gate, with the next step."""
    return ParityError(
        f"the bundle is not written: {why}. Next: export on another machine or with other versions, then compare."
    )
