"""What the members of a group say of a plan."""

from collections.abc import Sequence

import msgspec
import pytest

from tagstream.stream.contract.rollout_records import BundleName, WorkerState
from tagstream.stream.rollout.controller import Readiness
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.members import readiness_of

NEW = BundleName(digest="1" * 64, name="b", version="2")
READY = WorkerState(
    member="m", host="a", version="1", epoch=7, state="ready", digest=NEW.digest, arithmetic=None, at="2026-01-01T00:00:00.000Z"
)


def but(**changes: object) -> WorkerState:
    """A worker that is ready, but for that."""
    return msgspec.structs.replace(READY, **changes)


@pytest.mark.parametrize(
    ("workers", "said", "words"),
    [
        ([], Readiness.READY, ""),
        ([READY, but(host="b")], Readiness.READY, ""),
        ([READY, but(host="b", state="refused", why="no such bundle")], Readiness.REFUSED, "b: no such bundle"),
        (
            [but(host=host, state="refused", why=f"{free} MiB are free") for host, free in (("b", 7), ("c", 9), ("b", 8))],
            Readiness.REFUSED,
            "3 workers (b, c): 7 MiB are free",
        ),
        ([READY, None], Readiness.SILENT, "old-host (has said nothing: is it of an older version?)"),
        ([READY, but(host="b", epoch=6, state="decides")], Readiness.SILENT, "b (version 1)"),
        ([READY, but(host="b", digest="2" * 64)], Readiness.SILENT, "b (version 1)"),
        ([READY, but(host="b", arithmetic="9" * 8)], Readiness.REFUSED, "compute this bundle differently"),
    ],
    ids=[
        "none",
        "all",
        "one refuses",
        "all refuse",
        "an older package",
        "the epoch before",
        "another bundle",
        "another arithmetic",
    ],
)
def test_a_plan_needs_every_worker(workers: Sequence[WorkerState | None], said: Readiness, words: str) -> None:
    """Each with this bundle and the same arithmetic; one that says nothing may be of an older version, and would decide by its own model."""
    hosts = [("old-host" if one is None else one.host, one) for one in workers]
    found, why = readiness_of(hosts, Models(epoch=7, champion=NEW))
    assert found is said
    assert words in why
