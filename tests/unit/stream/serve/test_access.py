"""The token that each request must bring."""

from pathlib import Path

import pytest

from tagstream.stream.serve.access import OPEN_PATHS, TokenError, token_in
from tests.unit.stream.serve.conftest import ask

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of this test
EVENT = b'{"title": "An image"}'


@pytest.mark.parametrize(
    ("given", "status"),
    [(f"Bearer {TOKEN}", 200), (f"Bearer {TOKEN}x", 401), (TOKEN, 401), ("Bearer ", 401), ("Bearer ü", 401), (None, 401)],
)
def test_a_request_needs_the_token(given: str | None, status: int) -> None:
    """Another one, or none, is answered with 401 before the body is read."""
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    found = ask("POST", "/classify", {"token": TOKEN}, content=EVENT, headers=headers)
    assert found.status_code == status
    assert (found.headers.get("www-authenticate") == "Bearer") == (status == 401)


def test_health_and_metrics_need_none_and_a_token_takes_any_name() -> None:
    """An orchestrator has no token; behind one, the name by which a request came says nothing more."""
    for path in OPEN_PATHS:
        assert ask("GET", path, {"token": TOKEN}, headers={"Host": "serve.example"}).status_code == 200
    for path in ("/docs", "/openapi.json", "/watch", "/watch/", "/watch/snapshot.json"):
        assert ask("GET", path, {"token": TOKEN}).status_code == 401


@pytest.mark.parametrize("text", ["", "short", "two words that are long", "0123456789abcdef\n0123456789abcdef", "ü" * 20])
def test_a_file_without_a_good_token_is_refused(tmp_path: Path, text: str) -> None:
    """The message says how to make one."""
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TokenError, match=r"Next: .*openssl|openssl rand"):
        token_in(path)
    with pytest.raises(TokenError, match="cannot be read"):
        token_in(tmp_path / "none")
    path.write_text(f"  {TOKEN}\n", encoding="utf-8")
    assert token_in(path) == TOKEN
