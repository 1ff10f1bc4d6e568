"""Names the right that a controller lacks. The brokers' error only says that they refused the request."""

import contextlib

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from tagstream.stream.kafka.admin import describe
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError
from tagstream.stream.kafka.rights import Resource, Role, missing, rights
from tagstream.stream.settings.settings import Settings

# The resource on which a user lacks a right, by the error code of the refusal. Both clients have the same codes.
REFUSALS = {
    TopicAuthorizationFailedError.errno: Resource.TOPIC,
    GroupAuthorizationFailedError.errno: Resource.GROUP,
    TransactionalIdAuthorizationFailed.errno: Resource.TRANSACTIONAL_ID,
}


def explained(settings: Settings, error: BrokerUnreachableError) -> Exception:
    """Return an error that names the lacking right if a broker refused the request for that; else the same error."""
    resource = REFUSALS.get(getattr(error.__cause__, "errno", None) or 0)
    if resource is None:
        return error
    needed = [right for right in rights(settings, Role.CONTROLLER) if right.resource is resource]
    allowed: dict[str, frozenset[str] | None] = {}
    if resource is Resource.TOPIC:
        # The client's error does not name the operation that was refused.
        with contextlib.suppress(BrokerUnreachableError):
            allowed = {name: found.operations for name, found in describe(settings, [right.name for right in needed]).items()}
    lacking = [missing(settings, right, allowed.get(right.name) if resource is Resource.TOPIC else ()) for right in needed]
    return denied(
        settings, next((one for one in lacking if one is not None), f"{error.__cause__}. Next: see the brokers' log.")
    )


def denied(settings: Settings, lacking: str) -> NotAuthorizedError:
    """Return the error for a lacking right, with the command that prints all rights of a controller."""
    user = settings.security.username or "USER"
    return NotAuthorizedError(f"{lacking} All rights of a controller: `tagstream doctor --acls {user} --role controller`.")
