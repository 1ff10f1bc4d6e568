"""`tagstream` with a model that hangs for as long as a file exists."""

import os
import threading
from pathlib import Path
from typing import Any

import onnxruntime

from tagstream.stream.cli.main import main

# The file's path.
HANGS_VARIABLE = "TESTS_SERVING_HANGS"
_run = onnxruntime.InferenceSession.run


def run(session: onnxruntime.InferenceSession, *args: Any, **options: Any) -> Any:
    """Hang for ever if the file exists."""
    if Path(os.environ[HANGS_VARIABLE]).exists():
        threading.Event().wait()
    return _run(session, *args, **options)


if __name__ == "__main__":
    onnxruntime.InferenceSession.run = run
    main()
