"""A console process with the browsers of its reviewers, and decisions for its queue, by commands, topics and HTTP alone."""

import contextlib
import json
import os
import re
import ssl
import sys
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from kafka import KafkaProducer

from tagstream.stream.broker.processes import Process, Processes
from tests.waiting import HANG_SECONDS, until

ADDRESS = re.compile(r"the console: (http://\S+?)/?\s")
SHOWN = re.compile(r'name="event" value="([^"]+)">\s*<input type="hidden" name="token" value="([^"]+)"')
WAITING = re.compile(r'id="waiting">([\d,]+)<')
ALERT = re.compile(r'role="alert">([^<]+)')
# The id of a decision is made of the contract's version, the bundle's digest and the event's id.
PREDICTIONS, DIGEST = uuid.UUID("6d0f7c3e-5b0a-5d57-9c53-4a7c1c0f5a1e"), "d" * 64
# Older than the window of the quality estimate, which looks at decisions of its own accord.
TAGGED_AT = (datetime.now(UTC) - timedelta(days=40)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Console:
    """A console process, and the browsers of its reviewers."""

    def __init__(self, processes: Processes, environ: Mapping[str, str], folder: Path, *, name: str = "console") -> None:
        """Start it on the store of the folder, and wait until it says its address; its log has the name."""
        argv = [
            sys.executable,
            "-m",
            "tagstream.stream.cli.main",
            "review",
            "--port",
            "0",
            "--store",
            f"sqlite:///{folder}/store.db",
        ]
        self.process: Process = processes.start(argv, env=dict(environ), log_file=folder / f"{name}.log")
        found = until(lambda: ADDRESS.search(self.process.output()), "the console says its address", process=self.process)
        assert found is not None
        self._address = found[1]
        # The reviewers need no certificates, which take longer to load than a page.
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    @contextlib.contextmanager
    def browser(self, reviewer: str) -> Iterator[httpx.Client]:
        """The browser of a reviewer, who has told the page a name."""
        same = {"Sec-Fetch-Site": "same-origin"}
        with httpx.Client(base_url=self._address, headers=same, timeout=HANG_SECONDS, verify=self._tls) as made:
            assert made.post("/name", data={"name": reviewer}).status_code == httpx.codes.SEE_OTHER
            yield made

    def page(self, reviewer: str, path: str = "/") -> str:
        """The item that a reviewer is shown."""
        with self.browser(reviewer) as browser:
            answer = browser.get(path)
        assert answer.status_code == httpx.codes.OK
        return answer.text

    def again(self, reviewer: str, event_id: str) -> str:
        """The item of an answer that a reviewer changes."""
        with self.browser(reviewer) as browser:
            assert browser.post("/again", data={"event": event_id}).status_code == httpx.codes.SEE_OTHER
        return self.page(reviewer)

    def post(self, reviewer: str, page: str, **fields: str | list[str]) -> None:
        """Send the form of a page with these fields."""
        found = SHOWN.search(page)
        assert found is not None
        with self.browser(reviewer) as browser:
            answer = browser.post("/answer", data={"event": found[1], "token": found[2]} | fields)
        assert answer.status_code == httpx.codes.SEE_OTHER, ALERT.findall(answer.text)

    def until_waiting(self, count: int) -> None:
        """Wait until so many items are open."""

        def waits() -> bool:
            # A console that is starting has no such figure yet.
            found = WAITING.search(httpx.get(f"{self._address}/help", timeout=HANG_SECONDS, verify=self._tls).text)
            return found is not None and found[1] == str(count)

        until(waits, f"{count} items wait", process=self.process)

    def pages(self, names: list[str]) -> tuple[list[str], float]:
        """The pages of these reviewers at once, and the processor seconds that they cost."""
        before = self._processor_seconds()
        with ThreadPoolExecutor(len(names)) as people:
            found = list(people.map(self.page, names))
        return found, self._processor_seconds() - before

    def _processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def event_of(page: str) -> str | None:
    """The event that a page asks about; None where nothing waits."""
    found = SHOWN.search(page)
    return found[1] if found else None


def ask(producer: KafkaProducer, topic: str, events: Mapping[str, str], *, first: float = 0.6) -> None:
    """
    Write decisions to `review`, as a worker does, and wait until the brokers have them.

    Args:
        producer: Of anybody who may write.
        topic: That of `review`.
        events: Id and text of each.
        first: The first label's probability, at least 0.45; the less sure, the sooner a person is asked.
    """
    for event_id, text in events.items():
        value = {
            "id": event_id,
            "title": "A year of one gateway",
            "description": text,
            "tag": "mlops",
            "confidence": first,
            "probabilities": {"mlops": first, "other": 0.9 - first, "computer-vision": 0.1},
            "prediction_id": str(uuid.uuid5(PREDICTIONS, f"1:{DIGEST}:{event_id}")),
            "decider": "model",
            "model": {"name": "tiny", "version": "1", "digest": DIGEST},
            "threshold": 0.9,
            "truncated": False,
            "reasons": ["low_confidence"],
            "inclusion_probability": 1.0,
            "tagged_at": TAGGED_AT,
        }
        producer.send(topic, key=event_id.encode(), value=json.dumps(value).encode())
    producer.flush(HANG_SECONDS)
