"""Choose how a night scores: the engine of the encoder, and what the n-gram view settles alone."""

from __future__ import annotations

from pathlib import Path

from tlnlp.config import ScoreSettings
from tlnlp.errors import UsageError
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.model.profile import NONE, ONNX_FP32, Profile, slower
from tlnlp.registry import ModelVersion
from tlnlp.runs.progress import say

AUTO = "auto"


def scoring_profile(settings: ScoreSettings, spec: BundleSpec, folder: Path, model: ModelVersion) -> Profile:
    """Return the profile of a night: what the settings ask for, else what was chosen when the version was made.

    A version without the cascade that is asked for scores with the next slower one, and the log says so.

    Raises:
        UsageError: the version cannot be scored with the engine that is asked for.
    """
    wanted = spec.optimise if settings.optimise == AUTO else settings.optimise
    cascade = next((name for name in slower(wanted) if name in spec.cascades), NONE)
    if cascade != wanted:
        reads = "the encoder reads every text" if cascade == NONE else f"the {cascade} one scores"
        say(f"{model} has no {wanted} cascade (it learned from too few documents to test one, or none passed): {reads}")
    plain = ONNX_FP32 if settings.optimise == NONE else spec.engine
    engine = plain if settings.engine == AUTO else settings.engine
    if not bundle.has_files(folder, engine):
        raise UsageError(
            f"engine: {engine} cannot score with {model}, which has no {bundle.INT8}: its encoder is of another kind, "
            f"or an earlier tlnlp made it; use --set engine={ONNX_FP32}"
        )
    return Profile(engine, cascade)
