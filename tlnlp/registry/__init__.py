"""The registry: immutable, numbered versions of models, and one alias, ``champion``, that moves.

    <registry>/<name>/claims/<version>.json      who took the number; written before any file of the version
    <registry>/<name>/versions/<version>/...     the bundle; its manifest.json, written last, makes the version exist
    <registry>/<name>/champion.json              the alias
    <registry>/<name>/ledgers/<run_id>.json      ledgers of fine-tuning runs

A number is taken by put-if-absent, so publishers need no lock and no server. One that crashes leaves a gap; its number
is never given again. The alias moves by compare-and-swap. Nothing here ever means "the newest".
"""

from tlnlp.registry.alias import Champion, Reign
from tlnlp.registry.names import ModelSpec, ModelVersion, check_name, parse_model
from tlnlp.registry.registry import Registry, VersionInfo

__all__ = [
    "Champion",
    "ModelSpec",
    "ModelVersion",
    "Registry",
    "Reign",
    "VersionInfo",
    "check_name",
    "parse_model",
]
