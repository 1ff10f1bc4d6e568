"""The console's page of an item, read as a browser reads it: its heading, its form and the buttons. Pure."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

FORM = "answer"
# By this key a person skips.
SKIP_KEY = "s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """
    The item on a page.

    Attributes:
        event_id: Of the event.
        token: Of the lease.
        title: As the page shows it, with single spaces.
        tags: The values of the buttons, in their order.
        skip: The fields that give the item back; empty where it cannot be.
    """

    event_id: str
    token: str
    title: str
    tags: tuple[str, ...]
    skip: dict[str, str] = field(default_factory=dict)


def shown(page: str) -> Shown | None:
    """The item of a page; None where the page has none: nothing waits."""
    reading = _Reading()
    reading.feed(page)
    reading.close()
    event_id, token = reading.hidden.get("event"), reading.hidden.get("token")
    if event_id is None or token is None:
        return None
    return Shown(
        event_id=event_id,
        token=token,
        title=" ".join("".join(reading.title).split()),
        tags=tuple(reading.tags),
        skip=reading.skip,
    )


class _Reading(HTMLParser):
    """Collects the heading, and the hidden fields and tags of the form by which an item is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.tags: list[str] = []
        self.skip: dict[str, str] = {}
        self.title: list[str] = []
        self._in_form = self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "h1":
            self._in_heading = True
        elif tag == "form":
            self._in_form = found.get("id") == FORM
        elif self._in_form and tag == "input" and found.get("type") == "hidden":
            self.hidden[found.get("name", "")] = found.get("value", "")
        elif self._in_form and tag == "button" and found.get("name") == "tag":
            self.tags.append(found.get("value", ""))
        elif self._in_form and tag == "button" and found.get("data-key") == SKIP_KEY:
            self.skip[found.get("name", "")] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "h1":
            self._in_heading = False
        elif tag == "form":
            self._in_form = False

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.title.append(data)
