"""A check of the Schema Registry."""

import time
from collections.abc import Iterator

from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.registry.avro import MissingExtraError, require_fastavro
from tagstream.stream.registry.client import Client, RegistryError
from tagstream.stream.settings.secret_files import SecurityError
from tagstream.stream.settings.settings import Settings

# The schema types that a worker can read.
READ = ("AVRO", "JSON")


def schema_registry(settings: Settings, severity: Status) -> Iterator[CheckFinding]:
    """
    Check that the server answers our user as a Schema Registry does. Yield nothing if the settings name no registry.

    Args:
        settings: The settings that a worker would run with.
        severity: The finding's status if the check fails.
    """
    given = settings.schema_registry
    if given.url is None:
        return
    try:
        require_fastavro()
        types = Client(given).types(time.monotonic() + given.timeout_seconds)
    except (MissingExtraError, SecurityError, RegistryError) as error:
        yield finding_of("schema registry", severity, error)
        return
    known = [name for name in READ if name in types]
    detail = f"{given.url} answers, and has schemas of {' and '.join(known) or 'no type that a worker reads'}"
    yield CheckFinding(check="schema registry", status=Status.OK if known else Status.WARN, detail=detail)
    if given.username is not None and given.insecure_password_without_tls:
        yield CheckFinding(
            check="schema registry",
            status=Status.WARN,
            detail="the password can be read on the network (schema_registry.insecure_password_without_tls)",
            fix="give the registry TLS, and an https address in TAGSTREAM_SCHEMA_REGISTRY__URL",
        )
