"""The list of the parts of the wheel that others made: CycloneDX in `.dist-info/sboms` (PEP 770). hatchling runs this file as it builds.

The list leaves out the packages that pip installs beside the wheel: pip chooses their versions later, and records them itself.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLE = Path("tagstream") / "model_export" / "bundles" / "default"
NAME = "tagstream.cdx.json"
APACHE = [{"license": {"id": "Apache-2.0"}}]


class Contents(BuildHookInterface[Any]):
    """Puts the list into each wheel; an editable installation gets it too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the list where hatchling finds it; it has the same bytes each time, so there is no date in it."""
        del version
        self.folder = TemporaryDirectory()
        of_bundle = json.loads((Path(self.root) / BUNDLE / "bundle.cdx.json").read_text(encoding="utf-8"))
        file = Path(self.folder.name) / NAME
        file.write_text(json.dumps(contents(self.metadata.version, of_bundle), indent=2) + "\n", encoding="utf-8")
        build_data["sbom_files"].append(str(file))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the list, which the wheel now has."""
        del version, build_data, artifact_path
        self.folder.cleanup()


def contents(version: str, of_bundle: dict[str, Any]) -> dict[str, Any]:
    """
    The list, by the same version of CycloneDX's schema as the bundle's own list.

    Args:
        version: Of the package.
        of_bundle: The bundle's own list. The files in it get their paths in the wheel.
    """
    bundle = of_bundle["metadata"]["component"]
    for file in bundle["components"]:
        file["name"] = (BUNDLE / file["name"]).as_posix()
    package = {
        "type": "library",
        "bom-ref": "tagstream",
        "name": "tagstream",
        "version": version,
        "purl": f"pkg:pypi/tagstream@{version}",
        "licenses": APACHE,
    }
    return {
        **of_bundle,
        "metadata": {"component": package},
        "components": [bundle],
        "dependencies": [{"ref": "tagstream", "dependsOn": ["bundle"]}, {"ref": "bundle"}],
    }
