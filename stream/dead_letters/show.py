"""Prints dead letters on the terminal or as JSON. Events' text is escaped or encoded, so it cannot move the cursor or reorder a line."""

import base64
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from tagstream.stream.contract.dead_letter import DeadLetter, Place
from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.dead_letters.replay import ReplayReport
from tagstream.stream.dead_letters.selection import DeadLetterArgumentError, FoundRecord
from tagstream.stream.terminal import console
from tagstream.stream.terminal.text import counted

HEADING = f"{'place':<12}{'written':<26}{'from':<24}{'code':<20}{'stage':<10}{'tries':>5}{'replays':>9}{'bytes':>9}  message"
MESSAGE_CHARACTERS = 200


@dataclass(slots=True)
class _Tally:
    letters: int = 0
    first_ms: int = 0
    last_ms: int = 0


def print_list(found: Iterable[FoundRecord], *, as_json: bool) -> None:
    """Print one line for each dead letter as soon as it is read, without the event's text."""
    letters = 0
    for letter in _ours(found):
        if as_json:
            console.show_json(_row(letter))
            continue
        if not letters:
            console.show(HEADING)
        letters += 1
        console.show(
            f"{letter.place!s:<12}{_time(letter.timestamp_ms):<26}{_safe(_origin(letter)):<23} {_safe(letter.code):<19} "
            f"{_safe(letter.stage):<10}{letter.attempts:>5}{letter.replays:>9}{letter.size_bytes:>9}  {_safe(letter.message)}"
        )
    if not letters and not as_json:
        console.talk("no dead letters")


def print_counts(found: Iterable[FoundRecord], *, as_json: bool) -> None:
    """Print the number of dead letters of each code and stage, largest first, and the times of the first and the last letter."""
    tallies: dict[tuple[str, str], _Tally] = {}
    for letter in _ours(found):
        tally = tallies.setdefault((letter.code, letter.stage), _Tally(first_ms=letter.timestamp_ms))
        tally.letters += 1
        tally.first_ms = min(tally.first_ms, letter.timestamp_ms)
        tally.last_ms = max(tally.last_ms, letter.timestamp_ms)
    if not tallies and not as_json:
        console.talk("no dead letters")
    elif not as_json:
        console.show(f"{'letters':>9}  {'code':<20}{'stage':<10}{'first written':<26}last written")
    for (code, stage), tally in sorted(tallies.items(), key=lambda item: -item[1].letters):
        first, last = _time(tally.first_ms), _time(tally.last_ms)
        if as_json:
            console.show_json({"code": code, "stage": stage, "letters": tally.letters, "first": first, "last": last})
        else:
            console.show(f"{tally.letters:>9}  {_safe(code):<20}{_safe(stage):<10}{first:<26}{last}")


def print_letter(found: FoundRecord, *, raw: bool, as_json: bool) -> None:
    """
    Print one record: with escaped text, or with base64 in JSON.

    Args:
        found: The dead letter and its record.
        raw: Write only the value's bytes, unchanged.
        as_json: Print a JSON object.

    Raises:
        DeadLetterArgumentError: The place has no record, or `raw` is true and the record has no value.
    """
    record = found.record
    if record is None:
        raise DeadLetterArgumentError(found.why)
    if raw:
        _print_raw(found.letter, record)
    elif as_json:
        console.show_json(_whole(found.letter, record))
    else:
        for name, text in _described(found, record):
            console.show(f"{name:<10}{text}")


def _print_raw(letter: DeadLetter | None, record: Record) -> None:
    if record.value is None:
        why = "its value was too large to be kept" if letter is not None and letter.dropped else "it is a tombstone"
        msg = f"{record.partition}/{record.offset} has no value: {why}. Next: show it without --raw."
        raise DeadLetterArgumentError(msg)
    sys.stdout.buffer.write(record.value)
    sys.stdout.flush()


def print_events(found: Iterable[FoundRecord], *, content: str) -> None:
    """
    Write the events of dead letters as lines for `tagstream send`, which names each wrong line and its fault.

    A JSON event is written as one line. In other text, each line break becomes a space. Bytes that are not text, values that were too large
    to be kept, and dead letters of other topics are left out and counted.

    Args:
        found: The dead letters.
        content: The topic whose events are written.
    """
    written, left_out = 0, Counter[str]()
    for letter in _ours(found):
        if letter.origin_topic != content:
            left_out[f"of the topic {_safe(letter.origin_topic)}"] += 1
        elif not (letter.value or b"").strip():
            left_out["without a value"] += 1
        elif (line := _line(letter.value or b"")) is None:
            left_out["no text (`tagstream dlq show --raw` has the bytes)"] += 1
        else:
            sys.stdout.buffer.write(line + b"\n")
            written += 1
    sys.stdout.flush()
    others = "".join(f"; left out: {count} {why}" for why, count in left_out.items())
    console.talk(
        f"{counted(written, 'event')} written{others}. Next: correct them; `tagstream send FILE` names the lines that are still wrong, and sends none before all are right"
    )


def _line(value: bytes) -> bytes | None:
    """Return the value on one line; None if it is not UTF-8 text."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return None
    try:
        return msgspec.json.format(value, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return b" ".join(value.splitlines())


def _described(found: FoundRecord, record: Record) -> Iterator[tuple[str, str]]:
    letter = found.letter
    yield "place", f"{record.topic} {found.place}"
    yield "written", _time(record.timestamp_ms)
    key = record.key
    headers = record.headers
    if letter is None:
        yield "but", found.why
    else:
        key, headers = letter.key, letter.headers
        yield "from", _safe(_origin(letter))
        yield "code", f"{_safe(letter.code)} ({_safe(letter.stage)})"
        yield "message", _safe(letter.message)
        yield "tries", f"{letter.attempts}, replayed {letter.replays} times"
        if letter.dropped:
            yield (
                "not here",
                f"{', '.join(letter.dropped)}; the value had {letter.length} bytes, SHA-256 {_safe(letter.sha256 or '?')}",
            )
    yield "key", _bytes(key)
    for name, content in headers:
        yield "header", f"{_safe(name)}: {_bytes(content)}"
    if record.value is not None:
        yield "value", f"{len(record.value)} bytes, SHA-256 {hashlib.sha256(record.value).hexdigest()}"
        yield "", _bytes(record.value)
    else:
        yield "value", "(none)"


def print_sent(letter: DeadLetter, record: Record, *, as_json: bool) -> None:
    """
    Print one record that a replay sent or would send: the whole record in JSON, else its target, its size and the added headers.

    Args:
        letter: The dead letter.
        record: The record that is sent for the letter. A negative partition means that the key chooses the partition.
        as_json: Print a JSON object on one line.
    """
    if as_json:
        console.show_json({"place": str(letter.place), **_record(record)})
        return
    partition = "the key's partition" if record.partition < 0 else f"partition {record.partition}"
    size = "no value" if record.value is None else f"{len(record.value)} bytes"
    added = ", ".join(f"{name}: {content.decode()}" for name, content in record.headers[len(letter.headers) :])
    console.show(
        f"{letter.place!s:<12}to {record.topic}, {partition}, key {_bytes(record.key)}, {size}, headers as they were and {added}"
    )


def refused(place: Place, sentence: str) -> None:
    """Print to stderr why a dead letter is not replayed."""
    console.talk(f"not replayed: {place}: {sentence}")


def print_report(report: ReplayReport, *, dry_run: bool, as_json: bool) -> None:
    """
    Print a sentence to stderr. With `as_json`, also print an object to stdout; not in a dry run, whose JSON output is its records.

    Args:
        report: The counts of the replay.
        dry_run: True if nothing was sent.
        as_json: Also print the JSON object.
    """
    if as_json and not dry_run:
        refused = {reason.value: count for reason, count in report.refused.most_common()}
        console.show_json(
            {
                "target": report.target,
                "sent": report.sent,
                "returned": report.returned,
                "hopeless": dict(report.hopeless),
                "already": report.already,
                "refused": refused,
            }
        )
    done = "would be replayed" if dry_run else "replayed, confirmed by the broker"
    parts = [f"{counted(report.sent, 'dead letter')} {done} to {report.target}"]
    if report.returned:
        # A wrong event becomes a new dead letter at every replay, and the note of the old letter does not stop a replay of the new one.
        parts.append(
            f"{report.returned} of them came back from an earlier replay, and will come back again if the events themselves are wrong"
        )
    if report.hopeless:
        codes = ", ".join(f"{count} {code}" for code, count in report.hopeless.most_common())
        parts.append(
            f"{report.hopeless.total()} of them become the same dead letter again, since their own bytes are at fault, or the pointers of fields.* and contents "
            f"({codes}). Next: correct the pointers, or the events, with `tagstream dlq list --events`"
        )
    if report.already:
        parts.append(f"{report.already} had been replayed before")
    if report.refused:
        reasons = ", ".join(f"{count} {reason.value}" for reason, count in report.refused.most_common())
        parts.append(f"{report.refusals} refused ({reasons})")
    console.talk("; ".join(parts))


def _ours(found: Iterable[FoundRecord]) -> Iterator[DeadLetter]:
    others = 0
    for one in found:
        if one.letter is not None:
            yield one.letter
        else:
            others += 1
    if others:
        console.talk(f"{others} more records of the topic are not dead letters of tagstream; `tagstream tail dlq` shows them")


def _row(letter: DeadLetter) -> dict[str, object]:
    origin = letter.origin
    return {
        "place": str(letter.place),
        "topic": letter.topic,
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "written": _time(letter.timestamp_ms),
        "from": {
            "topic": letter.origin_topic,
            "partition": None if origin is None else origin.partition,
            "offset": None if origin is None else origin.offset,
        },
        "code": letter.code,
        "stage": letter.stage,
        "message": letter.message,
        "attempts": letter.attempts,
        "replays": letter.replays,
        "bytes": letter.size_bytes,
        "dropped": list(letter.dropped),
    }


def _whole(letter: DeadLetter | None, record: Record) -> dict[str, object]:
    if letter is None:
        return {"place": f"{record.partition}/{record.offset}", **_record(record)}
    own = Record(topic=record.topic, key=letter.key, value=letter.value, headers=letter.headers)
    sha256 = letter.sha256 if record.value is None else hashlib.sha256(record.value).hexdigest()
    return {
        **_row(letter),
        "sha256": sha256,
        **{name: content for name, content in _record(own).items() if name.endswith("base64")},
    }


def _record(record: Record) -> dict[str, object]:
    return {
        "topic": record.topic,
        "partition": None if record.partition < 0 else record.partition,
        "key_base64": _base64(record.key),
        "headers_base64": _headers(record.headers),
        "value_base64": _base64(record.value),
    }


def _headers(headers: Headers) -> list[list[str | None]]:
    return [[name, _base64(content)] for name, content in headers]


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _bytes(content: bytes | None) -> str:
    if content is None:
        return "(none)"
    text = content.decode("utf-8", errors="backslashreplace")
    return console.visible(text, len(text))


def _safe(text: str) -> str:
    return console.visible(text, MESSAGE_CHARACTERS)


def _time(milliseconds: int) -> str:
    """Return a time in the format of `tagged_at`, or the number itself if it is not a valid time: a writer may set any number."""
    try:
        return timestamp(milliseconds)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def _origin(letter: DeadLetter) -> str:
    return f"{letter.origin_topic} {letter.origin or '?'}"
