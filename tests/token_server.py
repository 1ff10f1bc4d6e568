"""An OpenID provider on loopback: a token endpoint that takes client credentials, and the keys by which a broker verifies its tokens."""

import base64
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote

from tests.lacking import program
from tests.waiting import HANG_SECONDS

AUDIENCE, SECRET = "kafka", "tr0ub4dor-and-3"


class TokenServer:
    """
    Tokens are JWTs, signed by a key of this server.

    Attributes:
        url: Where it answers.
        seconds: The life of a token.
        audience: Of a token.
        given: How many tokens each client has got.
        tokens: All that were given.
        override: Is asked first for the answer to a client: status and body; None for a token.
    """

    def __init__(self, folder: Path) -> None:
        """Make a key in the folder."""
        self.url = ""
        self.seconds: float = 300.0
        self.audience = AUDIENCE
        self.given: Counter[str] = Counter()
        self.tokens: list[str] = []
        self.override: Callable[[str], tuple[int, bytes] | None] = lambda _: None
        self._key = folder / "signing.key"
        self._lock = threading.Lock()
        _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(self._key))

    def token(self, client: str, *, seconds: float | None = None) -> str:
        """A signed token of a client, which lives as long as given, or as the server's."""
        now = time.time()
        life = self.seconds if seconds is None else seconds
        claims = {"iss": self.url, "sub": client, "aud": self.audience, "scope": "stream", "iat": now, "exp": now + life}
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one"}, claims))
        signature = _openssl("dgst", "-sha256", "-sign", str(self._key), stdin=signed)
        found = (signed + b"." + _encoded(signature)).decode("ascii")
        with self._lock:
            self.given[client] += 1
            self.tokens.append(found)
        return found

    def keys(self) -> bytes:
        """The JSON Web Key Set."""
        shown = _openssl("rsa", "-in", str(self._key), "-noout", "-modulus").decode("ascii")
        modulus = bytes.fromhex(shown.strip().removeprefix("Modulus="))
        key = {"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "e": "AQAB", "n": _encoded(modulus).decode("ascii")}
        return json.dumps({"keys": [key]}).encode()

    def answer(self, authorization: str, form: dict[str, list[str]]) -> tuple[int, bytes]:
        """Status and body of a request for a token."""
        user = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        client, _, secret = map(unquote, user.partition(":"))
        given = self.override(client)
        if given is not None:
            return given
        if secret != SECRET or form.get("grant_type") != ["client_credentials"]:
            return 401, b'{"error": "invalid_client", "error_description": "of tr0ub4dor-and-3"}'
        return 200, json.dumps(
            {"access_token": self.token(client), "token_type": "Bearer", "expires_in": self.seconds}
        ).encode()

    def environment(self, client: str, secret_file: Path) -> dict[str, str]:
        """TAGSTREAM_* of a client that gets its tokens here."""
        return {
            "TAGSTREAM_SECURITY__MECHANISM": "OAUTHBEARER",
            "TAGSTREAM_SECURITY__TOKEN_URL": f"{self.url}/token",
            "TAGSTREAM_SECURITY__CLIENT_ID": client,
            "TAGSTREAM_SECURITY__CLIENT_SECRET_FILE": str(secret_file),
        }


def secret_file(folder: Path, secret: str = SECRET) -> Path:
    """A file with a client's secret."""
    path = folder / "client.secret"
    path.write_text(secret + "\n", encoding="ascii")
    path.chmod(0o600)
    return path


@contextmanager
def serving(folder: Path) -> Iterator[TokenServer]:
    """A server meanwhile."""
    program("openssl")
    server = TokenServer(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, server.keys())

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._reply(*server.answer(self.headers["Authorization"], form))

        def _reply(self, status: int, body: bytes) -> None:
            # A client that waits no longer has gone.
            with suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status in range(300, 400):
                    self.send_header("Location", f"{server.url}/elsewhere")
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join(HANG_SECONDS)


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _openssl(*words: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *words], input=stdin, capture_output=True, timeout=HANG_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
