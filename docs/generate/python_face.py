"""`docs/python.txt`: the public names of the package with their signatures and fields, so that a change of one is a change of a file."""

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_type_hints

import tagstream

HEAD = """\
The public names of the package `tagstream`, made from the code by `python -m docs.generate`; `make check` compares the two.
docs/library.md is the page, and docs/stability.md says how one of them may go.
"""

# Of the records, this one alone is made by programs; the others come from functions, and may get further fields.
MADE_BY_PROGRAMS = frozenset({"Record"})
# A worker's own: it bounds the dead letters of a compressed batch.
LEFT_OUT = frozenset({("Record", "budget")})


def page() -> str:
    """The whole file."""
    names = sorted((name for name in tagstream.__all__ if name != "__version__"), key=str.casefold)
    return "\n".join([HEAD, *(block(name, getattr(tagstream, name)) for name in names)])


def block(name: str, found: Any) -> str:
    r"""
    One name: a class with what it has, a function, or the types that an alias stands for.

    >>> from tagstream.stream.contract.event import Record
    >>> block("distinct", tagstream.distinct)
    'distinct(records: Iterable[Record], *, remember: int = 100000) -> Iterator[Record]\n'
    """
    if not inspect.isclass(found):
        return f"{name}{_signature(found)}\n" if inspect.isfunction(found) else f"{name} = {_short(str(found))}\n"
    if issubclass(found, Enum):
        return f"{name}\n" + "".join(f"    .{one.name} = {one.value!r}\n" for one in found)
    lines = "".join(f"    {line}\n" for line in (*_fields(found), *_members(found)))
    raised = f"({found.__base__.__name__})" if issubclass(found, BaseException) and found.__base__ is not None else ""
    # A program catches errors and is given records; it makes neither.
    made = "" if raised or (_names(found) and name not in MADE_BY_PROGRAMS) else _signature(found)
    return f"{name}{raised}{made}\n{lines}"


def _names(of: type) -> list[str]:
    """The names of a record's fields; none of another class."""
    names = getattr(of, "__struct_fields__", None) or list(getattr(of, "__dataclass_fields__", {}))
    return [name for name in names if (of.__name__, name) not in LEFT_OUT]


def _fields(of: type) -> Iterator[str]:
    """The fields of a record with their types; of another class the attributes that its docstring names."""
    hints = get_type_hints(of, include_extras=False)
    yield from (f".{name}: {_short(_of(hints[name]))}" for name in _names(of))
    if not _names(of):
        _, _, told = (inspect.getdoc(of) or "").partition("Attributes:\n")
        yield from (f".{name}" for name in re.findall(r"^    (\w+):", told, re.MULTILINE))


def _members(of: type) -> Iterator[str]:
    """The public methods and properties that the class and its own bases define."""
    own = [base for base in of.__mro__ if base.__module__.startswith("tagstream.")]
    names = {name for base in own for name in vars(base) if not name.startswith("_")} | {
        name for base in own for name in ("__aenter__",) if name in vars(base)
    }
    for name in sorted(names):
        found = inspect.getattr_static(of, name)
        if isinstance(found, property):
            yield f".{name} -> {_short(_of(get_type_hints(found.fget)['return']))}"
        elif inspect.iscoroutinefunction(found):
            yield "async with" if name == "__aenter__" else f"await .{name}{_signature(found)}"
        elif inspect.isfunction(found):
            yield f".{name}{_signature(found)}"


def _signature(of: Any) -> str:
    found = inspect.signature(of)
    left_out = {"self", *(name for owner, name in LEFT_OUT if owner == of.__name__)}
    kept = [one for one in found.parameters.values() if one.name not in left_out]
    ends = inspect.Signature.empty if inspect.isclass(of) else found.return_annotation
    return _short(str(found.replace(parameters=kept, return_annotation=ends)))


def _of(annotation: Any) -> str:
    """As `str` has it, but for a plain class its name."""
    return annotation.__name__ if inspect.isclass(annotation) and not hasattr(annotation, "__args__") else str(annotation)


def _short(text: str) -> str:
    """
    The text without the names of modules, and without what differs between machines.

    >>> _short("(record: tagstream.stream.contract.event.Record, clock: collections.abc.Callable[[], float] = <built-in function time>)")
    '(record: Record, clock: Callable[[], float] = time.time)'
    """
    # A type variable has a tilde.
    text = text.replace("<built-in function time>", "time.time").replace("~", "")
    text = re.sub(r"<class '([^']+)'>", r"\1", text)
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", lambda module: "msgspec." if module[0] == "msgspec." else "", text)
    # Python 3.14 writes it so.
    return re.sub(r"Optional\[([^\[\]]+)\]", r"\1 | None", text)
