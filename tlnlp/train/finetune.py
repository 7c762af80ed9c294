"""The fine-tuning stage: labels become an immutable version in the registry.

First the labels are cross-validated, which weighs, calibrates and measures the two views. Then the registered model is
trained on all labels, and on unlabelled documents if there are any.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tlnlp.config import FinetuneSettings
from tlnlp.data.labels import LabelledSet
from tlnlp.data.pool import Pool
from tlnlp.errors import UsageError
from tlnlp.evaluate.metrics import Evaluation
from tlnlp.registry import ModelVersion, Registry, check_name
from tlnlp.registry.held_out import write_held_out
from tlnlp.runs.cost import Budget
from tlnlp.runs.ledger import Ledger, new_run_id
from tlnlp.runs.lineage import Lineage
from tlnlp.runs.progress import say
from tlnlp.storage import Storage
from tlnlp.train.bundle_assembly import Made, assemble_bundle, check_engine, reserved_s, set_aside
from tlnlp.train.context import Run
from tlnlp.train.dataset import Examples, Reader
from tlnlp.train.distillation import distil, distilling_s
from tlnlp.train.distributed.cluster import address_of
from tlnlp.train.distributed.ray_executor import ray_executor
from tlnlp.train.encoder_selection import candidates, choose
from tlnlp.train.executor import Executor
from tlnlp.train.fit.precision import in_bfloat16
from tlnlp.train.fit.run_fit import CPU
from tlnlp.train.inputs import is_validated, read_documents, read_labelled
from tlnlp.train.recipe import learn
from tlnlp.train.report_data import held_out_figures, make_report
from tlnlp.train.resume_cache import ResumeCache
from tlnlp.train.time_budget import TimeBudget
from tlnlp.train.zero_shot import learn_without_labels


@dataclass(frozen=True)
class FinetuneResult:
    """The result of a run.

    Fields:
        version: the registered version.
        labels: the number of labelled texts that were learned from.
        steps: training steps of all encoders together.
        seconds: of the whole run.
        held_out: cross-validated figures; None with too few labels for them.
        encoder: the name of the chosen encoder.
        validated: whether there were enough labels to measure the model.
        cost: what the run cost; None without a price.
        labels_held_out: the number of labelled texts that were set aside.
        held_out_uri: where these are; None if there are none.
        warnings: what is allowed in the labels, but seldom meant.
    """

    version: ModelVersion
    run_id: str
    labels: int
    classes: tuple[str, ...]
    steps: int
    seconds: float
    held_out: Evaluation | None
    encoder: str
    validated: bool = True
    cost: dict[str, object] | None = None
    labels_held_out: int = 0
    held_out_uri: str | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the result as the command line prints it."""
        return {
            "model": self.version.name,
            "version": self.version.version,
            "uri": self.version.uri,
            "run_id": self.run_id,
            "encoder": self.encoder,
            "validated": self.validated,
            "labels": self.labels,
            "labels_held_out": self.labels_held_out,
            "held_out_uri": self.held_out_uri,
            "classes": list(self.classes),
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "held_out": self.held_out.to_json() if self.held_out is not None else None,
            "usd": self.cost["usd"] if self.cost else None,
            "warnings": list(self.warnings),
        }

    def facts(self) -> dict[str, Any]:
        """Return what a terminal shows: other names for labels that were set aside and for cross-validated figures."""
        names = {"labels_held_out": "labels_set_aside", "held_out_uri": "set_aside_in", "held_out": "cross_validation"}
        found = {names.get(name, name): value for name, value in self.to_json().items()}
        if found["cross_validation"] is not None:
            found["cross_validation"].pop("confusion")  # The report draws it.
        return found


def finetune(settings: FinetuneSettings, executor: Executor | None = None) -> FinetuneResult:
    """Train, bundle and register one version; write the run's ledger to the registry, even if the run fails.

    Args:
        executor: where the work runs; None: on the Ray cluster of ``settings.ray``, or in this process if it is small.

    Raises:
        UsageError, InputDataError, LabelFaultsError, BundleError, EngineError, StorageError.
        BudgetError: the run would cost more than its budget; a later start resumes from the finished fits.
    """
    check_name(settings.model)
    _check_batches(settings)
    started, registry, budget = time.monotonic(), Registry(settings.registry), Budget(settings.cost)
    ledger = _new_ledger(settings, budget)
    with _recorded(ledger, settings, registry):
        with ledger.stage("labels"):
            labelled = read_labelled(settings, ledger)
        pool, aside = set_aside(read_documents(settings, labelled, ledger), settings.cascade)
        time_budget = _time_budget(settings, aside, started)
        with tempfile.TemporaryDirectory(prefix="tlnlp-bundle-") as scratch:
            with nullcontext(executor) if executor is not None else ray_executor(settings.ray) as machines:
                runs = {
                    name: _run_of(
                        name, settings, labelled, pool, Path(scratch), (ledger, budget, time_budget, machines)
                    )
                    for name in candidates(settings, labelled.texts)
                }
                if pool is not None:
                    machines.start()
                with ledger.stage("encoder"):
                    run, tried = choose(runs)
                validated = is_validated(settings, labelled)
                run, learned = learn(run, pool) if validated else (run, learn_without_labels(run, pool))
                student = distil(run, learned, distilling_s(settings, aside))
                with ledger.stage("report"):
                    figures = held_out_figures(run.examples, learned, settings.seed)
                    report = make_report(run, labelled, learned, pool)
                    report |= {} if validated else {"unvalidated": True}
                    report["encoders"] = ledger.results["encoders"] = [trial.to_json() for trial in tried]
            folder = _folder(Path(scratch), run.settings.encoder)
            with ledger.stage("bundle"):
                assemble_bundle(run, labelled, learned, Made(figures, report, aside, student), folder)
            with ledger.stage("register"):
                version = registry.publish(settings.model, folder)
                held_out_uri = _store_held_out(settings, registry, version, labelled)
        for tried_run in runs.values():
            tried_run.forget()
        ledger.counts |= {"version": version.version, "steps": learned.steps}
    seconds = time.monotonic() - started
    say(f"registered {version.name}@{version.version}")
    if not validated:
        say("this version is UNVALIDATED: its accuracy is unknown: label some documents, and run `tlnlp evaluate`")
    counts = len(labelled.examples), labelled.classes, learned.steps
    encoder, held_out = run.settings.encoder, (len(labelled.held_out), held_out_uri, labelled.warnings)
    return FinetuneResult(version, ledger.run_id, *counts, seconds, figures, encoder, validated, ledger.cost, *held_out)


@contextmanager
def _recorded(ledger: Ledger, settings: FinetuneSettings, registry: Registry) -> Iterator[None]:
    """Store the ledger and the lineage of a run beside the model when the block ends, also when it fails."""
    lineage = Lineage(ledger, settings.lineage, [registry.storage.url(settings.model)])

    def save(finished: Ledger) -> None:
        """Store both."""
        registry.write_ledger(settings.model, finished)
        lineage.write(registry.storage.at(settings.model))

    with lineage.sent(), ledger.recorded(save):
        yield


def _new_ledger(settings: FinetuneSettings, budget: Budget) -> Ledger:
    """Return the ledger of a new run, with the price of its machines if there is one."""
    ledger = Ledger("finetune", new_run_id(datetime.now(UTC)), settings.model_dump(mode="json"))
    if budget.price is not None:
        ledger.priced(budget.price.usd_per_hour, instance=budget.price.instance, instances=budget.price.instances)
    return ledger


def _time_budget(settings: FinetuneSettings, aside: Sequence[str], started: float) -> TimeBudget:
    """Return the time of training: that of the settings without what the bundle takes in the end."""
    seconds = max(settings.time_budget_s / 2, settings.time_budget_s - reserved_s(settings, aside))
    return TimeBudget(seconds, started, jobless_tokens=settings.ray.jobless_tokens)


def _store_held_out(
    settings: FinetuneSettings, registry: Registry, version: ModelVersion, labelled: LabelledSet
) -> str | None:
    """Store the labels that were set aside, in the columns of the settings; return their URI, or None without any."""
    if not labelled.held_out:
        return None
    columns = settings.text_column, settings.label_column
    rows = [dict(zip(columns, (one.text, one.label), strict=True)) for one in labelled.held_out]
    uri = write_held_out(registry, version, rows)
    say(f"the {len(rows)} labels that were set aside are in {uri}: tlnlp promote compares versions on them")
    return uri


def _run_of(
    encoder: str,
    settings: FinetuneSettings,
    labelled: LabelledSet,
    pool: Pool | None,
    scratch: Path,
    services: tuple[Ledger, Budget, TimeBudget, Executor],
) -> Run:
    """Return the run with this encoder, and save the encoder's tokenizer in the folder where its bundle is made."""
    own = settings.model_copy(update={"encoder": encoder})
    check_engine(own)
    folder = _folder(scratch, encoder)
    folder.mkdir()
    examples = Examples.make(labelled, Reader.make(own, folder), own.class_descriptions)
    storage = Storage(settings.ray.storage or Registry(settings.registry).storage.at(settings.model).url("training"))
    name = _run_name(own, examples, labelled, pool)
    return Run(_with_precision(own, ResumeCache(storage, name)), examples, storage, name, *services)


def _with_precision(settings: FinetuneSettings, cache: ResumeCache) -> FinetuneSettings:
    """Return the settings with one precision for all fits of the run, also after a restart.

    ``auto`` is measured, and two processes of a busy machine may measure differently. On a cluster or a GPU each worker
    decides for itself.
    """
    training, ray = settings.training, settings.ray
    elsewhere = address_of(ray) or (ray.device != "cpu" and torch.cuda.is_available())
    if training.precision != "auto" or elsewhere:
        return settings
    note = cache.note("precision", lambda: {"precision": "bf16" if in_bfloat16(CPU, "auto") else "fp32"})
    return settings.model_copy(update={"training": training.model_copy(update={"precision": note["precision"]})})


def _folder(scratch: Path, encoder: str) -> Path:
    return scratch / hashlib.sha256(encoder.encode()).hexdigest()[:16]


def _check_batches(settings: FinetuneSettings) -> None:
    for key, size in (("training", settings.training.batch_size), ("teaching", settings.teaching.batch_size)):
        if size % settings.ray.workers:
            raise UsageError(
                f"{key}.batch_size={size} is not a multiple of ray.workers={settings.ray.workers}: workers train on "
                "equal shares of a batch: change one of the two"
            )


def code_digest() -> str:
    """Return the sha256 of the code that shapes a model: pieces of another recipe must not be mixed with its own."""
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(path for room in ("data", "model", "train") for path in (package / room).rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


# What neither fits nor their order depend on.
SHAPES_NOTHING = {"ray", "registry", "labels", "unlabelled", "run_name", "cost", "engine", "engine_gate", "optimise"}


def _run_name(settings: FinetuneSettings, examples: Examples, labelled: LabelledSet, pool: Pool | None) -> str:
    """Return a name that depends on all that shapes the result: only the same run, of the same code, is resumed."""
    shaping = settings.model_dump(mode="json", exclude=SHAPES_NOTHING)
    shaping |= {"workers": settings.ray.workers, "conventions": asdict(examples.reader.encoder.conventions)}
    given = [labelled.digest, pool.digest if pool is not None else None, shaping, code_digest()]
    text = json.dumps(given, sort_keys=True)
    return f"{settings.run_name or 'finetune'}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
