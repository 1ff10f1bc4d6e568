"""Bundles as `tagstream model start` makes them of labels in words, without its network."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.bundle import read_manifest
from tagstream.model_export.bundle.manifest import MANIFEST, render


def begun_with(said: Mapping[str, Mapping[str, str]], bundle: Path, folder: Path) -> Path:
    """A copy of a bundle whose manifest has these words of labels."""
    shutil.copytree(bundle, folder)
    manifest, _ = read_manifest(folder)
    training = manifest.training | {"labels": {"said": said, "sha256": {"labels.toml": "0" * 64}}}
    (folder / MANIFEST).write_bytes(render(msgspec.structs.replace(manifest, training=training)))
    return folder
