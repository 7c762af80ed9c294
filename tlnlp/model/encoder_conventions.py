"""Read how an encoder is used (pooling, prompt, length) from its configuration files, before its weights are loaded.

The files are those of sentence-transformers (``modules.json``, ``1_Pooling/config.json``,
``config_sentence_transformers.json``, ``sentence_bert_config.json``) beside the ``config.json`` of transformers. An
encoder without them is used with the mean over tokens and no prompt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from tlnlp.errors import InputDataError
from tlnlp.storage.causes import reason_of

POOLINGS = ("mean", "cls", "max")
# Supported types, each with the number of positions where config.json has no ``max_position_embeddings``.
POSITIONS = {"bert": 512, "roberta": 512, "xlm-roberta": 512, "distilbert": 512, "mpnet": 512, "modernbert": 8192}
# In these types the first position is the one after the padding token's id; the positions before are never used.
RESERVES_POSITIONS = {"roberta", "xlm-roberta", "mpnet"}
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
UNSAFE_WEIGHTS = "pytorch_model.bin"
# Older versions of sentence-transformers name this file after the type of the model.
SENTENCE_CONFIGS = tuple(
    f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "xlm-roberta", "camembert")
)
_ONE_OF_EACH = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def hub_is_offline() -> bool:
    """Return whether no model hub may be asked: always, unless the user has set ``HF_HUB_OFFLINE=0``.

    The hub's library reads that variable when it is imported, which a user's program may have done before. Then it asks
    the hub even in a call with ``local_files_only``, to describe this program to it. So no such call is made.
    """
    return os.environ.get("HF_HUB_OFFLINE", "1").upper() not in ("0", "OFF", "NO", "FALSE")


def cached_path(name: str, file: str) -> Path | None:
    """Return the path of a file of a hub's model that was fetched before; None if it was not. No hub is asked."""
    try:
        found = try_to_load_from_cache(name, file)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


@dataclass(frozen=True)
class Conventions:
    """Describe how an encoder turns a text into one vector.

    Fields:
        pooling: how token states become one vector: ``mean``, ``cls`` (the first state) or ``max``.
        prompt: text that precedes each input.
        normalise: whether all vectors are scaled to the same length.
        lower_case: whether the text is lower-cased before tokenisation.
        max_length: longest input in tokens, prompt and special tokens included.
    """

    pooling: str
    prompt: str
    normalise: bool
    lower_case: bool
    max_length: int


@dataclass(frozen=True)
class EncoderSource:
    """Name a pretrained encoder (by folder, URI or name), with its conventions and the id of its padding token."""

    name: str
    conventions: Conventions
    pad_token_id: int


def read_conventions(
    source: str | Path,
    *,
    pooling: str | None = None,
    prompt: str | None = None,
    normalise: bool | None = None,
    lower_case: bool | None = None,
    name: str | None = None,
) -> Conventions:
    """Read how an encoder is used from its JSON files; an argument that is not None replaces the files' value.

    ``max_length`` is the number of the encoder's positions. ``max_seq_length`` of sentence-transformers does not lower
    it, because that is a default for inference and often far below what the encoder accepts.

    Args:
        source: the encoder's folder, or its name on a model hub.
        name: the encoder's name in error messages; None means ``source``.

    Raises:
        InputDataError: a file cannot be read; or tlnlp does not support the encoder's type, pooling or modules; or its
            weights are not safetensors; or it needs code of its own.
    """
    files = _Files(str(source), name or str(source))
    config = files.read("config.json")
    if config is None:
        raise files.fault(
            "there is no config.json",
            "give a folder with config.json, model.safetensors and tokenizer.json, "
            "or set HF_HUB_OFFLINE=0 to fetch a name from a model hub",
        )
    _refuse_model(files, config)
    modules = _modules(files)
    if pooling is None:
        pooling = _pooling(files, modules)
    return Conventions(
        pooling,
        _prompt(files, modules) if prompt is None else prompt,
        "Normalize" in modules if normalise is None else normalise,
        _lower_case(files) if lower_case is None else lower_case,
        _max_length(files, config),
    )


@dataclass(frozen=True)
class _Files:
    """Read the JSON files of an encoder, in a folder or on a model hub."""

    source: str
    name: str

    def fault(self, problem: str, remedy: str) -> InputDataError:
        return InputDataError(f"encoder {self.name!r}: {problem}; {remedy}")

    def has(self, name: str) -> bool:
        return (Path(self.source) / name).is_file()

    @property
    def is_folder(self) -> bool:
        return Path(self.source).is_dir()

    def read(self, name: str, kind: type = dict) -> Any:
        """Return the content of a file; None where there is no such file.

        Raises:
            InputDataError: the file is not JSON, or its content is not of type ``kind``.
        """
        path = self._path(name)
        if path is None:
            return None
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise self.fault(
                f"{name} is not readable JSON ({type(error).__name__})", "fetch the encoder again"
            ) from error
        if not isinstance(content, kind):
            raise self.fault(
                f"{name} holds a {type(content).__name__}, not a {kind.__name__}", "fetch the encoder again"
            )
        return content

    def _path(self, name: str) -> Path | None:
        if self.is_folder:
            return Path(self.source) / name if self.has(name) else None
        if hub_is_offline():
            return cached_path(self.source, name)
        try:
            return Path(hf_hub_download(self.source, name))
        except (EntryNotFoundError, RepositoryNotFoundError, HFValidationError):
            return None
        except (HfHubHTTPError, OSError) as error:
            problem = f"{name} cannot be fetched from the model hub ({reason_of(error)})"
            raise self.fault(problem, "try again, or give a folder") from error


def _refuse_model(files: _Files, config: Mapping[str, Any]) -> None:
    if "auto_map" in config:
        raise files.fault("it comes with code of its own (auto_map in config.json), which is never run", _OTHER)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in POSITIONS:
        raise files.fault(
            f"model_type {kind!r} of config.json is not supported", f"choose one of {', '.join(POSITIONS)}"
        )
    if not files.is_folder or any(files.has(name) for name in WEIGHTS):
        return  # For a model on a hub, transformers refuses other weights when it loads them.
    if files.has(UNSAFE_WEIGHTS):
        raise files.fault(
            f"its weights are a pickle ({UNSAFE_WEIGHTS}), which is never opened", "save them as safetensors"
        )
    raise files.fault("there is no model.safetensors", "fetch the encoder again")


def _modules(files: _Files) -> dict[str, str]:
    """Return the folder of each module by its class, in order; empty without modules.json.

    Raises:
        InputDataError: a module or their order is not supported.
    """
    written = files.read("modules.json", list)
    if written is None:
        return {}
    try:
        modules = {str(module["type"]).rpartition(".")[2]: str(module["path"]) for module in written}
    except (TypeError, KeyError) as error:
        raise files.fault(
            "modules.json is not a list of modules with type and path", "fetch the encoder again"
        ) from error
    kinds = [str(module["type"]).rpartition(".")[2] for module in written]
    if kinds[:1] != ["Transformer"] or kinds[1:] not in ([], ["Pooling"], ["Pooling", "Normalize"]):
        refused = next(
            (kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")), " > ".join(kinds)
        )
        raise files.fault(
            f"modules.json: {refused} is not supported (only Transformer, Pooling, Normalize, in this order)", _OTHER
        )
    if modules["Transformer"]:
        raise files.fault(f"modules.json puts the network into the folder {modules['Transformer']}", "give that folder")
    return modules


def _pooling(files: _Files, modules: Mapping[str, str]) -> str:
    folder = modules.get("Pooling", "1_Pooling")
    name = f"{folder}/config.json"
    written = files.read(name)
    if written is None:
        return "mean"
    modes = written.get("pooling_mode", [mode for key, mode in _ONE_OF_EACH.items() if written.get(key)] or "mean")
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in POOLINGS:
        refused = " with ".join(map(str, modes)) if isinstance(modes, list) else repr(modes)
        raise files.fault(
            f"pooling {refused} of {name} is not supported",
            f"choose another encoder, or set `pooling` to one of {', '.join(POOLINGS)}",
        )
    return str(modes[0])


def _prompt(files: _Files, modules: Mapping[str, str]) -> str:
    """Return the default prompt of the encoder; empty where it has none."""
    written = files.read(name := "config_sentence_transformers.json") or {}
    default = written.get("default_prompt_name")
    if default is None:
        return ""
    prompts = written.get("prompts")
    prompt = prompts.get(default) if isinstance(prompts, dict) and isinstance(default, str) else None
    if not isinstance(prompt, str):
        raise files.fault(f"{name}: default_prompt_name {default!r} is none of its prompts", "set the key `prompt`")
    pooling = files.read(f"{modules.get('Pooling', '1_Pooling')}/config.json") or {}
    if prompt and not pooling.get("include_prompt", True):
        raise files.fault("its pooling leaves the prompt out (include_prompt is false), which is not supported", _OTHER)
    return prompt


def _lower_case(files: _Files) -> bool:
    for name in SENTENCE_CONFIGS:
        if (written := files.read(name)) is not None:
            return _flag(files, name, written, "do_lower_case")
    return False


def _flag(files: _Files, name: str, written: Mapping[str, Any], key: str) -> bool:
    value = written.get(key, False)
    if not isinstance(value, bool):
        raise files.fault(f"{name}: {key} is {value!r}, neither true nor false", "correct the file")
    return value


def _max_length(files: _Files, config: Mapping[str, Any]) -> int:
    kind = config["model_type"]
    positions = config.get("max_position_embeddings", POSITIONS[kind])
    # MPNet takes 1 for the id of its padding token here, whatever its config.json says.
    padding = config.get("pad_token_id", 1) if kind in ("roberta", "xlm-roberta") else 1
    if not isinstance(positions, int) or not isinstance(padding, int):
        raise files.fault("config.json: max_position_embeddings and pad_token_id must be numbers", "correct the file")
    return positions - (padding + 1) if kind in RESERVES_POSITIONS else positions


_OTHER = "choose another encoder"
