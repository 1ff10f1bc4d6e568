"""The list of what an installation of a worker brings, in CycloneDX: its scanners tell whom a new vulnerability concerns."""

import json
import os
import sys
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from deploy.release.environment import Environment
from deploy.release.failure import output

OURS, EXTRA = "tagstream", "worker"
PATHS = "import json, sys; print(json.dumps(sys.path))"


def write(of: Environment, root: Path, file: Path, *, epoch: int) -> None:
    """
    Write the list of what the package needs with its extra `worker`, with the package itself as the component that it is about.

    Args:
        of: An environment that has all of it, and may have more.
        root: The checkout, whose pyproject.toml describes the package.
        file: JSON, by the schema of CycloneDX, which the program checks.
        epoch: The time that it gets, in seconds since 1970.

    Raises:
        ReleaseError: It cannot be written.
    """
    words = (sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--output-format", "JSON")
    described = ("--pyproject", root / "pyproject.toml", "--output-file", file)
    output((*words, *described, of.python), at=of.work, environ={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)})
    # The program lists all that is there. Taking components away leaves what the schema allows.
    found = json.loads(file.read_text(encoding="utf-8"))
    needed = with_extra(OURS, EXTRA, json.loads(of.run("python", "-c", PATHS)))
    components = {
        canonicalize_name(one["name"]): one for one in found["components"] if canonicalize_name(one["name"]) in needed
    }
    components[canonicalize_name(OURS)] = found["metadata"]["component"]
    found["components"] = [components[name] for name in sorted(needed) if name != OURS]
    found["dependencies"] = [
        {
            "ref": components[name]["bom-ref"],
            **({"dependsOn": [components[one]["bom-ref"] for one in sorted(needed[name])]} if needed[name] else {}),
        }
        for name in sorted(needed)
    ]
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def with_extra(name: str, extra: str, paths: list[str]) -> dict[NormalizedName, set[NormalizedName]]:
    """
    The distributions that pip installs for one with an extra, each with those that it asks for itself.

    Args:
        name: Of the one.
        extra: Of its extras.
        paths: The folders that have them all; the first that has a name counts, as for Python.
    """
    requires: dict[NormalizedName, list[str]] = {}
    for one in distributions(path=paths):
        requires.setdefault(canonicalize_name(one.name), one.requires or [])
    found: dict[NormalizedName, set[NormalizedName]] = {}
    # With the extra by which it is asked for; "" is none.
    waiting, seen = [(canonicalize_name(name), one) for one in ("", extra)], set[tuple[NormalizedName, str]]()
    while waiting:
        package, extra = one_of_them = waiting.pop()
        if one_of_them in seen:
            continue
        seen.add(one_of_them)
        asked = found.setdefault(package, set())
        for requirement in map(Requirement, requires[package]):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                other = canonicalize_name(requirement.name)
                asked.add(other)
                waiting += [(other, further) for further in ("", *requirement.extras)]
    return found
