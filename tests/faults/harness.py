"""A fault run: a ledger of inputs, a fleet of workers, faults that strike while there is work, and a verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tagstream.stream.broker.processes import Processes
from tagstream.stream.decide.from_settings import draw_of
from tagstream.stream.settings.loading import load
from tests.faults.answers.sending import send_answers
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.epochs.changing import changed, changing_of
from tests.faults.inputs import Planted
from tests.faults.journal import Journal
from tests.faults.observer import TopicObserver
from tests.faults.plan import Plan
from tests.faults.report import Report
from tests.faults.run import FaultRun
from tests.faults.upstream.ledger import Ledger
from tests.faults.upstream.producers import send_varied
from tests.faults.verdict.checker import check
from tests.faults.verdict.evidence import Evidence
from tests.faults.verdict.offline import offline
from tests.faults.worker.fleet import Fleet
from tests.faults.worker.stub import LABELS


def run(
    plan: Plan,
    planted: Sequence[Planted],
    *,
    environ: Mapping[str, str],
    folder: Path,
    processes: Processes,
    cluster: StruckCluster | None = None,
    answers: Sequence[Planted] = (),
) -> Report:
    """
    Send, let the workers work under faults until all is done, and judge. The topics must exist.

    A transaction that hangs is ended after the last fault.

    A run whose process was ended goes on when it is called again with the same plan, inputs and folder, on the same records.

    Args:
        plan: The workers, and the faults that strike them.
        planted: The records to send; all of them before the first worker starts, so that there is always work.
        environ: TAGSTREAM_* of the workers.
        folder: For their logs, and for the journal.
        processes: The workers' supervision.
        answers: The records of `reviewed`, sent before the first worker starts too.
        cluster: The brokers and the network, where faults of theirs are planned; `environ` must then lead through its gates.
    """
    bootstrap = environ["TAGSTREAM_BROKERS"] if cluster is None else cluster.bootstrap
    settings = load({**environ, "TAGSTREAM_BROKERS": bootstrap}, folder=folder).settings
    journal = Journal(folder)
    sent = earlier = journal.inputs(planted)
    if sent is None:
        sent, sent_answers = send_varied(settings, planted), send_answers(settings, answers)
        journal.sent(sent, sent_answers)
    else:
        sent_answers = journal.answers(answers)
    fleet = Fleet(
        processes=processes,
        module=plan.module,
        model=plan.model,
        environ=environ,
        seconds_per_batch=plan.seconds_per_batch,
        folder=folder,
    )
    with TopicObserver(settings) as observer:
        ledger = Ledger(settings, sent, observer=observer, journal=journal, seed=plan.seed)
        if earlier is not None and ledger.is_hung:
            # An earlier process may have ended it already, and after some minutes the broker does.
            ledger.end_hung()
        changing = changing_of(plan, environ, observer=observer, processes=processes, folder=folder)
        this_run = FaultRun(plan, settings, fleet, observer, cluster, ledger, journal, answers=sent_answers, changing=changing)
        try:
            this_run.play()
        finally:
            this_run.clear()
        change, models = changed(changing, observer) if changing is not None else (None, [])
        evidence = Evidence(
            inputs=ledger.inputs,
            outcomes=observer.outcomes(),
            samples=this_run.samples,
            ends=observer.ends(),
            idle_bound_seconds=plan.patience_seconds,
            answers=sent_answers,
            answers_ends=observer.answers_ends(),
            audits=observer.audits(),
        )
        return Report(
            verdict=check(
                evidence,
                offline(settings, plan.model, models),
                draw=draw_of(settings, LABELS),
                reviewed=settings.topics.reviewed,
            ),
            strikes=tuple(this_run.strikes),
            exits=tuple(journal.exits()),
            inputs=len(ledger.inputs),
            answers=len(sent_answers),
            audits=len(evidence.audits),
            seconds=this_run.samples[-1].at_seconds,
            looks=len(this_run.samples),
            blind_looks=this_run.blind_looks,
            drift_findings=observer.drift_findings(),
            changed=change,
        )
