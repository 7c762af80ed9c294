"""The methods of the benchmark. Each trains on labels, and one on a pool too, and predicts the test texts."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from encoders import EncoderError
from tasks import AUTO, ENCODER, MethodError, Outcome, Task

from tlnlp.model.ngram import fit_ngram

SETFIT = Path(__file__).parents[2] / ".cache" / "setfit" / "bin" / "python"
SETFIT_CAPPED_ABOVE = 100


@dataclass(frozen=True)
class Method:
    """One method. ``encoder``: its default encoder; None if it has none."""

    title: str
    run: Callable[[Task], Outcome]
    encoder: str | None = ENCODER
    takes_pool: bool = False
    takes_budget: bool = False
    needs_labels: bool = True

    def takes(self, encoder: str | None, labels: int) -> bool:
        """Return whether the method can run with so many labels on an encoder; only tlnlp can run on ``auto``."""
        return (labels > 0 or not self.needs_labels) and (encoder != AUTO or self.encoder in (AUTO, None))


def run_method(name: str, task: Task) -> Outcome:
    """Train a method and predict the test texts. The folder of the task must hold its draw.

    Raises:
        MethodError: the method's process failed, or its encoder is not on this machine.
    """
    try:
        return METHODS[name].run(task)
    except EncoderError as error:
        raise MethodError(str(error)) from error


def _tlnlp(task: Task, extra: Sequence[str]) -> Outcome:
    """Run fine-tuning as a user does; ``seconds`` is the whole time that the user waits."""
    from tlnlp.model.classifier import Classifier
    from tlnlp.storage.uri import local_path

    settings = (
        *_given(task), "registry=registry", "model=bench", f"encoder={task.encoder}",
        f"max_length={task.data.max_length}", f"seed={task.seed}", *extra,
    )  # fmt: skip
    arguments = ["-m", "tlnlp", "finetune", "--json", *(part for setting in settings for part in ("--set", setting))]
    started = time.monotonic()
    result = _process([sys.executable, *arguments], task.folder)
    seconds = time.monotonic() - started
    folder = local_path(str(result["uri"]))
    assert folder is not None
    classifier = Classifier.load(folder)
    started = time.monotonic()
    probabilities = classifier.predict(task.drawn.test.texts)
    details = {key: value for key, value in result.items() if key not in ("model", "version", "uri", "run_id")}
    for long in ("f1", "confusion"):
        (details.get("held_out") or {}).pop(long, None)
    command = shlex.join(["python", *arguments])
    return Outcome(probabilities, classifier.classes, seconds, time.monotonic() - started, command, details)


def _given(task: Task) -> list[str]:
    """Return the settings of the labels; without labels, those that allow training on class names alone."""
    if not task.drawn.labels.texts:
        return [f"classes={','.join(task.classes)}", "allow_unvalidated=true"]
    # A random draw may hold fewer labels of a class than tlnlp requires.
    least = ["min_per_class=1"] if len(task.drawn.labels.texts) in task.data.total_counts else []
    return ["labels=labels.parquet", *least]


def _labels_and_pool(task: Task) -> Outcome:
    return _tlnlp(task, ("unlabelled=pool.parquet", f"time_budget_s={task.budget_s:g}"))


def _labels_only(task: Task) -> Outcome:
    return _tlnlp(task, ())


def _nbsvm(task: Task) -> Outcome:
    """Train tlnlp's n-gram view alone, with the features of NB-SVM (Wang and Manning 2012)."""
    labelled, test = task.prepared()
    started = time.monotonic()
    view = fit_ngram(labelled, task.targets, len(task.classes), task.seed)
    trained = time.monotonic()
    probabilities = view.predict(test)
    command = f"fit_ngram(labels, seed={task.seed})"
    return Outcome(probabilities, task.classes, trained - started, time.monotonic() - trained, command)


def _with_torch(name: str) -> Callable[[Task], Outcome]:
    def run(task: Task) -> Outcome:
        import torch_methods  # Imported late: torch takes seconds, and most methods do not need it.

        made: Outcome = getattr(torch_methods, name)(task)
        return made

    return run


def _setfit(task: Task) -> Outcome:
    """Run SetFit (Tunstall et al. 2022) in an environment of its own, offline, with its recommended settings.

    Texts are cut to head and tail in tokens, as for the other methods; SetFit itself would use the head alone. Each
    text begins with the encoder's prompt, since SetFit has no setting for prompts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not SETFIT.exists():
        raise MethodError("SetFit is not installed: run make .cache/setfit/.installed")
    files = task.files
    labelled, test = (files.cut(texts, task.data.max_length) for texts in task.prepared())
    pq.write_table(pa.table({"text": labelled, "label": task.targets}), task.folder / "setfit_labels.parquet")
    pq.write_table(pa.table({"text": test}), task.folder / "setfit_test.parquet")
    job = {
        "labels": "setfit_labels.parquet",
        "test": "setfit_test.parquet",
        "out": "setfit.npz",
        "max_length": task.data.max_length,
        "max_steps": task.data.setfit_steps if len(labelled) > SETFIT_CAPPED_ABOVE else None,
        "seed": task.seed,
        "prompt": files.prompt,
        "encoder": task.encoder,
    }
    path = task.folder / "job.json"
    path.write_text(json.dumps(job | {"encoder": str(files.folder)}))
    worker = Path(__file__).with_name("setfit_worker.py")
    started = time.monotonic()
    found = _process([str(SETFIT), str(worker), path.name], task.folder)
    process_s = time.monotonic() - started
    probabilities = np.load(task.folder / "setfit.npz", allow_pickle=False)["probabilities"]
    return Outcome(
        probabilities, task.classes, found["seconds"], found["predict_s"],
        f"python setfit_worker.py job.json # {json.dumps(job)}",
        {"steps": found["steps"], "process_s": round(process_s, 2)}, found["versions"],
    )  # fmt: skip


def _process(command: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run a command and return the JSON document that it prints. Its stderr goes to the stderr of this process."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    done = subprocess.run(list(command), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise MethodError(f"{shlex.join(command[1:4])} ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# In the order of the columns of the table. The cheap methods run first.
METHODS = {
    "nbsvm": Method("n-grams (NB-SVM)", _nbsvm, encoder=None),
    "frozen": Method("frozen encoder", _with_torch("frozen")),
    "plain": Method("plain fine-tuning", _with_torch("plain")),
    "setfit": Method("SetFit", _setfit),
    "tlnlp-labels": Method("tlnlp, labels alone", _labels_only, AUTO),
    "tlnlp": Method(
        "tlnlp, with documents", _labels_and_pool, AUTO, takes_pool=True, takes_budget=True, needs_labels=False
    ),
}
