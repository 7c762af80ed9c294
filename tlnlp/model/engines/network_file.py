"""Read from a bundle's ``config.json`` which network its encoder is."""

from __future__ import annotations

from pathlib import Path

from tlnlp.model import bundle
from tlnlp.model.bounded_json import parse_object
from tlnlp.model.engines.network import Network, known_network


def read_network(folder: Path) -> Network | None:
    """Return the network of a bundle's encoder as ``config.json`` describes it; None if no int8 engine can run it.

    Raises:
        BundleError: the file is not JSON.
    """
    return known_network(parse_object((folder / bundle.CONFIG).read_bytes(), str(folder / bundle.CONFIG)))
