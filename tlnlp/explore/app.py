"""The application: its pages, its files of style and script, and what it answers when a page fails."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tlnlp.errors import NotFoundError, StorageError, TlnlpError, UsageError
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.export import EXPORTS, export
from tlnlp.explore.pages import changes, document, documents, groups, label, model, night
from tlnlp.explore.pages.page import Page
from tlnlp.explore.params import Params
from tlnlp.explore.render import LINKED, render
from tlnlp.explore.security import Access, Guard
from tlnlp.storage.causes import storage_failure

PAGES: tuple[Page, ...] = (
    night.PAGE,
    groups.PAGE,
    documents.PAGE,
    document.PAGE,
    label.PAGE,
    model.PAGE,
    changes.PAGE,
)

_LOG = logging.getLogger("tlnlp.explore")
# Type and place in the package of each file that pages load.
_FILES = {
    "explore.css": ("text/css", "report/style.css"),
    "explore.js": ("text/javascript", "explore/static/explore.js"),
}
Answer = Callable[[Request], Awaitable[Response]]
_LARGEST_FORM = 64_000  # Bytes.


def create_app(explorer: Explorer, access: Access) -> ASGIApp:
    """Return the application of a table of scores. It opens nothing before the first request."""
    routes = [Route("/", _start), Route("/static/{name}", _file)]
    routes += [Route(page.path, _answer(explorer, page), methods=["GET"]) for page in PAGES]
    routes.append(Route(label.PATH, guarded(partial(label.act, explorer)), methods=["POST"]))
    routes += [Route(f"/documents/export.{kind}", guarded(partial(export, explorer, kind=kind))) for kind in EXPORTS]
    app = Starlette(routes=routes, exception_handlers={404: _missing, 405: _missing})
    return Guard(app, access)


def _answer(explorer: Explorer, page: Page) -> Answer:
    """Return the function that answers requests of a page."""

    def work(params: Params) -> Response:
        """Return the page for the parameters of a request."""
        values = page.values(explorer, params)
        shared = {"page": page, "params": params, "table": explorer.table(), "pages": PAGES} | LINKED
        return HTMLResponse(render(page.template, shared | dict(values)))

    return guarded(work)


def guarded(work: Callable[[Params], Response]) -> Answer:
    """Return a function that answers by ``work``, and shows a plain page with the right status where it fails.

    No error passes: the server would log it with its traceback, which may quote a row.
    """

    def safe(params: Params) -> Response:
        """Return what ``work`` does, or the page of its error."""
        try:
            return work(params)
        except Exception as error:
            return failure(error)

    async def answer(request: Request) -> Response:
        is_form = request.method == "POST"
        given = await _form(request) if is_form else request.query_params.multi_items()
        return await run_in_threadpool(safe, Params(given))

    return answer


async def _form(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a form; none of one that is too large."""
    data = b""
    try:
        async for part in request.stream():
            data += part
            if len(data) > _LARGEST_FORM:
                return []
        return parse_qsl(data.decode("utf-8"), keep_blank_values=True, max_num_fields=20)
    except (ValueError, ClientDisconnect):
        return []


def failure(error: Exception) -> Response:
    """Return the page of an error: what is wrong, and the next step."""
    known = error if isinstance(error, TlnlpError) else storage_failure(error)
    if known is None:
        _LOG.error("a page failed (%s)", type(error).__name__)
        message = (
            f"This page failed ({type(error).__name__}). The table may hold values that no run of tlnlp writes: look "
            "at it with `tlnlp query`, or open another night."
        )
        return _plain(500, "The page failed", message)
    if isinstance(known, NotFoundError):
        return _plain(404, "Not found", str(known))
    if isinstance(known, UsageError):
        return _plain(400, "This cannot be done", str(known))
    status = 503 if isinstance(known, StorageError) else 500
    return _plain(status, "The table cannot be read", str(known))


def _plain(status: int, title: str, message: str) -> Response:
    values: dict[str, Any] = {"title": title, "message": message, "pages": PAGES, "page": None, "table": None}
    return HTMLResponse(render("failure.html.jinja", values | {"params": Params(())}), status_code=status)


async def _start(request: Request) -> Response:
    return RedirectResponse("/night")


async def _missing(request: Request, error: Exception) -> Response:
    return _plain(404, "Not found", "There is no such page: choose one of those above.")


async def _file(request: Request) -> Response:
    name = str(request.path_params["name"])
    if name not in _FILES:
        return await _missing(request, KeyError(name))
    kind, place = _FILES[name]
    return Response(files("tlnlp").joinpath(place).read_bytes(), media_type=kind)
