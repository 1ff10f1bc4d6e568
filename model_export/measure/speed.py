"""Texts a second on one core, of several models in turn, so that a host that slows down slows all of them alike."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from threadpoolctl import threadpool_limits

from tagstream.model_export.bundle.model import Prediction

Predict = Callable[[Sequence[str]], list[Prediction]]

THREADS = 1
ROUNDS = 5
# Below this share of a core, others had the processor for so long that every figure is too low.
SHARED = 0.9
TEXTS = 128
_TOKENIZERS = "TOKENIZERS_PARALLELISM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """
    How fast one model is, from a text to its prediction, tokenisation included.

    Attributes:
        texts_per_second: The median over rounds; `slowest` and `fastest` are its extremes.
        rounds: How often all texts were asked, after one round that was not counted.
        texts: Texts a round, the same for all models.
        threads: Cores that a model was allowed.
        cores: Processor time over wall time in the median: more than about 1 means that the limit was not kept, much
            less that others had the processor.
    """

    texts_per_second: float
    slowest: float
    fastest: float
    rounds: int
    texts: int
    threads: int
    cores: float

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return asdict(self)


def shared(speeds: Sequence[Speed]) -> str:
    """A warning if other processes used the processor during the measurement, else an empty string."""
    least = min(speed.cores for speed in speeds)
    if least >= SHARED:
        return ""
    return (
        f"The processor was shared meanwhile ({least:.2f} of a core): the figures are lower than this machine's own, "
        f"and only their ratios may be trusted."
    )


def measure(
    models: Mapping[str, Predict],
    texts: Sequence[str],
    *,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
    processor: Callable[[], float] = time.process_time,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Speed]:
    """
    Measure models in turn, round by round; each round begins with another one.

    Args:
        models: The functions to measure, by name.
        texts: The texts that each predicts, in one call.
        rounds: How often; before them each is asked once, uncounted.
        clock: Wall time in seconds.
        processor: This process's time on processors, in seconds.
        say: Called with a sentence before each round.

    Raises:
        ValueError: There are no texts or no rounds.
    """
    if not texts or rounds < 1:
        msg = f"{len(texts)} texts in {rounds} rounds measure nothing: give one of each at least"
        raise ValueError(msg)
    names = list(models)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with one_core():
        for predict in models.values():
            predict(texts)
        for turn in range(rounds):
            say(f"measuring speed: round {turn + 1} of {rounds}")
            for place in range(len(names)):
                name = names[(turn + place) % len(names)]
                wall, busy = clock(), processor()
                models[name](texts)
                taken[name].append((clock() - wall, processor() - busy))
    return {name: _speed(times, len(texts)) for name, times in taken.items()}


def _speed(times: Sequence[tuple[float, float]], texts: int) -> Speed:
    # A clock that stood still would divide by zero.
    walls = [max(wall, 1e-9) for wall, _ in times]
    return Speed(
        texts_per_second=round(texts / statistics.median(walls), 1),
        slowest=round(texts / max(walls), 1),
        fastest=round(texts / min(walls), 1),
        rounds=len(times),
        texts=texts,
        threads=THREADS,
        cores=round(statistics.median(busy / wall for wall, (_, busy) in zip(walls, times, strict=True)), 2),
    )


@contextmanager
def one_core() -> Iterator[None]:
    """
    Hold PyTorch, the linear algebra under NumPy and the tokenizer to one thread; the runtime of a bundle has one
    anyway.
    """
    threads, tokenizers = torch.get_num_threads(), os.environ.get(_TOKENIZERS)
    torch.set_num_threads(THREADS)
    os.environ[_TOKENIZERS] = "false"
    try:
        with threadpool_limits(THREADS):
            yield
    finally:
        torch.set_num_threads(threads)
        if tokenizers is None:
            del os.environ[_TOKENIZERS]
        else:
            os.environ[_TOKENIZERS] = tokenizers
