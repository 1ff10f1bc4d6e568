"""Where an event has its fields: JSON pointers (RFC 6901), and for each field the first pointer that finds something.

`PLAIN` is the contract's own shape: `id`, `title`, `description`, `source` and `created_on` at the top. An event of another shape is
brought into that one by `stream/contract/event.py` before it is checked, so that all that follows knows one shape alone.
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
"""The fields of the contract that a pointer can be set for."""

MOST_PARTS = 32
# Members that a message names, and the form of a name that it quotes: any other may be a text, or a person's.
MOST_NAMED = 8
_QUOTED = re.compile(r"[A-Za-z_][\w.-]{0,39}", re.ASCII)
_PLACE = re.compile(r"0|[1-9][0-9]{0,8}")
_HALF_ESCAPE = re.compile(r"~(?![01])")


class PointerError(ValueError):
    """A text is no JSON pointer to a part of an event: the message says why."""


def pointer(text: str) -> Pointer:
    """
    Read a JSON pointer.

    Raises:
        PointerError: It is none, or it points at the whole event.

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
    A pointer as it is written.

    >>> spelled(("payload", "a/b"))
    '/payload/a~1b'
    """
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """
    The pointers of each field, of which the first that finds a value other than null counts, of the title also one that is not blank;
    none: the event never has the field.

    Attributes:
        id: To a string or an integer.
        title: To a string; nothing where `text` is set.
        description: Likewise.
        source: To a string.
        created_on: To a string.
        text: To strings that are joined: the first that is found and not blank is the title, those after it are the description.
    """

    id: tuple[Pointer, ...] = (("id",),)
    title: tuple[Pointer, ...] = (("title",),)
    description: tuple[Pointer, ...] = (("description",),)
    source: tuple[Pointer, ...] = (("source",),)
    created_on: tuple[Pointer, ...] = (("created_on",),)
    text: tuple[Pointer, ...] = ()

    @property
    def pointers(self) -> tuple[Pointer, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.text, *(parts for name in NAMES for parts in getattr(self, name)))))

    def has_title(self, event: Mapping[str, Any]) -> bool:
        """Whether a parsed event has something, null included, where a title or a text of this shape is."""
        return any(_exists(event, parts) for parts in (self.text or self.title))


PLAIN = Shape()


def placed(event: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """
    A plain event in a shape: each field of the contract lies where the first pointer to it leads.

    Args:
        event: Its fields by name; those that the contract does not name stay at the top.
        shape: Where the fields go. One that the shape has no pointer for is left out.

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
        event: Its fields by name.
        pointers: In their order.
        filled: A blank text counts where no pointer finds anything else.

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
    The value that a pointer finds in parsed JSON; None where it finds nothing, or null.

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
    The members that there are, for a message on pointers that find nothing: of the event, and of the deepest object on each way.

    Names that do not look like a program's are counted and not quoted.

    >>> members({"payload": {"name": "x", "a b": 1}, "id": 7}, [("payload", "subject")])
    'the event has id, payload; /payload has name and 1 other'
    """
    ways: dict[Pointer, str] = {(): f"the event has {_named(event)}"}
    for parts in pointers:
        for length in range(len(parts) - 1, 0, -1):
            way = parts[:length]
            # Many pointers may lead into one object, and it may have a hundred thousand members.
            if way in ways:
                break
            found = value_at(event, way)
            if isinstance(found, dict):
                ways[way] = f"{spelled(way)} has {_named(found)}"
                break
    return "; ".join(ways.values())


def is_place(part: str) -> bool:
    """Whether a part of a pointer can be a place in an array."""
    return _PLACE.fullmatch(part) is not None


def _named(found: Mapping[str, Any]) -> str:
    quoted = heapq.nsmallest(MOST_NAMED, (name for name in found if _QUOTED.fullmatch(name)))
    others = len(found) - len(quoted)
    more = f"{others} other{'s' * (others > 1)}" if others else ""
    return " and ".join(part for part in (", ".join(quoted), more) if part) or "no members"


def _exists(event: Mapping[str, Any], parts: Pointer) -> bool:
    above = value_at(event, parts[:-1]) if len(parts) > 1 else event
    return parts[-1] in above if isinstance(above, Mapping) else value_at(event, parts) is not None
