"""The page of a worker and of `tagstream serve`: its document, and the data that it fetches every second."""

import base64
import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec

from tagstream.monitoring.alarms import alarms
from tagstream.monitoring.figures.compute import figures, trouble_of
from tagstream.monitoring.figures.history import Look
from tagstream.monitoring.health import HealthVerdict
from tagstream.monitoring.screen import DASH, screen
from tagstream.monitoring.server.application import WORKER, Document

FILES = Path(__file__).parent / "page"


class WorkerPage:
    """The page of one worker."""

    @property
    def document(self) -> Document:
        """The page as one response."""
        return document()

    def seen(self, look: Look, found: HealthVerdict) -> bytes:
        """Return the current figures, alarms and screen, as JSON."""
        trouble = trouble_of(WORKER, look.now[WORKER], ready=found.ready, why=found.why)
        seen = figures(look, () if trouble is None else (trouble,))
        return msgspec.json.encode(
            {"of": "worker", **_verdict(found), "figures": seen, "alarms": alarms(seen), "screen": screen(seen)}
        )


class ServePage:
    """The page of one process of `tagstream serve`: its decisions and their drift. It leaves out figures that only a stream has."""

    @property
    def document(self) -> Document:
        """The page as one response."""
        return document()

    def seen(self, look: Look, found: HealthVerdict) -> bytes:
        """Return the current figures, alarms and screen, as JSON."""
        seen = figures(look)
        seen = replace(seen, shares=tuple(one for one in seen.shares if one.value is not None))
        said = screen(seen)
        said = replace(said, numbers=tuple(one for one in said.numbers if one.value != DASH))
        return msgspec.json.encode({"of": "serve", **_verdict(found), "figures": seen, "alarms": alarms(seen), "screen": said})


def _verdict(found: HealthVerdict) -> dict[str, object]:
    return {"ready": found.ready, "why": found.why}


@cache
def document() -> Document:
    """Return the page, read once: the files do not change while a process runs."""
    names = ("page.css", "charts.js", "page.js", "index.html")
    style, charts, page, frame = ((FILES / name).read_text(encoding="utf-8") for name in names)
    script = charts + page
    body = frame.replace("/*style*/", style).replace("/*script*/", script).encode()
    # The policy has the hashes of the style and the script, so an injected script does not run. The page sends requests to its process only.
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Document(
        body=body,
        headers=(
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-cache"),
        ),
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
