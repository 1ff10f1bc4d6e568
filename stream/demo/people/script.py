"""A reviewer by script, who answers through the console's own pages: one item at a time, nearly always right."""

import http.client
import random
import threading
from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

from stream.demo.people.answers import Given
from stream.demo.people.page import Shown, shown

NAME = "scripted reviewer"
# Of the console: a name in hexadecimal.
COOKIE = f"tagstream_reviewer={NAME.encode().hex()}"
RIGHT = 0.95
SEED = "demo"
# Thirty items a minute, as a person with a keyboard.
PACE_SECONDS = 2.0
# Until an item comes, and after a failure.
AGAIN_SECONDS = 0.5
# An answer waits for the word of all replicas; the console's own bounds come first.
ASK_SECONDS = 90.0


class Script:
    """
    The reviewer, in a thread of its own.

    Attributes:
        troubles: Answers that the console did not save, and what it said.
    """

    def __init__(
        self, address: str, labels: Mapping[str, str], given: Callable[[Given], None], *, pace_seconds: float = PACE_SECONDS
    ) -> None:
        """
        Answer nothing yet.

        Args:
            address: Of the console, `http://host:port`.
            labels: The right answer by title; items with other titles are skipped.
            given: Called in the thread with each answer that is saved.
            pace_seconds: Between two answers.
        """
        self._address = address
        self._labels = labels
        self._given = given
        self._pace_seconds = pace_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-reviewer", daemon=True)
        self.troubles: list[str] = []

    def start(self) -> None:
        """Begin; the console may still be starting."""
        self._thread.start()

    def stop(self) -> str | None:
        """End, once the answer under way has its word; a sentence if that takes too long."""
        self._over.set()
        if self._thread.ident is None:
            return None
        self._thread.join(2 * ASK_SECONDS)
        return (
            f"the scripted reviewer still waits for the console after {2 * ASK_SECONDS:.0f} s"
            if self._thread.is_alive()
            else None
        )

    def _run(self) -> None:
        wait = 0.0
        while not self._over.wait(wait):
            try:
                wait = self._one()
            # The console is starting, or has gone; its end is told by who has started it.
            except (OSError, http.client.HTTPException):
                wait = AGAIN_SECONDS

    def _one(self) -> float:
        """Answer or skip one item, if there is one; seconds until the next."""
        status, page = self._ask("GET", "/")
        item = shown(page) if status == http.client.OK else None
        if item is None:
            return AGAIN_SECONDS
        label = self._labels.get(item.title)
        if label is None or label not in item.tags:
            status, page = self._ask("POST", "/answer", event=item.event_id, token=item.token, **item.skip)
            return 0.0 if self._taken(item, status) else self._pace_seconds
        tag = said(item, label)
        status, page = self._ask("POST", "/answer", event=item.event_id, token=item.token, tag=tag)
        if self._taken(item, status):
            self._given(Given(event_id=item.event_id, tag=tag))
        return self._pace_seconds

    def _taken(self, item: Shown, status: int) -> bool:
        """Whether the console has done as it was told, and goes on to the next item."""
        if status != http.client.SEE_OTHER:
            self.troubles.append(f"{item.event_id} (HTTP {status})")
        return status == http.client.SEE_OTHER

    def _ask(self, method: str, path: str, **form: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(urlsplit(self._address).netloc, timeout=ASK_SECONDS)
        headers = {"Cookie": COOKIE, "Origin": self._address, "Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request(method, path, urlencode(form) if form else None, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


def said(item: Shown, label: str) -> str:
    """
    The script's answer: mostly the label, else one of the other buttons. The same for the same event in each run.

    Args:
        item: As the console shows it.
        label: The right one of its tags.
    """
    chance = random.Random(f"{SEED} {item.event_id}")  # noqa: S311 - a script, not a secret
    others = [tag for tag in item.tags if tag != label]
    return label if not others or chance.random() < RIGHT else chance.choice(others)
