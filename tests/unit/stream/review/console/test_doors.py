"""Who may ask the console for what: hosts, sites, bodies, names of a proxy, and readers' reports."""

import pytest
from sqlalchemy import select

from tagstream.stream.review.console.access import ProxyError, proxy
from tagstream.stream.review.console.app import MAX_BODY_BYTES
from tagstream.stream.review.store.queue import LEASE, OF_A_CALLER
from tagstream.stream.review.store.schema import items
from tagstream.stream.web.origins import OriginError, checked_origin
from tests.console.real_console import ReviewDesk, item
from tests.unit.stream.review.console.conftest import Client, client_of

SITE = "https://news.example"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8090"}, 403),
        ({"Origin": "http://127.0.0.1:8090"}, 303),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_a_form_of_another_site_changes_nothing(queue: ReviewDesk, headers: dict[str, str], status: int) -> None:
    """A browser says where a form comes from; a request that does not say it is refused."""
    client = client_of(queue)
    del client.headers["Sec-Fetch-Site"]
    queue.add(item("a", "First"))
    held = queue.claim("ada").token
    found = client.post("/answer", data={"event": "a", "token": held, "tag": "other"}, headers=headers)
    assert found.status_code == status
    assert ("a" in queue.saved) == (status == 303)


LOOKED_AT = ("/", "/again?id=done", "/again", "/standing.json", "/answers", "/quality", "/help", "/name", "/renew", "/reports")


@pytest.mark.parametrize("cookie", [True, False], ids=["as the reviewer", "without a cookie"])
def test_what_another_site_looks_at_changes_nothing(queue: ReviewDesk, *, cookie: bool) -> None:
    """As a picture, a frame or by a script: no item is given, taken away or held for longer. A link that a person follows opens the page."""
    client = client_of(queue)
    queue.add(item("done", "First"))
    queue.answer("done", "other", "ada")
    for event_id in ("held", "free"):
        queue.add(item(event_id, event_id))
    if cookie:
        queue.claim("ada")
    before = leases(queue)
    for mode, kind in (("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty")):
        for path in LOOKED_AT:
            client.get(path, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": kind})
    assert leases(queue) == before
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200


def test_of_all_that_is_looked_at_the_next_item_alone_is_given(queue: ReviewDesk) -> None:
    """The page of the next item gives it; every other change is a form."""
    client = client_of(queue)
    queue.add(item("done", "First"))
    queue.answer("done", "other", "ada")
    queue.add(item("free", "Second"))
    before = leases(queue)
    for path in LOOKED_AT[1:]:
        client.get(path)
    assert leases(queue) == before
    client.get("/")
    assert leases(queue) != before


def leases(queue: ReviewDesk) -> list[tuple[object, ...]]:
    """Who holds what, and how long."""
    columns = (items.c.event_id, *(items.c[name] for name in LEASE))
    with queue.store.database.reading() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(items.c.event_id))]


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:8090", 200), ("localhost", 200), ("review.example", 200), ("evil.example", 421), ("", 421)]
)
def test_another_name_is_not_answered(client: Client, host: str, status: int) -> None:
    """A site whose name was pointed to this address cannot read the pages as its own."""
    assert client.get("/", headers={"Host": host}).status_code == status


def test_a_body_has_a_bound(client: Client) -> None:
    """One byte too many is 413, before any field is read."""
    assert client.post("/answer", content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413


@pytest.mark.parametrize("path", ["/", "/help", "/answers", "/name", "/nothing"])
def test_every_page_has_the_policy(client: Client, path: str) -> None:
    """No inline script or style, no frame, nothing kept by the browser."""
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_assets_are_kept_by_the_browser(client: Client) -> None:
    """Their addresses have a digest: another content has another address."""
    page = client.get("/help").text
    for name in ("console.css", "console.js"):
        address = next(part for part in page.split('"') if part.endswith(name))
        found = client.get(address)
        assert found.status_code == 200
        assert "immutable" in found.headers["cache-control"]
    assert client.get("/assets/0000/console.css").status_code == 404
    assert client.get("/assets/0000/..%2fpages.py").status_code == 404


def test_the_health_is_plain_text(client: Client) -> None:
    """An orchestrator asks for it."""
    assert client.get("/healthz").text == "alive\n"


def test_no_item_is_shown_before_all_answers_are_known(queue: ReviewDesk) -> None:
    """A store that is being filled would show items that have an answer. Reports are taken meanwhile."""
    queue.add(item("a", "First"))
    client = client_of(queue, trouble="The queue is being read. Next: look again in a moment.")
    for method, path in (("GET", "/"), ("GET", "/answers"), ("POST", "/again"), ("POST", "/standing.json")):
        found = client.request(method, path, data={"event": "a"})
        assert found.status_code == 503
        assert "The queue is being read." in found.text
    assert client.get("/healthz").status_code == 200
    assert (client.get("/readyz").status_code, client.get("/readyz").text[:9]) == (503, "The queue")
    assert client.post("/reports", json={"event_id": "a"}).status_code == 202
    assert client_of(queue).get("/readyz").text == "ready\n"


PROXY = proxy("X-Forwarded-User", ["10.0.0.0/24", "::1"])


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("10.0.0.5", {"X-Forwarded-User": "grace"}, 200),
        ("::ffff:10.0.0.5", {"X-Forwarded-User": "grace"}, 200),
        ("::1", {"X-Forwarded-User": "grace"}, 200),
        ("10.0.1.5", {"X-Forwarded-User": "grace"}, 403),
        ("127.0.0.1", {"X-Forwarded-User": "grace"}, 403),
        ("testclient", {"X-Forwarded-User": "grace"}, 403),
        ("10.0.0.5", {}, 401),
        ("10.0.0.5", {"X-Forwarded-User": " "}, 401),
        ("10.0.0.5", {"Cookie": "tagstream_reviewer=616461"}, 401),
    ],
)
def test_a_name_counts_from_the_proxy_alone(queue: ReviewDesk, peer: str, headers: dict[str, str], status: int) -> None:
    """A client that is not the proxy, and a proxy without a name, get a page that says so."""
    found = client_of(queue, PROXY, peer=peer).get("/", headers=headers)
    assert found.status_code == status
    assert ("You are not signed in" in found.text) == (status != 200)


def test_two_names_are_none(queue: ReviewDesk) -> None:
    """A proxy that adds its header to the client's own must not let the client choose."""
    client = client_of(queue, PROXY, peer="10.0.0.5")
    for names in (["root", "grace"], ["root, grace"], ["root,grace"], ["grace,"]):
        found = client.get("/", headers=[("X-Forwarded-User", name) for name in names])
        assert found.status_code == 401


def test_behind_a_proxy_a_reviewer_cannot_choose_a_name(queue: ReviewDesk) -> None:
    """The page of the name leads on, and no cookie is set."""
    client = client_of(queue, PROXY, peer="10.0.0.5")
    client.headers["X-Forwarded-User"] = "grace"
    assert client.get("/name").status_code == 303
    assert "set-cookie" not in client.post("/name", data={"name": "root"}).headers


def test_a_trusted_proxy_is_an_address() -> None:
    """A name would have to be looked up, and whoever answers would be trusted."""
    with pytest.raises(ProxyError, match="give an IP address"):
        proxy("X-User", ["proxy.example"])


def test_a_report_is_taken(queue: ReviewDesk) -> None:
    """A site's server sends JSON; the report carries no authority over the tag."""
    client = client_of(queue, peer="192.0.2.7")
    report = {"event_id": "a", "suggested_tag": "other", "note": "wrong", "reporter": "reader"}
    found = client.post("/reports", json=report)
    assert found.status_code == 202
    assert "changes no tag by itself" in found.json()["message"]
    assert [{name: sent[name] for name in report} for sent in queue.reported] == [report]
    assert queue.saved == {}


def test_a_report_may_be_a_form(client: Client, queue: ReviewDesk) -> None:
    """A button needs no script."""
    assert client.post("/reports", data={"event_id": "a", "suggested_tag": ""}).status_code == 202
    assert [sent.keys() for sent in queue.reported] == [{"event_id", "reported_at"}]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b"{", "application/json"),
        (b'{"event_id": 1}', "application/json"),
        (b'{"event_id": ""}', "application/json"),
        (b'{"event_id": "a", "tag": "other"}', "application/json"),
        (b'{"event_id": "a", "note": "' + b"x" * 3000 + b'"}', "application/json"),
        (b'{"event_id": "\xff"}', "application/json"),
        (b"[" * 50_000, "application/json"),
        (b'{"event_id": "a"}', "text/plain"),
        (b"event=a", "application/x-www-form-urlencoded"),
    ],
)
def test_a_bad_report_is_refused_with_a_sentence(client: Client, queue: ReviewDesk, content: bytes, kind: str) -> None:
    """400, and nothing reaches the topic."""
    found = client.post("/reports", content=content, headers={"Content-Type": kind})
    assert found.status_code == 400
    assert found.json()["message"].endswith("Next: correct the report.")
    assert queue.reported == []


def test_too_many_reports_are_told_when_to_come_back(client: Client, queue: ReviewDesk) -> None:
    """429 with `Retry-After`, and no more reaches the topic; another address is not held up."""
    answers = [client.post("/reports", json={"event_id": f"e-{number}"}) for number in range(OF_A_CALLER + 1)]
    assert [found.status_code for found in answers] == [202] * OF_A_CALLER + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 3600
    assert len(queue.reported) == OF_A_CALLER
    assert client_of(queue, peer="192.0.2.8").post("/reports", json={"event_id": "a"}).status_code == 202


def test_only_named_sites_may_report_from_their_pages(queue: ReviewDesk) -> None:
    """The browser asks first, and is told which site may."""
    client = client_of(queue, origins=(SITE,))
    report = {"event_id": "a"}
    allowed = client.request("OPTIONS", "/reports", headers={"Origin": SITE})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, SITE)
    assert client.request("OPTIONS", "/reports", headers={"Origin": "https://evil.example"}).status_code == 403
    headers = {"Origin": SITE, "Sec-Fetch-Site": "cross-site"}
    taken = client.post("/reports", json=report, headers=headers)
    assert (taken.status_code, taken.headers["access-control-allow-origin"]) == (202, SITE)
    too_large = client.post("/reports", json=report | {"note": "n" * MAX_BODY_BYTES}, headers=headers)
    assert (too_large.status_code, too_large.headers["access-control-allow-origin"]) == (413, SITE)
    refused = client.post("/reports", json=report, headers=headers | {"Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    assert len(queue.reported) == 1


def test_behind_a_proxy_reports_come_through_it(queue: ReviewDesk) -> None:
    """The rate counts the address that the proxy saw, not one that the client invents."""
    client = client_of(queue, PROXY, peer="10.0.0.5")
    headers = {"X-Forwarded-For": "1.1.1.1, 203.0.113.9"}
    for number in range(OF_A_CALLER):
        assert client.post("/reports", json={"event_id": f"e-{number}"}, headers=headers).status_code == 202
    invented = {"X-Forwarded-For": "2.2.2.2, 203.0.113.9"}
    assert client.post("/reports", json={"event_id": "a"}, headers=invented).status_code == 429
    assert client_of(queue, PROXY, peer="192.0.2.1").post("/reports", json={"event_id": "a"}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["news.example", "https://news.example/path", "ftp://news.example", "https://", "*", "http://["]
)
def test_an_origin_is_scheme_and_host(origin: str) -> None:
    """Anything else would never match what browsers send."""
    with pytest.raises(OriginError, match="give scheme and host"):
        checked_origin(origin, "--report-origin")
