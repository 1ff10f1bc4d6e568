"""The files of wheel and sdist."""

import hashlib
import json
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.release import distributions
from deploy.release.distributions import Distributions
from tests.integration.wheel.conftest import EPOCH, ROOT
from tests.lacking import lacking

pytestmark = pytest.mark.slow

# They run, build or test the project by programs and folders that the sdist has not.
ONLY_IN_A_CHECKOUT = {
    ".dockerignore",
    ".env",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "Makefile",
    "SUPPORT.md",
    "benchmarks",
    "conftest.py",
    "deploy",
    "docker-compose.yml",
    "tests",
}


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """The files that git knows of, or will: by their paths from the root, rooms below `tagstream`."""
    if not (ROOT / ".git").exists():
        lacking("git knows which files are the project's, and this is no checkout")
    words = ("git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard")
    named = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    files = {name for name in named if (ROOT / name).is_file() and not name.startswith((".ci/", ".github/"))}
    return {re.sub(r"^(stream|model_export|monitoring)/", r"tagstream/\1/", name) for name in files}


def test_the_wheel_claims_one_name_and_holds_files_alone(built: Distributions) -> None:
    """One package beside its own description; no link, no test, no cache, nothing twice."""
    with zipfile.ZipFile(built.wheel) as wheel:
        members = wheel.infolist()
    names = [member.filename for member in members]
    assert {name.split("/")[0] for name in names} == {"tagstream", f"{'-'.join(built.wheel.name.split('-')[:2])}.dist-info"}
    assert len(names) == len(set(names))
    assert [member.filename for member in members if (member.external_attr >> 28) not in {0o10, 0}] == []
    assert [name for name in names if re.search(r"(^|/)(tests?|__pycache__)/|(^|/)(test_\w+|conftest)\.py$|\.pyc$", name)] == []


def test_the_wheel_lists_what_it_holds_that_others_made(built: Distributions) -> None:
    """The one list of PEP 770 holds by its schema, names the wheel's version, and has the sums of the model's files in the wheel."""
    with zipfile.ZipFile(built.wheel) as wheel:
        (name,) = [name for name in wheel.namelist() if ".dist-info/sboms/" in name]
        text = wheel.read(name).decode()
        found = json.loads(text)
        (model,) = found["components"]
        sums = {one["name"]: hashlib.sha256(wheel.read(one["name"])).hexdigest() for one in model["components"]}
        folder = "tagstream/model_export/bundles/default/"
        files = {name for name in wheel.namelist() if name.startswith(folder)}
    assert JsonStrictValidator(SchemaVersion.from_version(found["specVersion"])).validate_str(text) is None
    about = found["metadata"]["component"]
    assert [about["name"], about["version"]] == built.wheel.name.split("-")[:2]
    assert sums.keys() == files - {f"{folder}README.md", f"{folder}bundle.cdx.json"}
    assert sums == {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    (base,) = model["pedigree"]["ancestors"]
    assert base["name"] in (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_the_wheel_has_every_file_of_the_rooms_and_every_page(built: Distributions, tracked: set[str]) -> None:
    """A file that is left out is missed by the user of a verb that we did not try."""
    with zipfile.ZipFile(built.wheel) as wheel:
        held = {name for name in wheel.namelist() if name.startswith("tagstream/")}
    rooms = {name for name in tracked if name.startswith("tagstream/") and "/prometheus/tests/" not in name}
    pages = {f"tagstream/{name}" for name in tracked if re.match(r"docs/(?!generate/|images/|site/)|examples/library/", name)}
    assert held == rooms | pages


def test_the_pages_of_the_wheel_lead_to_the_programs_of_the_library(package: Path) -> None:
    """As in the checkout, by the same links."""
    links = {
        (page, link)
        for page in (package / "docs").rglob("*.md")
        for link in re.findall(r"\]\(([^)#]*/library/\w+\.py)", page.read_text(encoding="utf-8"))
    }
    assert {link for _, link in links} >= {"../examples/library/plain.py"}
    assert [(page, link) for page, link in links if not (page.parent / link).is_file()] == []


def test_the_sdist_has_every_file_once_and_none_that_only_works_in_a_checkout(built: Distributions, tracked: set[str]) -> None:
    """What makes the wheel, pages, examples and locks, with the rooms below `tagstream`; no machinery, and no link."""
    with tarfile.open(built.sdist) as sdist:
        members = sdist.getmembers()
    names = [member.name.split("/", 1)[1] for member in members]
    expected = {name for name in tracked if name.split("/", maxsplit=1)[0] not in ONLY_IN_A_CHECKOUT}
    assert sorted(names) == sorted({*expected, "PKG-INFO"})
    assert [member.name for member in members if not member.isfile()] == []


def test_two_builds_have_the_same_bytes(built: Distributions, tmp_path: Path) -> None:
    """A user who builds the commit can compare sums with the maintainer who released it."""
    again = distributions.build(ROOT, tmp_path, epoch=EPOCH)
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    assert again.sdist.read_bytes() == built.sdist.read_bytes()


def test_the_sdist_makes_the_wheel_of_the_checkout(built: Distributions) -> None:
    """So what is tried of the wheel holds for who builds from the sdist."""
    distributions.require_same_from_sdist(built, epoch=EPOCH)
