"""What `make docs` tells Sphinx. The pages lie where they are read on the forge; nothing is written for the site alone but this folder."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.site import navigation  # noqa: E402 - Sphinx runs this file by itself

project = "tagstream"
extensions = ["myst_parser"]
root_doc = navigation.HOME
include_patterns = [f"{page}.md" for page in navigation.pages()]
# Not walked: environments and build folders lie in the root too, some with pages of others.
exclude_patterns = [".*", "build", "dist", "node_modules", "**/node_modules", "tagstream"]

# As the forge makes them, so that one link leads to a heading here and there.
myst_heading_anchors = 6
# Examples leave out parts of JSON and logs; `mermaid` is drawn by the forge, and here it stays text.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "pydata_sphinx_theme"
html_title = "tagstream"
html_copy_source = False
html_show_sphinx = False
html_search_scorer = str(ROOT / "docs" / "site" / "search.js")
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 1,
}


def placed(_: Any, name: str, source: list[str]) -> None:
    """Give a page the part of the navigation that stands below it."""
    source[0] += navigation.toctree(name)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", placed)
