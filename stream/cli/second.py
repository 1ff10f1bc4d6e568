"""`tagstream second`: asks a second model about what waits for people, and says what it may settle."""

from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail, needing, stopping
from tagstream.stream.cli.options import Brokers, BundleFolder, Json, settings

app = typer.Typer(help="Ask a second model about what waits for people.", rich_markup_mode=None)

OFF = (
    "no second model is set, so nobody is asked. Next: set TAGSTREAM_SECOND__BUNDLE to the folder of a larger bundle, or "
    "TAGSTREAM_SECOND__ENDPOINT to the address of an endpoint (docs/second.md)."
)


@app.callback(invoke_without_command=True)
def second(
    context: typer.Context,
    brokers: Brokers = None,
    bundle: BundleFolder = None,
    metrics_port: Annotated[
        int, typer.Option(help="Port of the process's own /metrics; 0 takes a free one.", min=0, max=65535)
    ] = 9111,
) -> None:
    """
    Ask a second model about the items of review until stopped; publish what it may settle on tagged.

    It settles what people's answers have proved, and nothing before. Run one process for each group of workers.
    """
    if context.invoked_subcommand is not None:
        return
    chosen = settings(brokers=brokers, bundle=bundle)
    with needing("a second model", "worker"):
        from tagstream.stream.second.from_settings import adviser_of, budget_of, ledger_of
        from tagstream.stream.second.process import SecondProcess
    import time

    from tagstream.monitoring.metrics.second import SecondMetrics
    from tagstream.stream import logs
    from tagstream.stream.cli.show.metrics import metrics_at
    from tagstream.stream.terminal import console
    from tagstream.stream.terminal.text import counted

    budget = budget_of(chosen)
    adviser = adviser_of(chosen, budget)
    if adviser is None:
        fail(OFF, EXIT_USAGE)
    logs.configure(level=chosen.log_level, form=chosen.log_format)
    ledger = ledger_of(chosen, now_ms=round(time.time() * 1000))
    metrics = SecondMetrics.alone()
    process = SecondProcess(chosen, adviser.ask, ledger, budget, metrics)
    with stopping() as stop, metrics_at(chosen, metrics_port, metrics) as address:
        console.talk(f"metrics: http://{address}/metrics")
        process.run(stop)
    console.talk(f"{counted(process.opinions, 'opinion')} written, {counted(process.settled, 'item')} settled")


@app.command("status")
def status(brokers: Brokers = None, bundle: BundleFolder = None, json: Json = False) -> None:
    """Show what the second model may settle, what is missing to let it settle more, what it settled, how right, and what it cost."""
    chosen = settings(brokers=brokers, bundle=bundle)
    with needing("a second model", "worker"):
        from tagstream.stream.second.reading import READ, SecondReading
    import time
    from dataclasses import asdict

    from tagstream.stream.cli.show import second as shown
    from tagstream.stream.kafka import admin
    from tagstream.stream.kafka.reading.reader import reader_of
    from tagstream.stream.kafka.rights import Operation
    from tagstream.stream.second.from_settings import ledger_of
    from tagstream.stream.terminal import console

    names = {role: getattr(chosen.topics, role) for role in READ}
    admin.require(chosen, names, operations=dict.fromkeys(names, Operation.READ))
    ledger = ledger_of(chosen, now_ms=round(time.time() * 1000))
    with reader_of(chosen, list(names.values())) as reader:
        for _ in SecondReading(chosen, ledger).to_ends(reader, {}):
            pass
    found = ledger.warranty.status()
    if json:
        console.show_json({**asdict(found), "silent": ledger.silent, "calls": ledger.calls, "cost": ledger.cost})
    else:
        console.show("\n".join([*shown.lines(found, ledger.silent), *shown.spent(ledger.calls, ledger.cost)]))
