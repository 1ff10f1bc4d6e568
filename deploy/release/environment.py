"""An environment as a user's: made anew, with the installed wheel alone, and away from the checkout."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.release.failure import output

# Names that users have for packages of their own, and that the folders of the checkout have too.
FOREIGN = ("monitoring", "stream", "model_export")
OWN_WORDS = "the user's own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """
    A virtual environment without pip, and an empty folder to run programs in.

    Attributes:
        folder: Of the environment.
        work: The folder in which programs run.
    """

    folder: Path
    work: Path

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """The folder that packages are installed into."""
        (found,) = self.folder.glob("lib/python3*/site-packages")
        return found

    def pip(self, *words: str | Path) -> None:
        """
        Install by the pip of this program.

        Raises:
            ReleaseError: It failed.
        """
        output((sys.executable, "-m", "pip", "--python", self.python, "--quiet", *words), at=self.work)

    def run(self, *words: str | Path, given: bytes | None = None) -> bytes:
        """
        The output of a program of this environment, without variables of ours.

        Raises:
            ReleaseError: It failed.
        """
        return output((self.folder / "bin" / words[0], *words[1:]), at=self.work, environ=environ(), given=given)


def environ() -> dict[str, str]:
    """The variables of this process without those that lead Python or tagstream somewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TAGSTREAM_", "PYTHON", "VIRTUAL_ENV"))}


def make(folder: Path) -> Environment:
    """An environment in a new folder, beside packages of the user's own that have the names of our rooms."""
    output((sys.executable, "-m", "venv", "--without-pip", folder / "venv"), at=folder)
    (folder / "work").mkdir()
    made = Environment(folder=folder / "venv", work=folder / "work")
    for name in FOREIGN:
        (made.packages / name).mkdir()
        (made.packages / name / "__init__.py").write_text(f'WHOSE = "{OWN_WORDS}"\n', encoding="utf-8")
    return made


def install(into: Environment, wheel: Path) -> None:
    """
    Install a wheel, by its name: a path of this machine would be noted in what is installed.

    Raises:
        ReleaseError: It cannot be installed.
    """
    name, version, *_ = wheel.name.split("-")
    into.pip("install", "--no-deps", "--no-index", "--find-links", wheel.parent, f"{name}=={version}")
