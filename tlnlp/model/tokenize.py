"""Turn texts into token ids: cut long texts to head and tail, batch texts of similar length, pad a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tlnlp.errors import BundleError

# Texts tokenised at once: enough for speed, few enough that their encodings need little memory.
TOKENISE_AT_ONCE = 512
# Token ids of one text.
Ids = Sequence[int] | NDArray[np.int32]


@dataclass(frozen=True)
class TokenIds(Sequence[NDArray[np.int32]]):
    """Hold the token ids of many texts in two arrays, which processes can share without copies.

    Fields:
        ids: token ids of all texts, one after the other, (tokens,).
        offsets: where each text starts and the last one ends, (texts + 1,): text ``i`` is
            ``ids[offsets[i]:offsets[i + 1]]``.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @staticmethod
    def of(encoded: Iterable[Ids]) -> TokenIds:
        """Join the token ids of single texts."""
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
        """Return the texts at these positions, in this order."""
        return TokenIds.of(self[int(position)] for position in positions)

    def __add__(self, other: TokenIds) -> TokenIds:
        return TokenIds(
            np.concatenate([self.ids, other.ids]), np.append(self.offsets, self.offsets[-1] + other.offsets[1:])
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the number of tokens of each text, (texts,)."""
        return np.diff(self.offsets)


def crop(
    ids: NDArray[np.int32], tokens: int, edges: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.int32]:
    """Return a window of a text at a random place; a text of at most ``tokens`` tokens comes back whole.

    Args:
        ids: token ids of the text, with prompt and special tokens.
        tokens: length of the window, with prompt and special tokens.
        edges: how many tokens at the beginning and at the end always stay (see ``Encoder.edges``).
    """
    if len(ids) <= tokens:
        return ids
    before, after = edges
    room = tokens - before - after
    start = int(generator.integers(before, len(ids) - after - room + 1))
    return np.concatenate([ids[:before], ids[start : start + room], ids[len(ids) - after :]])


@dataclass(frozen=True)
class Encoder:
    """Tokenize texts, with prompt and special tokens, to at most ``max_length`` tokens each.

    Fields:
        prefix: ids before each text: special tokens and prompt.
        suffix: ids after each text: special tokens.
        max_length: longest result in tokens, prefix and suffix included.
        head_share: share of the tokens of a cut text that come from its beginning; the rest come from its end.
        lead: white space at the end of the prompt; many tokenizers join it to the word that follows.
        lower_case: whether texts are lower-cased first.
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
        """Load a tokenizer file (``tokenizer.json``).

        Args:
            prompt: text that precedes each input, trailing white space included.

        Raises:
            BundleError: the file is no tokenizer file, or ``max_length`` leaves no room for a text.
        """
        stripped = prompt.rstrip()
        try:
            tokenizer = Tokenizer.from_file(str(path))
            tokenizer.no_truncation()
            tokenizer.no_padding()
            prefix, suffix = _special_tokens(tokenizer)
            prefix += tuple(tokenizer.encode(stripped, add_special_tokens=False).ids) if stripped else ()
        except (KeyboardInterrupt, SystemExit, BundleError):
            raise
        except BaseException as error:  # The library raises plain Exception; a panic of its Rust code is none.
            raise BundleError(f"{path}: not a tokenizer file; fetch the bundle from the registry again") from error
        if max_length <= len(prefix) + len(suffix):
            beside = "the special tokens and the prompt" if stripped else "the special tokens"
            raise BundleError(f"max_length {max_length} leaves no room for text beside {beside}; raise max_length")
        return Encoder(tokenizer, prefix, suffix, max_length, head_share, prompt[len(stripped) :], lower_case)

    @property
    def edges(self) -> tuple[int, int]:
        """Return how many tokens of prompt and special tokens precede a text, and how many follow it."""
        return len(self.prefix), len(self.suffix)

    @property
    def largest_id(self) -> int:
        """Return the largest token id that the tokenizer has."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=0)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each prepared text, at most ``max_length`` each, in the order given."""
        encoded: list[list[int]] = []
        for start in range(0, len(texts), TOKENISE_AT_ONCE):
            batch = [self._with_lead(text) for text in texts[start : start + TOKENISE_AT_ONCE]]
            for encoding in self.tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                encoded.append([*self.prefix, *self._cut(encoding.ids), *self.suffix])
        return encoded

    def shorten(self, encoded: Sequence[list[int]]) -> list[list[int]]:
        """Return what ``encode`` returns for these texts, from their token ids at a larger ``max_length``."""
        before, after = self.edges
        return [
            [*ids[:before], *self._cut(ids[before : len(ids) - after]), *ids[len(ids) - after :]] for ids in encoded
        ]

    def encode_aligned(self, text: str) -> tuple[list[int], list[int]]:
        """Return the token ids of a prepared text as ``encode`` does, and the place of each token's last character.

        The place of a token that has no character of the text is -1: of prompt and special tokens.
        """
        encoding = self.tokenizer.encode(self._with_lead(text), add_special_tokens=False)
        # Lower case turns some letters into two characters, so a place in it is looked up.
        widths = [len(character.lower()) for character in text] if self.lower_case else [1] * len(text)
        looked_up = [place for place, width in enumerate(widths) for _ in range(width)]
        last = [end - 1 - len(self.lead) for _, end in encoding.offsets]
        places = [looked_up[place] if place >= 0 else -1 for place in last]
        before, after = ([-1] * count for count in self.edges)
        return [*self.prefix, *self._cut(encoding.ids), *self.suffix], [*before, *self._cut(places), *after]

    def _cut(self, tokens: list[int]) -> list[int]:
        """Return the head and the tail of the tokens of a text that are too many; else all."""
        room = self.max_length - len(self.prefix) - len(self.suffix)
        if len(tokens) <= room:
            return tokens
        head = round(room * self.head_share)
        return tokens[:head] + tokens[len(tokens) - (room - head) :]

    def _with_lead(self, text: str) -> str:
        return self.lead + (text.lower() if self.lower_case else text)


def _special_tokens(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens before and after a text, by tokenising a probe with and without them."""
    probe = "a"
    bare = tokenizer.encode(probe, add_special_tokens=False).ids
    whole = tokenizer.encode(probe, add_special_tokens=True).ids
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return tuple(whole[:start]), tuple(whole[start + len(bare) :])
    raise BundleError("the tokenizer's special tokens do not surround the text; choose another encoder")


def by_length(encoded: Sequence[Sized], batch_size: int) -> Iterator[list[int]]:
    """Yield the positions of texts in batches of similar length, longest first.

    A batch that is too large for the memory then fails at the start.
    """
    order = sorted(range(len(encoded)), key=lambda position: -len(encoded[position]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def of_one_length(encoded: Sequence[Sized], tokens: int) -> Iterator[list[int]]:
    """Yield the positions of texts in batches of equally long texts, the longest texts first.

    Args:
        tokens: most tokens of a batch; a text that is longer is alone in its batch.
    """
    by_length: dict[int, list[int]] = {}
    for position, ids in enumerate(encoded):
        by_length.setdefault(len(ids), []).append(position)
    for length in sorted(by_length, reverse=True):
        positions, size = by_length[length], max(1, tokens // max(1, length))
        for start in range(0, len(positions), size):
            yield positions[start : start + size]


def pad(encoded: Sequence[Ids], pad_token_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``input_ids`` and ``attention_mask``, both (batch, tokens), padded on the right to the longest text."""
    width = max(len(ids) for ids in encoded)
    input_ids = np.full((len(encoded), width), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(encoded), width), dtype=np.int64)
    for row, ids in enumerate(encoded):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return input_ids, attention_mask
