"""The pieces of work of a recipe as one process does them, on the device and the cores that it is given."""

from __future__ import annotations

import time
from typing import Any

import torch

from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.model.torch_encoder import load_encoder
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit
from tlnlp.train.fit.inference import features
from tlnlp.train.fit.precision import in_bfloat16
from tlnlp.train.fit.stopwatch import Stopwatch
from tlnlp.train.fit.trainer import Trainer

CPU = torch.device("cpu")


def fit_encoder(fit: EncoderFit, device: torch.device, cores: int) -> tuple[dict[str, Any], Floats, float, float]:
    """Run a fit from its first step to its last.

    Returns:
        The tensors of the model by name, as arrays; probabilities (texts, classes) of the texts held out; the seconds
        that training took; steps a second.
    """
    began_s = time.monotonic()
    torch.set_num_threads(cores)
    learner = Trainer(fit, device)
    learner.begin()
    watch = Stopwatch()
    for step, batch in learner.batches(0):
        learner.step(step, batch)
        watch.ended()
    learner.finish()
    weights = {name: tensor.cpu().numpy() for name, tensor in learner.model.state_dict().items()}
    trained_s = time.monotonic() - began_s
    held_out = learner.predict(fit.held_out)
    del learner
    _release(device)
    return weights, held_out, trained_s, watch.rate


def embed(
    tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, device: torch.device, cores: int
) -> tuple[Floats, float]:
    """Embed texts with an encoder of these tensors, or with the pretrained one.

    Returns:
        Embeddings (texts, hidden); and the seconds that reading took, once the encoder was loaded.
    """
    torch.set_num_threads(cores)
    how = spec.encoder.conventions
    model = load_encoder(spec.encoder.name, spec.classes, how.pooling, 0.0, seed=0, normalise=how.normalise)
    if weights is not None:
        model.load_state_dict({name: torch.as_tensor(array) for name, array in weights.items()})
    bf16 = in_bfloat16(device, spec.precision)
    model = model.to(device)
    began_s = time.monotonic()
    found = features(model, tokens, spec.encoder.pad_token_id, device, bf16)
    seconds = time.monotonic() - began_s
    del model
    _release(device)
    return found, seconds


def _release(device: torch.device) -> None:
    """Give back the memory of a GPU, which this process would else keep from others while it waits for work."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
