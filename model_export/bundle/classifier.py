"""Texts to predictions: the one place that runs the network. ONNX Runtime and tokenizers are known here and nowhere else.

A prediction must not depend on its neighbours, or a redelivered event could get another decision. So a text is padded to a
length that it alone decides (its own, rounded up to `LENGTH_STEP`), and batched only with texts of that same padded length;
what remains is arithmetic on independent rows, which the bundle's export gate has shown to be the same in any batch.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

# The tokenizer's own threads would fight the worker's; one call from one thread is enough for tens of texts.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The runtime reports its use to its makers unless told otherwise; a worker tells nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from tokenizers import Tokenizer

from model_export.bundle.bundle import Bundle, BundleError
from model_export.bundle.prediction import Prediction, add_tags, predict

LENGTH_STEP = 8
ROWS_PER_RUN = 16
GOLDEN_TOLERANCE = 0.02
# Others' turn of one batch; some tenths of a second where the machine is not wholly taken.
WARM_UP_SECONDS = 60.0

Ids = npt.NDArray[np.int64]


class OnnxClassifier:
    """A bundle, loaded and warm. Safe to call from several threads: the session is shared, nothing else is kept."""

    def __init__(self, bundle: Bundle) -> None:
        """
        Load the network from the verified bytes and ask it the bundle's golden texts.

        Raises:
            BundleError: The runtime does not accept the network, its inputs or outputs are not the bundle's, or this machine
                does not reproduce the golden texts.
        """
        self._bundle = bundle
        self._labels = bundle.manifest.labels
        # What is not asked for is not computed.
        self._outputs = _outputs(bundle)
        self._tokenizer = _tokenizer(bundle)
        self._session = _session(bundle)
        self._check_golden()

    def warm_up(self, threads: int) -> None:
        """
        Decide the largest batches once in so many threads at the same time: what memory that takes is taken now.

        The runtime keeps what it has allocated, and allocates as batches happen to be large: a worker that starts small would meet its
        limit of memory when the load does, and not when it is deployed. Lengths from the longest down, since a shorter batch does
        not always fit into the holes of a longer one.
        """
        longest = self._bundle.manifest.max_length
        lengths = [longest >> halvings for halvings in range(longest.bit_length()) if longest >> halvings >= LENGTH_STEP]
        together = threading.Barrier(threads)

        def decide() -> None:
            for length in lengths:
                together.wait(WARM_UP_SECONDS)
                # Truncated to the longest; two tokens are the model's own.
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
        manifest = self._bundle.manifest
        encodings = self._tokenizer.encode_batch(list(texts))
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for position, encoding in enumerate(encodings):
            by_length[padded_length(len(encoding.ids), manifest.max_length)].append(position)
        predictions: dict[int, Prediction] = {}
        for length, positions in by_length.items():
            for start in range(0, len(positions), ROWS_PER_RUN):
                rows = positions[start : start + ROWS_PER_RUN]
                logits, *label_logits = self._run([encodings[row].ids for row in rows], length)
                for place, row in enumerate(rows):
                    encoding = encodings[row]
                    found = predict(
                        logits[place],
                        labels=self._labels,
                        temperature=manifest.temperature,
                        tokens=len(encoding.ids),
                        truncated=bool(encoding.overflowing),
                    )
                    if manifest.multilabel is not None:
                        found = add_tags(found, label_logits[0][place], manifest.multilabel.thresholds)
                    predictions[row] = found
        return [predictions[position] for position in range(len(encodings))]

    def _run(self, rows: Sequence[list[int]], length: int) -> list[list[list[float]]]:
        """What each output says of each row."""
        ids: Ids = np.zeros((len(rows), length), dtype=np.int64)
        mask: Ids = np.zeros((len(rows), length), dtype=np.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        found = self._session.run(self._outputs, {"input_ids": ids, "attention_mask": mask})
        return [np.asarray(output, dtype=np.float64).tolist() for output in found]

    def _check_golden(self) -> None:
        golden, option = self._bundle.manifest.golden, self._bundle.manifest.multilabel
        label_scores = option.golden if option is not None else [()] * len(golden)
        predictions = self.classify([text.text for text in golden])
        for text, scores, found in zip(golden, label_scores, predictions, strict=True):
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


def padded_length(tokens: int, max_length: int) -> int:
    """
    The length to which a text of so many tokens is padded: a function of the text alone.

    >>> [padded_length(n, 128) for n in (3, 8, 9, 128)]
    [8, 8, 16, 128]
    """
    return min(-(-tokens // LENGTH_STEP) * LENGTH_STEP, max_length)


def _outputs(bundle: Bundle) -> list[str]:
    """What the network must give, by the manifest: no more and no less."""
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
    A session of the runtime as production runs it: on one core, in this thread.

    Args:
        model: The bytes of an ONNX file.
    """
    options = ort.SessionOptions()
    # One core a call, no spinning: the worker brings its own threads, and hosts are shared.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        # The fused node is slower than the two that it replaces: 13 to 22 % of the whole network.
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
