"""A real worker with the stub for a model: `stream.app.run`, so the real delivery, the real pipeline, the real producer.

Run as `python -m tests.faults.worker` with TAGSTREAM_* and the knobs in the environment.
"""

import os
import sys

import stream.app
import stream.worker
from stream import logs
from stream.settings import load
from tests.faults.stub import MODEL, Knobs, StubMetrics, StubPipeline, failing_producer


def main() -> None:
    """Run until stopped."""
    settings = load(os.environ).settings
    knobs = Knobs.from_environment(os.environ)
    logs.configure(level=settings.log_level, form=settings.log_format)
    registry = stream.worker.process_registry()
    metrics = StubMetrics(registry, knobs, settings.topics.content)
    metrics.model_loaded(name=MODEL.name, version=MODEL.version, digest=MODEL.digest, now=0)
    if knobs.produce_failure_probability:
        stream.app.Producer = failing_producer(knobs)  # type: ignore[misc]
    pipeline = StubPipeline(knobs, settings, metrics)
    try:
        stream.worker.run(settings, pipeline=pipeline, metrics=metrics, registry=registry)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        sys.exit(code)


if __name__ == "__main__":
    main()
