"""The contract of `Classifier`, tested on the real classifier, the rules and the fakes."""

import gc
import itertools
import math
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from onnx import numpy_helper

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, BundleError, read
from tagstream.model_export.bundle.model import Classifier, OnnxClassifier, Prediction
from tagstream.model_export.bundle.rules import RulesClassifier
from tagstream.stream.decide.from_settings import decider_of
from tagstream.stream.settings.settings import Settings
from tests.fakes import LABELS, KeywordClassifier
from tests.faults.worker.failpoints import Arms
from tests.faults.worker.poison import PoisonableClassifier
from tests.faults.worker.stub import FaultyClassifier

ODD_TEXTS = {
    "nothing": "",
    "blank": " \t\n\u00a0\u200b",
    "emoji": "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "controls": "a\x01\x7f\u202e\ufeffb",
    "combining": "e" + "\u0301" * 300,
    "no spaces": "x" * 20_000,
    "huge": "deployment of models " * 20_000,
    "special tokens": "[CLS] [SEP] [PAD] [MASK] [UNK]",
    "other scripts": "\u6a5f\u68b0\u5b66\u7fd2 \u041e\u0431\u0443\u0447\u0435\u043d\u0438\u0435 \u0627\u0644\u062a\u0639\u0644\u0645",
}
WORDS = ["translation", "image", "deployment", "maybe", "of", "graphs", "\u00e9t\u00e9", "\U0001f600", "x" * 40]
TEXTS = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join),
    st.text(max_size=40),
    st.sampled_from(list(ODD_TEXTS.values())[:5]),
)


@pytest.fixture(scope="session", params=["onnx", "multilabel", "rules", "keywords", "stub"])
def classifier(request: pytest.FixtureRequest) -> Classifier:
    """Each implementation that predicts."""
    if request.param == "onnx":
        found: Classifier = request.getfixturevalue("tiny_classifier")
        return found
    if request.param == "multilabel":
        return OnnxClassifier(request.getfixturevalue("tiny_multilabel"))
    made: dict[str, Classifier] = {
        "rules": RulesClassifier(),
        "keywords": KeywordClassifier(),
        # Wrapped as in the fault runs, with no fault armed.
        "stub": FaultyClassifier(PoisonableClassifier(), Arms(), seconds_per_batch=0.0),
    }
    return made[request.param]


def check(classifier: Classifier, prediction: Prediction) -> None:
    """Check one prediction against the contract."""
    assert tuple(prediction.probabilities) == classifier.labels
    assert prediction.label in classifier.labels
    assert all(0 <= score <= 1 and score == round(score, 4) for score in prediction.probabilities.values())
    assert prediction.confidence == max(prediction.probabilities.values()) == prediction.probabilities[prediction.label]
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert math.isfinite(prediction.energy)
    assert prediction.tokens >= 0
    if prediction.tags:
        assert prediction.label in prediction.tags
        assert prediction.tags == tuple(label for label in classifier.labels if label in prediction.tags)
        assert all(0 <= score <= 1 and score == round(score, 4) for score in prediction.label_scores.values())


def test_labels_are_two_or_more_and_different(classifier: Classifier) -> None:
    """A classifier has at least two labels, all different, and they do not change."""
    assert len(set(classifier.labels)) == len(classifier.labels) >= 2
    assert classifier.labels == classifier.labels


def test_no_text_gives_no_prediction(classifier: Classifier) -> None:
    """An empty list gives an empty list."""
    assert classifier.classify([]) == []


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, max_size=40))
def test_every_prediction_is_independent_of_the_batch(classifier: Classifier, texts: list[str]) -> None:
    """A prediction equals that of the text alone, of the batch reversed and of the batch doubled, to the last digit."""
    together = classifier.classify(texts)
    assert len(together) == len(texts)
    for prediction in together:
        check(classifier, prediction)
    assert together == [prediction for text in texts for prediction in classifier.classify([text])]
    assert together == classifier.classify(texts[::-1])[::-1]
    assert classifier.classify(texts + texts) == together + together


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_an_odd_text_is_a_text(classifier: Classifier, text: str) -> None:
    """Every text that passes the decoder gets a prediction, alone or beside an ordinary text."""
    alone, beside = classifier.classify([text]), classifier.classify(["deployment", text])
    check(classifier, alone[0])
    assert beside[1] == alone[0]


def test_a_text_that_does_not_fit_is_flagged(classifier: Classifier) -> None:
    """A text beyond the limit is flagged as truncated, and a short one is not."""
    short, long = classifier.classify(["deployment of models", ODD_TEXTS["huge"]])
    assert not short.truncated
    assert long.truncated
    assert long.tokens > short.tokens


def test_text_beyond_the_limit_does_not_change_the_prediction(classifier: Classifier) -> None:
    """Two texts that differ only beyond the limit have the same prediction."""
    head = "deployment of models " * 1_000
    one, other = classifier.classify([head + "translation", head + "image"])
    assert one == other


def test_four_threads_may_ask_at_once(classifier: Classifier) -> None:
    """Four threads that share a classifier get the predictions that each would get alone."""
    texts = [f"{word} {number}" for number in range(12) for word in WORDS]
    alone = classifier.classify(texts)
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(classifier.classify, texts[start:] + texts[:start]) for start in range(0, 40, 5)]
        for start, future in zip(range(0, 40, 5), found, strict=True):
            assert future.result(timeout=600) == alone[start:] + alone[:start]


def test_the_real_labels_are_the_bundles(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """The labels are the bundle's in its order, and they are the contract's four tags."""
    assert tiny_classifier.labels == tiny_bundle.manifest.labels
    assert set(tiny_classifier.labels) == set(LABELS)


def test_the_real_classifier_truncates_at_exactly_the_bundles_length(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """A text of exactly the limit is not cut, one token more is, and special tokens count."""
    limit = tiny_bundle.manifest.max_length
    found = tiny_classifier.classify(["deployment " * words for words in range(1, limit + 4)])
    assert all(prediction.tokens <= limit for prediction in found)
    for prediction, longer in itertools.pairwise(found):
        assert longer.truncated == (prediction.truncated or prediction.tokens == limit)


def test_two_loads_of_a_bundle_agree(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """Two loads of a bundle predict the same, so that a restart repeats its decisions."""
    texts = [*WORDS, *ODD_TEXTS.values()]
    assert OnnxClassifier(tiny_bundle).classify(texts) == tiny_classifier.classify(texts)


def test_bundles_that_differ_in_figures_share_session_and_tokenizer(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The second one takes no memory for its files, and both are let go with the last classifier that has them."""
    graph = onnx.load_model_from_string(tiny_bundle.model)
    graph.doc_string = "a network of this test alone"
    network = graph.SerializeToString(deterministic=True)
    tokenizer = tiny_bundle.tokenizer + b"\n"
    bundles = [
        bundle.write(
            tmp_path / version,
            manifest=msgspec.structs.replace(tiny_bundle.manifest, version=version),
            model=network,
            tokenizer=tokenizer,
        )
        for version in ("1", "2")
    ]
    assert bundles[0].digest != bundles[1].digest
    first, second = map(OnnxClassifier, bundles)
    assert first._session is second._session
    assert first._session is not OnnxClassifier(tiny_bundle)._session
    assert first._tokenizer is second._tokenizer
    longer = msgspec.structs.replace(bundles[1].manifest, max_length=bundles[1].manifest.max_length + 1)
    other = OnnxClassifier(msgspec.structs.replace(bundles[1], manifest=longer))
    assert other._tokenizer is not first._tokenizer
    del other
    session, texts = weakref.ref(first._session), weakref.ref(first._tokenizer)
    del first
    gc.collect()
    assert (session(), texts()) == (second._session, second._tokenizer)
    del second
    gc.collect()
    assert session() is texts() is None


def test_the_golden_texts_have_their_probabilities(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """The golden texts have the exporting machine's probabilities, within the tolerance of loading."""
    golden = tiny_bundle.manifest.golden
    for text, prediction in zip(golden, tiny_classifier.classify([text.text for text in golden]), strict=True):
        assert tuple(prediction.probabilities.values()) == pytest.approx(text.probabilities, abs=0.02)


# A separate process, since earlier tests have already grown the memory of this one.
GROWTH = """
import sys
from pathlib import Path
from tagstream.model_export.bundle.bundle import read
from tagstream.stream.worker.allocator import limit_fragmentation
from tagstream.model_export.bundle.model import OnnxClassifier

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

limit_fragmentation()
classifier = OnnxClassifier(read(Path(sys.argv[1])))
if sys.argv[2] == "warm":
    classifier.warm_up(1)
before = resident()
for words in range(1, 130, 8):
    classifier.classify(["word " * words] * 16)
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says how much is resident")
def test_a_warm_classifier_has_most_of_its_memory() -> None:
    """After the warm-up, batches of any size take hardly more memory."""

    def growth(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", GROWTH, str(DEFAULT_BUNDLE), how], capture_output=True, text=True, timeout=600, check=True
        )
        return int(done.stdout)

    assert 4 * growth("warm") < growth("cold")


def test_a_machines_arithmetic_is_in_its_golden_logits() -> None:
    """Two loads of a bundle on one machine agree, and a network that computes otherwise has another arithmetic."""
    shipped = read(DEFAULT_BUNDLE)
    loaded = OnnxClassifier(shipped)
    assert loaded.arithmetic == OnnxClassifier(shipped).arithmetic
    assert shipped.manifest.arithmetic is not None
    assert len(loaded.arithmetic) == len(shipped.manifest.arithmetic)
    other = onnx.load_model_from_string(shipped.model)
    bias = next(constant for constant in other.graph.initializer if constant.name == "layers.0.norm.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.float32(1.0001), bias.name))
    assert OnnxClassifier(msgspec.structs.replace(shipped, model=other.SerializeToString())).arithmetic != loaded.arithmetic


def test_a_network_in_the_runtimes_own_format_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A file may be an ONNX file, which the checks read, and in onnxruntime's format too, which the runtime would prefer."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(tiny_bundle.model, options, providers=["CPUExecutionProvider"])
    own = (tmp_path / "model.ort").read_bytes()
    # The runtime recognises its format by these bytes, unless it is told the format.
    assert own[4:8] == b"ORTM"
    ort.InferenceSession(own, providers=["CPUExecutionProvider"])
    with pytest.raises(BundleError, match=r"the runtime does not load model\.onnx"):
        OnnxClassifier(msgspec.structs.replace(tiny_bundle, model=own))


def test_a_loaded_bundle_keeps_no_bytes_of_its_files(tiny_bundle_folder: Path) -> None:
    """They are 20 MB of each worker's memory, and the runtime has taken what it needs of them."""
    decider = decider_of(Settings(bundle=tiny_bundle_folder))
    assert decider.bundle is not None
    assert decider.bundle.model + decider.bundle.tokenizer == b""
    assert decider.classifier._bundle.model == b""  # type: ignore[attr-defined]
    assert decider.classifier._session._model_bytes is None  # type: ignore[attr-defined]
