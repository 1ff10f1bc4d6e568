"""Records whose `repr` does not show an event's text: an exception, a log line or a traceback may quote any object."""

from typing import Any, ClassVar

import msgspec


class Hiding(msgspec.Struct, frozen=True, kw_only=True):
    """
    A struct whose `repr`, and whose form in the tracebacks that Rich prints, leave out some fields.

    >>> class Secret(Hiding, frozen=True, kw_only=True):
    ...     hidden = frozenset({"text"})
    ...     id: str
    ...     text: str
    >>> Secret(id="a", text="b")
    Secret(id='a')

    Attributes:
        hidden: The names of the fields that are left out.
    """

    hidden: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        """Return the record without its hidden fields."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that are shown, for Rich."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name not in self.hidden]
