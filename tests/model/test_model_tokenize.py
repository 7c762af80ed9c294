"""Tests of tokenisation: head and tail, special tokens, prompts, batches, padding."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import kit
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from tlnlp.errors import BundleError
from tlnlp.model import bundle
from tlnlp.model.tokenize import TOKENISE_AT_ONCE, Encoder, TokenIds, by_length, crop, of_one_length, pad


def tokenizer_file(tiny_bundle: Path) -> Path:
    return tiny_bundle / bundle.TOKENIZER


def test_short_texts_are_what_the_tokenizer_says(tiny_bundle: Path) -> None:
    reference = Tokenizer.from_file(str(tokenizer_file(tiny_bundle)))
    texts = kit.texts(20)
    encoder = Encoder.load(tokenizer_file(tiny_bundle), 512, 0.5)
    assert encoder.encode(texts) == [reference.encode(text).ids for text in texts]
    assert encoder.encode([]) == []
    assert encoder.encode([""]) == [[*encoder.prefix, *encoder.suffix]]


@pytest.mark.parametrize("head_share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("max_length", [3, 8, 17])
def test_a_long_text_keeps_head_and_tail(tiny_bundle: Path, max_length: int, head_share: float) -> None:
    encoder = Encoder.load(tokenizer_file(tiny_bundle), max_length, head_share)
    text = " ".join(kit.texts(5, seed=3))
    whole = Encoder.load(tokenizer_file(tiny_bundle), 10_000, head_share).encode([text])[0][1:-1]
    head = round((max_length - 2) * head_share)
    tail = max_length - 2 - head
    expected = whole[:head] + whole[len(whole) - tail :]
    assert encoder.encode([text]) == [[*encoder.prefix, *expected, *encoder.suffix]]


def test_length_is_never_over_and_exact_lengths_are_whole(tiny_bundle: Path) -> None:
    encoder = Encoder.load(tokenizer_file(tiny_bundle), 10, 0.5)
    texts = [" ".join(["bread"] * words) for words in range(1, 20)]
    assert [len(ids) for ids in encoder.encode(texts)] == [min(words + 2, 10) for words in range(1, 20)]


def test_order_is_kept_over_many_texts(tiny_bundle: Path) -> None:
    encoder = Encoder.load(tokenizer_file(tiny_bundle), 32, 0.5)
    texts = kit.texts(TOKENISE_AT_ONCE + 3)
    encoded = encoder.encode(texts)
    assert len(encoded) == len(texts)
    for position in (0, TOKENISE_AT_ONCE - 1, TOKENISE_AT_ONCE, -1):
        assert encoded[position] == encoder.encode([texts[position]])[0]


def test_truncation_and_padding_stored_in_the_file_are_undone(tiny_bundle: Path, tmp_path: Path) -> None:
    stored = Tokenizer.from_file(str(tokenizer_file(tiny_bundle)))
    stored.enable_truncation(6)
    stored.enable_padding(length=64)
    stored.save(str(tmp_path / "tokenizer.json"))
    text = "warm bread never cold always fine"
    plain, other = (Encoder.load(path, 30, 0.5) for path in (tokenizer_file(tiny_bundle), tmp_path / "tokenizer.json"))
    assert other.encode([text]) == plain.encode([text])


def test_no_room_and_no_tokenizer(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="max_length 2 leaves no room"):
        Encoder.load(tokenizer_file(tiny_bundle), 2, 0.5)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="not a tokenizer file"):
        Encoder.load(tmp_path / "tokenizer.json", 16, 0.5)
    with pytest.raises(BundleError, match="not a tokenizer file"):
        Encoder.load(tmp_path / "missing.json", 16, 0.5)


def test_special_tokens_on_one_side_only(tiny_bundle: Path, tmp_path: Path) -> None:
    stored = Tokenizer.from_file(str(tokenizer_file(tiny_bundle)))
    end = stored.token_to_id("[SEP]")
    stored.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", end)])
    stored.save(str(tmp_path / "tokenizer.json"))
    encoder = Encoder.load(tmp_path / "tokenizer.json", 4, 0.5)
    assert (encoder.prefix, encoder.suffix) == ((), (end,))
    assert len(encoder.encode(["warm bread never cold"])[0]) == 4


def subwords(kind: str) -> Tokenizer:
    """Return a subword tokenizer: of bytes, as RoBERTa and ModernBERT, or of metaspace pieces, as XLM-R."""
    model = Tokenizer(models.BPE())
    if kind == "bytes":
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        model.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], show_progress=False)
    model.train_from_iterator([*kit.texts(200), "query: bread", "QUERY : ?!"], trainer)
    model.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return model


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        *product(["pieces", "bytes", "metaspace"], ["query: ", "the night ", "a  ", " "]),
        # Not with metaspace: without a space the next word would become part of the prompt's last word.
        *product(["pieces", "bytes"], ["query:"]),
    ],
)
def test_prompt_and_text_are_read_as_one(tmp_path: Path, kind: str, prompt: str) -> None:
    reference = kit.word_pieces(0, lowercase=True) if kind == "pieces" else subwords(kind)
    reference.save(str(tmp_path / "tokenizer.json"))
    encoder = Encoder.load(tmp_path / "tokenizer.json", 512, 0.5, prompt)
    assert encoder.encode(kit.texts(20)) == [reference.encode(prompt + text).ids for text in kit.texts(20)]


def test_a_long_text_keeps_its_prompt(tiny_bundle: Path) -> None:
    text = " ".join(kit.texts(5, seed=3))
    bare = Encoder.load(tokenizer_file(tiny_bundle), 10_000, 0.5)
    encoder = Encoder.load(tokenizer_file(tiny_bundle), 12, 0.5, "the warm night ")
    words = bare.encode(["the warm night"])[0][1:-1]
    assert encoder.prefix == (*bare.prefix, *words)
    assert encoder.edges == (4, 1)
    whole = bare.encode([text])[0][1:-1]
    assert encoder.encode([text]) == [[*bare.prefix, *words, *whole[:4], *whole[-3:], *bare.suffix]]
    # So does a random window.
    generator = np.random.default_rng(0)
    ids = np.asarray(Encoder.load(tokenizer_file(tiny_bundle), 500, 0.5, "the warm night ").encode([text])[0])
    for _ in range(20):
        window = crop(ids.astype(np.int32), 9, encoder.edges, generator)
        assert (tuple(window[:4]), tuple(window[-1:]), len(window)) == (encoder.prefix, encoder.suffix, 9)
    with pytest.raises(
        BundleError, match="max_length 5 leaves no room for text beside the special tokens and the prompt"
    ):
        Encoder.load(tokenizer_file(tiny_bundle), 5, 0.5, "the warm night ")


def test_texts_are_lower_cased_and_the_prompt_is_not(tmp_path: Path) -> None:
    kit.word_pieces(0, lowercase=False).save(str(tmp_path / "tokenizer.json"))
    path = tmp_path / "tokenizer.json"
    as_written, lowered = Encoder.load(path, 64, 0.5), Encoder.load(path, 64, 0.5, lower_case=True)
    assert lowered.encode(["Warm BREAD"]) == as_written.encode(["warm bread"]) != as_written.encode(["Warm BREAD"])
    prompted = Encoder.load(path, 64, 0.5, "The night ", lower_case=True)
    assert prompted.encode(["Warm BREAD"]) == as_written.encode(["The night warm bread"])
    assert prompted.encode(["Warm BREAD"]) != as_written.encode(["the night warm bread"])


@pytest.mark.parametrize(("tokens", "count"), [(1, 8), (6, 7), (100, 5)])
def test_batches_of_one_length_hold_every_text_once(tokens: int, count: int) -> None:
    encoded = [[1] * length for length in (3, 1, 3, 9, 2, 3, 0, 9)]
    found = list(of_one_length(encoded, tokens))
    assert sorted(place for batch in found for place in batch) == list(range(len(encoded)))
    for batch in found:
        (length,) = {len(encoded[place]) for place in batch}
        assert len(batch) == 1 or len(batch) * length <= tokens
    assert len(found) == count


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_hold_every_text_once_longest_first(batch_size: int) -> None:
    encoded = [[1] * length for length in (3, 9, 1, 4, 9, 2, 6)]
    batches = list(by_length(encoded, batch_size))
    order = [position for batch in batches for position in batch]
    assert sorted(order) == list(range(7))
    assert [len(encoded[position]) for position in order] == sorted((3, 9, 1, 4, 9, 2, 6), reverse=True)
    assert all(len(batch) <= batch_size for batch in batches)


def test_padding() -> None:
    ids, mask = pad([[5, 6, 7], [8]], pad_token_id=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ids.dtype == mask.dtype == np.int64


def test_token_ids_are_what_was_put_in() -> None:
    encoded = [[1, 2, 3], [], [4], [5, 6]]
    tokens = TokenIds.of(encoded)
    assert [ids.tolist() for ids in tokens] == encoded
    assert len(tokens) == 4
    assert tokens.lengths.tolist() == [3, 0, 1, 2]
    assert [ids.tolist() for ids in tokens.take([3, 0, 0])] == [[5, 6], [1, 2, 3], [1, 2, 3]]
    assert [ids.tolist() for ids in tokens[1:3]] == [[], [4]]
    assert [ids.tolist() for ids in tokens + TokenIds.of([[7], [8, 9]])] == [*encoded, [7], [8, 9]]
    assert len(TokenIds.of([])) == 0
    with pytest.raises(IndexError):
        tokens[4]


def test_a_window_is_a_part_of_the_text_between_its_edges() -> None:
    ids, generator = np.arange(100, 130, dtype=np.int32), np.random.default_rng(0)
    starts = set()
    for _ in range(200):
        window = crop(ids, 10, (1, 2), generator).tolist()
        assert (window[0], window[-2:]) == (100, [128, 129])
        assert window[1:-2] == list(range(window[1], window[1] + 7))
        starts.add(window[1])
    assert (min(starts), max(starts)) == (101, 121)
    assert crop(ids, 30, (1, 2), generator) is ids


@pytest.mark.parametrize(("prompt", "lower_case"), [("", False), ("warm: ", False), ("", True), ("warm: ", True)])
@pytest.mark.parametrize("max_length", [12, 512])
def test_an_aligned_text_has_the_same_tokens_and_their_places(
    tiny_bundle: Path, prompt: str, lower_case: bool, max_length: int
) -> None:
    encoder = Encoder.load(tokenizer_file(tiny_bundle), max_length, 0.5, prompt, lower_case)
    # The lower case of the first letter is two characters.
    for text in ["\u0130t was Good bread", "n7x3 never, not very! cold", "", "\u4eca\u5929 warm", *kit.texts(5)]:
        ids, places = encoder.encode_aligned(text)
        assert ids == encoder.encode([text])[0]
        before, after = encoder.edges
        assert len(places) == len(ids)
        assert set(places[:before] + places[len(places) - after :]) == {-1}
        inside = places[before : len(places) - after]
        assert inside == sorted(inside)
        # A token ends with the character at its place.
        for token, place in zip(ids[before : len(ids) - after], inside, strict=True):
            piece = str(encoder.tokenizer.id_to_token(token)).removeprefix("##")
            assert piece == "[UNK]" or piece[-1] in text[place].lower() or text[place] == "\u0130"
