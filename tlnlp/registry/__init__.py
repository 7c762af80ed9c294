"""Store immutable, numbered versions of models, and one movable alias per model, ``champion``.

    <registry>/<name>/claims/<version>.json      reserves the number; written before any file of the version
    <registry>/<name>/versions/<version>/...     the bundle; the version exists once its manifest.json is written, last
    <registry>/<name>/champion.json              the alias
    <registry>/<name>/ledgers/<run_id>.json      ledgers of fine-tuning runs
    <registry>/<name>/held_out/<version>.jsonl   labels that the version did not learn from, if some were set aside

A publisher reserves a number by put-if-absent, so it needs no lock and no server. A publisher that crashes leaves a
gap: its number is never used again. The alias moves by compare-and-swap. No name ever means "the newest version".
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
