"""
Runs a door of tagstream, and writes down again and again which of the project's files it has loaded, and the ways of the events that it
has decided (`benchmarks.loads`). Loads nothing itself.
"""

import json
import runpy
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import CodeType, FrameType
from typing import TypedDict

PACKAGE = "tagstream"
FOLDER = f"{Path(__file__).parents[1] / PACKAGE}/"
LOOK_SECONDS = 0.25
# Beside the file of what is loaded.
WAYS = "ways.json"
# Where an event's way begins, has its outcome, and ends: the batch is acknowledged, and observers know of it.
FIRST = {"Consumer._hand_over", "RawSchema.compile.<locals>.event_of"}
DECIDING, LAST = "Pipeline.publications", "Unacknowledged.end"
# The call that runs the network, as onnxruntime names it.
NETWORK = ("onnxruntime_inference_collection.py", "run")

Loaded = dict[str, int]
"""Lines by file."""


class Way(TypedDict):
    """
    The files and functions that an event crosses.

    Attributes:
        functions: By file, both in the order in which they were first entered. A comprehension or a lambda is a part of its function.
        changes: How often, in one thread, a call came from another of our files than the call before it.
        frames: The functions of ours on the stack as the network runs, the outermost first.
    """

    functions: dict[str, list[str]]
    changes: int
    frames: list[str]


Ways = dict[str, Way]
"""The ways of one event: `outcome`, from its bytes in the model's thread; and `acknowledgement`, the whole way from Faust's record on."""


class Follower:
    """
    Follows the events of a worker through the project's functions, by `sys.setprofile`; each must come alone.

    Attributes:
        ended: The ways of the events that are over.
    """

    def __init__(self) -> None:
        """Follow nothing yet."""
        self.ended: list[Ways] = []
        self._open: Ways = {}
        self._last: dict[tuple[str, int], str] = {}
        self._deciding = 0
        self._lock = threading.Lock()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow this thread, and those that begin meanwhile."""
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _profile(self, frame: FrameType, what: str, _argument: object) -> None:
        """Called by the interpreter on each call and return."""
        code, thread = frame.f_code, threading.get_ident()
        if what == "call" and code.co_name == NETWORK[1] and code.co_filename.endswith(NETWORK[0]):
            self._note_frames(frame, thread)
        if not code.co_filename.startswith(FOLDER):
            return
        with self._lock:
            if what == "call":
                self._enter(code, thread)
            elif what == "return":
                self._leave(code)

    def _enter(self, code: CodeType, thread: int) -> None:
        if code.co_qualname in FIRST:
            self._last = {}
            self._open = {"acknowledgement": Way(functions={}, changes=0, frames=[])}
        if code.co_qualname == DECIDING and self._open:
            self._deciding = thread
            self._open["outcome"] = Way(functions={}, changes=0, frames=[])
        for name, way in self._open.items():
            if name == "outcome" and thread != self._deciding:
                continue
            way["changes"] += self._last.get((name, thread)) != code.co_filename
            self._last[name, thread] = code.co_filename
            functions = way["functions"].setdefault(code.co_filename, [])
            if not code.co_name.startswith("<") and code.co_qualname not in functions:
                functions.append(code.co_qualname)

    def _leave(self, code: CodeType) -> None:
        if code.co_qualname == DECIDING:
            self._deciding = 0
        if code.co_qualname == LAST and "outcome" in self._open:
            self.ended.append(self._open)
            self._open = {}

    def _note_frames(self, frame: FrameType, thread: int) -> None:
        above: list[str] = []
        found = frame.f_back
        while found is not None:
            if found.f_code.co_filename.startswith(FOLDER):
                above.insert(0, found.f_code.co_qualname)
            found = found.f_back
        if thread == self._deciding:
            self._open["acknowledgement"]["frames"] = above
            self._open["outcome"]["frames"] = above[above.index(DECIDING) :]


def loaded() -> Loaded:
    """The project's files that this process has loaded, with their lines."""
    files = {
        module.__file__
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == PACKAGE and getattr(module, "__file__", None)
    }
    return {str(file): len(Path(str(file)).read_bytes().splitlines()) for file in sorted(map(str, files))}


def child(seen: Path, words: list[str]) -> None:
    """Run a program, or a command of tagstream, and write down again and again what is loaded and which ways events went."""
    follower = Follower()

    def write() -> None:
        for path, found in ((seen, loaded()), (seen.with_name(WAYS), follower.ended)):
            path.with_suffix(".new").write_text(json.dumps(found), encoding="utf-8")
            path.with_suffix(".new").replace(path)

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
    with follower.following() if words[0] == "worker" else nullcontext():
        runpy.run_module("tagstream.stream.cli.main", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    child(Path(sys.argv[1]), sys.argv[2:])
