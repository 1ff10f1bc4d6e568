"""
The process of a trial (`trial.py`): loads the worker's model, and decides the events that the worker sends, one at a time.

Run as `python -m tagstream.stream.deliver.crash.child DESCRIPTOR PARENT`, with the descriptor of a socket and the worker's process id.
The process dies with the worker, and ends by itself when no event comes for a while. When memory runs out, the kernel ends this process
first. Its memory is bounded to little more than the loaded model needs, so an event that allocates too much ends only this process.
"""

import contextlib
import sys
from dataclasses import replace
from multiprocessing.connection import Connection

from tagstream.model_export.bundle.child_process import belong_to, bound_memory
from tagstream.stream import logs
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.crash.trial import Begun, Died, NotHeld, Ready, TrialRecipe

IDLE_SECONDS = 10.0
# The memory for one event beside the loaded and warm model. The largest event of the contract takes a tenth of it.
EVENT_BYTES = 128 * 1024 * 1024


def main() -> None:
    """Answer until the worker is gone, or sends nothing for `IDLE_SECONDS`."""
    descriptor, parent = map(int, sys.argv[1:])
    belong_to(parent)
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, ConnectionError):
        found = _made(connection)
        if isinstance(found, NotHeld):
            connection.send(found)
            return
        bound_memory(EVENT_BYTES)
        connection.send(Ready())
        while connection.poll(IDLE_SECONDS):
            event = connection.recv()
            connection.send(Begun())
            connection.send(_tried(found, event))


def _made(connection: Connection) -> Pipeline | NotHeld:
    try:
        recipe: TrialRecipe = connection.recv()
        settings = recipe.settings
        logs.configure(level=settings.log_level, form=settings.log_format)
        pipeline = recipe.make(settings)
        pipeline.draw, pipeline.ask = recipe.draw, recipe.ask
        pipeline.decider.warm_up(1)
    # Anything may fail here: a bundle is gone, a module cannot be found, memory is short. The worker logs the reason and goes on.
    except Exception as error:  # noqa: BLE001
        return NotHeld(f"the trial's process cannot load the model: {type(error).__name__}: {error}")
    if pipeline.decider.model.identity != recipe.model.identity:
        return NotHeld("the trial's process finds another model than the worker has loaded: the bundle was exchanged since")
    # The worker's model carries its epoch.
    pipeline.replace(replace(pipeline.decider, model=recipe.model))
    return pipeline


def _tried(pipeline: Pipeline, event: Record) -> Publication | Died | NotHeld:
    try:
        return pipeline.publications([event])[0]
    except MemoryError:
        return Died(f"more than {EVENT_BYTES // 1024 // 1024} MiB of memory")
    # A broken machine, or a registry that does not answer. Only the class is told, because the message may quote the event.
    except Exception as error:  # noqa: BLE001
        return NotHeld(f"the trial's process raised {type(error).__name__}")


if __name__ == "__main__":
    main()
