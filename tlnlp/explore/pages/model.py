"""The page of a model: the report of a version, and how it compares with another one on the same held-out labels."""

from __future__ import annotations

from typing import Any

from tlnlp.errors import BundleError, InputDataError, NotFoundError, sentence_of
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.pages.page import Page, Values
from tlnlp.explore.params import Params
from tlnlp.explore.version_figures import compare_versions, version_report
from tlnlp.registry import Registry


def values(explorer: Explorer, params: Params) -> Values:
    """Return the values of the page. Parameters: ``version``, ``beside`` (the version to compare it with)."""
    table = explorer.table()
    registry = Registry(explorer.settings.registry)
    versions = registry.versions(table.model)
    if not versions:
        raise NotFoundError(
            f"registry {registry.storage.uri}: there is no version of the model {table.model}, which scored this "
            "table; say where its registry is: tlnlp explore --set registry=URI"
        )
    night = table.night()
    chosen = params.whole("version") or (night.model_version if night else None) or versions[-1].version
    version = registry.resolve(f"{table.model}@{chosen}")
    report, problem = None, None
    try:
        report = explorer.once(("report", version), lambda: version_report(version))
    except BundleError as error:
        problem = sentence_of(error)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        problem = "The report of this version cannot be shown: it was altered, or made by another tlnlp."
    return {
        "version": version,
        "versions": list(reversed(versions)),
        "champion": registry.champion(table.model),
        "report": report,
        "problem": problem,
        **_comparison(explorer, registry, params, table.model, chosen),
    }


def _comparison(explorer: Explorer, registry: Registry, params: Params, model: str, chosen: int) -> dict[str, Any]:
    beside = params.whole("beside")
    if beside is None or beside == chosen:
        return {"compared": None, "not_compared": None}
    one, other = (registry.resolve(f"{model}@{number}") for number in (chosen, beside))
    try:
        found = explorer.once(("compared", one, other), lambda: compare_versions(explorer.settings, one, other))
    except (InputDataError, BundleError) as error:
        return {"compared": None, "not_compared": sentence_of(error)}
    return {"compared": found, "not_compared": None}


PAGE = Page("/model", "Model", "model.html.jinja", values)
