"""`tagstream model train --from`: the gate of the new bundle."""

import msgspec

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.data import splits
from tagstream.stream.cli.models import further_training


def test_a_bundle_keeps_a_gate_that_knows_more(tiny_bundle: Bundle) -> None:
    """Without the folder of real texts a refit bundle keeps its gate; one without a gate learns the project's own texts."""
    rows = splits.load(None)
    gated = msgspec.structs.replace(tiny_bundle.manifest, reference={"ood_strangeness": 1.0})
    assert further_training._new_gate(msgspec.structs.replace(tiny_bundle, manifest=gated), rows, None) is None
    fresh = further_training._new_gate(tiny_bundle, rows, None)
    assert fresh is not None
    assert len(fresh.none) > 600
    assert not fresh.by_label
