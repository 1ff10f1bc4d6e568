"""Runs a door of tagstream, and writes down again and again which of the project's files it has loaded (`benchmarks.loads`). Loads nothing itself."""

import json
import runpy
import sys
import threading
import time
from pathlib import Path

PACKAGE = "tagstream"
LOOK_SECONDS = 0.25

Loaded = dict[str, int]
"""Lines by file."""


def loaded() -> Loaded:
    """The project's files that this process has loaded, with their lines."""
    files = {
        module.__file__
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == PACKAGE and getattr(module, "__file__", None)
    }
    return {str(file): len(Path(str(file)).read_bytes().splitlines()) for file in sorted(map(str, files))}


def child(seen: Path, words: list[str]) -> None:
    """Run a program, or a command of tagstream, and write down again and again what is loaded."""

    def write() -> None:
        seen.with_suffix(".new").write_text(json.dumps(loaded()), encoding="utf-8")
        seen.with_suffix(".new").replace(seen)

    def look() -> None:
        while True:
            write()
            time.sleep(LOOK_SECONDS)

    if words[0] == "-c":
        exec(words[1], {"__name__": "door"})  # noqa: S102 - a text of this file
        write()
        return
    threading.Thread(target=look, daemon=True).start()
    sys.argv = ["tagstream", *words]
    runpy.run_module("tagstream.stream.cli.main", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    child(Path(sys.argv[1]), sys.argv[2:])
