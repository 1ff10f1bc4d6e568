"""The comparison's statistics have the answers that were worked out by hand, and known-bad arms are refused."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers import __main__ as command
from benchmarks.peers import arms, figures, growth, open_loop, page, roofline, saturation, texts
from benchmarks.peers.figures import Work
from benchmarks.peers.saturation import Run
from benchmarks.peers.texts import Event, Outcome
from tagstream.model_export.bundle.model import open_session
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.stream.contract.event import Record
from tests.replacing import replace

WHOLE = Work(lost=0, repeated=0, foreign=0, agreement=1.0, f1=0.9)
EXPECTED = {"a": "x", "b": "y", "gold-c": "x"}
GOLD = {"gold-c": "x"}


def row(text: str) -> Row:
    """A labelled text."""
    return Row(text=text, tag="x", source="corpus", topic=text)


def material(gold: int, others: int) -> texts.Material:
    """So many texts."""
    golden, rest = (tuple(row(f"{kind} {n}") for n in range(count)) for kind, count in (("gold", gold), ("other", others)))
    parts = Splits(
        train=rest, calibration=(), holdout=golden, corpus_test=(), unlabelled=(), near_duplicates_removed=0, digests={}
    )
    return texts.Material(name="made up", parts=parts, gold=golden, others=rest)


def outcome(intended_ms: float | None, written_ms: int) -> Record:
    """An outcome's record, with its intended time where there is one."""
    headers = () if intended_ms is None else ((open_loop.HEADER, str(round(1000 * intended_ms)).encode()),)
    return Record(topic="t", key=b"k", value=b"{}", headers=headers, partition=0, offset=0, timestamp_ms=written_ms)


def a_run(arm: str, work: Work, per_second: float = 1000.0, *, counted: bool = True) -> Run:
    """A run of an arm."""
    return Run(
        arm=arm,
        counted=counted,
        events=10,
        per_second=per_second,
        cpu_us=1400.0,
        first_seconds=2.0,
        peak_mib=200.0,
        record_bytes=700.0,
        work=work,
    )


def test_a_rate_leaves_out_the_first_tenth() -> None:
    """A slow start does not count: 90 records, ten milliseconds apart, are a hundred a second."""
    slow = range(0, 10_000, 1000)
    even = range(20_000, 20_900, 10)
    assert figures.span_of([*even, *slow]).per_second == 100.0


def test_a_rate_needs_records() -> None:
    """One record has no rate."""
    with pytest.raises(ValueError, match="1 records give no rate"):
        figures.span_of([5])


def test_processor_time_is_of_the_span_alone() -> None:
    """Start-up, of five seconds, is before the span; readings around its ends are interpolated."""
    readings = [(10.0, 5.0), (11.0, 6.0), (12.0, 6.5), (13.0, 9.0)]
    assert figures.cpu_within(readings, 10_500, 12_000) == pytest.approx(1.0)
    assert figures.cpu_within(readings, 0, 99_000) == pytest.approx(4.0)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_nearest_ranks(share: float, expected: int) -> None:
    """Of the numbers from 1 to 100."""
    assert figures.percentile(list(range(100, 0, -1)), share) == expected


def test_a_stall_of_the_sender_counts_as_delay() -> None:
    """Ten events were intended every 100 ms and all written at once after a second: the first of them waited for it."""
    events = [(100.0 * number, 1000) for number in range(10)]
    assert figures.delays_ms(events, since_ms=0) == [1000.0 - 100 * number for number in range(10)]
    assert figures.delays_ms(events, since_ms=900) == [100.0]


def test_lag_counts_what_is_outstanding() -> None:
    """At 250 ms three of five events were intended and one was written."""
    assert figures.lag([0.0, 100.0, 200.0, 300.0, 400.0], [150, 260, 350, 450, 550], 250) == 2


def test_whole_work_has_no_faults() -> None:
    """The F1 is of the gold events alone."""
    work = figures.work_of(list(EXPECTED.items()), expected=EXPECTED, gold=GOLD)
    assert work == Work(lost=0, repeated=0, foreign=0, agreement=1.0, f1=1.0)
    assert work.faults(1.0) == []


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ([("a", "x"), ("b", "y")], "1 events lost"),
        ([("a", "x"), ("b", "y"), ("gold-c", "x"), ("a", "x")], "1 outcomes written again"),
        ([("a", "x"), ("b", "y"), ("gold-c", "x"), ("d", "x")], "1 outcomes that belong to no event"),
        ([("a", "x"), ("b", "y"), ("gold-c", "x"), None], "1 outcomes that belong to no event"),
        ([("a", "x"), ("b", "x"), ("gold-c", "x")], "only 0.6667 of the labels are those of its model (at least 1.0)"),
        ([], "3 events lost"),
    ],
)
def test_work_that_is_not_whole_is_named(written: Sequence[tuple[str, str] | None], fault: str) -> None:
    """Events lost, repeated or foreign, and other labels."""
    assert fault in figures.work_of(written, expected=EXPECTED, gold=GOLD).faults(1.0)


def test_an_arm_that_was_stopped_early_loses_nothing() -> None:
    """Its output is judged all the same."""
    work = figures.work_of([("a", "x"), ("b", "x")], expected=EXPECTED, gold=GOLD, whole=False)
    assert work.faults(1.0) == ["only 0.5000 of the labels are those of its model (at least 1.0)"]


def test_the_known_bad_arms_are_bad() -> None:
    """Each harms one event of fifty, and the comparison names it."""
    events = [Event(id=str(number), title="t") for number in range(100)]
    expected = {event.id: "x" for event in events}

    def decide(given: Sequence[Event]) -> list[Outcome]:
        return [Outcome(id=event.id, tag="x") for event in given]

    for harm, fault in ((arms.dropping, "2 events lost"), (arms.mislabelling, "only 0.9800 of the labels")):
        work = figures.work_of([(one.id, one.tag) for one in harm(decide)(events)], expected=expected, gold={})
        (reason,) = work.faults(1.0)
        assert reason.startswith(fault)


def test_events_hold_every_gold_row_once_in_one_order() -> None:
    """All arms read the same events; each gold row counts once, every row comes, and no text twice."""
    found = list(texts.events(material(5, 3), 40))
    assert found == list(texts.events(material(5, 3), 40))
    assert len({event.id for event, _ in found}) == 40
    assert sorted(event.title for event, _ in found if texts.is_gold(event.id)) == [f"gold {number}" for number in range(5)]
    assert len({row.text for _, row in found}) == 8
    # From the second time on, the number of the round stands behind a row's text.
    assert len({event.title for event, _ in found}) == 40


def test_a_slower_arm_has_the_same_mix() -> None:
    """Fewer events are a prefix of more, half of them gold rows, and each arm's F1 is from the same rows."""
    given = material(5, 30)
    more, fewer = list(texts.events(given, 400)), list(texts.events(given, texts.enough(given)))
    assert more[: len(fewer)] == fewer
    for drawn in (more, fewer):
        assert sum(row in given.gold for _, row in drawn) * 2 == len(drawn)
        assert {row for event, row in drawn if texts.is_gold(event.id)} == set(given.gold)
    assert [row for _, row in more if row in given.others][:30] != list(given.others)


def test_every_arm_decides_every_gold_row() -> None:
    """An arm of fifty events a second decides all of them also where it has the time for one."""
    counts = saturation.counts(material(40, 100), ["tagstream", "faust-pipeline"], 0.02)
    assert counts == {"tagstream": 80, "faust-pipeline": 80}
    assert saturation.counts(material(40, 100), ["tagstream"], 1) == {"tagstream": 1000}


def test_the_tokens_are_those_of_the_events_that_the_arms_read() -> None:
    """One word and three, with the start and end of each text: 3 tokens in the first event, 4 in the mean of both, and the page has both."""
    one, three = row("dog"), row("dog dog dog")
    given = replace(material(1, 1), gold=(one,), others=(three,))
    assert command.tokens(given, [2, 1]) == (3.0, 4.0)
    about = command.Surroundings(name="Run", material=given, tokens=(3.0, 4.0), others=0.0)
    assert about.line("onnxruntime").endswith("; made up, 3.0 to 4.0 tokens in the mean.")
    same = replace(about, tokens=(20.0, 20.04))
    assert same.line("onnxruntime").endswith("; made up, 20.0 tokens in the mean.")


def test_the_open_loop_is_judged_by_intended_times() -> None:
    """
    An event every 100 ms for 4 s, each answered 10 ms later; from 3 s on, each only at 5 s.

    Events of the first two seconds are left out: of the 20 others ten took 10 ms. At the end ten are outstanding.
    """
    times = [float(100 * number) for number in range(40)]
    records = [outcome(at, int(at) + 10 if at < 3000 else 5000) for at in times]
    found = open_loop.point(records, arm="tagstream", rate=10, late=[0.0, 1.0, 7.0], work=WHOLE)
    assert (found.p50_ms, found.p99_ms) == (10.0, 2000.0)
    assert (found.end_lag, found.late_ms, found.most_late_ms) == (10, 1.0, 7.0)


def test_the_worker_is_compared_with_its_baseline_in_each_round() -> None:
    """The median of the rounds' ratios, so that a slow minute of the machine counts for both."""
    delays = {"tagstream": (20.0, 30.0, 400.0), "aiokafka": (10.0, 20.0, 400.0)}
    points = [
        open_loop.Point(arm=arm, rate=100, p50_ms=5, p99_ms=p99, end_lag=0, late_ms=0.1, most_late_ms=1, work=WHOLE)
        for arm, several in delays.items()
        for p99 in several
    ]
    assert open_loop.ratio(points, 100, lambda one: one.p99_ms) == 1.5
    assert "| 100 events/s, tagstream | 5 (5 to 5) | 30 (20 to 400) | 1.00 / 1.50 | 0 | 0.1, 1 |" in page.open_loop_block(
        points, ""
    )


def test_processor_times_are_compared_in_each_round() -> None:
    """A round that is not counted is left out."""
    runs = [
        replace(a_run(arm, WHOLE, counted=counted), cpu_us=cpu)
        for arm, cpu, counted in (
            ("tagstream", 900.0, False),
            ("tagstream", 120.0, True),
            ("tagstream", 300.0, True),
            ("tagstream", 110.0, True),
            ("aiokafka", 100.0, False),
            ("aiokafka", 100.0, True),
            ("aiokafka", 100.0, True),
            ("aiokafka", 100.0, True),
        )
    ]
    assert saturation.cpu_ratio(runs, "aiokafka") == 1.2


def test_outcomes_without_intended_times_are_refused() -> None:
    """An arm that drops headers has no delays."""
    with pytest.raises(ValueError, match="passes headers on"):
        open_loop.point([outcome(None, 5)], arm="tagstream", rate=10, late=[0.0], work=WHOLE)


def test_arrivals_are_poisson() -> None:
    """Of 20,000 intervals mean and standard deviation are the same, and the same seed gives the same times."""
    found = list(open_loop.times(100, 200, seed=3))
    gaps = np.diff(found)
    assert found == list(open_loop.times(100, 200, seed=3))
    assert gaps.mean() == pytest.approx(0.01, rel=0.05)
    assert gaps.std() == pytest.approx(0.01, rel=0.05)


def graph(*, quantised: bool) -> bytes:
    """[rows, 3, 4] times a weight [4, 8], of int8 or float; the result times its own transpose; the first row through a Gemm [8, 2]."""
    weight = numpy_helper.from_array(np.ones((4, 8), dtype=np.int8 if quantised else np.float32), "weight")
    scale, zero = numpy_helper.from_array(np.float32(1), "scale"), numpy_helper.from_array(np.uint8(0), "zero")
    tail = numpy_helper.from_array(np.ones((2, 8), dtype=np.float32), "tail")
    first = numpy_helper.from_array(np.int64(0), "first")
    start = [
        helper.make_node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["floats", "scale", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "scale", "zero"], ["left"]),
        helper.make_node("DequantizeLinear", ["weight", "scale"], ["right"]),
    ]
    ends = ["left", "right"] if quantised else ["floats", "weight"]
    nodes = [
        *(start if quantised else start[:1]),
        helper.make_node("MatMul", ends, ["wide"]),
        helper.make_node("Transpose", ["wide"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["wide", "turned"], ["scores"]),
        helper.make_node("Gather", ["wide", "first"], ["row"], axis=1),
        helper.make_node("Gemm", ["row", "tail"], ["logits"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [None, None, 4])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("scores", "logits")]
    made = helper.make_graph(nodes, "small", inputs, outputs, [weight, scale, zero, tail, first])
    return onnx.helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()  # type: ignore[no-any-return]


def test_products_are_counted_by_the_shapes_of_a_run() -> None:
    """One text of three tokens: 3 x 8 x 4 with the weight, 3 x 3 x 8 with itself, 2 x 8 in the Gemm."""
    inputs = {"input_ids": np.ones((1, 3, 4), dtype=np.int64)}
    assert roofline.products_of(graph(quantised=False), inputs) == roofline.Products(integer=0, floating=96 + 72 + 16)
    assert roofline.products_of(graph(quantised=True), inputs) == roofline.Products(integer=96, floating=72 + 16)
    two = {"input_ids": np.ones((2, 3, 4), dtype=np.int64)}
    assert roofline.products_of(graph(quantised=True), two) == roofline.Products(integer=192, floating=2 * (72 + 16))


def test_the_peak_is_a_product_of_whole_numbers() -> None:
    """The graph runs, and its count is side by side by side."""
    given = {"given": np.ones((16, 16), dtype=np.uint8)}
    (found,) = open_session(roofline.product(16)).run(None, given)
    assert found.dtype == np.int32
    assert roofline.products_of(roofline.product(16), given) == roofline.Products(integer=16**3, floating=0)


def test_the_share_of_the_peak() -> None:
    """A hundred million multiplications at ten thousand million a second need 10 ms; the session took 40."""
    found = roofline.Roofline(
        kind="k", peak=1e10, products=roofline.Products(integer=10**8, floating=0), text_us=40_000, tokens=32
    )
    assert found.share == pytest.approx(0.25)


def test_the_strongest_arithmetic_names_the_processor() -> None:
    """Matrix units before dot products; no flags are no guess."""
    cpuinfo = "model name\t: A Processor\nflags\t\t: fpu avx2 avx512_vnni amx_int8\n"
    assert roofline.kind_of(roofline.flags(cpuinfo)) == "matrix units (AMX)"
    assert roofline.processor(cpuinfo) == "A Processor"
    assert roofline.kind_of(roofline.flags("")) == "unknown"


def test_medians_are_of_counted_rounds() -> None:
    """The warm-up is not one of them."""
    runs = [a_run("tagstream", WHOLE, rate, counted=rate > 1) for rate in (1.0, 900.0, 1100.0, 1000.0)]
    assert saturation.medians(runs)["tagstream"].per_second == 1000.0


def test_arms_stand_in_the_table_s_order_with_their_worst_work() -> None:
    """Every second round begins with the last arm; the share of own labels is the least of all rounds."""
    worse = Work(lost=0, repeated=0, foreign=0, agreement=0.97, f1=0.8)
    found = saturation.medians([a_run("faststream", WHOLE), a_run("tagstream", WHOLE), a_run("faststream", worse)])
    assert list(found) == ["tagstream", "faststream"]
    assert found["faststream"].work == worse


def test_a_busy_machine_is_measured() -> None:
    """The share of other programs is one, however short the look."""
    assert 0 <= roofline.share_of_others(0.1) <= 1


def test_other_programs_never_have_more_than_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's idle ticks fell between two looks: 30 busy ticks of 20."""
    looks = iter([(100, 1000), (130, 1020)])
    monkeypatch.setattr(roofline, "processor_ticks", lambda: next(looks))
    assert roofline.share_of_others(0) == 1


def test_two_workers_have_cores_of_their_own() -> None:
    """An odd core stays free; one core is not enough."""
    assert growth.halves([3, 5, 8]) == ([3], [5])
    assert growth.halves([3]) is None


def test_a_million_events_a_second_on_paper() -> None:
    """1,400 us an event, 70 % busy: 2,000 cores; 300 and 700 bytes in three replicas: 3 GB/s, 30 brokers."""
    found = page.million_block(a_run("tagstream", WHOLE), "about", 300.0)
    assert "| cores of workers, 70% busy | 2,000 |" in found
    assert "| workers of 2 cores | 1,000 |" in found
    assert "| brokers of 8 cores, 100 MB/s each | 30 |" in found
    assert "| euros an hour, 0.04 a core | 90 |" in found


def comparison(arms_given: Sequence[str]) -> command.Comparison:
    """One without broker."""
    about = command.Surroundings(name="Run", material=material(2, 2), tokens=(20.0, 20.0), others=0.0)
    bench = command.Bench(bootstrap="", processes=None, logs=Path())  # type: ignore[arg-type]
    return command.Comparison(bench=bench, surroundings=about, size=command.QUICK, arms=arms_given, saturated=None)


@pytest.fixture
def a_page(tmp_path: Path) -> Path:
    """The marks of the real page, with nothing measured."""
    path = tmp_path / "page.md"
    path.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "bad",
    [
        Work(lost=3, repeated=0, foreign=0, agreement=1.0, f1=None),
        Work(lost=0, repeated=0, foreign=0, agreement=0.98, f1=None),
    ],
)
def test_a_bad_arm_ends_the_command_with_1_and_writes_nothing(
    bad: Work, a_page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One arm among good ones is enough, and it is named."""
    runs = [a_run("tagstream", WHOLE), a_run("dropping", bad)]
    monkeypatch.setattr(saturation, "run", lambda *_, **__: runs)
    before = a_page.read_bytes()
    found = comparison(["tagstream", "dropping"])
    found.saturation()
    command.keep(found, a_page, a_page.with_name("picture.svg"))
    assert command.finish(found) == 1
    assert a_page.read_bytes() == before
    assert f"void: dropping: {bad.faults(1.0)[0]}" in capsys.readouterr().out


def test_good_arms_are_written_into_their_blocks(a_page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a rival of a quarter of the speed the ratio is 4; other blocks stay as they are."""
    runs = [a_run("tagstream", WHOLE), a_run("faststream", WHOLE, 250.0)]
    monkeypatch.setattr(saturation, "run", lambda *_, **__: runs)
    before = a_page.read_text(encoding="utf-8").partition("<!-- growth -->")[2].partition("<!-- /growth -->")[0]
    found = comparison(["tagstream", "faststream"])
    found.saturation()
    found.points = [
        open_loop.Point(arm=arm, rate=500, p50_ms=9, p99_ms=26, end_lag=5, late_ms=0.2, most_late_ms=3, work=WHOLE)
        for arm in open_loop.ARMS
    ]
    picture = a_page.with_name("picture.svg")
    command.keep(found, a_page, picture)
    assert command.finish(found) == 0
    assert sorted(path.name for path in a_page.parent.iterdir()) == ["page.md", "picture.svg"]
    written = a_page.read_text(encoding="utf-8")
    assert "| FastStream, batches of 64, six layers dynamic int8 | 250 | 250 to 250 | 4.00 | >= 6 |" in written
    assert written.partition("<!-- growth -->")[2].partition("<!-- /growth -->")[0] == before
    assert picture.read_text(encoding="utf-8").count("<svg") == 1


def test_a_void_part_takes_no_other_with_it(a_page: Path) -> None:
    """The whole parts are written, and the exit code still is 1."""
    found = comparison(["tagstream"])
    found.blocks["start"] = "a start that was measured"
    found.faults.append("part growth: no broker")
    command.keep(found, a_page, a_page.with_name("picture.svg"))
    assert command.finish(found) == 1
    assert "\na start that was measured\n" in a_page.read_text(encoding="utf-8")
    assert not a_page.with_name("picture.svg").exists()


@pytest.mark.parametrize("part", [*command.PARTS, "million"])
def test_the_page_has_a_place_for_every_part(part: str) -> None:
    """Else a run of an hour would end with an error."""
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.replaced(text, part, "new").count("\nnew\n") == 1


def test_arms_are_compared_with_the_worker() -> None:
    """A table without it has no ratios; an unknown arm is no arm."""
    for given in ("aiokafka", "tagstream,nothing"):
        with pytest.raises(SystemExit) as ended:
            command.main(["--arms", given])
        assert ended.value.code == 2


def test_a_page_without_marks_is_refused() -> None:
    """The message names the marks."""
    with pytest.raises(ValueError, match="<!-- start -->"):
        page.replaced("text", "start", "new")


def test_every_arm_has_a_program() -> None:
    """The names of the table are those that the programs' own page lists."""
    named = [line.split()[0] for line in (arms.__doc__ or "").splitlines() if line.startswith("    ")]
    assert set(saturation.KINDS) - {"tagstream"} == {name for name in named if not name.endswith(",")}
    assert list(itertools.chain(saturation.BAD)) == ["dropping", "mislabelling"]
