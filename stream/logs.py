"""One shape for every log line: ours, Faust's, aiokafka's. Facts as names, values as fields, never the text of an event."""

import logging
import sys
from typing import Literal, TextIO

import structlog

# Chatter at info level that tells an operator nothing; warnings of theirs are kept. Faust logs its services under the module of
# their class: `stream.app`. Our own loggers are named `tagstream.*`.
QUIET = ("aiokafka", "kafka", "faust", "mode", "asyncio", "stream.app")
# Their debug lines carry keys, values and requests as they are, and kafka-python's the password: there is no level for them.
NEVER_DEBUG = ("aiokafka", "kafka")


def configure(*, level: str, form: Literal["auto", "json", "console"], stream: TextIO = sys.stderr) -> None:
    """Send all logs to `stream`, for people on a terminal, as JSON lines elsewhere."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_console = form == "console" or (form == "auto" and stream.isatty())
    renderer: structlog.typing.Processor = (
        # The default traceback shows local variables, and with them the text of events.
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
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
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


def _printable(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What a broker or a producer has put into a message cannot end the line or move the cursor; JSON escapes by itself."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in fields.items()}


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events are facts: `log.info("bundle_loaded", digest=...)`."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
