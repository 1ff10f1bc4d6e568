"""tagstream is on no package index yet: pages install it from a checkout or a wheel."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    page
    for folder in ("docs", "examples", ".")
    for page in ((ROOT / folder).glob("*") if folder == "." else (ROOT / folder).rglob("*"))
    # pyproject.toml names its own extras, which pip takes from the package that it is installing.
    if page.suffix in {".md", ".yml", ".toml", ".py", ".txt"} and page.is_file() and page.name != "pyproject.toml"
]
# An extra of the bare name, which pip would look for on an index; `./tagstream[...]` and `... @ file:///...` are places.
EXTRA = re.compile(r"(?<![\w./*-])tagstream\[[\w,-]+\](?!\s*@)")
NAME = re.compile(r"pip install (?:-\S+ )*['\"]?tagstream(?![\w-]*[\w.-]*\.(?:whl|tar\.gz)|\[|[\w-]*/)")


def by_name(text: str) -> list[str]:
    """The parts of a text that would be looked for on an index."""
    return [*EXTRA.findall(text), *NAME.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_installs_by_a_name_that_is_not_ours(page: Path) -> None:
    """A reader who does would get nothing, or what a stranger has put under the name."""
    assert by_name(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pip install 'tagstream[ray]'", ["tagstream[ray]"]),
        ('{"pip": ["tagstream[ray]"]}', ["tagstream[ray]"]),
        ("pip install --upgrade tagstream", ["pip install --upgrade tagstream"]),
        ("pip install 'tagstream[ray] @ file:///a.whl'", []),
        ("pip install tagstream-0.1.0-py3-none-any.whl", []),
        ("pip install tagstream-0.1.0.tar.gz", []),
        ("pip install tagstream-0.1.0", ["pip install tagstream"]),
        ("pip install './tagstream[export,signing]'", []),
    ],
)
def test_a_name_is_told_from_a_place(text: str, found: list[str]) -> None:
    """The search finds a bare name and lets a file or a folder pass."""
    assert by_name(text) == found
