"""`python -m benchmarks.walk` counts what is crossed, and nothing else."""

from pathlib import Path

from benchmarks.walk import Walk, length, walk_twice, walks
from tagstream.model_export.bundle.text import read
from tagstream.stream.contract.event import Record, decode


def decode_one(number: int) -> None:
    """One event through the decoder."""
    decode(Record(key=None, value=b'{"id":"%d","title":"Hi"}' % number))


def decode_and_read(number: int) -> None:
    """One event through the decoder, then its title as a model reads it."""
    decode_one(number)
    read(f"Title {number}", None)


def test_only_our_files_count_and_the_first_time_is_left_out() -> None:
    """Of a decoded event the walk has the decoder's own file first, and no file of a library, a test or a benchmark."""
    walk = walk_twice("event", decode_and_read)
    assert next(iter(walk.files)).endswith("stream/contract/event.py")
    assert all("/stream/" in file or "/model_export/" in file or "/monitoring/" in file for file in walk.files)
    assert decode.__code__ in walk.entered
    once, twice = walk.changes, Walk("event")
    with twice.followed():
        twice.on = True
        for number in (0, 1):
            decode_and_read(number)
    assert twice.changes > once
    assert list(twice.files) == list(walk.files)


def test_what_is_followed_ends_with_the_walk() -> None:
    """Calls after the walk are not counted, and neither are those while it is off."""
    walk = Walk("event")
    with walk.followed():
        decode_one(0)
    decode_one(1)
    assert walk.figures()[:2] == (0, 0)


def test_a_functions_lines_go_to_the_end_of_what_is_defined_in_it() -> None:
    """A function inside another is a part of its length."""

    def outer() -> object:
        def inner() -> int:
            return 1

        return inner

    assert length(outer.__code__) == 5


def test_every_way_goes_through_the_real_parts(tmp_path: Path) -> None:
    """Each way crosses files and ends as it should; the network is called on those of an event, a request and a row."""
    found = {walk.name: walk for walk in walks(tmp_path)}
    assert len(found) == 7
    assert all(walk.files and walk.entered for walk in found.values())
    assert [name for name, walk in found.items() if walk.frames] == [
        "event: bytes to outcome",
        "event: stream to acknowledgement",
        "request: POST /classify",
        "row: tagstream batch",
    ]
