"""The wheel, built once, and installed where nothing leads to the checkout."""

import sys
import sysconfig
from pathlib import Path

import pytest

from deploy.release import distributions, environment
from deploy.release.distributions import Distributions
from deploy.release.environment import Environment

ROOT = Path(__file__).parents[3]
# Any time will do, if it is the same for both builds.
EPOCH = 1_700_000_000


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Wheel and sdist of this tree."""
    return distributions.build(ROOT, tmp_path_factory.mktemp("built"), epoch=EPOCH)


def lend_packages(to: Environment) -> None:
    """
    Let an environment import what the tests' one has, which saves a download of 300 MB for each run.

    A folder that a .pth file names is searched after the environment's own, and the .pth files in it are not read: so the editable
    installation of the checkout stays out of sight. `make release` installs the locked packages in their place.
    """
    (to.packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def installed(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and packages of the user's own called `monitoring`, `stream` and `model_export`."""
    made = environment.make(tmp_path_factory.mktemp("clean"))
    environment.install(made, built.wheel)
    lend_packages(made)
    return made


@pytest.fixture(scope="session")
def package(installed: Environment) -> Path:
    """The folder of the installed package."""
    found = Path(installed.run("python", "-c", "import tagstream; print(tagstream.__file__)").decode().strip()).parent
    assert found == installed.packages / "tagstream", f"{found} is not what was installed by {sys.executable}"
    return found
