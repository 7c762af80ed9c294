"""Text to token ids: head and tail of a long text are kept; batches hold texts of like length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tlnlp.errors import BundleError

# Texts tokenised at once: enough to be fast, few enough that the encodings stay small.
TOKENISE_AT_ONCE = 512
# The token ids of one text.
Ids = Sequence[int] | NDArray[np.int32]


@dataclass(frozen=True)
class TokenIds(Sequence[NDArray[np.int32]]):
    """Token ids of many texts as two arrays, which processes can share without copies.

    ``ids`` (all tokens,); ``offsets`` (texts + 1,): text ``i`` has those from ``offsets[i]`` to ``offsets[i + 1]``.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @staticmethod
    def of(encoded: Iterable[Ids]) -> TokenIds:
        rows = [np.asarray(ids, dtype=np.int32) for ids in encoded]
        offsets = np.cumsum([0, *(len(ids) for ids in rows)], dtype=np.int64)
        return TokenIds(np.concatenate(rows) if rows else np.zeros(0, dtype=np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, position: int) -> NDArray[np.int32]: ...
    @overload
    def __getitem__(self, position: slice) -> TokenIds: ...
    def __getitem__(self, position: int | slice) -> NDArray[np.int32] | TokenIds:
        if isinstance(position, slice):
            return self.take(range(*position.indices(len(self))))
        if not 0 <= position < len(self):
            raise IndexError(position)
        return self.ids[self.offsets[position] : self.offsets[position + 1]]

    def take(self, positions: Iterable[int]) -> TokenIds:
        return TokenIds.of(self[int(position)] for position in positions)

    def __add__(self, other: TokenIds) -> TokenIds:
        return TokenIds(
            np.concatenate([self.ids, other.ids]), np.append(self.offsets, self.offsets[-1] + other.offsets[1:])
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)


def crop(
    ids: NDArray[np.int32], tokens: int, edges: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.int32]:
    """A window of a text at a random place, ``tokens`` long with the prompt and special tokens at its ``edges``."""
    if len(ids) <= tokens:
        return ids
    before, after = edges
    room = tokens - before - after
    start = int(generator.integers(before, len(ids) - after - room + 1))
    return np.concatenate([ids[:before], ids[start : start + room], ids[len(ids) - after :]])


@dataclass(frozen=True)
class Encoder:
    """A tokenizer with its cut: at most ``max_length`` tokens a text, special tokens and prompt included.

    ``prefix``: the ids before each text, special tokens and prompt; ``suffix``: those after it; ``lead``: white space
    at the end of the prompt, which many tokenizers take for a part of the word that follows.
    """

    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    max_length: int
    head_share: float
    lead: str = ""
    lower_case: bool = False

    @staticmethod
    def load(path: Path, max_length: int, head_share: float, prompt: str = "", lower_case: bool = False) -> Encoder:
        """``prompt`` stands before each text as it is written; ``lower_case``: the texts are lower-cased.

        Raises:
            BundleError: not a tokenizer file, or ``max_length`` has no room for a text.
        """
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # The binding raises bare Exception.
            raise BundleError(f"{path}: not a tokenizer file") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        prefix, suffix = _special_tokens(tokenizer)
        written = prompt.rstrip()
        prefix += tuple(tokenizer.encode(written, add_special_tokens=False).ids) if written else ()
        if max_length <= len(prefix) + len(suffix):
            beside = "the special tokens and the prompt" if written else "the special tokens"
            raise BundleError(f"max_length {max_length} leaves no room for text beside {beside}")
        return Encoder(tokenizer, prefix, suffix, max_length, head_share, prompt[len(written) :], lower_case)

    @property
    def edges(self) -> tuple[int, int]:
        """How many tokens of prompt and special tokens stand before a text, and after it."""
        return len(self.prefix), len(self.suffix)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prepared text, ``len <= max_length``, in the order given."""
        room = self.max_length - len(self.prefix) - len(self.suffix)
        head = round(room * self.head_share)
        encoded: list[list[int]] = []
        for start in range(0, len(texts), TOKENISE_AT_ONCE):
            batch = [self._written(text) for text in texts[start : start + TOKENISE_AT_ONCE]]
            for encoding in self.tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                ids = encoding.ids
                if len(ids) > room:
                    ids = ids[:head] + ids[len(ids) - (room - head) :]
                encoded.append([*self.prefix, *ids, *self.suffix])
        return encoded

    def _written(self, text: str) -> str:
        return self.lead + (text.lower() if self.lower_case else text)


def _special_tokens(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    probe = "a"
    bare = tokenizer.encode(probe, add_special_tokens=False).ids
    whole = tokenizer.encode(probe, add_special_tokens=True).ids
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return tuple(whole[:start]), tuple(whole[start + len(bare) :])
    raise BundleError("the tokenizer's special tokens do not surround the text; choose another encoder")


def by_length(encoded: Sequence[Sized], batch_size: int) -> Iterator[list[int]]:
    """Positions of the texts, in batches of like length, longest first (a batch too large for memory fails early)."""
    order = sorted(range(len(encoded)), key=lambda position: -len(encoded[position]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def pad(encoded: Sequence[Ids], pad_token_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``input_ids`` and ``attention_mask``, both (batch, tokens), padded on the right to the longest."""
    width = max(len(ids) for ids in encoded)
    input_ids = np.full((len(encoded), width), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(encoded), width), dtype=np.int64)
    for row, ids in enumerate(encoded):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return input_ids, attention_mask
