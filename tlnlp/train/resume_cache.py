"""The resume cache: finished pieces of work, stored under the name of their run; a restarted run resumes from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load, save

from tlnlp.errors import NotFoundError
from tlnlp.model.combine import Floats
from tlnlp.runs.progress import say
from tlnlp.storage import Storage
from tlnlp.train.fit.encoder_fit import FitResult


class ResumeCache:
    """Pieces of work by key, as safetensors and JSON files."""

    def __init__(self, storage: Storage, name: str) -> None:
        """Open the resume cache of a run; ``name`` must differ between runs whose results differ."""
        self._storage, self._name = storage, f"{name}-resume-cache"

    def note(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a JSON object, made once and then read."""
        data = self._read(f"{key}.json")
        if data is None:
            made = make()
            self._storage.write(f"{self._name}/{key}.json", json.dumps(made).encode())
            return made
        return dict(json.loads(data))

    def array(self, key: str, make: Callable[[], Floats]) -> Floats:
        """Return an array (texts, ...), made once and then read."""
        data = self._read(f"{key}.safetensors")
        if data is None:
            made = make()
            self._storage.write(f"{self._name}/{key}.safetensors", save({"array": torch.tensor(made)}))
            return made
        return load(data)["array"].numpy()

    def fits(self, key: str, make: Callable[[], list[FitResult]]) -> list[FitResult]:
        """Return the results of several fits, made once and then read."""
        notes = self._read(f"{key}.json")
        if notes is None:
            made = make()
            for number, fit in enumerate(made):
                tensors = {f"model.{name}": tensor.contiguous() for name, tensor in fit.weights.items()}
                tensors["held_out"] = torch.tensor(fit.held_out)
                self._storage.write(f"{self._name}/{key}-{number}.safetensors", save(tensors))
            made_notes = [{"steps": fit.steps, "seconds": fit.seconds, "rate": fit.rate} for fit in made]
            self._storage.write(f"{self._name}/{key}.json", json.dumps(made_notes).encode())
            return made
        say(f"{key}: resumed from an earlier start of this run, which finished it")
        return [self._fit(f"{key}-{number}", note) for number, note in enumerate(json.loads(notes))]

    def forget(self) -> None:
        """Delete all pieces of the run."""
        self._storage.delete_folder(self._name)

    def _fit(self, key: str, note: dict[str, Any]) -> FitResult:
        tensors = load(self._storage.read(f"{self._name}/{key}.safetensors"))
        held_out = tensors.pop("held_out").numpy()
        weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        return FitResult(weights, held_out, int(note["steps"]), float(note["seconds"]), float(note["rate"]))

    def _read(self, key: str) -> bytes | None:
        try:
            return self._storage.read(f"{self._name}/{key}")
        except NotFoundError:
            return None
