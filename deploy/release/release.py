"""A release: built, tried in clean environments, and laid into `dist/VERSION`, and published nowhere."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from deploy.release import distributions, environment, image, inventory, notes, source, trial
from deploy.release.environment import Environment
from deploy.release.failure import ReleaseError

# The programs, as modules of this environment, that make files of a release.
TOOLS = ("hatchling", "cyclonedx_py")

Prepare = Callable[[Path, Path, Path], Environment]
"""From an empty folder, the checkout and a wheel to an environment that has the wheel and all that it needs."""


def locked(folder: Path, root: Path, wheel: Path) -> Environment:
    """
    An environment with the locked packages, by their hashes, and the wheel.

    Raises:
        ReleaseError: They cannot be installed, or the wheel needs what the lock has not.
    """
    made = environment.make(folder)
    made.pip("install", "--no-deps", "--require-hashes", "-r", root / "requirements" / "run.lock")
    environment.install(made, wheel)
    made.pip("check")
    return made


def release(
    root: Path,
    version: str,
    *,
    engine: str | None,
    build_options: Sequence[str] = (),
    prepare: Prepare = locked,
    tell: Callable[[str], None] = lambda _: None,
) -> Path:
    """
    Make a release; the folder is there if all of it is good, and not at all otherwise.

    Args:
        root: The checkout.
        version: The version that pyproject.toml and CHANGELOG.md must name.
        engine: The program that builds the image; None: there is none.
        build_options: Further options of its `build`.
        prepare: Makes the clean environment.
        tell: Hears of each step.

    Returns:
        The folder `dist/VERSION`.

    Raises:
        ReleaseError: Something is wrong: the message says what, and what to do.
    """
    lacking = [name for name in TOOLS if find_spec(name) is None]
    if lacking:
        lock = root / "requirements" / "dev.lock"
        msg = (
            f"{sys.prefix} has no {' and no '.join(lacking)}, which makes files of a release. "
            f"Next: {sys.executable} -m pip install --no-deps --require-hashes -r {lock}"
        )
        raise ReleaseError(msg)
    of = source.read(root, version)
    done = root / "dist" / version
    if done.exists():
        msg = f"{done} is there already. Next: remove it, if nobody has these files, or release another version."
        raise ReleaseError(msg)
    done.parent.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        tempfile.TemporaryDirectory(prefix=f".{version}-", dir=done.parent) as unfinished,
    ):
        scratch, folder = Path(name), Path(unfinished) / version
        folder.mkdir()
        tell("wheel and sdist")
        built = distributions.build(root, folder, epoch=of.epoch)
        distributions.require_same_from_sdist(built, epoch=of.epoch)
        tell("a clean environment with the wheel")
        clean = prepare(scratch, root, built.wheel)
        tell("the samples, by the checkout and by the wheel")
        expected = trial.of_checkout(root)
        trial.require_same(
            root,
            expected,
            lambda rows: clean.run("tagstream", *trial.CLASSIFY, given=rows),
            f"the installed {built.wheel.name}",
        )
        tell("the list of what an installation of a worker brings")
        inventory.write(clean, root, folder / f"tagstream-{version}-cyclonedx.json", epoch=of.epoch)
        foreign = ", ".join(f"`{one}`" for one in environment.FOREIGN)
        tried = [
            "The sdist makes the wheel, byte for byte.",
            f"The wheel was installed with the packages of `requirements/run.lock` beside packages called {foreign}.",
            f"It decides the {len(expected)} rows of `{trial.SAMPLES}` as the checkout does.",
        ]
        made = None
        if engine is not None:
            tell(f"the image, by {engine}")
            made = image.build(engine, of, folder, build_options)
            trial.require_same(root, expected, made.decide, f"the image {made.name}")
            tried.append(
                "The image decides them so too, in a container without a network, without rights and with nothing to write to."
            )
            tell("the list of what the image has")
            if image.write_list(made) is None:
                tell(f"there is no list of it: {image.LISTS} is not on PATH")
        notes.write(of, folder, image=made, tried=tried)
        shutil.move(folder, done)
    return done
