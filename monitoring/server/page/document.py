"""The page as one response: `index.html` with its style and script, and a policy that allows only these two."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The bytes, and the headers that belong to them."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


@cache
def document() -> Document:
    """Read once: the files do not change while a worker runs."""
    folder = files("monitoring.server.page")
    names = ("page.css", "charts.js", "page.js", "index.html")
    style, charts, page, frame = (folder.joinpath(name).read_text(encoding="utf-8") for name in names)
    script = charts + page
    body = frame.replace("/*style*/", style).replace("/*script*/", script).encode()
    # The policy has the hashes of the style and the script, so an injected script does not run; requests go to the worker only.
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
