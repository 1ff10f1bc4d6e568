"""The application that serves a worker's page, as `tagstream worker` composes it."""

import functools

from tagstream.monitoring.server import application as server
from tagstream.monitoring.server.page import WorkerPage

application = functools.partial(server.application, page=WorkerPage)
