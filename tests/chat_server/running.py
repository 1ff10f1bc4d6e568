"""llama-cpp-python's server as a process of its own, with the model of `tiny_model.py`."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx

from tagstream.stream.broker.ports import free_ports
from tests.lacking import program
from tests.waiting import HANG_SECONDS, until

# The name that the server is asked for.
MODEL = "tiny"
CONTEXT_TOKENS = "8192"


@contextlib.contextmanager
def chat_server(folder: Path) -> Iterator[str]:
    """The address of a server for `second.endpoint`; its model and its log are in the folder, and it is killed at the end."""
    python, file, log = program("chat-server"), folder / "tiny.gguf", folder / "server.log"
    subprocess.run([python, Path(__file__).with_name("tiny_model.py"), file], check=True, timeout=HANG_SECONDS)
    address = ["--host", "127.0.0.1", "--port", str(free_ports(1)[0])]
    words = [
        python,
        "-m",
        "llama_cpp.server",
        "--model",
        str(file),
        "--model_alias",
        MODEL,
        "--n_ctx",
        CONTEXT_TOKENS,
        *address,
    ]
    url = f"http://127.0.0.1:{address[-1]}/v1"

    with log.open("wb") as written:
        process = subprocess.Popen(words, cwd=folder, stdout=written, stderr=written)

        def answers() -> bool:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{url}/models").status_code == httpx.codes.OK
            return False

        try:
            until(answers, "the server answers", state=lambda: log.read_text(encoding="utf-8"))
            yield url
        finally:
            process.kill()
            process.wait(HANG_SECONDS)
