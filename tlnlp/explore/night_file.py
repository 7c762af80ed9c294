"""Write the page of a night as one self-contained file, for mail and stores of artefacts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tlnlp.config import ExploreSettings, ReportSettings
from tlnlp.errors import StorageError
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.pages import night as night_page
from tlnlp.explore.params import Params
from tlnlp.explore.render import render
from tlnlp.report.page import page_style
from tlnlp.warehouse.nights import Night, ScoresTable

# The page is at most so large, in bytes; ids may be long, so it then lists fewer documents.
LARGEST = 2_000_000


@dataclass(frozen=True)
class NightReport:
    """The written page of a night."""

    page: Path
    table: str
    score_date: str
    rows: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return all values as a JSON object."""
        return vars(self) | {"page": str(self.page)}

    def facts(self) -> dict[str, Any]:
        """Return what a terminal shows."""
        return self.to_json()


def report_night(settings: ReportSettings, out: str | None = None) -> NightReport:
    """Write the page of a night: its figures, and the documents that the model doubts most; no texts.

    Args:
        settings: the table, and the day.
        out: path of the file; None: ``night-<table>-<day>.html`` in this folder.

    Raises:
        NotFoundError: there is no such table or night.
        UsageError, StorageError: the table cannot be read, or the file cannot be written.
    """
    own = settings.model_dump(exclude={"score_date", "rows"})
    explorer = Explorer(ExploreSettings(**own))
    table = explorer.table()
    night = explorer.night(table, settings.score_date)
    params = Params([("date", str(night.day))])
    values = dict(night_page.night_values(explorer, table, night, math.inf))
    values |= {"params": params, "table": table, "style": Markup(page_style())}
    values |= {"linked": False, "layout": "file.html.jinja"}
    doubtful = _doubtful(explorer, table, night, settings.rows)
    page = render("night_file.html.jinja", values | {"doubtful": doubtful}).encode()
    while len(page) > LARGEST and doubtful:
        doubtful = doubtful[: len(doubtful) // 2]
        page = render("night_file.html.jinja", values | {"doubtful": doubtful}).encode()
    path = Path(out or f"night-{table.name}-{night.day}.html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page)
    except OSError as error:
        raise StorageError(f"{path}: the page cannot be written ({error.strerror}); name another with --out") from error
    return NightReport(path, table.name, str(night.day), night.rows, len(page))


def _doubtful(explorer: Explorer, table: ScoresTable, night: Night, most: int) -> list[tuple[Any, ...]]:
    sql = f"""
        SELECT document_id, label, score, stage FROM {explorer.night_rows(table, night)}
        ORDER BY score, document_id LIMIT {most}"""
    return explorer.rows(table, sql) if most else []
