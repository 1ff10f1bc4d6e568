"""Reads answers from a file, one value of `reviewed` a line, and from the topic `reviewed`. Both are read by the same contract."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tagstream.stream.contract.answers import AnsweredEvent, AnswerKeys, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.settings import Settings


class ExchangeError(Exception):
    """A file of answers cannot be read. The message names the file, the line, the reason and the next step."""

    exit_code = 4


class MissingFileError(ExchangeError):
    """The file is missing, or it cannot be opened."""

    exit_code = 2


def answers_in_file(path: Path) -> list[AnsweredEvent]:
    """
    Return the answers in a file of JSON Lines, in the order of the lines. Empty lines are skipped.

    Raises:
        MissingFileError: The file cannot be read.
        ExchangeError: A line is not a record of `reviewed`.
    """
    found = []
    for number, line in lines_of(path):
        read = read_answer(Record(key=None, value=line))
        if isinstance(read, Refusal):
            msg = (
                f"{path}, line {number} is no record of `reviewed`: {read.message}. Next: write the file with "
                "`tagstream review --export`, and leave its lines as they are."
            )
            raise ExchangeError(msg)
        found.append(read)
    return found


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """
    Yield the number and the bytes of every line that is not empty.

    Raises:
        MissingFileError: The file cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: give a file that `tagstream review --export` wrote."
        raise MissingFileError(msg) from error
    for number, line in enumerate(raw.splitlines(), start=1):
        if line.strip():
            yield number, line


def answers_on_topic(settings: Settings, keys: AnswerKeys) -> tuple[list[AnsweredEvent], int]:
    """
    Return the answers on `reviewed`, and the number of its records that are not answers. These records are in the dead letters.

    Args:
        settings: The brokers and the topic.
        keys: An answer must be signed by one of these keys; without keys every answer counts.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    return readable(records_of(settings, settings.topics.reviewed), keys)


def records_of(settings: Settings, topic: str) -> Iterator[Record]:
    """
    Yield the records that a topic holds now, one partition after another.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    with log_of(settings, topic) as log:
        yield from log.read()


def readable(records: Iterable[Record], keys: AnswerKeys) -> tuple[list[AnsweredEvent], int]:
    """Return the answers among the records, and the number of records that are not answers."""
    found, refused = [], 0
    for record in records:
        read = read_answer(record, keys=keys)
        if isinstance(read, Refusal):
            refused += 1
        else:
            found.append(read)
    return found, refused
