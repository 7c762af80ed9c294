"""Run one fit or one embedding pass in this process, on a given device and number of cores."""

from __future__ import annotations

import time
from typing import Any

import torch

from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.model.torch_encoder import load_encoder
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit
from tlnlp.train.fit.inference import int8_engine, pooled_states
from tlnlp.train.fit.precision import in_bfloat16
from tlnlp.train.fit.stopwatch import Stopwatch
from tlnlp.train.fit.trainer import Trainer

CPU = torch.device("cpu")
# The precision of an embedding pass with int8 weights; a GPU reads in torch all the same.
INT8 = "int8"


def fit_encoder(fit: EncoderFit, device: torch.device, cores: int) -> tuple[dict[str, Any], Floats, float, float]:
    """Run a fit from its first step to its last.

    Returns:
        The arrays of the fitted model, by name; probabilities of the held-out texts (texts, classes); the duration of
        the training in seconds; steps per second.
    """
    began_s = time.monotonic()
    torch.set_num_threads(cores)
    trainer = Trainer(fit, device)
    trainer.begin()
    watch = Stopwatch()
    for step, batch in trainer.batches(0):
        trainer.step(step, batch)
        watch.record_step()
    trainer.finish()
    weights = {name: tensor.cpu().numpy() for name, tensor in trainer.model.state_dict().items()}
    trained_s = time.monotonic() - began_s
    held_out = trainer.predict(fit.held_out)
    del trainer
    _release(device)
    return weights, held_out, trained_s, watch.steps_per_s


def embed(
    tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, device: torch.device, cores: int
) -> tuple[Floats, float]:
    """Embed texts.

    Args:
        tokens: token ids of the texts.
        weights: arrays of a fitted model, by name; None uses the pretrained encoder.
        spec: the encoder and its precision.
        device: where the encoder runs.
        cores: how many CPU cores torch uses.

    Returns:
        Embeddings (texts, hidden); the duration in seconds, without the time to load the encoder.
    """
    torch.set_num_threads(cores)
    conventions = spec.encoder.conventions
    model = load_encoder(
        spec.encoder.name, spec.classes, conventions.pooling, 0.0, seed=0, normalise=conventions.normalise
    )
    if weights is not None:
        model.load_state_dict({name: torch.as_tensor(array) for name, array in weights.items()})
    if spec.precision == INT8 and device == CPU:
        engine = int8_engine(model, cores)
        began_s = time.monotonic()
        embeddings = engine.pooled_states(tokens)
    else:
        bf16 = in_bfloat16(device, "auto" if spec.precision == INT8 else spec.precision)
        model = model.to(device)
        began_s = time.monotonic()
        embeddings = pooled_states(model, tokens, spec.encoder.pad_token_id, device, bf16)
    seconds = time.monotonic() - began_s
    del model
    _release(device)
    return embeddings, seconds


def _release(device: torch.device) -> None:
    """Return cached GPU memory, so that other processes can use it while this one waits for work."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
