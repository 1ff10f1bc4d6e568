"""
A private copy of a transformers folder: transformers opens only the copied files, and sees only known fields.

The folder is not trusted. A name in its configuration can make transformers download a program, an index of weights can name any file,
reading a pipe never ends, and a huge number of layers would take forever to build.
"""

import inspect
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.modules import module as modules
from transformers import CONFIG_MAPPING

from tagstream.model_export.bundle import files
from tagstream.model_export.bundle.bundle import MAX_BYTES
from tagstream.model_export.bundle.manifest import MODEL

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
VOCABULARIES, MERGES = (TOKENIZER, "vocab.*", "*.model"), "merges.txt"
SPECIAL, ADDED = "special_tokens_map.json", "added_tokens.json"

MOST_JSON_BYTES = 16 * 1024 * 1024
MOST_VOCABULARY_BYTES = 64 * 1024 * 1024
# Four times the largest file of a bundle: its weights have eight bits, and the weights that are read have 32.
MOST_WEIGHT_BYTES = 4 * MAX_BYTES[MODEL]
# The most numbers of a network. The numbers in its file count twice: the network is built, then filled.
MOST_NUMBERS = 4 * MAX_BYTES[MODEL]
MOST_MODULES = 20_000
# Bounds of a configuration: the largest number (a vocabulary is smaller); the largest number of layers, heads, labels and the like, and the
# longest list; the deepest nesting of lists.
MOST_SIZE, MOST_COUNT, MOST_DEPTH = 2**24, 4_096, 4
COUNTED = re.compile(r"layer|block|group|repeat|head|expert|label")
# Fields of every configuration, even if a version of transformers does not declare them.
ALWAYS = frozenset({"architectures", "id2label", "label2id", "model_type", "num_labels", "pad_token_id", "problem_type"})
# Fields that architectures read without declaring them: `getattr(config, ...)` and `kwargs.get(...)` in transformers 5.17.
UNDECLARED = frozenset(
    {
        "attention_head_size",
        "classifier_dropout",
        "cls_dropout",
        "conv_act",
        "conv_groups",
        "conv_kernel_size",
        "embedding_size",
    }
    | {
        "first_k_dense_replace",
        "full_attention_interval",
        "global_attn_every_n_layers",
        "head_dim",
        "moe_layer_freq",
        "n_embed",
    }
    | {"norm_rel_ebd", "partial_rotary_factor", "pooler_hidden_size", "position_buckets", "rotary_emb_base", "rotary_pct"}
    | {"share_att_key", "sliding_window_pattern", "summary_activation", "summary_type", "talking_head", "tie_word_embeddings"}
)
OBJECTS = ("id2label", "label2id")
# Text and list fields of a tokenizer that do not name a file. Numbers and booleans cannot name a file, so they are always kept.
TOKENIZER_FIELDS = frozenset(
    {"added_tokens_decoder", "errors", "model_input_names", "never_split", "padding_side", "sp_model_kwargs"}
    | {"tokenizer_class", "truncation_side", "vocab_type"}
)
TOKENS = re.compile(r".*_tokens?")

Config = dict[str, Any]


class CopyError(Exception):
    """A folder is refused. The message has the reason, without a full stop; `next_step` is the next step."""

    def __init__(self, why: str, next_step: str = "save the model again with `save_pretrained`") -> None:
        """Store the reason and the next step."""
        super().__init__(why)
        self.next_step = next_step


@contextmanager
def copied(folder: Path, root: Path, config: Config) -> Iterator[Path]:
    """
    Yield a private folder with the checked files of a model's folder. The private folder exists while the context is open.

    Args:
        folder: The model's folder.
        root: The folder that links may not leave: the model's folder, or for a model of the hub the folder with all its files.
        config: The model's configuration, of which `reduced` keeps the known fields.

    Raises:
        CopyError: A file is missing, is not a regular file, is too large, or is outside `root`; or a field is outside its bounds.
    """
    folder, root = Path(os.path.realpath(folder)), Path(os.path.realpath(root))
    with tempfile.TemporaryDirectory(prefix="tagstream-import-") as made:
        into = Path(made)
        _write(into / CONFIG, reduced(config))
        for name in (TOKENIZER_CONFIG, SPECIAL, ADDED):
            if os.path.lexists(folder / name):
                _write(into / name, _of_tokenizer(read_json(folder, root, name)))
        for name in sorted({found.name for pattern in (*VOCABULARIES, MERGES) for found in folder.glob(pattern)}):
            (into / name).symlink_to(_inside(folder, root, name, MOST_VOCABULARY_BYTES))
        left = MOST_WEIGHT_BYTES
        for name in _weights(folder, root, into):
            real = _inside(folder, root, name, left)
            left -= real.stat().st_size
            (into / name).symlink_to(real)
        yield into


def read_json(folder: Path, root: Path, name: str) -> Config:
    """
    Return the JSON object in a file of a model's folder.

    Raises:
        CopyError: The file cannot be read, or does not contain a JSON object.
    """
    try:
        found = json.loads(_inside(folder, root, name, MOST_JSON_BYTES).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        why = f"its {name} cannot be read: {error}"
        raise CopyError(why) from error
    if not isinstance(found, dict):
        why = f"its {name} is not a JSON object"
        raise CopyError(why)
    return found


def reduced(config: Mapping[str, Any]) -> Config:
    """
    Return the fields of a configuration that its architecture declares or is known to read. All other fields are dropped.

    Raises:
        CopyError: The architecture is unknown or cannot be imported, the weights are quantised, or a field is outside its bounds.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        why = f"its {CONFIG} names no architecture that this version of transformers knows (model_type {str(kind)[:100]!r})"
        raise CopyError(why)
    if config.get("quantization_config") is not None:
        why = f"its weights are quantised (quantization_config in its {CONFIG})"
        raise CopyError(why, "save it in full precision: an import makes eight bits of it by itself")
    declared = CONFIG_MAPPING[kind]
    if declared.sub_configs:
        why = f"its architecture {kind} has parts with configurations of their own ({', '.join(declared.sub_configs)})"
        raise CopyError(why, "tune a model of texts alone, or export it to ONNX")
    known = {*ALWAYS, *UNDECLARED, *inspect.signature(declared).parameters, *declared.attribute_map}
    # Position embeddings ("rope") are configured in many ways, which newer versions of transformers translate.
    kept = {name: value for name, value in config.items() if (name in known or "rope" in name) and not name.startswith("_")}
    for name, value in kept.items():
        _check(name, value, MOST_COUNT if COUNTED.search(name) else MOST_SIZE, MOST_DEPTH)
    return kept


def _check(name: str, value: object, most: int, depth: int) -> None:
    """
    Check a field: it may have numbers within bounds, texts, and short lists of these.

    Raises:
        CopyError: The field has an object, a list that is too long or too deep, or a number outside the bounds.
    """
    if isinstance(value, dict) and name not in OBJECTS and "rope" not in name:
        why = f"its {CONFIG} has an object in {name}, which is not read"
        raise CopyError(why)
    if isinstance(value, list | dict):
        if len(value) > MOST_COUNT or not depth:
            why = f"its {CONFIG} has a list in {name} that is longer or deeper than any model's"
            raise CopyError(why)
        for part in value.values() if isinstance(value, dict) else value:
            _check(name, part, most, depth - 1)
    elif isinstance(value, int) and abs(value) > most and "theta" not in name and "rope" not in name:
        why = f"its {CONFIG} says {name} {str(value)[:40]}, and at most {most:,} is read"
        raise CopyError(why)


@contextmanager
def bounded() -> Iterator[None]:
    """While the context is open, building a network with more modules or numbers than a bundle can hold raises `CopyError`."""
    built = {"modules": 0, "numbers": 0}
    most = {"modules": MOST_MODULES, "numbers": MOST_NUMBERS}

    def count(what: str, more: int) -> None:
        built[what] += more
        if built[what] > most[what]:
            why = f"its {CONFIG} describes a network of more than {most[what]:,} {what}, and a bundle holds no such network"
            raise CopyError(why, "import a smaller model")

    def module(_: object, __: str, ___: object) -> None:
        count("modules", 1)

    def numbers(_: object, __: str, held: Tensor | None) -> None:
        count("numbers", 0 if held is None else held.numel())

    hooks = [
        modules.register_module_module_registration_hook(module),
        modules.register_module_parameter_registration_hook(numbers),
        modules.register_module_buffer_registration_hook(numbers),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _weights(folder: Path, root: Path, into: Path) -> list[str]:
    """Return the files of the weights: one file, or the files in an index. A new index is written to `into`."""
    if os.path.lexists(folder / WEIGHTS):
        return [WEIGHTS]
    if not os.path.lexists(folder / INDEX):
        return []
    found = read_json(folder, root, INDEX).get("weight_map")
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and name.endswith(".safetensors") for name in found.values()
    ):
        why = f"its {INDEX} does not say in which safetensors file each weight lies"
        raise CopyError(why)
    names = sorted(set(found.values()))
    if outside := [name for name in names if Path(name).name != name]:
        why = f"its {INDEX} names the file {outside[0][:200]!r}, which does not lie beside it"
        raise CopyError(why, "put all files of the weights into the model's folder")
    _write(into / INDEX, {"metadata": {}, "weight_map": found})
    return names


def _of_tokenizer(found: Config) -> Config:
    return {
        name: value
        for name, value in found.items()
        if value is None or isinstance(value, int | float) or name in TOKENIZER_FIELDS or TOKENS.fullmatch(name)
    }


def _inside(folder: Path, root: Path, name: str, most_bytes: int) -> Path:
    try:
        return files.inside(root, str((folder / name).relative_to(root)), most_bytes=most_bytes)
    except files.BundleFileError as error:
        why = f"its {error}"
        raise CopyError(why, "copy the files themselves into one folder (`cp --dereference`), and give that") from error


def _write(file: Path, found: Config) -> None:
    file.write_text(json.dumps(found), encoding="utf-8")
