"""Runs the network of a bundle: texts to predictions.

A prediction must not depend on the other texts of its batch, or a redelivered event could get another decision. So the padded length of
a text depends on this text alone (its tokens, rounded up to `LENGTH_STEP`), and texts share a run only if their padded lengths are
equal. The rows of a run are independent arithmetic; the bundle's export gate has shown that they are the same in any batch.
"""

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

# The tokenizer's own threads would compete with the worker's; one thread is enough for tens of texts.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The runtime sends telemetry to its vendor unless this is set.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from tokenizers import Encoding, Tokenizer

from model_export.bundle.bundle import Bundle, BundleError
from model_export.bundle.prediction import Prediction, add_tags, predict
from model_export.bundle.strangeness import unfamiliar_share

LENGTH_STEP = 8
ROWS_PER_RUN = 16
GOLDEN_TOLERANCE = 0.02
ARITHMETIC_DIGITS = 12
# The longest wait for the other threads' batch, which takes some tenths of a second unless the machine is overloaded.
WARM_UP_SECONDS = 60.0

Ids = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


class OnnxClassifier:
    """
    A loaded bundle. Safe to call from several threads, which share the session and no other state.

    Attributes:
        arithmetic: 12 hexadecimal digits of the golden texts' logits, to the last bit. Two machines with the same one compute
            the same decisions; a processor without fused multiply-add, or another version of the runtime, may have another.
    """

    def __init__(self, bundle: Bundle) -> None:
        """
        Load the network from the verified bytes and compare its predictions for the bundle's golden texts.

        Raises:
            BundleError: The runtime does not accept the network, its inputs or outputs are not the bundle's, or this machine
                does not reproduce the golden texts.
        """
        self._bundle = bundle
        self._labels = bundle.manifest.labels
        self._offsets = bundle.manifest.offsets()
        # An older bundle has no list.
        self._known_words = frozenset(bundle.manifest.reference.get("known_words", ()))
        self._outputs = _outputs(bundle)
        self._tokenizer = _tokenizer(bundle)
        self._session = _session(bundle)
        self.arithmetic = self._check_golden()

    def warm_up(self, threads: int) -> None:
        """
        Decide the largest batches once in this many threads at the same time, so that their memory is allocated now.

        The runtime allocates memory when a batch needs it and never gives it back. Without the warm-up, a worker would reach its memory
        limit under load instead of when it is deployed. The longest texts come first, since a shorter batch does not always fit
        into the memory that a longer one has left.
        """
        longest = self._bundle.manifest.max_length
        lengths = [longest >> halvings for halvings in range(longest.bit_length()) if longest >> halvings >= LENGTH_STEP]
        together = threading.Barrier(threads)

        def decide() -> None:
            for length in lengths:
                together.wait(WARM_UP_SECONDS)
                # The longest text is truncated, since the model adds two tokens.
                self.classify(["memory " * length] * ROWS_PER_RUN)

        with ThreadPoolExecutor(threads, thread_name_prefix="warm-up") as executor:
            for done in [executor.submit(decide) for _ in range(threads)]:
                done.result()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the bundle's order."""
        return self._labels

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        Predict every text, in order.

        >>> from model_export.bundle.bundle import DEFAULT_BUNDLE, read
        >>> classifier = OnnxClassifier(read(DEFAULT_BUNDLE))
        >>> [p.label for p in classifier.classify(["Translating low-resource languages with back-translation"])]
        ['natural-language-processing']
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        logits = self._logits(encodings)
        return [
            self._prediction(text, encoding, *logits[row])
            for row, (text, encoding) in enumerate(zip(texts, encodings, strict=True))
        ]

    def _logits(self, encodings: Sequence[Encoding]) -> list[tuple[Logits, ...]]:
        """Of every text, in order: the logits, and those of the second head if there is one."""
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for position, encoding in enumerate(encodings):
            by_length[padded_length(len(encoding.ids), self._bundle.manifest.max_length)].append(position)
        found: dict[int, tuple[Logits, ...]] = {}
        for length, positions in by_length.items():
            for start in range(0, len(positions), ROWS_PER_RUN):
                rows = positions[start : start + ROWS_PER_RUN]
                inputs = _inputs([encodings[row].ids for row in rows], length)
                found |= zip(rows, zip(*self._session.run(self._outputs, inputs), strict=True), strict=True)
        return [found[position] for position in range(len(encodings))]

    def _prediction(self, text: str, encoding: Encoding, logits: Logits, label_logits: Logits | None = None) -> Prediction:
        manifest = self._bundle.manifest
        found = predict(
            logits.tolist(),
            labels=self._labels,
            temperature=manifest.temperature,
            offsets=self._offsets,
            tokens=len(encoding.ids),
            truncated=bool(encoding.overflowing),
            unfamiliar=unfamiliar_share(text, self._known_words) if self._known_words else 0.0,
        )
        if manifest.multilabel is None or label_logits is None:
            return found
        return add_tags(found, label_logits.tolist(), manifest.multilabel.thresholds)

    def _check_golden(self) -> str:
        """Compare the predictions for the golden texts with the manifest's; return the digest of their logits."""
        golden, option = self._bundle.manifest.golden, self._bundle.manifest.multilabel
        label_scores = option.golden if option is not None else [()] * len(golden)
        encodings = self._tokenizer.encode_batch([text.text for text in golden])
        logits = self._logits(encodings)
        for text, encoding, row, scores in zip(golden, encodings, logits, label_scores, strict=True):
            found = self._prediction(text.text, encoding, *row)
            expected = (*text.probabilities, *scores)
            seen = (*found.probabilities.values(), *found.label_scores.values())
            worst = max(abs(a - b) for a, b in zip(expected, seen, strict=True))
            if worst > GOLDEN_TOLERANCE:
                msg = (
                    f"bundle {self._bundle.path} is refused: this machine's runtime moves a probability of a golden text by "
                    f"{worst:.4f} (at most {GOLDEN_TOLERANCE}): {expected} became {seen}. The processor may "
                    f"saturate int8 products. Next: export the bundle on a machine like this one (tagstream model export)."
                )
                raise BundleError(msg)
        return hashlib.sha256(b"".join(row[0].tobytes() for row in logits)).hexdigest()[:ARITHMETIC_DIGITS]


def padded_length(tokens: int, max_length: int) -> int:
    """
    The length to which a text of this many tokens is padded: a function of the text alone.

    >>> [padded_length(n, 128) for n in (3, 8, 9, 128)]
    [8, 8, 16, 128]
    """
    return min(-(-tokens // LENGTH_STEP) * LENGTH_STEP, max_length)


def _inputs(rows: Sequence[list[int]], length: int) -> dict[str, Ids]:
    """The network's inputs, [rows, length]: token ids padded with 0, and a mask that is 1 where there is a token."""
    ids: Ids = np.zeros((len(rows), length), dtype=np.int64)
    mask: Ids = np.zeros((len(rows), length), dtype=np.int64)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _outputs(bundle: Bundle) -> list[str]:
    """The names of the network's outputs, by the manifest."""
    return ["logits"] if bundle.manifest.multilabel is None else ["logits", "label_logits"]


def _tokenizer(bundle: Bundle) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(bundle.tokenizer)
    # The library raises bare `Exception` for a file that it cannot read, and has no narrower type.
    except Exception as error:
        msg = f"bundle {bundle.path} is refused: tokenizer.json is not a tokenizer: {error}. Next: export it again."
        raise BundleError(msg) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.manifest.max_length)
    return tokenizer


def open_session(model: bytes) -> ort.InferenceSession:
    """
    A session with the settings of production: one core, in the calling thread.

    Args:
        model: The bytes of an ONNX file. Another format is refused: a file may be both an ONNX file, which the checks of a bundle
            read, and one in the runtime's own format, which it would prefer.
    """
    options = ort.SessionOptions()
    # One core per call and no spinning, since the worker has threads of its own and the host runs other programs.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 3
    return ort.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        # The fused node is slower than the two nodes that it replaces, by 13 to 22 % of the whole network's time.
        disabled_optimizers=["SkipLayerNormFusion"],
    )


def _session(bundle: Bundle) -> ort.InferenceSession:
    try:
        session = open_session(bundle.model)
    # onnxruntime's own exceptions share no base class but `Exception`.
    except Exception as error:
        msg = f"bundle {bundle.path} is refused: the runtime does not load model.onnx: {error}. Next: export it again."
        raise BundleError(msg) from error
    inputs = {node.name for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    widths = [node.shape[-1] for node in session.get_outputs()]
    expected, labels = _outputs(bundle), len(bundle.manifest.labels)
    if inputs != {"input_ids", "attention_mask"} or outputs != expected or set(widths) != {labels}:
        msg = (
            f"bundle {bundle.path} is refused: model.onnx takes {sorted(inputs)} and gives {outputs} of width {widths}; by the manifest "
            f"it would be input_ids and attention_mask, and {expected} of width {labels}. Next: export it again."
        )
        raise BundleError(msg)
    return session
