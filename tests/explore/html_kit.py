"""Say what a browser would run or load of a page."""

from __future__ import annotations

from html.parser import HTMLParser

_OURS = {"/static/explore.css", "/static/explore.js"}
_FORMS = {"/documents", "/groups", "/label"}
_NEVER = {"iframe", "object", "embed", "img", "base", "style", "audio", "video", "template", "u"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.shown: list[str] = []

    def handle_data(self, data: str) -> None:
        self.shown.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        bad = [name for name in given if name.startswith("on") or name in ("style", "srcdoc", "formaction")]
        for name in ("href", "src"):
            if name in given and (not given[name].startswith(("/", "#")) or given[name].startswith(("//", "/\\"))):
                bad.append(f"{name}={given[name]}")
        if given.get("action", "/groups") not in _FORMS:
            bad.append(f"action={given['action']}")
        if bad or tag in _NEVER or (tag == "script" and given.get("src") not in _OURS):
            self.faults.append(f"<{tag} {' '.join(bad)}>")


def faults(page: str) -> list[str]:
    """Return what a page would run or load that is not its own: scripts, handlers, styles, addresses of other sites."""
    reader = _Reader()
    reader.feed(page)
    return reader.faults


def shown(page: str) -> str:
    """Return the text of a page, without its tags."""
    reader = _Reader()
    reader.feed(page)
    return "".join(reader.shown)
