"""A classifier that remembers recent texts: a text that comes again costs no call of the model, and its decision has the same bytes."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence

from tagstream.model_export.bundle.model import Classifier, Prediction
from tagstream.monitoring.observer import Observer
from tagstream.stream.decide.memory import used_share
from tagstream.stream.decide.pipeline import one_for_each

# What an entry takes, measured: key, place in the table and prediction; and for each label its probability, or its score too.
ENTRY_BYTES, LABEL_BYTES = 700, 90
# With so much of its memory in use, a process needs the rest for its work.
MOST_USED = 0.85
LOOK_SECONDS = 5.0
# Of the mean seconds of a text, the weight of the newest batch.
NEWEST = 0.1
KEY_BYTES = 16


class Repeats:
    """
    A classifier with a table before its model, which is asked for a text once, whether the text comes again in a batch or in a later one.

    It raises what the model raises, and remembers nothing of that call. The texts of a probe are asked of the model each time: a remembered
    answer would not prove that the model works.

    Attributes:
        table: The table, which several models of a process share.
    """

    def __init__(self, classifier: Classifier, table: "PredictionTable", *, model: str, probe: Collection[str]) -> None:
        """
        Put a table before a model.

        Args:
            classifier: The model.
            table: See above.
            model: The digest of the model's bundle.
            probe: Texts that are never remembered.
        """
        self.table = table
        self._classifier = classifier
        self._model = model
        self._probe = frozenset(probe)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the model."""
        return self._classifier.labels

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        The model's prediction of each text, in order.

        Args:
            texts: Normalised, as the model reads them.

        Raises:
            Exception: The model raised it, or RuntimeError if the number of its predictions is not the number of texts.
        """
        keys = [key_of(self._model, text) for text in texts]
        found = self.table.known(keys)
        # A text that comes twice is asked once.
        new = {key: text for key, text, one in zip(keys, texts, found, strict=True) if one is None}
        asked: dict[bytes, Prediction] = {}
        if new:
            started = time.perf_counter()
            predictions = one_for_each(list(new.values()), self._classifier.classify(list(new.values())))
            seconds = time.perf_counter() - started
            asked = dict(zip(new, predictions, strict=True))
            kept = {key: one for key, one in asked.items() if new[key] not in self._probe}
            self.table.keep(kept, seconds / len(new))
        if again := len(texts) - len(new):
            self.table.saved(again)
        return [asked[key] if one is None else one for key, one in zip(keys, found, strict=True)]


class PredictionTable:
    """
    Predictions by model and normalised text, in bounded memory; the entry that was used longest ago goes first. For several threads.

    A prediction depends on model and text alone, so that it is as good as a new one. Nothing is remembered while the process is short of
    memory: the table then forgets all, and begins anew once there is room.
    """

    def __init__(
        self,
        most_bytes: int,
        observer: Observer,
        *,
        used: Callable[[], float | None] = used_share,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Begin with an empty table.

        Args:
            most_bytes: The entries take no more; an entry's size is estimated by its labels.
            observer: Is told how many texts the model was not asked for.
            used: The share of its memory that this process uses, 0 to 1; None if that is not known.
            monotonic: Seconds.
        """
        self._observer = observer
        self._most_bytes = most_bytes
        self._used = used
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._table: OrderedDict[bytes, Prediction] = OrderedDict()
        self._bytes = 0
        self._look_at = -float("inf")
        self._has_room = True
        # Of a text in the model.
        self._mean_seconds = 0.0

    def __len__(self) -> int:
        return len(self._table)

    def known(self, keys: Sequence[bytes]) -> list[Prediction | None]:
        """The prediction under each key (`key_of`), in order; None where there is none."""
        with self._lock:
            found = [self._table.get(key) for key in keys]
            for key, one in zip(keys, found, strict=True):
                if one is not None:
                    self._table.move_to_end(key)
        return found

    def keep(self, predictions: Mapping[bytes, Prediction], seconds: float) -> None:
        """
        Remember what the model has just said.

        Args:
            predictions: By key.
            seconds: The time that the model took for a text of that call.
        """
        with self._lock:
            self._mean_seconds += (seconds - self._mean_seconds) * (NEWEST if self._mean_seconds else 1.0)
            if not self._room():
                return
            for key, prediction in predictions.items():
                if key not in self._table:
                    self._bytes += _size(prediction)
                    self._table[key] = prediction
            while self._bytes > self._most_bytes:
                _, oldest = self._table.popitem(last=False)
                self._bytes -= _size(oldest)

    def saved(self, texts: int) -> None:
        """Count this number of texts for which the model was not asked, with the time that the model takes for as many others."""
        self._observer.remembered(texts, texts * self._mean_seconds)

    def _room(self) -> bool:
        now = self._monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            used = self._used()
            self._has_room = used is None or used <= MOST_USED
            if not self._has_room:
                self._table.clear()
                self._bytes = 0
        return self._has_room


def key_of(model: str, text: str) -> bytes:
    """
    The key of a prediction.

    Args:
        model: The digest of the bundle.
        text: Normalised, as the model reads it.
    """
    # A lone surrogate is refused before, and would be refused here.
    return hashlib.blake2b(f"{model} {text}".encode(), digest_size=KEY_BYTES).digest()


def _size(prediction: Prediction) -> int:
    return ENTRY_BYTES + LABEL_BYTES * (len(prediction.probabilities) + len(prediction.label_scores))
