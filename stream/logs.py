"""One format for every log line: ours, Faust's, aiokafka's. Events are named as facts, values are fields, and no event's text is logged."""

import asyncio
import logging
import os
import re
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal, TextIO

import structlog

# Libraries whose lines at info level do not help an operator; their warnings are kept. Faust logs a service under the module of its
# class, so our subclasses of its services log under `tagstream.stream`. Our own loggers are named by subject: `tagstream.worker`.
QUIET = ("aiokafka", "kafka", "faust", "mode", "asyncio", "tagstream.stream", "opentelemetry", "urllib3")
# Their debug lines contain keys, values and requests, and kafka-python's the password, so no level turns them on.
NEVER_DEBUG = ("aiokafka", "kafka", "opentelemetry", "urllib3")
# Limits the clients' warnings: while brokers are away, the clients write 60 lines a second, which would rotate earlier lines out.
REPEATS, REPEAT_SECONDS = 2, 60.0
# Nodes, offsets and times. Messages that differ only in numbers count as the same message.
NUMBER = re.compile(r"\d+")
# A message that contains its values differs each time, so the number of messages that are counted is bounded.
MOST_MESSAGES = 500
SHOWN_CHARACTERS = 200
# The longest wait of a line for a reader that has fallen behind. During the wait, the event loop stands still.
WRITE_SECONDS = 5.0
# For a command that does not call `configure`: structlog would write to standard output, which another program may read.
structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def configure(*, level: str, form: Literal["auto", "json", "console"], stream: TextIO = sys.stderr) -> None:
    """
    Send all logs of this process to one stream.

    Args:
        level: The name of the lowest level that is shown.
        form: `console` for people, `json` for JSON lines; `auto` is `console` on a terminal, else `json`.
        stream: Gets the lines.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_console = form == "console" or (form == "auto" and stream.isatty())
    renderer: structlog.typing.Processor = (
        # The default traceback shows local variables, and so the text of events.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if as_console
        else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([_printable] if as_console else [structlog.processors.format_exc_info]),
            renderer,
        ],
    )
    handler = Handler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(Repeats(time.monotonic))
    # By default Python prints the exception that ends a thread, in its own format.
    threading.excepthook = _thread_failed
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        chatty = logging.INFO if name in NEVER_DEBUG else logging.DEBUG
        logging.getLogger(name).setLevel(chatty if level == "debug" else max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def without_slow_tasks() -> None:
    """
    Leave out kafka-python's warning that a task of its own took 0.1 s.

    The warning speaks of a blocked event loop and a programming error, and comes whenever the machine is busy. The client has no option
    that turns it off.
    """
    logging.getLogger("kafka.net.selector").addFilter(_is_no_slow_task)


def _is_no_slow_task(record: logging.LogRecord) -> bool:
    return "It is blocking the event loop" not in record.getMessage()


class Handler(logging.StreamHandler[TextIO]):
    """
    Writes lines to a stream, and drops them while the stream cannot be written.

    If its reader has stopped reading, a pipe is full after 64 KiB, and the next write would stop the event loop for good. So the first line
    waits `WRITE_SECONDS`, and later lines are dropped at once. Once the stream can be written again, `log_lines_lost` has their number.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or drop it. Called under the handler's lock."""
        try:
            descriptor = self.stream.fileno()
        # The stream is in memory, where no reader can hold it up, or it is closed.
        except (OSError, ValueError):
            super().emit(record)
            return
        try:
            line = f"{self.format(record)}\n".encode(self.stream.encoding or "utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - as in every handler: a line that cannot be formatted breaks nothing
            self.handleError(record)
            return
        if not self._written(descriptor, line):
            self._lost += 1
        elif self._lost:
            lost, self._lost = self._lost, 0
            logger("tagstream.logs").warning("log_lines_lost", lines=lost, why="the reader of this log had stopped reading")

    def _written(self, descriptor: int, line: bytes) -> bool:
        """True if the whole line was written in time."""
        deadline = time.monotonic() + (0.0 if self._lost else WRITE_SECONDS)
        left = b"\n" + line if self._torn else line
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        try:
            while left:
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    break
                # A pipe that can be written takes this much without waiting.
                left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
                self._torn = bool(left)
        # The reader has closed the pipe, or the disk is full.
        except OSError:
            return False
        return not left


class Repeats(logging.Filter):
    """
    Passes two lines a minute of each message of the Kafka clients and of Faust, and logs the number of lines that it has held back.

    Our own lines and critical lines always pass. Messages that differ only in numbers count together. The same message with another
    exception counts as another message.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """`monotonic` is the clock, in seconds."""
        super().__init__()
        self._now = monotonic
        self._lock = threading.Lock()
        # The number of lines in this minute, by logger, level, message without its values, and exception.
        self._seen: dict[tuple[str, str, str, str], int] = {}
        self._since = monotonic()

    def filter(self, record: logging.LogRecord) -> bool:
        """True if this line must be written. Any thread may call this."""
        now = self._now()
        with self._lock:
            over: dict[tuple[str, str, str, str], int] = {}
            if now - self._since >= REPEAT_SECONDS:
                over, self._seen, self._since = self._seen, {}, now
            passes = self._passes(record)
        # Outside the lock, because these lines come through this filter too.
        for (name, level, message, _), count in over.items():
            if count > REPEATS:
                log = logger("tagstream.logs")
                log.warning("lines_held_back", of=name, of_level=level, lines=count - REPEATS, like=message[:SHOWN_CHARACTERS])
        return passes

    def _passes(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL or record.name.partition(".")[0] not in QUIET:
            return True
        kind, error = record.exc_info[:2] if record.exc_info else (None, None)
        raised = f"{kind.__name__}: {error}" if kind is not None else ""
        key = (record.name, record.levelname, NUMBER.sub("0", str(record.msg)), NUMBER.sub("0", raised))
        if key not in self._seen and len(self._seen) >= MOST_MESSAGES:
            return True
        self._seen[key] = self._seen.get(key, 0) + 1
        return self._seen[key] <= REPEATS


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """
    Log the exception that ended a thread in one line; SystemExit is not logged.

    A cancellation is logged without a traceback: a stop cancels calls that wait, for example a consumer's wait for a broker that is gone.
    """
    if failed.exc_type is SystemExit or failed.exc_value is None:
        return
    name = failed.thread.name if failed.thread is not None else "unknown"
    if issubclass(failed.exc_type, asyncio.CancelledError):
        logger("tagstream.thread").warning("thread_cancelled", thread=name)
        return
    logger("tagstream.thread").error(
        "thread_failed", thread=name, error=f"{failed.exc_type.__name__}: {failed.exc_value}", exc_info=failed.exc_value
    )


def _printable(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape control characters, so that text of a broker or a producer cannot end the line or move the cursor. JSON escapes by itself."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in fields.items()}


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events are facts: `log.info("bundle_loaded", digest=...)`."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
