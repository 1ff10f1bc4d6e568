"""`tagstream broker`: starts a broker for trials."""

from typing import Annotated, Literal

import typer


def broker(
    kind: Annotated[
        Literal["docker", "kafka", "tansu"] | None,
        typer.Option(help="The only kind to try; unless given, the first kind that is available."),
    ] = None,
) -> None:
    """
    Start a broker for trials and print its address; it runs until stopped, and its records are then lost.

    It is Apache Kafka in Docker, Apache Kafka on Java 17 with Maven, or the embedded broker, which has no transactions.
    TAGSTREAM_BROKERS is not used.
    """
    from tagstream.stream.broker.run import until_stopped

    until_stopped(kind, typer.echo)
