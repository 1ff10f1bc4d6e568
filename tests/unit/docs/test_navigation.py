"""The navigation of the site has each page once."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.site.navigation import HOME, PARTS, ROOT, below, pages, toctree


def placed(page: str = HOME, root: Path = ROOT) -> Iterator[str]:
    """A page and all that stand below it, as often as they do."""
    yield page
    for one in below(page, root):
        yield from placed(one, root)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A home, four parts and a folder, each page in its place."""
    for name, text in {
        HOME: "",
        **dict.fromkeys(PARTS, ""),
        PARTS[0]: "[a](a.md), again outside: [b](https://example.com/b.md)",
        PARTS[1]: "[folder](folder/README.md), [changes](../CHANGELOG.md#now)",
        "CHANGELOG": "",
        "docs/a": "[to the folder](folder/one.md)",
        "docs/folder/README": "",
        "docs/folder/one": "",
    }.items():
        path = tmp_path / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_every_page_stands_in_the_navigation_once() -> None:
    """A page without a place is found by nobody; one with two has two neighbours."""
    assert Counter(placed()) == Counter(pages()), "link it in one of docs/start.md, guides.md, reference.md and reasons.md"


def test_a_page_without_a_place_and_one_with_two_are_found(small: Path) -> None:
    """The count names both."""
    assert Counter(placed(root=small)) == Counter(pages(small))
    (small / "docs" / "b.md").write_text("", encoding="utf-8")
    (small / f"{PARTS[2]}.md").write_text("[a](a.md#part)", encoding="utf-8")
    here, all_pages = Counter(placed(root=small)), Counter(pages(small))
    assert (all_pages - here, here - all_pages) == (Counter(["docs/b"]), Counter(["docs/a"]))


def test_sphinx_gets_the_parts_below_the_home() -> None:
    """The home has the four parts, in their order; a page that nothing stands below gets no list."""
    assert [line for line in toctree(HOME).splitlines() if line.startswith("/")] == [f"/{part}" for part in PARTS]
    assert toctree("docs/settings") == ""


def test_a_folder_whose_page_links_nothing_is_listed_on_it() -> None:
    """Whoever opens the decisions sees them; a page with a table of its own has no second list."""
    hidden = {page: ":hidden:" in toctree(page) for page in ("docs/decisions/README", "docs/runbooks/README", "docs/guides")}
    assert hidden == {"docs/decisions/README": False, "docs/runbooks/README": True, "docs/guides": True}
