"""A few hundred labels to a text classifier, and every document scored into a warehouse table."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlnlp.api import Classifier, finetune

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__", "finetune"]


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first used: importing the package alone stays light."""
    if name in ("Classifier", "finetune"):
        return getattr(importlib.import_module("tlnlp.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
