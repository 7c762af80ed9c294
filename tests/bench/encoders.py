"""What the baselines know about an encoder: where its files are, and the usage that its files prescribe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tlnlp.model import encoder_catalogue

# The folder in which `tlnlp encoders fetch` stores encoders by name.
CACHE = Path("~/.cache/tlnlp/encoders")
HEAD_SHARE = 0.5


class EncoderError(Exception):
    """An encoder is not on this machine."""


@dataclass(frozen=True)
class EncoderFiles:
    """The folder of an encoder, and the usage that its files prescribe (those that sentence-transformers reads).

    ``prompt``: text before each input. ``pooling``: mean or cls. ``normalize``: whether embeddings have length 1.
    """

    folder: Path
    prompt: str
    pooling: str
    normalize: bool

    @staticmethod
    def of(encoder: str) -> EncoderFiles:
        """Return the encoder of a name or of a folder.

        Raises:
            EncoderError: its files are not on this machine.
        """
        places = (Path(encoder_catalogue.resolve(encoder)), CACHE.expanduser() / encoder)
        for folder in places:
            if (folder / "tokenizer.json").exists():
                return _described(folder)
        raise EncoderError(f"encoder {encoder!r} is neither in {places[0]} nor in {places[1]}: put its files there")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer, without truncation and padding."""
        made = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        made.no_truncation()
        made.no_padding()
        return made

    @property
    def pad_id(self) -> int:
        """Return the id of the padding token."""
        return int(json.loads((self.folder / "config.json").read_text()).get("pad_token_id") or 0)

    def encode(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Return token ids of prompt and text, at most ``max_length``; a longer text is cut to head and tail."""
        before, after = self._edges()
        room = max_length - len(before) - len(after)
        head = round(room * HEAD_SHARE)
        encoded = []
        for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False):
            ids = encoding.ids
            cut = ids if len(ids) <= room else ids[:head] + ids[head - room :]
            encoded.append([*before, *cut, *after])
        return encoded

    def cut(self, texts: Sequence[str], max_length: int) -> list[str]:
        """Return prompt and text, cut as ``encode`` cuts them, as strings."""
        room = max_length - sum(map(len, self._edges()))
        head = round(room * HEAD_SHARE)
        found = []
        for text, encoding in zip(
            texts, self.tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True
        ):
            offsets = encoding.offsets
            long = len(offsets) > room
            cut = f"{text[: offsets[head - 1][1]]} {text[offsets[head - room][0] :]}" if long else text
            found.append(self.prompt + cut)
        return found

    def _edges(self) -> tuple[list[int], list[int]]:
        """Return the token ids before a text, with those of the prompt, and the token ids after a text."""
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
