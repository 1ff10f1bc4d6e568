"""The plan of a fault run."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    Workers, model and faults of a run.

    Attributes:
        module: The worker to run, `python -m module`.
        model: "stub", or "bundle" for the settings' own.
        seconds_per_batch: How slow the model is made: slow enough that work is left for the last fault.
        faults: The faults in their order, each struck once.
        workers: How many run between faults.
        max_seconds: When the run is broken off; the verdict then has the events that are left.
        patience_seconds: A run without a new outcome or commit for so long is broken off, and I7's bound.
        seed: Fixes victims and pauses.
        epochs: How often the model is changed meanwhile, at least; 0 for never.
        controller: Changes it, `python -m controller`.
        per_second: How many events are sent a second while it is changed, so that workers stand at the end of the log.
    """

    module: str = "tests.faults.worker"
    model: str = "stub"
    seconds_per_batch: float
    faults: Sequence[Fault]
    workers: int = 2
    max_seconds: float = 150.0
    patience_seconds: float = 30.0
    seed: str = "0"
    epochs: int = 0
    controller: str = "tests.faults.epochs.controller"
    per_second: float = 60.0
