"""Unusual keys, headers and CloudEvents envelopes."""

import base64
import json
import random
from typing import Any

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import Headers
from tests.hostile.record import Hostile, Make, dead, decided, encoded, event

OUR_HEADERS = (
    "x-dlq-stage",
    "x-dlq-code",
    "x-dlq-attempts",
    "x-dlq-null-key",
    "__streams.errors.offset",
    "__streams.errors.topic",
)
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)


def strange_key(chance: random.Random, number: int) -> Hostile:
    """A long, binary or empty key."""
    key = chance.choice([b"k" * 10_000, b"\xff\x00\xfe", b"", b"\x1b[2J", b" ", b"%d" % number])
    return decided(encoded(chance, event(number)), key=key, flags=frozenset())


def strange_key_of_a_dead_letter(chance: random.Random, number: int) -> Hostile:
    """Such a key on an unreadable record, which must be returned whole."""
    key = chance.choice([b"k" * 10_000, b"\xff\x00\xfe", b"", b"\x1b[2J"])
    return dead(b"{%d" % number, Reason.INVALID_JSON, key=key)


def many_headers(chance: random.Random, number: int) -> Hostile:
    """Hundreds of headers, large ones, repeated names, an empty name."""
    headers: Headers = chance.choice(
        [
            tuple((f"h{at}", b"v") for at in range(300)),
            (("large", b"v" * 50_000),),
            tuple(("same", b"%d" % at) for at in range(50)),
            (("", b"no name"), ("", b"")),
            (("empty", b""), ("binary", b"\xff\x00\x1b[2J")),
            (("n" * 5_000, b"v"),),
            (("\u202e\u200b", b"v"), ("a b\r\nc: d", b"\r\n")),
        ]
    )
    if chance.random() < 0.5:
        return decided(encoded(chance, event(number)), headers=headers, flags=frozenset())
    return dead(b"[%d]" % number, Reason.NOT_AN_OBJECT, headers=headers)


def forged_headers(chance: random.Random, number: int) -> Hostile:
    """Headers of our dead letters on an ordinary record."""
    headers = tuple((name, chance.choice([b"-1", b"forged", b"", b"\xff"])) for name in OUR_HEADERS)
    if chance.random() < 0.5:
        return decided(encoded(chance, event(number)), headers=headers, flags=frozenset())
    return dead(b'{"id":"hostile-%d"}' % number, Reason.MISSING_TITLE, headers=headers)


def structured(chance: random.Random, number: int) -> Hostile:
    """A valid CloudEvent in structured mode, with data or base64."""
    data = event(number)
    envelope = _envelope(number)
    if chance.random() < 0.5:
        envelope["data"] = data
    else:
        envelope["data_base64"] = base64.b64encode(encoded(chance, data).encode()).decode()
    return decided(encoded(chance, envelope), headers=STRUCTURED if chance.random() < 0.5 else (), flags=frozenset())


def broken_structured(chance: random.Random, number: int) -> Hostile:
    """A structured CloudEvent with a missing or mistyped attribute, another version, or broken data."""
    envelope: dict[str, Any] = {**_envelope(number), "data": event(number)}
    name, value = chance.choice(
        [
            ("specversion", "0.3"),
            ("specversion", 1.0),
            ("specversion", ""),
            ("id", ""),
            ("id", 7),
            ("id", None),
            ("source", ""),
            ("source", []),
            ("type", None),
            ("type", {}),
            ("data", None),
            ("data", "text"),
            ("data", [1]),
            ("data", 7),
            ("data_base64", "%%%"),
            ("data_base64", 7),
            ("data_base64", "\u00e9"),
        ]
    )
    return dead(encoded(chance, {**envelope, name: value}), Reason.INVALID_CLOUDEVENT, headers=STRUCTURED)


def declared_but_bare(chance: random.Random, number: int) -> Hostile:
    """A structured content type on a value that is no envelope."""
    return dead(encoded(chance, event(number)), Reason.INVALID_CLOUDEVENT, headers=STRUCTURED)


def broken_inside(chance: random.Random, number: int) -> Hostile:
    """A valid envelope around hostile data, which must pass the same checks."""
    data, reason = chance.choice(
        [
            (b"\xff\xfe", Reason.INVALID_UTF8),
            (b'{"title":', Reason.INVALID_JSON),
            (b"[]", Reason.NOT_AN_OBJECT),
            (b'{"title":"a","title":"b"}', Reason.DUPLICATE_KEY),
            (b'{"title":NaN}', Reason.NON_FINITE_NUMBER),
            (b"[" * 50_000, Reason.TOO_DEEP),
            (b'{"title":"\\u0000"}', Reason.NUL_CHARACTER),
            (b'{"title":"\\ud800"}', Reason.LONE_SURROGATE),
            (b'{"title":7}', Reason.WRONG_TYPE),
            (b"{}", Reason.MISSING_TITLE),
        ]
    )
    envelope = {**_envelope(number), "data_base64": base64.b64encode(data).decode()}
    return dead(json.dumps(envelope), reason, headers=STRUCTURED)


def binary(chance: random.Random, number: int) -> Hostile:
    """A valid CloudEvent in binary mode."""
    return decided(encoded(chance, event(number)), headers=_attributes(number), flags=frozenset())


def broken_binary(chance: random.Random, number: int) -> Hostile:
    """A binary CloudEvent with an attribute that is missing, empty, not UTF-8, or has U+0000."""
    name = chance.choice(["ce_id", "ce_source", "ce_type", "ce_specversion"])
    value = chance.choice([b"", b"\xff", b"a\x00b", None])
    if name == "ce_specversion" and value is None:
        value = b"2.0"
    attributes = dict(_attributes(number))
    if value is None:
        del attributes[name]
    else:
        attributes[name] = value
    return dead(encoded(chance, event(number)), Reason.INVALID_CLOUDEVENT, headers=tuple(attributes.items()))


def flood_of_attributes(chance: random.Random, number: int) -> Hostile:
    """Hundreds of extension attributes, which the outcome keeps."""
    extra = tuple((f"ce_x{at}", b"v" * chance.randint(0, 100)) for at in range(200))
    return decided(encoded(chance, event(number)), headers=_attributes(number) + extra, flags=frozenset())


def _envelope(number: int) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"hostile-{number}", "source": "/hostile", "type": "content.published", "ext": number}


def _attributes(number: int) -> Headers:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"hostile-%d" % number),
        ("ce_source", b"/hostile"),
        ("ce_type", b"content.published"),
    )


CLASSES: tuple[Make, ...] = (
    strange_key,
    strange_key_of_a_dead_letter,
    many_headers,
    forged_headers,
    structured,
    broken_structured,
    declared_but_bare,
    broken_inside,
    binary,
    broken_binary,
    flood_of_attributes,
)
