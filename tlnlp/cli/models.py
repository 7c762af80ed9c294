"""The subcommands that make, measure and promote versions of models, and check labelled sets."""

from __future__ import annotations

import click

from tlnlp.cli.completion import complete_models
from tlnlp.cli.options import Call, command
from tlnlp.cli.settings_help import Keys
from tlnlp.config import EvaluateSettings, FinetuneSettings, PromoteSettings, RegistrySettings
from tlnlp.runs import console
from tlnlp.runs.environment import user_name
from tlnlp.runs.progress import say

# The keys of labels that have an effect where labels are only read.
_LABEL_KEYS = ("text_column", "label_column", "classes", "min_per_class", "max_chars", "format", "csv", "encoding")


@command(
    "check",
    "tlnlp labels check my/labels.csv --set label_column=topic",
    Keys(FinetuneSettings, first=_LABEL_KEYS, only=_LABEL_KEYS),
)
@click.argument("uri")
def check(call: Call, uri: str) -> None:
    """Check the labelled set at URI. Counts its labels; lists duplicates, conflicts and faults by row, and warnings."""
    from tlnlp.data.label_faults import describe_faults
    from tlnlp.data.labels import LabelContract, read_labels
    from tlnlp.errors import LabelFaultsError, counted

    given = call.settings(FinetuneSettings, labels=uri)  # So that the config of finetune serves both.
    contract = LabelContract.of(given, given.min_per_class, given.max_chars)
    labelled = read_labels(given.labels, contract)
    faults = [vars(fault) for fault in labelled.faults]
    call.show(
        {
            "uri": labelled.uri,
            "rows": labelled.rows,
            "labels": labelled.counts,
            "faults": faults if call.as_json else len(faults),
            "warnings": list(labelled.warnings) if call.as_json else len(labelled.warnings),
        }
    )
    for warning in () if call.as_json else labelled.warnings:
        say(f"{labelled.uri}: warning: {warning}")
    if labelled.faults:
        counts = f"{counted(len(faults), 'fault')} in {counted(labelled.rows, 'row')}"
        listing = "" if call.as_json else "\n" + describe_faults(labelled.faults)
        raise LabelFaultsError(f"{labelled.uri}: {counts}: correct the rows, then check again{listing}")


@command(
    "finetune",
    "tlnlp finetune --set labels=my/labels.csv --set model=tickets",
    Keys(FinetuneSettings, first=("labels", "model", "unlabelled", "time_budget_s", "encoder", "registry")),
)
def finetune(call: Call) -> None:
    """Fine-tune a classifier on labelled examples. Registers the result as a new version. Uses Ray Train."""
    settings = call.settings(FinetuneSettings)
    from tlnlp.train.finetune import finetune

    call.show_result(finetune(settings))


@command(
    "evaluate",
    "tlnlp evaluate tickets --set labels=my/new-labels.csv",
    Keys(EvaluateSettings, first=("labels", "registry"), given={"model": "MODEL"}),
)
@click.argument("model", shell_complete=complete_models)
def evaluate(call: Call, model: str) -> None:
    """Measure MODEL on labelled examples. MODEL is a name, name@champion or name@VERSION."""
    from tlnlp.evaluate.evaluation import evaluate_version

    result = evaluate_version(call.settings(EvaluateSettings, model=model)).to_json()
    if call.as_json:
        console.print_json(result)
    else:
        confusion = result.pop("confusion")
        console.print_facts(result)
        console.print_matrix("Labels (rows) by predicted class (columns)", confusion)


@command(
    "promote",
    "tlnlp promote tickets --set labels=my/new-labels.csv",
    Keys(PromoteSettings, first=("labels", "margin", "min_labels", "registry"), given={"model": "MODEL"}),
)
@click.argument("model", shell_complete=complete_models)
@click.option("--force", is_flag=True, help="Promote even if the gate refuses; who and why is recorded.")
@click.option("--reason", default="", metavar="TEXT", help="Why; recorded with the alias.")
def promote(call: Call, model: str, force: bool, reason: str) -> None:
    """Make MODEL the champion. A later version must be no worse, on labels that neither version was trained on."""
    from tlnlp.evaluate.promotion_gate import promote

    given: dict[str, object] = {"model": model}
    if force:
        given |= {"force": True}
    if reason:
        given |= {"reason": reason}
    call.show(promote(call.settings(PromoteSettings, **given)).to_json())


@command("rollback", 'tlnlp rollback tickets --reason "worse on Mondays"', Keys(RegistrySettings))
@click.argument("name", shell_complete=complete_models)
@click.option("--reason", default="", metavar="TEXT", help="Why; recorded with the alias.")
def rollback(call: Call, name: str, reason: str) -> None:
    """Make the previous champion of the model NAME champion again."""
    from tlnlp.registry import Registry

    registry = Registry(call.settings(RegistrySettings).registry)
    alias = registry.rollback(name, by=user_name(), reason=reason or "rollback")
    call.show({"model": name, "version": alias.version, "previous": alias.previous, "decision": "rolled back"})


@command("models", "tlnlp models", Keys(RegistrySettings))
def models(call: Call) -> None:
    """List the versions of every model, and which is champion."""
    from tlnlp.registry import Registry

    registry = Registry(call.settings(RegistrySettings).registry)
    rows = [
        {
            "model": info.name,
            "version": info.version,
            "champion": info.champion,
            "created_at": info.created_at.isoformat(timespec="seconds") if info.created_at else None,
            "size_bytes": info.size_bytes,
            "uri": info.uri,
        }
        for name in registry.models()
        for info in registry.versions(name)
    ]
    if rows or call.as_json:
        call.show_list(rows, ["model", "version", "champion", "created_at", "uri"])
    else:
        say(f"no models in {registry.storage.uri} yet: make one with `tlnlp finetune`, or run `tlnlp demo`")
