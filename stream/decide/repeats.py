"""Predictions of recent texts: a text that comes again costs no call of the model, and its decision has the same bytes."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from tagstream.model_export.bundle.model import Prediction
from tagstream.stream.decide.memory import used_share

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
    A bounded table by model and normalised text, from which the entry that was used longest ago goes first. For several threads.

    A prediction depends on model and text alone, so that it is as good as a new one. Nothing is remembered while the process is short of
    memory: it then forgets all, and begins anew once there is room.
    """

    def __init__(
        self,
        most_bytes: int,
        *,
        used: Callable[[], float | None] = used_share,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Begin with an empty table.

        Args:
            most_bytes: The entries take no more; an entry's size is estimated by its labels.
            used: The share of its memory that this process uses, 0 to 1; None if that is not known.
            monotonic: Seconds.
        """
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

    def known(self, model: str, texts: Sequence[str]) -> list[Prediction | None]:
        """
        The prediction of each text, in order; None where it is not known.

        Args:
            model: The digest of the bundle.
            texts: Normalised, as the model reads them.
        """
        keys = [_key(model, text) for text in texts]
        with self._lock:
            found = [self._table.get(key) for key in keys]
            for key, one in zip(keys, found, strict=True):
                if one is not None:
                    self._table.move_to_end(key)
        return found

    def keep(self, model: str, predictions: Mapping[str, Prediction], seconds: float) -> None:
        """
        Remember what the model has just said.

        Args:
            model: The digest of the bundle.
            predictions: By normalised text, 1 or more.
            seconds: The time that the model took for all of them.
        """
        keys = [_key(model, text) for text in predictions]
        each = seconds / len(predictions)
        with self._lock:
            self._mean_seconds += (each - self._mean_seconds) * (NEWEST if self._mean_seconds else 1.0)
            if not self._room():
                return
            for key, prediction in zip(keys, predictions.values(), strict=True):
                if key not in self._table:
                    self._bytes += _size(prediction)
                    self._table[key] = prediction
            while self._bytes > self._most_bytes:
                _, oldest = self._table.popitem(last=False)
                self._bytes -= _size(oldest)

    def saved_seconds(self, texts: int) -> float:
        """About so many seconds the model would have taken for this number of texts, by what it took for others."""
        return texts * self._mean_seconds

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


def _key(model: str, text: str) -> bytes:
    # A lone surrogate is refused before, and would be refused here.
    return hashlib.blake2b(f"{model} {text}".encode(), digest_size=KEY_BYTES).digest()


def _size(prediction: Prediction) -> int:
    return ENTRY_BYTES + LABEL_BYTES * (len(prediction.probabilities) + len(prediction.label_scores))
