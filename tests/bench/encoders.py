"""What the baselines know of an encoder: where its files are, and how its own files say that it wants to be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tlnlp.model.torch_encoder import encoder_folder

# Where `tlnlp` keeps encoders by name.
KEPT = Path("~/.cache/tlnlp/encoders")
HEAD_SHARE = 0.5


class EncoderError(Exception):
    """An encoder is not on this machine."""


@dataclass(frozen=True)
class EncoderFiles:
    """``prompt`` stands before each text; ``pooling``: mean or cls; ``normalize``: embeddings have length 1.

    These are what sentence-transformers reads in the folder, and what a user of the encoder's model card does.
    """

    folder: Path
    prompt: str
    pooling: str
    normalize: bool

    @staticmethod
    def of(encoder: str) -> EncoderFiles:
        """The encoder of a name, or of a folder.

        Raises:
            EncoderError: its files are not here.
        """
        places = (Path(encoder_folder(encoder)), KEPT.expanduser() / encoder)
        for folder in places:
            if (folder / "tokenizer.json").exists():
                return _described(folder)
        raise EncoderError(f"encoder {encoder!r} is neither in {places[0]} nor in {places[1]}; put its files there")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        made = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        made.no_truncation()
        made.no_padding()
        return made

    @property
    def pad_id(self) -> int:
        return int(json.loads((self.folder / "config.json").read_text()).get("pad_token_id") or 0)

    def encode(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Token ids of prompt and text, at most ``max_length``; a longer text keeps its head and its tail."""
        before, after = self._edges()
        room = max_length - len(before) - len(after)
        head = round(room * HEAD_SHARE)
        encoded = []
        for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False):
            ids = encoding.ids
            kept = ids if len(ids) <= room else ids[:head] + ids[head - room :]
            encoded.append([*before, *kept, *after])
        return encoded

    def cut(self, texts: Sequence[str], max_length: int) -> list[str]:
        """Prompt and text as ``encode`` cuts them, as texts."""
        room = max_length - sum(map(len, self._edges()))
        head = round(room * HEAD_SHARE)
        found = []
        for text, encoding in zip(
            texts, self.tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True
        ):
            offsets = encoding.offsets
            long = len(offsets) > room
            kept = f"{text[: offsets[head - 1][1]]} {text[offsets[head - room][0] :]}" if long else text
            found.append(self.prompt + kept)
        return found

    def _edges(self) -> tuple[list[int], list[int]]:
        """Token ids before a text, the prompt's among them, and after it."""
        probe = self.tokenizer.encode("a", add_special_tokens=False).ids
        whole = self.tokenizer.encode("a", add_special_tokens=True).ids
        start = whole.index(probe[0])
        prompt = self.tokenizer.encode(self.prompt, add_special_tokens=False).ids
        return whole[:start] + prompt, whole[start + len(probe) :]


def _described(folder: Path) -> EncoderFiles:
    prompts = _json(folder / "config_sentence_transformers.json", {})
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"), "")
    cls = _json(folder / "1_Pooling" / "config.json", {}).get("pooling_mode_cls_token", False)
    types = [one["type"] for one in _json(folder / "modules.json", [])]
    return EncoderFiles(folder, prompt, "cls" if cls else "mean", any(one.endswith(".Normalize") for one in types))


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else default
