"""The navigation of the site: the links of its four parts, in their order. A page stands where a part links to it, and nowhere else."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = "README"
PARTS = ("docs/start", "docs/guides", "docs/reference", "docs/reasons")
# Of these folders every page belongs to the site; what else is Markdown belongs to a tool or to an example's program.
PLACES = ("*.md", "docs/**/*.md", "examples/**/*.md", "model_export/corpus/*.md")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)\.md(?:#[^)]*)?\)")


def pages(root: Path = ROOT) -> list[str]:
    """Every page, by its path from the root without its ending."""
    return sorted({path.relative_to(root).with_suffix("").as_posix() for place in PLACES for path in root.glob(place)})


def below(page: str, root: Path = ROOT) -> list[str]:
    """
    The pages that stand below one in the navigation: the home has the parts, a part what it links to, and the `README` of a folder of `docs`
    the other pages of that folder.
    """
    path = root / f"{page}.md"
    if page == HOME:
        return list(PARTS)
    if page in PARTS:
        links = LINK.findall(path.read_text(encoding="utf-8"))
        return [(path.parent / link).resolve().relative_to(root.resolve()).as_posix() for link in links]
    if page.startswith("docs/") and path.stem == HOME:
        return [
            f"{path.parent.relative_to(root).as_posix()}/{one.stem}" for one in sorted(path.parent.glob("*.md")) if one != path
        ]
    return []


def toctree(page: str, root: Path = ROOT) -> str:
    """
    What Sphinx needs below a page; empty where nothing stands below it. The page shows it as a list only where it has no links of its own:
    a forge lists the files of a folder below its `README`, and the site would show nothing.
    """
    names = "\n".join(f"/{name}" for name in below(page, root))
    linked = page == HOME or LINK.search((root / f"{page}.md").read_text(encoding="utf-8"))
    return f"\n\n```{{toctree}}\n{':hidden:' if linked else ':maxdepth: 1'}\n\n{names}\n```\n" if names else ""
