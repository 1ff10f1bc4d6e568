"""The option `multilabel` of a bundle that has learned it: tags in every decision, all else unchanged."""

import json

import numpy as np
import onnx

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle
from tagstream.model_export.bundle.invariance import check_invariance
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.data.reader import InputRow
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.onnx import heads
from tagstream.model_export.train.head import Head
from tagstream.stream.batch.run import decided
from tagstream.stream.contract.outcome import Tagged
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tests.fakes import raw

EVENT = b'{"id":"e-1","title":"Sentiment of image captions","tags":["mine"],"n":1.10}'


def test_an_event_gets_every_label_that_applies(default_multilabel: Bundle, small_splits: Splits) -> None:
    """`tags` follows `tag`, lists labels in the bundle's order including the decided one, and some texts have two."""
    pipeline = pipeline_of(Settings(bundle=default_multilabel.path, confidence_threshold=0.0))
    events = [raw(json.dumps({"id": str(n), "title": row.text}).encode()) for n, row in enumerate(small_splits.train[:60])]
    tagged = [one for one in pipeline.publications(events) if isinstance(one.outcome, Tagged)]
    assert len(tagged) > 30
    found = [json.loads(one.value or b"") for one in tagged]
    for record in found:
        names = list(record)
        assert names[names.index("tag") + 1] == "tags"
        assert record["tag"] in record["tags"]
        assert record["tags"] == [label for label in record["probabilities"] if label in record["tags"]]
        assert record["model"]["digest"] == default_multilabel.digest
    assert {len(record["tags"]) for record in found} >= {1, 2}


def test_the_option_adds_tags_and_changes_no_other_byte_of_a_decision(default_multilabel: Bundle) -> None:
    """Without `tags` and the model's reference, the bytes equal those of the bundle without the option."""
    without, with_it = (
        json.loads(next(iter(decided(pipeline_of(Settings(bundle=folder)), [InputRow(1, EVENT)]))).answer)
        for folder in (DEFAULT_BUNDLE, default_multilabel.path)
    )
    own = {"tags", "overridden", "model", "prediction_id", "tagged_at"}
    assert {name: value for name, value in with_it.items() if name not in own} == {
        name: value for name, value in without.items() if name not in own
    }
    assert (without["tags"], "overridden" in without) == (["mine"], False), "a producer's field, as ever"
    assert with_it["overridden"] == {"tags": ["mine"]}, "ours now, and nothing is lost"


def test_tags_do_not_depend_on_the_batch(default_multilabel: Bundle, small_splits: Splits) -> None:
    """Label scores are the same in any batch, to the last digit."""
    classifier = OnnxClassifier(default_multilabel)
    texts = [row.text for row in small_splits.corpus_test[:40]]
    assert check_invariance(classifier, texts, seed=5).max_probability == 0
    assert classifier.classify(texts) == classifier.classify(texts[::-1])[::-1]


def test_the_manifest_has_the_recipe_and_the_quality_of_the_option(default_multilabel: Bundle, small_splits: Splits) -> None:
    """The manifest has thresholds, recipe and figures on held-out rows, beside the figures of the tag alone."""
    option = default_multilabel.manifest.multilabel
    assert option is not None
    assert set(option.thresholds) == set(default_multilabel.manifest.labels)
    assert set(option.metrics) == {"corpus_test", "calibration"}
    found = option.metrics["corpus_test"]
    assert found["two_label_rows"] == sum(len(row.tags) == 2 for row in small_splits.corpus_test) > 20
    said = OnnxClassifier(default_multilabel).classify([row.text for row in small_splits.corpus_test])
    right = sum(set(one.tags) == {row.tag, *row.tags} for one, row in zip(said, small_splits.corpus_test, strict=True))
    assert found["subset_accuracy"] == round(right / len(said), 6)
    assert found["tags_added"] == sum(len(one.tags) - 1 for one in said) > 0
    assert option.training["two_label_rows"] > 80
    assert option.training["max_logit_of_rounding"] < 0.3


def test_a_new_first_head_drops_the_second(default_multilabel: Bundle) -> None:
    """The second head was fitted beside the old first one, so a new first head drops it and changes no other byte."""
    plain = bundle.read(DEFAULT_BUNDLE)
    labels = plain.manifest.labels
    width = heads.embed(plain.model, [[1, 2, 3]]).shape[1]
    head = Head(weight=np.eye(len(labels), width) + 0.1, bias=np.zeros(len(labels)))
    dropped = heads.with_head(default_multilabel.model, head, labels)
    assert "label_logits" not in [output.name for output in onnx.load_model_from_string(dropped).graph.output]
    assert dropped == heads.with_head(plain.model, head, labels)
