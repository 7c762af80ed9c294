"""Decide which requests are answered: by the Host header, the token and the method; and add strict headers.

The pages hold data of the user, and any page that his browser shows can send requests to this machine. So a request is
answered only if its Host header is a name of ours (against DNS rebinding), a token is asked for wherever other people
can reach the port, and no other site may embed, frame or post to these pages.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders, QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "tlnlp-explore"
PARAMETER = "token"
TOKEN_VARIABLE = "TLNLP_EXPLORE_TOKEN"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer", with which a browser would not name the origin of a form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_READS = ("GET", "HEAD")


def is_loopback(host: str) -> bool:
    """Return whether a listening address can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def new_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Access:
    """Say who may read the pages.

    Fields:
        host: the address that the server listens on.
        allowed_hosts: further names in a Host header that are answered.
        token: what a browser has to give once, in the URL; None: nothing is asked for.
    """

    host: str
    allowed_hosts: tuple[str, ...] = ()
    token: str | None = None

    def answers(self, host: str) -> bool:
        """Return whether a request with this Host header is answered: its name must be one of this server."""
        name = _name_of(host)
        if name is None:
            return False
        if name in {self.host.lower(), *(one.lower() for one in self.allowed_hosts)}:
            return True
        if is_loopback(self.host):
            return name in _LOOPBACK_NAMES
        # A name that an attacker's DNS server answers for is not made of digits.
        return name in _LOOPBACK_NAMES or _address(name) is not None

    @property
    def cookie(self) -> str:
        """Return the value of the cookie, from which the token cannot be computed."""
        return hmac.new((self.token or "").encode(), COOKIE.encode(), hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """Return whether a text is the token; the time that this takes does not depend on the text."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def is_cookie(self, given: str) -> bool:
        """Return whether a text is the value of the cookie, in the same way."""
        return hmac.compare_digest(given.encode(), self.cookie.encode())


class Guard:
    """The outermost layer of the application: it refuses what ``Access`` does not allow, and adds ``HEADERS``."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # No page speaks over a web socket; the server closes it.

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._refusal(Request(scope)) or self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        access = self._access
        if not access.answers(request.headers.get("host", "")):
            return PlainTextResponse(
                "This address does not belong to tlnlp explore. Open the URL that it printed, or name the host of a "
                "proxy by --set allowed_hosts=NAME.\n",
                status_code=421,
            )
        if _is_part_of_another_page(request) or (request.method not in _READS and not _is_same_origin(request)):
            return PlainTextResponse("Only these pages themselves may send this request.\n", status_code=403)
        if access.token is None:
            return None
        if given := request.query_params.get(PARAMETER):
            return self._signed_in(request) if access.is_token(given) else self._unauthorised()
        return None if access.is_cookie(request.cookies.get(COOKIE, "")) else self._unauthorised()

    def _signed_in(self, request: Request) -> Response:
        """Return the redirection that keeps the token in a cookie and takes it out of the address."""
        rest = QueryParams([pair for pair in request.query_params.multi_items() if pair[0] != PARAMETER])
        # Slashes at the start would make it the address of another site.
        path = "/" + request.url.path.lstrip("/\\")
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
        # A proxy speaks HTTPS for us. Who forges its header only keeps the cookie from his own requests.
        is_secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        answer.set_cookie(COOKIE, self._access.cookie, httponly=True, samesite="strict", secure=is_secure)
        return answer

    def _unauthorised(self) -> Response:
        return PlainTextResponse(
            "A token is needed: open the URL that tlnlp explore printed when it was started.\n", status_code=401
        )


def _is_part_of_another_page(request: Request) -> bool:
    """Return whether a page of another site loads this as an image or the like. To open a page may claim a document."""
    site, mode = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
    return site in ("cross-site", "same-site") and mode != "navigate"


def _is_same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def _name_of(host: str) -> str | None:
    """Return the name in a Host header, without the port and the brackets of an IPv6 address; None if it is none."""
    if any(character in host for character in "/?#@\\ \t,"):
        return None
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def url_of(host: str, port: int, token: str | None, names: Iterable[str] = ()) -> str:
    """Return the URL to open: on this machine, unless the server listens on one address of it alone."""
    address = _address(host)
    shown = next(iter(names), "127.0.0.1") if address is not None and address.is_unspecified else host
    place = f"[{shown}]" if ":" in shown else shown
    return f"http://{place}:{port}/" + (f"?{PARAMETER}={token}" if token else "")
