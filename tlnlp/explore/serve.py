"""Serve the pages until the process is asked to end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from tlnlp.config import ExploreSettings
from tlnlp.errors import TlnlpError, UsageError
from tlnlp.explore.app import create_app
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.security import PARAMETER, TOKEN_VARIABLE, Access, is_loopback, new_token, url_of
from tlnlp.runs.progress import say
from tlnlp.storage.causes import reason_of

_GRACE_S = 3


def serve(settings: ExploreSettings, ready: Callable[[str], None]) -> None:
    """Serve the pages of a table until SIGINT or SIGTERM.

    Args:
        settings: what is shown, and where.
        ready: is called with the URL of the pages, once they are served.

    Raises:
        UsageError: the address cannot be listened on.
    """
    own = os.environ.get(TOKEN_VARIABLE)
    token = own or (None if is_loopback(settings.host) else new_token())
    access = Access(settings.host, settings.allowed_hosts, token)
    listening, explorer = _listen(settings.host, settings.port), Explorer(settings)
    port = int(listening.getsockname()[1])
    config = uvicorn.Config(
        create_app(explorer, access),
        log_config=None,
        log_level="critical",  # Addresses hold ids, and tracebacks hold values.
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        ws="none",
    )

    def started() -> None:
        """Report the URL as soon as the server listens. A token that the user has set is no news, and stays secret."""
        _warn_without_table(explorer)
        ready(url_of(settings.host, port, None if own else token, settings.allowed_hosts))
        if own:
            say(f"the pages are served until Ctrl-C; add ?{PARAMETER}= and the value of {TOKEN_VARIABLE} to the URL")
        else:
            say("the pages are served until Ctrl-C" + ("; the URL holds a token: keep it to yourself" if token else ""))

    with listening:
        _Server(config, started).run([listening])


def _warn_without_table(explorer: Explorer) -> None:
    """Warn if there is no such table: its first night may be still to come, but its name may be mistyped, too."""
    try:
        explorer.table()
    except TlnlpError as error:
        say(f"warning: there is nothing to show yet: {error}")


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"the pages cannot be served at {host} port {port} ({reason_of(error)}): set another one with --set port= "
            "(0 takes any free port) or --set host="
        ) from error


class _Server(uvicorn.Server):
    """A server that ends quietly at SIGINT and SIGTERM; ``started`` is called once it accepts requests."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept requests."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ask the server to end; its base would raise the signal again afterwards."""
        self.force_exit, self.should_exit = self.should_exit, True
