"""Commands against a token endpoint that answers with a secret wherever it can, by HTTP and outputs alone."""

import os
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.serving.running import NO_BROKER
from tests.token_server import secret_file
from tests.waiting import HANG_SECONDS

# What an endpoint may repeat: the client's secret, or a token.
WORD = b"correct_horse"
LATER = b"HTTP/1.1 503 %b\r\nContent-Length: 0\r\n\r\n" % WORD
ANSWERS = {
    "no HTTP": b"%b\r\n\r\n" % WORD,
    "a status that is none": b"HTTP/1.1 %b\r\n\r\n" % WORD,
    "another protocol": b"HTTP/%b 200 OK\r\n\r\n" % WORD,
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % WORD,
    "a size of a chunk that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % WORD,
    "a reason": LATER,
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: https://idp.example/%b#%b\r\nContent-Length: 0\r\n\r\n" % (WORD, WORD),
    "an error's name": b'HTTP/1.1 401 No\r\nConnection: close\r\n\r\n{"error": "%b", "error_description": "%b"}' % (WORD, WORD),
    "a token of another form": b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"access_token": "%b!", "expires_in": "%b"}'
    % (WORD, WORD),
}
# The one of them in `make test`.
IN_SHORT = "a token of another form"


@pytest.mark.parametrize(
    "answer",
    [pytest.param(answer, id=name, marks=() if name == IN_SHORT else pytest.mark.slow) for name, answer in ANSWERS.items()],
)
def test_nothing_that_a_token_endpoint_says_is_repeated(tmp_path: Path, answer: bytes) -> None:
    """Neither in a finding nor in a log, whichever part of its answer it stands in."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        host, port = server.server_address[:2]
        environ = {
            "TAGSTREAM_BROKERS": NO_BROKER,
            "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": "2",
            "TAGSTREAM_SECURITY__PROTOCOL": "SASL_PLAINTEXT",
            "TAGSTREAM_SECURITY__INSECURE_PASSWORD_WITHOUT_TLS": "true",
            "TAGSTREAM_SECURITY__MECHANISM": "OAUTHBEARER",
            "TAGSTREAM_SECURITY__TOKEN_URL": f"http://{host}:{port}/token",
            "TAGSTREAM_SECURITY__CLIENT_ID": "a worker",
            "TAGSTREAM_SECURITY__CLIENT_SECRET_FILE": str(secret_file(tmp_path)),
        }
        command = [sys.executable, "-m", "tagstream.stream.cli.main", "doctor"]
        done = subprocess.run(command, env=os.environ | environ, capture_output=True, timeout=HANG_SECONDS, check=False)
        server.shutdown()
    said = done.stdout + done.stderr
    assert b"the token endpoint" in b" ".join(said.split()), said
    assert WORD not in said
