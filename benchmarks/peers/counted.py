"""
Runs a program as `python -m` does, and counts the requests that its aiokafka clients send to brokers.

    PEERS_COUNTS=FILE python -m benchmarks.peers.counted MODULE [ARGUMENT ...]

At each SIGUSR1 the counts so far replace the file: JSON, by the name of the request.
"""

import json
import os
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from aiokafka.conn import AIOKafkaConnection

FILE = "PEERS_COUNTS"


def main() -> None:
    """Count, and run the module."""
    counts: Counter[str] = Counter()
    send, file = AIOKafkaConnection.send, Path(os.environ[FILE])

    def counting(connection: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        counts[type(request).__name__.partition("Request")[0]] += 1
        return send(connection, request, *arguments, **options)

    def write(*_: object) -> None:
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(counts), encoding="ascii")
        partial.replace(file)

    AIOKafkaConnection.send = counting
    signal.signal(signal.SIGUSR1, write)
    _, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
