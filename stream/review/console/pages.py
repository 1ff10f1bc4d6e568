"""The templates and the two assets of the console, read once."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2
from fastapi.responses import HTMLResponse, Response

from stream.review.console import words

TEMPLATES, ASSETS = (Path(__file__).parent / name for name in ("page", "assets"))
MEDIA_TYPES = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
FOR_A_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """The addresses of style and script: each has a digest, so that a browser may keep the file for ever."""

    css: str
    js: str


class Pages:
    """Renders templates and serves the assets."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"pieces": words.pieces, "plain": words.plain}
        self._files = {name: (ASSETS / name).read_bytes() for name in MEDIA_TYPES}

    @cached_property
    def assets(self) -> Assets:
        """Where the assets are."""
        css, js = (f"/assets/{_digest(self._files[name])}/{name}" for name in MEDIA_TYPES)
        return Assets(css=css, js=js)

    def asset(self, digest: str, name: str) -> Response:
        """One of the assets; 404 for another name or another digest."""
        content = self._files.get(name)
        if content is None or _digest(content) != digest:
            return Response(status_code=404)
        return Response(content, media_type=MEDIA_TYPES[name], headers={"Cache-Control": FOR_A_YEAR})

    def render(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """A page of the template; `values` are what it shows."""
        page = self._environment.get_template(template).render(assets=self.assets, **values)
        return HTMLResponse(page, status)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
