"""A real worker with the stub for a model: `stream.app.run`, so the real delivery, the real pipeline, the real producer.

Run as `python -m tests.faults.worker` with TAGSTREAM_* in the environment; signals arm what is to break.
"""

import os
import sys

from prometheus_client import CollectorRegistry

import stream.app
from stream import logs
from stream.settings import load
from tests.faults.stub import MODEL, VARIABLE, Arms, StubMetrics, StubPipeline, stub_producer


def main() -> None:
    """Run until stopped."""
    arms = Arms()
    arms.listen()
    settings = load(os.environ).settings
    logs.configure(level=settings.log_level, form=settings.log_format)
    registry = CollectorRegistry()
    metrics = StubMetrics(registry, arms, settings.topics.content)
    metrics.model_loaded(name=MODEL.name, version=MODEL.version, digest=MODEL.digest, now=0)
    pipeline = StubPipeline(arms, settings, metrics, seconds_per_batch=float(os.environ.get(VARIABLE, "0")))
    stream.app.Producer = stub_producer(stream.app.Producer, arms)  # type: ignore[misc]
    stream.app.run(settings, pipeline=pipeline, metrics=metrics, registry=registry)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
