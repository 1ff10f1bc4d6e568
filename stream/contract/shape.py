"""The places of an event's fields: JSON pointers (RFC 6901). For each field, the first pointer that finds a value counts.

`PLAIN` is the contract's own shape: `id`, `title`, `description`, `source` and `created_on` at the top. `stream/contract/event.py` brings an
event of another shape into `PLAIN` before it is checked, so all later code knows only one shape.
"""

import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

Pointer = tuple[str, ...]
"""The parts of a JSON pointer: names of members, and places in arrays."""

NAMES = ("id", "title", "description", "source", "created_on")
"""The fields of the contract for which a pointer can be set."""

MOST_PARTS = 32
# The most members that a message names, and the form of a name that it may quote: any other name may be a text, or a person's name.
MOST_NAMED = 8
_QUOTED = re.compile(r"[A-Za-z_][\w.-]{0,39}", re.ASCII)
_PLACE = re.compile(r"0|[1-9][0-9]{0,8}")
_HALF_ESCAPE = re.compile(r"~(?![01])")


class PointerError(ValueError):
    """A text is not a JSON pointer to a part of an event: the message says why."""


def pointer(text: str) -> Pointer:
    """
    Read a JSON pointer.

    Raises:
        PointerError: The text is not a JSON pointer, or it points at the whole event.

    >>> pointer("/payload/a~1b/0")
    ('payload', 'a/b', '0')
    """
    if not text.startswith("/"):
        msg = f"{text!r} is no JSON pointer: one begins with /, as /payload/subject"
        raise PointerError(msg)
    if _HALF_ESCAPE.search(text):
        msg = f"{text!r} is no JSON pointer: in a name, ~0 stands for ~ and ~1 for /"
        raise PointerError(msg)
    parts = tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))
    if len(parts) > MOST_PARTS:
        msg = f"{text!r} has {len(parts)} parts, and an event is at most {MOST_PARTS} levels deep"
        raise PointerError(msg)
    return parts


def spelled(parts: Pointer) -> str:
    """
    The text of a pointer.

    >>> spelled(("payload", "a/b"))
    '/payload/a~1b'
    """
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """
    The pointers of each field. The first pointer that finds a value other than null counts; a title must not be blank either.

    A field without pointers is never found in an event.

    Attributes:
        id: Pointers to a string or an integer.
        title: Pointers to a string; empty if `text` is set.
        description: Pointers to a string; empty if `text` is set.
        source: Pointers to a string.
        created_on: Pointers to a string.
        text: Pointers to strings that are joined: the first string that is not blank is the title, later strings are the description.
    """

    id: tuple[Pointer, ...] = (("id",),)
    title: tuple[Pointer, ...] = (("title",),)
    description: tuple[Pointer, ...] = (("description",),)
    source: tuple[Pointer, ...] = (("source",),)
    created_on: tuple[Pointer, ...] = (("created_on",),)
    text: tuple[Pointer, ...] = ()

    @property
    def pointers(self) -> tuple[Pointer, ...]:
        """All pointers, each once."""
        return tuple(dict.fromkeys((*self.text, *(parts for name in NAMES for parts in getattr(self, name)))))

    def has_title(self, event: Mapping[str, Any]) -> bool:
        """True if a parsed event has a member, null included, at the place of a title or a text of this shape."""
        return any(_exists(event, parts) for parts in (self.text or self.title))


PLAIN = Shape()


def placed(event: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """
    A plain event in another shape: each field of the contract is put where its first pointer leads.

    Args:
        event: The event's fields by name. Fields that the contract does not name stay at the top.
        shape: The places of the fields. A field without a pointer is left out.

    >>> placed({"title": "Hi", "n": 1}, Shape(title=(("payload", "subject"),)))
    {'n': 1, 'payload': {'subject': 'Hi'}}
    """
    if shape is PLAIN:
        return dict(event)
    found = {name: value for name, value in event.items() if name not in NAMES}
    texts = iter(shape.text)
    for name in NAMES:
        of_text = shape.text and name in {"title", "description"}
        parts = next(texts if of_text else iter(getattr(shape, name)), None)
        if name not in event or parts is None:
            continue
        place = found
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = event[name]
    return found


def first(event: Mapping[str, Any], pointers: Sequence[Pointer], *, filled: bool = False) -> Pointer | None:
    """
    The first pointer that finds a value other than null in a parsed event.

    Args:
        event: The event's fields by name.
        pointers: The pointers in their order.
        filled: True if a blank text counts only if no pointer finds another value.

    >>> first({"title": None, "data": {"name": "x"}}, [("title",), ("data", "name")])
    ('data', 'name')
    >>> first({"title": " ", "data": {"name": "x"}}, [("title",), ("data", "name")], filled=True)
    ('data', 'name')
    """
    found = {parts: value for parts in pointers if (value := value_at(event, parts)) is not None}
    blank = [parts for parts, value in found.items() if filled and isinstance(value, str) and not value.strip()]
    return next((parts for parts in found if parts not in blank), blank[0] if blank else None)


def value_at(value: Any, parts: Pointer) -> Any:
    """
    The value that a pointer finds in parsed JSON; None if it finds nothing, or null.

    >>> value_at({"items": [{"name": "x"}]}, ("items", "0", "name"))
    'x'
    """
    for part in parts:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and is_place(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def bytes_at(value: msgspec.Raw, parts: Pointer) -> msgspec.Raw:
    """
    The bytes of the value that a pointer finds, as they came.

    Args:
        value: JSON in which `value_at` finds something.
        parts: The pointer.

    >>> bytes(bytes_at(msgspec.Raw(b'{"n": [1.10]}'), ("n", "0")))
    b'1.10'
    """
    for part in parts:
        if bytes(value).lstrip()[:1] == b"[":
            value = msgspec.json.decode(value, type=list[msgspec.Raw])[int(part)]
        else:
            value = msgspec.json.decode(value, type=dict[str, msgspec.Raw])[part]
    return value


def members(event: Mapping[str, Any], pointers: Sequence[Pointer]) -> str:
    """
    The members of the event, and of the deepest object on the way of each pointer, for a message on pointers that find nothing.

    Names that do not look like names in a program are counted and not quoted.

    >>> members({"payload": {"name": "x", "a b": 1}, "id": 7}, [("payload", "subject")])
    'the event has id, payload; /payload has name and 1 other'
    """
    ways: dict[Pointer, str] = {(): f"the event has {_named(event)}"}
    for parts in pointers:
        for length in range(len(parts) - 1, 0, -1):
            way = parts[:length]
            # Many pointers may lead into one object, which may have a hundred thousand members.
            if way in ways:
                break
            found = value_at(event, way)
            if isinstance(found, dict):
                ways[way] = f"{spelled(way)} has {_named(found)}"
                break
    return "; ".join(ways.values())


def is_place(part: str) -> bool:
    """True if a part of a pointer can be a place in an array."""
    return _PLACE.fullmatch(part) is not None


def _named(found: Mapping[str, Any]) -> str:
    quoted = heapq.nsmallest(MOST_NAMED, (name for name in found if _QUOTED.fullmatch(name)))
    others = len(found) - len(quoted)
    more = f"{others} other{'s' * (others > 1)}" if others else ""
    return " and ".join(part for part in (", ".join(quoted), more) if part) or "no members"


def _exists(event: Mapping[str, Any], parts: Pointer) -> bool:
    above = value_at(event, parts[:-1]) if len(parts) > 1 else event
    return parts[-1] in above if isinstance(above, Mapping) else value_at(event, parts) is not None
