"""The notes say what is in a release, and what is not."""

from pathlib import Path

from deploy.release import notes
from deploy.release.source import Source


def test_notes_without_an_image_say_how_to_make_it(tmp_path: Path) -> None:
    """A sentence in its place."""
    of = Source(root=tmp_path, version="0.2.0", commit="c0ffee", epoch=0, changes="- New.")
    notes.write(of, tmp_path, image=None, tried=())
    text = (tmp_path / "RELEASE.md").read_text(encoding="utf-8")
    assert "\n## Image\n\nThere is none. `docker build -t tagstream:0.2.0 .` in a checkout of the commit makes it.\n" in text
