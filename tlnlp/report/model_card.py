"""Write the model card of a version, from its report: what it is, how good, and how its files are used elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tlnlp.errors import counted
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.registry import ModelVersion
from tlnlp.report import sentences
from tlnlp.report.scoring import scoring

Values = Mapping[str, Any]

_LOAD = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{folder}")
logits = model.encode(["A text."], prompt_name={prompt})  # (texts, {classes}), in the order of the classes
```"""


def model_card(version: ModelVersion, spec: BundleSpec, training: Values, folder: str) -> str:
    """Return the card as Markdown, with the front matter that model hubs read.

    Args:
        training: the content of ``training.json``.
        folder: the name of the folder that the card lies in.
    """
    report: Values = training.get("report") or {}
    lines = [_front_matter(version, spec, report), f"# {version.name}, version {version.version}", ""]
    lines += [f"A text classifier for the classes {_listed(spec.classes)}. It was fine-tuned by tlnlp.", ""]
    lines += _section("How good it is", _figures(report))
    lines += _section("What it learned from", _learned(training))
    lines += _section("Classes", [f"- `{position}`: {_plain(name)}" for position, name in enumerate(spec.classes)])
    lines += _section("How to use it", [_use(spec, folder)])
    lines += _section("How a night scores with it", scoring(report))
    return "\n".join(lines).rstrip() + "\n"


def _front_matter(version: ModelVersion, spec: BundleSpec, report: Values) -> str:
    own: Values = report.get("cross_validation") or {}
    figures = {"accuracy": own.get("accuracy"), "f1": own.get("macro_f1")}
    metrics = [f"{{type: {name}, value: {value:.4f}}}" for name, value in figures.items() if value is not None]
    lines = ["---", "pipeline_tag: text-classification", "library_name: sentence-transformers"]
    lines += [f"base_model: {json.dumps(spec.encoder)}", "tags: [tlnlp, text-classification]"]
    if metrics:
        lines += [
            "model-index:",
            f"- name: {json.dumps(version.name)}",
            "  results:",
            "  - task: {type: text-classification}",
            "    dataset: {type: labels, name: held-out labels by cross-validation}",
            f"    metrics: [{', '.join(metrics)}]",
        ]
    return "\n".join([*lines, "---", ""])


def _figures(report: Values) -> list[str]:
    found = [sentences.accuracy(report), sentences.macro_f1(report), sentences.calibration(report)]
    beside = [sentences.baseline(name, one) for name, one in (report.get("baselines") or {}).items()]
    said = [_plain(one) for one in (*sentences.warnings(report), *found, *beside) if one]
    return said or ["It was made without a report: its accuracy is unknown."]


def _learned(training: Values) -> list[str]:
    counts: Values = training.get("counts") or {}
    lines = [f"- {_plain(name)}: {counted(int(n), 'label')}" for name, n in counts.items()]
    documents = len(training.get("unlabelled_model_text_sha256") or ())
    if documents:
        lines.append(f"- {counted(documents, 'document')} without labels, by co-training")
    return lines


def _use(spec: BundleSpec, folder: str) -> str:
    prompt = '"document"' if spec.prompt else "None"
    cut = (
        "Texts are cut after the first tokens here; tlnlp keeps the beginning and the end of a long text, and combines "
        "these logits with an n-gram view. So `tlnlp score` gives other, better calibrated probabilities."
    )
    return "\n".join([_LOAD.format(folder=folder, prompt=prompt, classes=len(spec.classes)), "", cut])


def _section(title: str, lines: list[str]) -> list[str]:
    is_list = all(line.startswith("- ") for line in lines)
    return [f"## {title}", "", ("\n" if is_list else "\n\n").join(lines), ""] if lines else []


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(_plain(name) for name in names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _plain(text: str) -> str:
    """Return a text of the user as Markdown that shows its characters and means nothing else."""
    return "".join(f"\\{one}" if one in "\\`*_{}[]()#+!|<>~" else one for one in " ".join(text.split()))
