"""Export the encoder view of a version as a folder that transformers and sentence-transformers open, with its card."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tlnlp.errors import StorageError, UsageError
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import BundleSpec, read_spec
from tlnlp.registry import ModelVersion, Registry
from tlnlp.registry.training import read_training
from tlnlp.report.model_card import model_card
from tlnlp.storage.causes import reason_of

CARD = "README.md"
_COPIED = (bundle.CONFIG, bundle.ENCODER, bundle.TOKENIZER, "tokenizer_config.json")
_MODULE = "sentence_transformers.models"


@dataclass(frozen=True)
class ExportedVersion:
    """The folder of an exported version."""

    version: ModelVersion
    folder: Path
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all values as a JSON object."""
        name, number = self.version.name, self.version.version
        return {"model": name, "version": number, "folder": str(self.folder), "files": list(self.files)}

    def facts(self) -> dict[str, Any]:
        """Return what a terminal shows."""
        return self.to_json() | {"files": len(self.files)}


def export_version(registry_uri: str, model: str, out: str | None = None) -> ExportedVersion:
    """Export a version.

    Args:
        registry_uri: the registry.
        model: the version, as name, name@champion or name@VERSION.
        out: the folder, which must not exist or be empty; None: ``<name>-<version>`` in this folder.

    Raises:
        UsageError: the folder holds something.
        ModelNotFoundError: there is no such model or version.
        BundleError: the bundle is incomplete or altered.
        StorageError: the registry cannot be reached, or the folder cannot be written.
    """
    registry = Registry(registry_uri)
    version = registry.resolve(model)
    folder = Path(out or f"{version.name}-{version.version}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: there is something already; name a folder that does not exist with --out")
    with tempfile.TemporaryDirectory(prefix="tlnlp-export-") as scratch:
        source = registry.fetch(version, Path(scratch) / "bundle")
        spec, made = read_spec(source), Path(scratch) / "made"
        made.mkdir()
        for name in _COPIED:
            shutil.copyfile(source / name, made / name)
        _write_modules(spec, source, made)
        card = model_card(version, spec, read_training(version), folder.name)
        (made / CARD).write_text(card, encoding="utf-8")
        try:
            shutil.copytree(made, folder, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StorageError(
                f"{folder}: it cannot be written ({reason_of(error)}); name another with --out"
            ) from error
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return ExportedVersion(version, folder, tuple(files))


def _write_modules(spec: BundleSpec, source: Path, folder: Path) -> None:
    """Write pooling, normalisation and head as modules of sentence-transformers."""
    head = load_file(source / bundle.HEAD)
    classes, hidden = head["weight"].shape
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules += [("2_Normalize", "Normalize")] if spec.normalise else []
    modules.append((f"{len(modules)}_Dense", "Dense"))
    rows = [
        {"idx": place, "name": str(place), "path": path, "type": f"{_MODULE}.{kind}"}
        for place, (path, kind) in enumerate(modules)
    ]
    _write(folder / "modules.json", rows)
    for path, _ in modules[1:]:
        (folder / path).mkdir()
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_cls_token": spec.pooling == "cls"}
    pooling |= {"pooling_mode_mean_tokens": spec.pooling == "mean", "pooling_mode_max_tokens": spec.pooling == "max"}
    _write(folder / "1_Pooling" / "config.json", pooling)
    dense = folder / modules[-1][0]
    kind = "torch.nn.modules.linear.Identity"
    _write(
        dense / "config.json",
        {"in_features": hidden, "out_features": classes, "bias": True, "activation_function": kind},
    )
    # A bundle scales states to the length sqrt(hidden), Normalize to 1: the head takes the factor.
    factor = np.float32(hidden**0.5 if spec.normalise else 1.0)
    tensors = {"linear.weight": head["weight"] * factor, "linear.bias": head["bias"]}
    save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, dense / "model.safetensors")
    _write(folder / "sentence_bert_config.json", {"max_seq_length": spec.max_length, "do_lower_case": spec.lower_case})
    prompts = {"document": spec.prompt} if spec.prompt else {}
    _write(
        folder / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": "document" if prompts else None},
    )


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
