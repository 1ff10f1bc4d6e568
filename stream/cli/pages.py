"""The folder of the pages that messages name as `docs/NAME.md`: in the checkout, or the copy that the wheel installs."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[2]


def folder() -> Path:
    """
    Return the folder that `docs` stands for in a message.

    >>> (folder() / "settings.md").is_file()
    True
    """
    installed = _PACKAGE / "docs"
    return installed if installed.is_dir() else _PACKAGE.with_name("docs")
