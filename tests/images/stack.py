"""A project of Compose that is up while a context lasts, and is taken down whatever happens."""

import json
import secrets
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagstream.stream.broker.ports import free_ports
from tests.go.programs import ROOT, EngineError
from tests.images.engine import Engine, health_checks

UP_SECONDS, DOWN_SECONDS, ASK_SECONDS = 3600.0, 900.0, 900.0
SERVICES = ("kafka", "topics", "worker", "prometheus", "producer", "postgres", "review", "serve", "controller", "shadow")
# Grafana's image cannot be had where none can be pulled.
PROFILES = ("core", "observability", "demo", "review", "http", "rollout", "shadow")
# The image's own bundle, as a challenger of itself.
BUNDLE = "/opt/tagstream/lib/python3.11/site-packages/tagstream/model_export/bundles/default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running project; its ports on this machine are free ones."""

    engine: Engine
    project: str
    kafka_port: int
    prometheus_port: int
    review_port: int
    serve_port: int
    environ: Mapping[str, str]

    def compose(self, *words: str, seconds: float = ASK_SECONDS, **variables: str) -> str:
        """
        Say something to Compose about this project, with these variables for `docker-compose.yml`.

        Raises:
            EngineError: It failed, or did not end in time.
        """
        profiles = tuple(word for name in PROFILES for word in ("--profile", name))
        command = (*self.engine.compose(), "--project-name", self.project, "--progress", "quiet", *profiles, *words)
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**self.environ, **variables},
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            msg = f"compose {' '.join(words)} did not end within {seconds:.0f} s"
            raise EngineError(msg) from error
        if done.returncode != 0:
            msg = f"compose {' '.join(words)} ended with code {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
            raise EngineError(msg)
        return done.stdout

    def containers(self, service: str) -> list[str]:
        """The names of a service's containers, those that have ended too."""
        labels = (f"label=com.docker.compose.project={self.project}", f"label=com.docker.compose.service={service}")
        return sorted(
            self.engine.run("ps", "--all", "--filter", labels[0], "--filter", labels[1], "--format", "{{.Names}}").split()
        )

    def inspect(self, container: str, what: str) -> str:
        """One thing that the engine knows of a container, by a template."""
        return self.engine.run("inspect", "--type", "container", "--format", what, container)

    def python(self, container: str, program: str) -> str:
        """The output of a Python program in a container."""
        return self.engine.run("exec", container, "python3", "-c", program)

    def log(self, service: str) -> str:
        """The log of a service."""
        return self.compose("logs", "--no-color", "--no-log-prefix", service)

    def prometheus(self, path: str, **parameters: str) -> Any:
        """Prometheus' answer to a question of its HTTP API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.prometheus_port}/api/v1/{path}?{query}", timeout=ASK_SECONDS
        ) as answer:
            return json.load(answer)["data"]


@contextmanager
def stack(engine: Engine, image: str) -> Iterator[Stack]:
    """
    Bring the project up; when it returns or raises, nothing of it is left.

    Raises:
        EngineError: It does not come up; the message has the end of what its services wrote.
    """
    kafka, prometheus, review, serve = free_ports(4)
    password = Path(tempfile.mkdtemp(prefix="tagstream-password-")) / "review-password"
    password.write_text(secrets.token_hex(24), encoding="utf-8")
    ports = {"KAFKA_PORT": str(kafka), "PROMETHEUS_PORT": str(prometheus), "REVIEW_PORT": str(review), "SERVE_PORT": str(serve)}
    running = Stack(
        engine=engine,
        project=f"tagstream-test-{secrets.token_hex(3)}",
        kafka_port=kafka,
        prometheus_port=prometheus,
        review_port=review,
        serve_port=serve,
        environ={
            **engine.environ,
            **ports,
            "IMAGE": image,
            "REVIEW_PASSWORD_FILE": str(password),
            "RATE": "10",
            "CHALLENGER": BUNDLE,
        },
    )
    try:
        with health_checks(engine, running.project):
            try:
                running.compose("up", "--detach", "--no-build", "--quiet-pull", *SERVICES, seconds=UP_SECONDS)
            except EngineError as error:
                msg = f"{error}\nThe services wrote:\n{running.compose('logs', '--no-color', '--tail', '15')}"
                raise EngineError(msg) from error
            yield running
    finally:
        running.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", seconds=DOWN_SECONDS)
        shutil.rmtree(password.parent)
