"""`tagstream serve` as a process: a stop in the middle of work, a model that hangs, and addresses."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.serving.hanging import HANGS_VARIABLE
from tests.serving.running import ROOT, TINY, service
from tests.waiting import HANG_SECONDS, until

# Of eight requests at once, fewer than may wait.
ROWS = 100
MANY = json.dumps([{"id": str(row), "title": f"Deploying model {row}"} for row in range(ROWS)]).encode()


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    """SIGTERM while requests are decided: each gets all of its answers, or its connection was never taken; the exit code is 0."""
    with service(tmp_path) as running, ThreadPoolExecutor(8) as threads:

        def ask(_: int) -> int:
            try:
                return len(httpx.post(f"{running.url}/classify", content=MANY, timeout=HANG_SECONDS).json())
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
                # Refused, or closed before the server had read the request.
                return -1

        asked = [threads.submit(ask, at) for at in range(40)]
        until(lambda: any(one.done() for one in asked), "the first is answered")
        running.process.send_signal(signal.SIGTERM)
        found = [one.result() for one in asked]
        assert running.ended() == 0
    assert set(found) <= {ROWS, -1}
    assert ROWS in found


def test_a_model_that_hangs_ends_the_process(tmp_path: Path) -> None:
    """The bound of a batch is over: 503, then code 70, though the thread of the model still hangs."""
    hangs = tmp_path / "hangs"
    environ = {"TAGSTREAM_INFERENCE_TIMEOUT_SECONDS": "1", HANGS_VARIABLE: str(hangs)}
    with service(tmp_path, program="tests.serving.hanging", **environ) as running:
        hangs.touch()
        assert httpx.post(f"{running.url}/classify", content=MANY, timeout=HANG_SECONDS).status_code == 503
        assert running.ended() == 70
        assert '"serve_ended"' in running.log()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])  # noqa: S104 - refused
def test_another_address_needs_a_token_or_a_proxy(host: str) -> None:
    """Whoever reaches it could write events."""
    command = [sys.executable, "-m", "tagstream.stream.cli.main", "serve", "--host", host, "--bundle", str(TINY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Next: give --token-file" in done.stderr


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    """From the file of the option, on every address."""
    secret = tmp_path / "token"
    secret.write_text("0123456789abcdef0123456789abcdef\n", encoding="utf-8")
    with service(tmp_path, "--host", "0.0.0.0", "--token-file", str(secret)) as running:  # noqa: S104 - guarded by the token
        assert httpx.post(f"{running.url}/classify", content=b"{}").status_code == 401
        headers = {"Authorization": f"Bearer {secret.read_text(encoding='utf-8').strip()}", "Host": "serve.example"}
        assert httpx.post(f"{running.url}/classify", content=b'{"title":"a"}', headers=headers).status_code == 200


def requests(events: int, word: str = "", source: str = "app") -> bytes:
    """So many events of a source, each with this word."""
    return json.dumps([{"title": f"Deploying model {at} {word}", "source": source} for at in range(events)]).encode()


def test_without_a_broker_a_process_watches_its_own_requests(tmp_path: Path) -> None:
    """It learns, finds a flood and names its client in the log, and shows the alarm on its page."""
    small = {f"TAGSTREAM_DRIFT_{name}": str(value) for name, value in {"WINDOW_EVENTS": 100, "LEARNING_SECONDS": 0}.items()}
    with service(tmp_path, **small) as running, httpx.Client(base_url=running.url, timeout=HANG_SECONDS) as client:

        def alarms() -> dict[str, str]:
            return {one["name"]: one["what"] for one in client.get("/watch/snapshot.json").json()["alarms"]}

        assert len(client.post("/classify", content=requests(700)).json()) == 700
        until(lambda: '"drift_reference_learned"' in running.log(), "the reference is learned", state=running.log)
        assert "ContentDrift" not in alarms()
        client.post("/classify", content=requests(100, "quantabyte", "crawler"))
        until(lambda: "ContentDrift" in alarms(), "the flood is an alarm", state=running.log)
        assert "a flood of one source, 100% of the events" in alarms()["ContentDrift"]
        assert '"flood_of_one_source": "crawler"' in running.log()
        assert "tagstream_drift_score" in client.get("/metrics").text


def test_without_a_broker_publishing_fails_and_deciding_does_not(tmp_path: Path) -> None:
    """503 with a sentence within the bound of the settings; the decision alone needs no broker."""
    with service(tmp_path, TAGSTREAM_STARTUP_TIMEOUT_SECONDS="1") as running:
        found = httpx.post(f"{running.url}/classify?publish=true", content=b'{"title":"a"}', timeout=HANG_SECONDS)
        assert found.status_code == 503
        assert "127.0.0.1:9" in found.json()["detail"]
        assert httpx.post(f"{running.url}/classify", content=b'{"title":"a"}').status_code == 200
