"""Fields that are mistyped, missing, out of bounds, or have names with a meaning elsewhere."""

import random

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.outcome import DECISION_FIELDS
from tests.hostile.record import Hostile, Make, dead, decided, encoded, event

FIELDS = ("id", "title", "description", "created_on", "source")


def wrong_type(chance: random.Random, number: int) -> Hostile:
    """One of our fields with a value that is not a string."""
    name = chance.choice(FIELDS)
    # An integer is an id.
    integers = [] if name == "id" else [0, number]
    value = chance.choice([*integers, 1.5, True, False, [], ["a"], {}, {"title": "a"}])
    return dead(encoded(chance, {**event(number), name: value}), Reason.WRONG_TYPE)


def no_title(chance: random.Random, number: int) -> Hostile:
    """A title that is missing, null, empty, or white space."""
    fields = event(number)
    title = chance.choice([None, "", " ", "\t\n", "\u3000\u00a0", "\u2028", "absent"])
    if title == "absent":
        del fields["title"]
    else:
        fields["title"] = title
    return dead(encoded(chance, fields), Reason.MISSING_TITLE)


def number_in_a_string(chance: random.Random, number: int) -> Hostile:
    """A string that looks like a value of another type and must stay a string."""
    title = chance.choice(["1.5", "null", "true", "NaN", "[]", "{}", "0", "undefined", "-1", "1e400"])
    return decided(encoded(chance, event(number, title)), flags=frozenset())


def nulls(chance: random.Random, number: int) -> Hostile:
    """Null in every optional field, which counts as missing."""
    return decided(
        encoded(chance, {"id": None, "title": f"null {number}", "description": None, "source": None}), flags=frozenset()
    )


def bad_id(chance: random.Random, number: int) -> Hostile:
    """A blank or too long id."""
    return dead(
        encoded(chance, {**event(number), "id": chance.choice(["", " ", "\t", "i" * 257, "i" * 10_000])}), Reason.INVALID_ID
    )


def strange_id(chance: random.Random, number: int) -> Hostile:
    """An id that could be taken for a path, a query or a command."""
    prefix = chance.choice(
        ["../../etc/passwd", "'; DROP TABLE events; --", "\x1b[2J", "\u202e", "%00", "i" * 240, "C:\\", "a\nb", "\U0001f600"]
    )
    return decided(encoded(chance, {**event(number), "id": f"{prefix}{number}"}), flags=frozenset())


def repeated_id(chance: random.Random, number: int) -> Hostile:
    """An id that many events share, each with another title."""
    return decided(encoded(chance, {**event(number % 7, f"Version {number} of the title")}), flags=frozenset())


def new_source(chance: random.Random, number: int) -> Hostile:
    """A new producer name in every event."""
    source = f"{chance.choice(['source', 'https://example.org/', 'x' * 500])}-{number}"
    return decided(encoded(chance, event(number, source=source)), flags=frozenset())


def prototype(chance: random.Random, number: int) -> Hostile:
    """Field names with a meaning in Python, JavaScript, Faust or a database."""
    names = ["__proto__", "constructor", "prototype", "__class__", "__dict__", "toString", "$where", "$ref", "_id", "", "."]
    name = chance.choice(names)
    value = chance.choice([{"admin": True}, "x", [1], {"ns": "builtins.eval"}, None])
    return decided(encoded(chance, event(number, **{name: value})), flags=frozenset())


def faust_namespace(chance: random.Random, number: int) -> Hostile:
    """A field by which Faust's decoder would let the sender choose a class."""
    namespace = chance.choice(["faust.models.Record", "os.system", "stream.events.RawEvent", "@ClassName"])
    return decided(encoded(chance, event(number, __faust={"ns": namespace})), flags=frozenset())


def our_own_names(chance: random.Random, number: int) -> Hostile:
    """Fields with the names of the decision, which are kept under `overridden`."""
    names = chance.sample(sorted(DECISION_FIELDS), chance.randint(1, 4))
    return decided(
        encoded(chance, event(number, **{name: chance.choice(["mine", 1.0, None]) for name in names})), flags=frozenset()
    )


def created_on(chance: random.Random, number: int) -> Hostile:
    """Dates before, after and outside all calendars."""
    times = ["0", "-1", "-9999-01-01", "10000-01-01T00:00:00Z", "2026-02-30", "9" * 200, "now", "", "1970-01-01", "T"]
    return decided(encoded(chance, event(number, created_on=chance.choice(times))), flags=frozenset())


def record_time(chance: random.Random, number: int) -> Hostile:
    """A record with a timestamp of long ago."""
    made = decided(encoded(chance, event(number)), flags=frozenset())
    return Hostile(value=made.value, flags=made.flags, timestamp_ms=chance.choice([0, 1, 1_000_000_000]))


CLASSES: tuple[Make, ...] = (
    wrong_type,
    no_title,
    number_in_a_string,
    nulls,
    bad_id,
    strange_id,
    repeated_id,
    new_source,
    prototype,
    faust_namespace,
    our_own_names,
    created_on,
    record_time,
)
