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

# The measured size of an entry (key, place in the table and prediction), and of each label's probability or score in it.
ENTRY_BYTES, LABEL_BYTES = 700, 90
# The share of the memory in use from which the table is emptied: the process needs the rest for its work.
MOST_USED = 0.85
LOOK_SECONDS = 5.0
# The weight of the newest batch in the mean seconds of a text.
NEWEST = 0.1
KEY_BYTES = 16


class Repeats:
    """
    A classifier with a table before its model. The model gets a text once, even if the text comes again in this batch or a later batch.

    It raises what the model raises, and remembers nothing of that call. The model gets the texts of a probe each time: a remembered answer
    would not prove that the model works.

    Attributes:
        table: The table, which several models of a process share.
    """

    def __init__(self, classifier: Classifier, table: "PredictionTable", *, model: str, probe: Collection[str]) -> None:
        """
        Put a table before a model.

        Args:
            classifier: The model.
            table: The table, which several models of a process share.
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
        # A text that comes twice in the batch goes to the model once.
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
    Predictions by model and normalised text, in bounded memory. The least recently used entry goes first. Thread-safe.

    A prediction depends only on model and text, so a remembered prediction equals a new one. While the process is short of memory, the table
    forgets all entries and remembers nothing.
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
        The table is empty.

        Args:
            most_bytes: The most bytes of all entries. An entry's size is estimated by its labels.
            observer: Is told the number of texts that the model did not get.
            used: Gives the share of its memory that this process uses, 0 to 1; None if it is not known.
            monotonic: Gives seconds.
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
        # The mean time of a text in the model.
        self._mean_seconds = 0.0

    def __len__(self) -> int:
        return len(self._table)

    def known(self, keys: Sequence[bytes]) -> list[Prediction | None]:
        """The prediction under each key (`key_of`), in order; None for a key without a prediction."""
        with self._lock:
            found = [self._table.get(key) for key in keys]
            for key, one in zip(keys, found, strict=True):
                if one is not None:
                    self._table.move_to_end(key)
        return found

    def keep(self, predictions: Mapping[bytes, Prediction], seconds: float) -> None:
        """
        Remember the model's new predictions.

        Args:
            predictions: Predictions by key.
            seconds: The model's time for one text of that call.
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
        """Count the number of texts that the model did not get, with the estimated time that the model would have taken."""
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
    # `encode` refuses a lone surrogate, which decoding has refused before.
    return hashlib.blake2b(f"{model} {text}".encode(), digest_size=KEY_BYTES).digest()


def _size(prediction: Prediction) -> int:
    return ENTRY_BYTES + LABEL_BYTES * (len(prediction.probabilities) + len(prediction.label_scores))
