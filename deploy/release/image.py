"""The image, which is one for worker, console, serve and controller, where an engine can build it."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.release.failure import ReleaseError, output
from deploy.release.source import Source
from deploy.release.trial import CLASSIFY

# Podman's own format has no health checks.
BUILD_OPTIONS = {"docker": (), "podman": ("--format", "docker")}
# As docker-compose.yml and the manifests run it.
RUN = ("run", "--rm", "--interactive", "--network", "none", "--read-only", "--cap-drop", "ALL")
# Lists the packages in an image, those of Debian and those of Python. No registry of Python packages has it.
LISTS = "syft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """
    An image that was built and saved.

    Attributes:
        engine: The program that has it.
        name: Its name there.
        digest: The digest of its configuration, which names it everywhere.
        file: The archive, for `docker load` or `podman load`.
    """

    engine: str
    name: str
    digest: str
    file: Path

    def decide(self, rows: bytes) -> bytes:
        """
        The lines of `classify --json` in a container without a network and without rights.

        Raises:
            ReleaseError: It failed.
        """
        return output((self.engine, *RUN, self.name, *CLASSIFY), at=self.file.parent, given=rows)


def engine() -> str | None:
    """The first engine here that answers; None where there is none."""
    for name in BUILD_OPTIONS:
        if shutil.which(name) is None:
            continue
        try:
            output((name, "info"), at=Path("/"))
        except ReleaseError:
            # The program without its service, or without the rights that containers need: as if it were not there.
            continue
        return name
    return None


def build(by: str, source: Source, into: Path, options: Sequence[str] = ()) -> Image:
    """
    Build the image of a checkout, and save it.

    Args:
        by: The engine.
        source: The checkout that is released.
        into: The folder of the archive.
        options: Further options of the engine's `build`.

    Raises:
        ReleaseError: It cannot be built.
    """
    name = f"tagstream:{source.version}"
    labels = {"version": source.version, "revision": source.commit}
    labelled = [word for key, value in labels.items() for word in ("--label", f"org.opencontainers.image.{key}={value}")]
    output((by, "build", *BUILD_OPTIONS[by], *options, *labelled, "--tag", name, source.root), at=source.root)
    file = into / f"tagstream-{source.version}-image.tar"
    output((by, "save", "--output", file, name), at=into)
    # Engines write it for their own user alone.
    file.chmod(0o644)
    digest = output((by, "image", "inspect", "--format", "{{.Id}}", name), at=into).decode().strip()
    return Image(engine=by, name=name, digest=f"sha256:{digest.removeprefix('sha256:')}", file=file)


def write_list(of: Image) -> Path | None:
    """
    Write the list of all packages in an image, in CycloneDX, beside its archive.

    Returns:
        The list; None where there is no syft.

    Raises:
        ReleaseError: The image cannot be read.
    """
    if shutil.which(LISTS) is None:
        return None
    file = of.file.with_name(f"{of.file.stem}-cyclonedx.json")
    words = (LISTS, "scan", "--quiet", f"docker-archive:{of.file}", "--output", f"cyclonedx-json@1.6={file}")
    output(words, at=of.file.parent, environ={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"})
    return file
