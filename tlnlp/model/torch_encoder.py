"""Define the encoder view in torch, for training and as the reference of the exported graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoTokenizer

from tlnlp.errors import InputDataError
from tlnlp.model import bundle, encoder_catalogue
from tlnlp.model.encoder_conventions import cached_path, hub_is_offline
from tlnlp.model.engines.network import Network, known_network

# Names of the dropout settings in transformers, by type of encoder.
DROPOUT = {
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "roberta": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "xlm-roberta": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "mpnet": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "distilbert": ("dropout", "attention_dropout"),
    "modernbert": ("embedding_dropout", "mlp_dropout", "attention_dropout"),
}
# Types for which transformers has no fused attention.
EAGER_ONLY = {"mpnet"}


def encoder_folder(encoder: str) -> str:
    """Return where an encoder's files are (see ``encoder_catalogue.resolve``): a folder, or its name on a model hub.

    Raises:
        InputDataError: the encoder is not on this machine, and no model hub may be asked.
        StorageError: its store cannot be read.
    """
    found = encoder_catalogue.resolve(encoder)
    if Path(found).is_dir() or not hub_is_offline():
        return found
    config = cached_path(found, "config.json")
    if config is None:
        raise InputDataError(
            f"encoder {encoder!r} is not on this machine; give a folder, or set HF_HUB_OFFLINE=0 to fetch it by name "
            "from a model hub"
        )
    return str(config.parent)


def encoder_network(encoder: str) -> Network | None:
    """Return the network of a pretrained encoder by its configuration; None if no int8 engine can run it.

    Args:
        encoder: name, folder or URI of the encoder.

    Raises:
        InputDataError: transformers cannot open it as an encoder.
    """
    try:
        values = AutoConfig.from_pretrained(encoder_folder(encoder), trust_remote_code=False).to_dict()
    except (OSError, ValueError, ImportError) as error:
        raise InputDataError(_cannot_open(encoder, error)) from error
    return known_network(values)


class TextClassifier(nn.Module):
    """Classify texts with a pretrained encoder, pooling over its tokens, and a linear head.

    Args:
        encoder: the pretrained network of transformers.
        hidden: width of its states.
        classes: number of classes.
        pooling: ``mean``, ``cls`` (the first state) or ``max``.
        dropout: dropout before the head.
        normalise: whether pooled states are scaled to the length sqrt(hidden). A component is then about 1, as after
            layer normalisation, so the head needs no learning rate of its own.
    """

    def __init__(
        self,
        encoder: nn.Module,
        hidden: int,
        classes: int,
        pooling: str,
        dropout: float = 0.1,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, classes)
        self.pooling = pooling
        self.normalise = normalise
        # An exported graph pools and applies the head text by text. ONNX Runtime adds the numbers of one text in
        # another order than those of several, so the last bits of a score would depend on the size of a batch.
        self.by_rows = False

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return one vector per text (batch, hidden); ``input_ids`` and ``attention_mask`` are (batch, tokens)."""
        states: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = self._over_tokens(states, attention_mask.unsqueeze(-1))
        return functional.normalize(pooled, dim=1) * states.shape[-1] ** 0.5 if self.normalise else pooled

    def _over_tokens(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "max":
            return states.masked_fill(mask == 0, torch.finfo(states.dtype).min).amax(1)
        mask = mask.to(states.dtype)
        if self.by_rows:
            return (mask.transpose(1, 2) @ states).squeeze(1) / mask.sum(1).clamp(min=1.0)
        return (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, features: bool = False) -> Tensor:
        """Return logits (batch, classes); with ``features`` the pooled states (batch, hidden) instead."""
        pooled = self.pool(input_ids, attention_mask)
        if features:
            return pooled
        if self.by_rows:
            return (pooled.unsqueeze(1) * self.head.weight).sum(-1) + self.head.bias
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def load_encoder(
    source: str,
    classes: int,
    pooling: str,
    dropout: float | None,
    seed: int,
    attention: str = "sdpa",
    normalise: bool = False,
) -> TextClassifier:
    """Load a pretrained encoder and add a randomly initialised head.

    Code that comes with a model is never run, and a pickle is never opened.

    Args:
        source: name, folder or URI of the encoder.
        classes: number of classes.
        dropout: dropout inside the encoder and before the head; None means the encoder's own, and 0.1 before the head.
        seed: seed of the head and of weights that the checkpoint lacks.
        attention: implementation in transformers, ``sdpa`` or ``eager``; types without ``sdpa`` get ``eager``.

    Raises:
        InputDataError: transformers cannot open the source as an encoder.
    """
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = encoder_folder(source)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if dropout is not None:
            for name in DROPOUT.get(config.model_type, ()):
                setattr(config, name, dropout)
        torch.manual_seed(seed)  # Weights that the checkpoint lacks (a pooler) are drawn at random.
        encoder = _open(folder, config=config, attn_implementation=_attention(config.model_type, attention))
    except (OSError, ValueError, ImportError) as error:
        raise InputDataError(_cannot_open(source, error)) from error
    torch.manual_seed(seed)
    head_dropout = 0.1 if dropout is None else dropout
    return TextClassifier(encoder, config.hidden_size, classes, pooling, head_dropout, normalise)


def _open(folder: str | Path, **options: Any) -> nn.Module:
    model: nn.Module = AutoModel.from_pretrained(
        folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, **options
    )
    return model


def _attention(model_type: str, wanted: str) -> str:
    return "eager" if model_type in EAGER_ONLY else wanted


def save_tokenizer(source: str, folder: Path) -> int:
    """Write an encoder's fast tokenizer to a folder; return the id of its padding token.

    Raises:
        InputDataError: transformers cannot open the encoder's tokenizer, or it is not a fast one.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(encoder_folder(source), trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise InputDataError(_cannot_open(source, error)) from error
    if not tokenizer.is_fast:
        raise InputDataError(f"encoder {source!r} has no fast tokenizer (tokenizer.json); choose another encoder")
    tokenizer.backend_tokenizer.save(str(folder / bundle.TOKENIZER))
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        if path.name not in bundle.REQUIRED:
            path.unlink()
    return int(tokenizer.pad_token_id or 0)


def save_weights(model: TextClassifier, folder: Path) -> None:
    """Write the encoder (in the format of transformers) and the head (safetensors) to a bundle's folder."""
    model.encoder.save_pretrained(folder)  # type: ignore[operator]
    save_file({name: tensor.contiguous() for name, tensor in model.head.state_dict().items()}, folder / bundle.HEAD)


def load_weights(folder: Path, pooling: str, normalise: bool = False) -> TextClassifier:
    """Load a bundle's encoder view into torch, in evaluation mode."""
    head = load_file(folder / bundle.HEAD)
    classes, hidden = head["weight"].shape
    model = TextClassifier(_open(folder), hidden, classes, pooling, dropout=0.0, normalise=normalise)
    model.head.load_state_dict(head)
    return model.eval()


def _cannot_open(source: str, error: Exception) -> str:
    return (
        f"encoder {source!r}: transformers cannot open it ({type(error).__name__}); give a folder with config.json, "
        "model.safetensors and tokenizer.json, or set HF_HUB_OFFLINE=0 to fetch a name from a model hub"
    )
