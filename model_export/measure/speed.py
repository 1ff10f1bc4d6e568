"""Measure texts per second on one core. The models run in turn, so if the host slows down, it slows all models equally."""

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
# Below this share of a core, other processes used the processor, and all figures are too low.
SHARED = 0.9
TEXTS = 128
_TOKENIZERS = "TOKENIZERS_PARALLELISM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """
    The speed of one model, from a text to its prediction, including tokenisation.

    Attributes:
        texts_per_second: The median over the rounds.
        slowest: The texts per second of the slowest round.
        fastest: The texts per second of the fastest round.
        rounds: The number of measured rounds, after one warm-up round.
        texts: The number of texts per round, the same for all models.
        threads: The number of threads that a model may use.
        cores: The median ratio of processor time to wall time. A ratio above about 1 means that the model used more threads. A ratio
            much below 1 means that other processes used the processor.
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
    """Return a warning if other processes used the processor during the measurement, else an empty string."""
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
    Measure models in turn, round by round. Each round begins with the next model.

    Args:
        models: The functions to measure, by name.
        texts: The texts of one call.
        rounds: The number of measured rounds. One warm-up round runs before them.
        clock: Returns the wall time in seconds.
        processor: Returns the processor time of this process in seconds.
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
    # Avoid a division by zero if the clock did not advance.
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
    """Limit PyTorch, NumPy's linear algebra and the tokenizer to one thread. The runtime of a bundle always has one thread."""
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
