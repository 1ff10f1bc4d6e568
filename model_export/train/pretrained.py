"""A classifier that was tuned elsewhere with transformers: refused with the reason, or loaded from its folder to classify and be exported.

A folder is treated as data. Weights are read from safetensors, never from a pickle. Code in the folder is not run. transformers sees only a
copy of the checked files and fields (`copied`).
"""

import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from tagstream.model_export import extras
from tagstream.model_export.calibrate.temperature import Floats
from tagstream.model_export.train import batches
from tagstream.model_export.train.private_copy import (
    CONFIG,
    INDEX,
    TOKENIZER,
    TOKENIZER_CONFIG,
    VOCABULARIES,
    WEIGHTS,
    CopyError,
    bounded,
    copied,
    read_json,
)

PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
CLASSIFIES = "ForSequenceClassification"
# Problem types whose scores do not choose one label.
OTHER_PROBLEMS = {
    "regression": "it predicts a number",
    "multi_label_classification": "it says yes or no to each label by itself",
}
# The longest text of a bundle, in tokens; see `manifest`.
MOST_TOKENS = 512
HUB = "hf://"
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
HUB_TIMEOUT_SECONDS = 30


class ModelRefusedError(Exception):
    """A model cannot be imported. The message has the reason and the next step."""

    exit_code = 1


def refused(name: str, why: str, next_step: str) -> ModelRefusedError:
    """
    Return the refusal of a model.

    Args:
        name: The folder or file.
        why: The reason, without a full stop.
        next_step: The next step, without a full stop.
    """
    return ModelRefusedError(f"{name} cannot be imported: {why}. Next: {next_step}.")


class ByMask(nn.Module):
    """
    A classifier of transformers with the two inputs of a bundle: token ids, padded with any number, and the mask of the padding.

    Models differ in their padding token, and some compute positions from it. So this module replaces the padding by the model's token.
    """

    def __init__(self, model: PreTrainedModel, pad: int) -> None:
        """Wrap a model with the padding token `pad`."""
        super().__init__()
        self.model = model
        self.pad = pad

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits, [batch, labels]."""
        ids = torch.where(attention_mask > 0, input_ids, self.pad)
        logits: Tensor = self.model(input_ids=ids, attention_mask=attention_mask).logits
        return logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """
    A loaded classifier.

    Attributes:
        name: The classifier's folder, or its address at the hub.
        network: The classifier, in inference mode.
        tokenizer: The classifier's tokenizer, which cuts at `max_length` tokens and does not pad.
        labels: The labels in the order of the logits.
        max_length: The longest text, in tokens.
        runtime: The program that runs the unchanged classifier, with the program's version.
    """

    name: str
    network: ByMask
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_length: int
    runtime: str

    @property
    def kind(self) -> str:
        """The classifier's class in transformers."""
        return type(self.network.model).__name__

    def logits(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return the logits of tokenised texts, each text alone, [texts, labels]."""
        with torch.no_grad():
            found = [self.network(*batches.pad([row]))[0].numpy() for row in rows]
        return np.asarray(found, dtype=np.float64)


def load(place: str, *, labels: Sequence[str] | None = None, max_length: int | None = None) -> Pretrained:
    """
    Load a classifier.

    Args:
        place: A folder as `save_pretrained` writes it, or `hf://NAME@REVISION`.
        labels: The labels in the order of the logits; None for the labels in the configuration.
        max_length: The longest text, in tokens; None for 512 or the model's own limit, whichever is less.

    Raises:
        ModelRefusedError: A bundle cannot hold this classifier, or the hub does not answer.
    """
    folder = _from_hub(place) if place.startswith(HUB) else Path(place)
    if not folder.is_dir():
        why = "there is no such folder" if not folder.exists() else "it is not a folder, and its name does not end in .onnx"
        raise refused(place, why, "give a folder that `save_pretrained` of transformers wrote, or an ONNX file")
    # In the hub's cache, the files of a revision are links to a folder with the files of all revisions.
    root = folder.parents[1] if place.startswith(HUB) else folder
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        config = _config(place, folder, root)
        _refuse_head(place, config)
        _refuse_pickle(place, folder)
        with copied(folder, root, config) as own:
            tokenizer, pad = _tokenizer(place, own)
            model = _model(place, own)
    except CopyError as error:
        raise refused(place, str(error), error.next_step) from error
    longest = _length(place, model, max_length)
    return Pretrained(
        name=place,
        network=ByMask(model, pad if pad is not None else int(model.config.pad_token_id or 0)).eval(),
        tokenizer=batches.load_tokenizer(tokenizer.to_str().encode(), longest),
        labels=_labels(place, model, labels),
        max_length=longest,
        runtime=f"transformers {version('transformers')}",
    )


def in_order(id2label: Mapping[Any, str] | None) -> tuple[str, ...]:
    """
    Return the labels of a configuration of transformers, in the order of the logits.

    Raises:
        ValueError: A key is not a number.

    >>> in_order({"1": "bug", "0": "wish"}), in_order(None)
    (('wish', 'bug'), ())
    """
    by_place = {int(place): str(label) for place, label in (id2label or {}).items()}
    return tuple(by_place[place] for place in sorted(by_place))


def labels_of(name: str, given: Sequence[str] | None, said: Sequence[str], count: int) -> tuple[str, ...]:
    """
    Return the labels of a model, in the order of its logits.

    Args:
        name: The folder or file.
        given: The user's names; None to use the model's own names.
        said: The model's own names, in order; empty if it has no names.
        count: The number of the model's logits.

    Raises:
        ModelRefusedError: The numbers of names and logits differ, a name comes twice, the model has only placeholders, or the user's names
            are the model's names in another order.
    """
    found = tuple(given if given is not None else said)
    placeholders = not found or (given is None and all(label == f"LABEL_{place}" for place, label in enumerate(found)))
    if placeholders:
        why = f"it has {count} logits and no names for them"
        raise refused(name, why, "name its labels in the order of its training, --labels A,B,...")
    if given is not None and set(given) == set(said) and list(given) != list(said):
        why = f"its configuration has the same labels in another order: {', '.join(said)}"
        raise refused(name, why, "leave --labels out")
    if len(found) != count or len(set(found)) != count:
        why = f"it has {count} logits, and {len(set(found))} different names for them: {', '.join(found)}"
        raise refused(name, why, "give one name for each logit, in the order of its training, --labels A,B,...")
    return found


def _from_hub(place: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = place.removeprefix(HUB).partition("@")
    if not name or not revision:
        why = "a model of the hub needs a revision, because the model behind a name may change"
        raise refused(place, why, f"give {HUB}NAME@REVISION, with the commit that the hub shows")
    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=HUB_FILES, etag_timeout=HUB_TIMEOUT_SECONDS)
    # For a wrong name, connection or right, the library raises its own errors and errors of three other packages.
    except Exception as error:
        raise refused(
            place,
            f"the hub does not give it: {str(error).rstrip('.')}",
            "look at name, revision and connection, or give a folder",
        ) from error
    return Path(folder)


def _config(name: str, folder: Path, root: Path) -> dict[str, Any]:
    """
    Return the unchanged configuration of a folder's model.

    Raises:
        CopyError: The file cannot be read, or is outside the bounds.
        ModelRefusedError: There is no configuration, or the model needs its own code.
    """
    if not os.path.lexists(folder / CONFIG):
        raise refused(
            name, f"it has no {CONFIG}", "give a folder that `save_pretrained` of transformers wrote, or an ONNX file"
        )
    config = read_json(folder, root, CONFIG)
    tokens = os.path.lexists(folder / TOKENIZER_CONFIG) and read_json(folder, root, TOKENIZER_CONFIG)
    if "auto_map" in config or (tokens and "auto_map" in tokens):
        why = "it is made of code of its own (`auto_map`), and code of a model is not run"
        raise refused(name, why, "export it to ONNX where you trust that code, and import the file")
    return config


def _refuse_head(name: str, config: dict[str, Any]) -> None:
    kinds = config.get("architectures") or ["a model without a head"]
    if not any(str(kind).endswith(CLASSIFIES) for kind in kinds):
        why = f"it is {kinds[0]}, which gives a text no label"
        raise refused(
            name,
            why,
            f"tune it as a model whose class ends in {CLASSIFIES}, or learn from your rows with `tagstream model train`",
        )
    problem = config.get("problem_type")
    if problem in OTHER_PROBLEMS:
        raise refused(name, f"{OTHER_PROBLEMS[problem]} (problem_type {problem})", "tune a classifier that chooses one label")
    if len(config.get("id2label") or ["", ""]) < 2:  # noqa: PLR2004 - a choice needs two
        raise refused(
            name, f"{OTHER_PROBLEMS['regression']}: its head has one output", "tune a classifier that chooses one label"
        )


def _refuse_pickle(name: str, folder: Path) -> None:
    if any(os.path.lexists(folder / weights) for weights in (WEIGHTS, INDEX)):
        return
    pickled = sorted(found.name for pattern in PICKLED for found in folder.glob(pattern))
    if pickled:
        why = f"its weights are a pickle ({pickled[0]}), which may run any code when it is read"
        raise refused(name, why, "load it where you trust it, and write it again with `save_pretrained`, as safetensors")
    raise refused(name, f"it has no weights ({WEIGHTS})", "give the folder that `save_pretrained` wrote")


def _tokenizer(name: str, folder: Path) -> tuple[Tokenizer, int | None]:
    """Return the tokenizer and its padding token."""
    # For a folder without a vocabulary, the library would make a tokenizer without words.
    if not any(any(folder.glob(pattern)) for pattern in VOCABULARIES):
        raise refused(name, "it has no tokenizer", f"save its tokenizer in its fast form ({TOKENIZER}) beside it")
    try:
        found = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
    # For a folder without a tokenizer, the library raises one of five errors; for a missing package, one of three more.
    except Exception as error:
        why = f"its tokenizer cannot be loaded: {_first_line(error)}"
        raise refused(name, why, f"save its tokenizer in its fast form ({TOKENIZER}) beside it") from error
    if not getattr(found, "is_fast", False):
        why = f"its tokenizer ({type(found).__name__}) has no fast form, which a bundle needs"
        raise refused(name, why, f"convert it to {TOKENIZER}, or tune a model whose tokenizer has that form")
    backend = found.backend_tokenizer
    if any(backend.encode("two words").type_ids):
        raise refused(
            name, "its tokenizer gives a text's tokens a type that is not 0", "export it to ONNX with that type inside"
        )
    return backend, found.pad_token_id


def _model(name: str, folder: Path) -> PreTrainedModel:
    try:
        with warnings.catch_warnings(), bounded():
            # The library warns of its own future changes.
            warnings.simplefilter("ignore")
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation="eager",
                output_loading_info=True,
            )
    except CopyError:
        raise
    # The library raises different errors for weights that do not fit, a truncated file, and an unknown architecture.
    except Exception as error:
        why = f"transformers {version('transformers')} does not load it: {_first_line(error)}"
        raise refused(
            name, why, f"save it again with this version, or take a newer one ({extras.install('export')})"
        ) from error
    wrong = sorted({*report["missing_keys"], *(str(key[0]) for key in report["mismatched_keys"])})
    if wrong:
        why = f"its file lacks {len(wrong)} of its weights ({wrong[0]}), which would be random"
        raise refused(name, why, "give the folder of a classifier that was tuned, with its head")
    found: PreTrainedModel = model.eval()
    if "attention_mask" not in inspect.signature(found.forward).parameters:
        why = f"{type(found).__name__} takes no attention mask, so its scores of a text depend on the padding"
        raise refused(name, why, "tune a model that masks padding")
    return found


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the error's class if it has no message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _labels(name: str, model: PreTrainedModel, given: Sequence[str] | None) -> tuple[str, ...]:
    return labels_of(name, given, in_order(model.config.id2label), int(model.config.num_labels))


def _length(name: str, model: PreTrainedModel, asked: int | None) -> int:
    """Return the longest text that a model reads, in tokens: the number of its positions, without first positions that it does not use."""
    most = MOST_TOKENS
    for path, module in model.named_modules():
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            most = min(most, module.num_embeddings - unused)
    if asked is not None and asked > most:
        raise refused(name, f"it reads at most {most} tokens, and {asked} are asked for", f"give --max-length {most} at most")
    return asked or most
