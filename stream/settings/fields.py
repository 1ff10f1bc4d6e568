"""The `fields.*` and `contents` settings: JSON pointers to the fields of an event, for events of another shape than the contract's."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import NoDecode

from tagstream.model_export.bundle.json_object import object_of
from tagstream.stream.contract.shape import NAMES, PLAIN, Pointer, Shape, pointer
from tagstream.stream.settings.topics import Name


def _checked(value: Any) -> str | tuple[str, ...]:
    """Check one pointer, or each of several pointers."""
    found = tuple(value) if isinstance(value, list | tuple) else value
    if not (isinstance(found, str) or (isinstance(found, tuple) and all(isinstance(text, str) for text in found))):
        msg = "it is neither a JSON pointer nor a list of pointers"
        raise ValueError(msg)
    read(found)
    return found


# A text or a list: with this union, an environment variable that is not JSON is taken for one pointer.
Pointers = Annotated[str | tuple[str, ...], BeforeValidator(_checked)]


def read(pointers: str | tuple[str, ...]) -> tuple[Pointer, ...]:
    """
    One pointer, or several, in their order.

    Raises:
        PointerError: A text is not a pointer.

    >>> read("/payload/subject"), read(("/a", "/b"))
    ((('payload', 'subject'),), (('a',), ('b',)))
    """
    return tuple(map(pointer, (pointers,) if isinstance(pointers, str) else pointers))


class Fields(BaseModel):
    """Where an event has its fields: a JSON pointer (RFC 6901), or a list of which the first that finds a value counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Pointers = Field(default="/title", description="where an event has its title")
    description: Pointers = Field(default="/description", description="where it has its description")
    id: Pointers = Field(default="/id", description="where it has its id, a string or an integer")
    source: Pointers = Field(default="/source", description="where it has its producer's name")
    created_on: Pointers = Field(default="/created_on", description="where it has the time of its making")
    text: Pointers | None = Field(
        default=None,
        description="where it has texts that are joined, in place of title and description",
    )

    @model_validator(mode="after")
    def _text_or_title(self) -> "Fields":
        both = [f"fields.{name}" for name in ("title", "description") if name in self.model_fields_set]
        if self.text and both:
            msg = (
                f"fields.text takes the place of fields.title and fields.description, and {' and '.join(both)} is set too. "
                f"Next: remove one of them."
            )
            raise ValueError(msg)
        if not self.text and not self.title:
            msg = "fields.title names no pointer, so that no event would have a title. Next: set fields.title or fields.text."
            raise ValueError(msg)
        return self

    @property
    def shape(self) -> Shape:
        """The shape of these pointers; `PLAIN` itself if all pointers are the contract's own."""
        places = {name: read(getattr(self, name)) for name in NAMES}
        if self.text:
            places |= {"title": (), "description": (), "text": read(self.text)}
        found = Shape(**places)
        return PLAIN if found == PLAIN else found


def _table(value: Any) -> Any:
    """The table; an environment variable has it as JSON."""
    try:
        found = object_of(value.encode() if value.strip() else b"{}") if isinstance(value, str) else value
    except ValueError as error:
        msg = f'it must be topics with their fields, such as {{"posts": {{"title": "/payload/subject"}}}}, and is {error}'
        raise ValueError(msg) from error
    if not isinstance(found, dict):
        msg = 'it must be topics with their fields, such as {"posts": {"title": "/payload/subject"}}'
        raise ValueError(msg)  # noqa: TRY004 - pydantic's validators raise this
    for name, fields in found.items():
        if not isinstance(fields, dict | Fields):
            msg = f'the fields of {name!r} are no table, such as {{"title": "/payload/subject"}}'
            raise ValueError(msg)  # noqa: TRY004 - as above
    return found


Contents = Annotated[dict[Name, Fields], NoDecode, BeforeValidator(_table)]
