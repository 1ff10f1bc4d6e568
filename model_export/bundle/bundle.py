"""The bundle: one folder with everything that a worker needs of a model, and nothing else.

    model.onnx       the network: `input_ids`, `attention_mask` (int64, [batch, length]) -> `logits` (float32, [batch, labels]) and,
                     with the option `multilabel`, `label_logits` of the same shape
    tokenizer.json   the tokenizer, in the format of the `tokenizers` library
    bundle.json      the `Manifest`, in canonical form

Training writes a bundle and the worker reads it; there is no other path between them. A bundle holds no pickle, no tensor outside
`model.onnx`, no operator outside the ONNX standard and no operator of control flow. `read` returns the bytes that it hashed, so exactly the
checked bytes are loaded. This module imports neither torch nor onnxruntime.
"""

import hashlib
import os
from pathlib import Path

import msgspec

from tagstream.model_export.bundle import files, onnx_graph
from tagstream.model_export.bundle import manifest as manifests
from tagstream.model_export.bundle.manifest import MANIFEST, MODEL, TOKENIZER, Manifest

# Far above the needs of a network for tagging. Parsing the manifest and the tokenizer takes several times their size in memory.
MAX_BYTES = {MODEL: 512 * 1024 * 1024, TOKENIZER: 64 * 1024 * 1024, MANIFEST: 16 * 1024 * 1024}
LABELS_METADATA_KEY = "tagstream.labels"
# A file with this metadata entry gives a text the same logits at any padding, so texts of different length may share a run.
PADDING_METADATA_KEY, ANY_PADDING = "tagstream.padding", "any"
DEFAULT_BUNDLE = Path(__file__).parents[1] / "bundles" / "default"


class BundleError(Exception):
    """The folder is not a bundle that can be trusted; the message gives the fault and the next step."""

    exit_code = 1


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A verified bundle: the manifest, the bytes that were hashed, and `digest`, the SHA-256 of `bundle.json`."""

    manifest: Manifest
    digest: str
    model: bytes
    tokenizer: bytes
    path: Path

    def without_files(self) -> "Bundle":
        """The bundle without the bytes of network and tokenizer. Once these are loaded, this saves 20 MB of a worker's memory."""
        return msgspec.structs.replace(self, model=b"", tokenizer=b"")


def write(folder: Path, *, manifest: Manifest, model: bytes, tokenizer: bytes) -> Bundle:
    """
    Write a bundle and read it back through every check.

    `manifest.files` is filled in here. The manifest is written last, so that an interrupted write leaves no bundle.

    Raises:
        BundleError: `read` refuses the result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {MODEL: model, TOKENIZER: tokenizer}
    manifest = msgspec.structs.replace(manifest, files=digests(model=model, tokenizer=tokenizer))
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(manifests.render(manifest))
    return read(folder)


def digests(*, model: bytes, tokenizer: bytes) -> dict[str, str]:
    """The SHA-256 of network and tokenizer, by file name."""
    return {MODEL: _sha256(model), TOKENIZER: _sha256(tokenizer)}


def read(folder: Path) -> Bundle:
    """
    Read and verify a bundle.

    Raises:
        BundleError: There is no such folder; a file is missing, too large, not a regular file, or a link out of the folder; a byte differs
            from the manifest; labels differ between manifest and network; the network refers to data outside its file, to operators
            outside the ONNX standard, or to operators of control flow; or the manifest is not in its canonical form.
    """
    # Resolved once for all files: a link to the folder, such as `current` for a release, may be switched meanwhile.
    root = Path(os.path.realpath(folder))
    if not root.is_dir():
        msg = (
            f"bundle {folder} is refused: there is no such folder. Next: point the setting bundle (TAGSTREAM_BUNDLE, --bundle) at the "
            f"folder of a bundle, or make one there (tagstream model train)."
        )
        raise BundleError(msg)
    raw = _bytes_of(folder, root, MANIFEST)
    try:
        manifest = manifests.parse(raw)
    except ValueError as error:
        raise _refused(folder, str(error)) from error
    contents = {name: _bytes_of(folder, root, name) for name in (MODEL, TOKENIZER)}
    for name, data in contents.items():
        found, expected = _sha256(data), manifest.files.get(name)
        if found != expected:
            raise _refused(folder, f"{name} has SHA-256 {found[:12]}…, the manifest says {str(expected)[:12]}…")
    _check_graph(folder, manifest, contents[MODEL])
    return Bundle(
        manifest=manifest,
        digest=_sha256(raw),
        model=contents[MODEL],
        tokenizer=contents[TOKENIZER],
        path=folder,
    )


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """
    A bundle's manifest, and the digest that names the bundle. The network is not checked, so nothing may be decided by this bundle.

    Raises:
        BundleError: There is no such file, or it is not a manifest.
    """
    raw = _bytes_of(folder, Path(os.path.realpath(folder)), MANIFEST)
    try:
        return manifests.parse(raw), _sha256(raw)
    except ValueError as error:
        raise _refused(folder, str(error)) from error


def _check_graph(folder: Path, manifest: Manifest, model: bytes) -> None:
    try:
        graph = onnx_graph.summarise(model)
    except ValueError as error:
        raise _refused(folder, f"{MODEL} is {error}") from error
    if graph.external_tensors:
        raise _refused(folder, f"{MODEL} keeps tensor {graph.external_tensors[0]!r} in another file")
    foreign = sorted(graph.domains - onnx_graph.STANDARD_DOMAINS)
    if foreign:
        raise _refused(folder, f"{MODEL} needs operators outside the ONNX standard: {', '.join(foreign)}")
    endless = sorted(graph.operators & onnx_graph.CONTROL_FLOW)
    if endless:
        raise _refused(folder, f"{MODEL} has operators that repeat or choose others, and may never end: {', '.join(endless)}")
    labels = graph.metadata.get(LABELS_METADATA_KEY)
    if labels != "\n".join(manifest.labels):
        raise _refused(folder, f"{MODEL} was exported for labels {labels!r}, the manifest says {manifest.labels!r}")


def _bytes_of(folder: Path, root: Path, name: str) -> bytes:
    try:
        return files.read(root, name, most_bytes=MAX_BYTES[name])
    except files.BundleFileError as error:
        raise _refused(folder, str(error)) from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refused(folder: Path, why: str) -> BundleError:
    return BundleError(
        f"bundle {folder} is refused: {why}. Next: export it again (tagstream model train) or point TAGSTREAM_BUNDLE at "
        f"a bundle that `tagstream model verify` accepts."
    )
