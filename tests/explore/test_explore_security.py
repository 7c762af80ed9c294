"""Who is answered: the Host header, the token, the method; and which headers every answer has."""

from __future__ import annotations

from pathlib import Path

import pytest
from explore_kit import pages

from tlnlp.explore.security import COOKIE, Access, is_loopback, url_of

TOKEN = "a-token-of-the-tests"


def test_another_site_cannot_load_a_page_as_a_part_of_its_own(warehouse: Path) -> None:
    client = pages(warehouse)
    image = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/label?who=x", headers=image).status_code == 403
    assert client.get("/night", headers=image | {"sec-fetch-site": "same-site"}).status_code == 403
    assert client.get("/night", headers=image | {"sec-fetch-mode": "navigate"}).status_code == 200
    assert client.get("/static/explore.css", headers=image | {"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("path", ["/night", "/documents", "/static/explore.css", "/nowhere", "/night?date=never", "/"])
def test_every_answer_has_the_strict_headers(warehouse: Path, path: str) -> None:
    answer = pages(warehouse).get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8300", 200),
        ("localhost", 200),
        ("LOCALHOST:9999", 200),
        ("[::1]:8300", 200),
        ("pages.example", 421),
        ("127.0.0.1.example", 421),
        ("localhost.example:8300", 421),
        ("192.0.2.7", 421),
        ("evil@localhost", 421),
        ("localhost/evil", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(warehouse: Path, host: str, status: int) -> None:
    assert pages(warehouse).get("/night", headers={"host": host}).status_code == status


def test_a_server_for_others_takes_addresses_and_named_hosts_only() -> None:
    access = Access("0.0.0.0", ("pages.example",), TOKEN)
    assert [access.answers(host) for host in ("192.0.2.7:80", "pages.example", "PAGES.EXAMPLE:1", "evil.example")] == [
        True,
        True,
        True,
        False,
    ]


def test_a_token_is_given_once_and_kept_in_a_cookie(warehouse: Path) -> None:
    client = pages(warehouse, Access("127.0.0.1", token=TOKEN))
    assert client.get("/night").status_code == 401
    assert client.get("/static/explore.css").status_code == 401
    assert client.get("/night?token=another").status_code == 401
    answer = client.get(f"/night?date=2026-11-21&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/night?date=2026-11-21")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert "secure" not in cookie.lower()
    behind = client.get(f"/night?token={TOKEN}", headers={"x-forwarded-proto": "https"})
    assert "secure" in behind.headers["set-cookie"].lower()
    client.cookies.clear()
    client.get(f"/night?token={TOKEN}")
    assert client.get("/night").status_code == 200
    client.cookies.clear()
    client.cookies.set(COOKIE, TOKEN)
    assert client.get("/night").status_code == 401


def test_a_token_in_the_address_leads_to_no_other_site(warehouse: Path) -> None:
    client = pages(warehouse, Access("127.0.0.1", token=TOKEN))
    answer = client.get(f"http://127.0.0.1:8300//evil.example/?token={TOKEN}")
    assert answer.headers["location"].startswith("/evil")


def test_another_site_may_not_send_anything(warehouse: Path) -> None:
    client = pages(warehouse)
    for headers in ({}, {"origin": "http://evil.example"}, {"origin": "null"}):
        assert client.post("/night", headers=headers).status_code == 403
    assert client.post("/night", headers={"origin": "http://127.0.0.1:8300"}).status_code in (404, 405)


def test_loopback_is_recognised() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "pages.example", "")))


def test_the_url_can_be_opened() -> None:
    assert url_of("127.0.0.1", 8300, None) == "http://127.0.0.1:8300/"
    assert url_of("::1", 8300, "t") == "http://[::1]:8300/?token=t"
    assert url_of("0.0.0.0", 1, "t", ("pages.example",)) == "http://pages.example:1/?token=t"
