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
# Of tagstream, and of the model that the bundle derives from: see NOTICE.
APACHE = [{"license": {"id": "Apache-2.0"}}]


class Contents(BuildHookInterface[Any]):
    """Puts the list into each wheel; an editable installation gets it too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the list where hatchling finds it; it has the same bytes each time, so there is no date in it."""
        del version
        self.folder = TemporaryDirectory()
        manifest = json.loads((Path(self.root) / BUNDLE / "bundle.json").read_text(encoding="utf-8"))
        file = Path(self.folder.name) / NAME
        file.write_text(json.dumps(contents(self.metadata.version, manifest), indent=2) + "\n", encoding="utf-8")
        build_data["sbom_files"].append(str(file))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the list, which the wheel now has."""
        del version, build_data, artifact_path
        self.folder.cleanup()


def contents(version: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """
    The list, by version 1.6 of the schema of CycloneDX.

    Args:
        version: Of the package.
        manifest: The `bundle.json` of the bundle that the wheel holds.
    """
    base = manifest["training"]["base_model"]
    bundle = {
        "type": "machine-learning-model",
        "bom-ref": "bundle",
        "name": manifest["name"],
        "version": manifest["version"],
        "licenses": APACHE,
        "components": [
            {"type": "file", "name": (BUNDLE / name).as_posix(), "hashes": sha256(digest)}
            for name, digest in sorted(manifest["files"].items())
        ],
        "pedigree": {
            "ancestors": [
                {
                    "type": "machine-learning-model",
                    "name": base["name"],
                    "version": base["revision"],
                    "purl": f"pkg:huggingface/{base['name']}@{base['revision']}",
                    "licenses": APACHE,
                    "hashes": sha256(base["sha256"]["model.safetensors"]),
                }
            ]
        },
    }
    package = {
        "type": "library",
        "bom-ref": "tagstream",
        "name": "tagstream",
        "version": version,
        "purl": f"pkg:pypi/tagstream@{version}",
        "licenses": APACHE,
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": package},
        "components": [bundle],
        "dependencies": [{"ref": "tagstream", "dependsOn": ["bundle"]}, {"ref": "bundle"}],
    }


def sha256(digest: str) -> list[dict[str, str]]:
    """One sum, as CycloneDX writes it."""
    return [{"alg": "SHA-256", "content": digest}]
