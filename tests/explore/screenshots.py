"""Take the pictures of the pages that stand in docs/images.

    make demo && .venv/bin/tlnlp queue
    PYTHONPATH=tests .venv/bin/python tests/explore/screenshots.py [--workspace .tlnlp] [--out docs/images]

It opens the pages over a workspace, as `tlnlp demo` leaves it, in Chromium.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import browser
from serve_kit import served

from tlnlp.warehouse.query import run_query

WIDTH, HEIGHT = 1000, 720
PAGES = {
    "night": "night",
    "groups": "groups?column=item",
    "documents": "documents?sort=doubt",
    "document": "document?why=yes&id={doubtful}",
    "label": "label?who=you",
    "model": "model",
}


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path(".tlnlp"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    take(given.workspace, given.out)


def take(workspace: Path, out: Path) -> None:
    """Write one picture of each page."""
    warehouse = workspace / "warehouse"
    doubtful = run_query(str(warehouse), "select document_id from scores order by score limit 1").rows[0][0]
    places = [f"{name}={workspace / name}" for name in ("registry", "labels", "queue")]
    arguments = [part for place in places for part in ("--set", place)]
    out.mkdir(parents=True, exist_ok=True)
    with browser.running() as chromium, served(warehouse, *arguments) as (url, _):
        page = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
        for name, path in PAGES.items():
            page.goto(url + path.format(doubtful=doubtful))
            page.screenshot(path=out / f"{name}.png")


if __name__ == "__main__":
    main()
