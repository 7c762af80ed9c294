"""Tests that an encoder's conventions are read from its files, and that unsupported ones are refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kit
import pytest

from tlnlp.errors import InputDataError
from tlnlp.model.encoder_conventions import Conventions, read_conventions
from tlnlp.model.torch_encoder import encoder_folder

PLAIN = Conventions("mean", "", False, False, 128)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files of an encoder; its weights are empty, because no test here opens them."""
    (tmp_path / "model.safetensors").touch()
    return written(tmp_path, "config.json", model_type="bert", max_position_embeddings=128, pad_token_id=0)


def written(folder: Path, name: str, **content: Any) -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


def modules(folder: Path, *kinds: str) -> Path:
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], start=1))]
    content = [
        {"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in zip(kinds, paths, strict=False)
    ]
    (folder / "modules.json").write_text(json.dumps(content))
    return folder


def test_without_files_of_its_own_an_encoder_is_a_plain_one(folder: Path, tiny_encoder: Path) -> None:
    assert read_conventions(folder) == read_conventions(str(tiny_encoder)) == PLAIN


def test_all_that_the_files_say(folder: Path) -> None:
    kit.write_conventions(folder, "cls", normalise=True, prompt="query: ", lower_case=True)
    # sentence_bert_config.json has 16 tokens, which is no limit of the encoder.
    assert read_conventions(folder) == Conventions("cls", "query: ", True, True, 128)


def test_what_is_given_goes_before_the_files(folder: Path) -> None:
    kit.write_conventions(folder, "cls", normalise=True, prompt="query: ", lower_case=True)
    given = read_conventions(folder, pooling="max", prompt="", normalise=False, lower_case=False)
    assert given == Conventions("max", "", False, False, 128)
    # An unsupported pooling can be replaced.
    kit.write_conventions(folder, "lasttoken")
    assert read_conventions(folder, pooling="mean") == PLAIN


def test_the_encoder_that_comes_as_a_package() -> None:
    found = read_conventions(encoder_folder("all-minilm-l6-v2"))
    assert found == Conventions("mean", "", True, False, 512)


@pytest.mark.parametrize("mode", ["cls", "mean", "max"])
def test_pooling_as_older_files_write_it(folder: Path, mode: str) -> None:
    flags = {f"pooling_mode_{name}": name.startswith(mode) for name in ("cls_token", "mean_tokens", "max_tokens")}
    written(
        folder, "1_Pooling/config.json", word_embedding_dimension=32, **flags, pooling_mode_mean_sqrt_len_tokens=False
    )
    assert read_conventions(folder).pooling == mode


def test_pooling_as_newer_files_write_it(folder: Path) -> None:
    for mode in ("max", ["max"]):
        assert read_conventions(written(folder, "1_Pooling/config.json", pooling_mode=mode)).pooling == "max"


@pytest.mark.parametrize(
    ("content", "pooling"),
    [
        ({"pooling_mode": "weightedmean"}, "pooling weightedmean"),
        ({"pooling_mode": ["cls", "mean"]}, "pooling cls with mean"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "pooling lasttoken"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "pooling cls with mean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "pooling mean_sqrt_len_tokens"),
        ({"pooling_mode": 3}, "pooling 3"),
    ],
)
def test_another_pooling_is_refused(folder: Path, content: dict[str, Any], pooling: str) -> None:
    with pytest.raises(
        InputDataError, match=rf"{pooling} of 1_Pooling/config\.json is not supported; .*mean, cls, max"
    ):
        read_conventions(written(folder, "1_Pooling/config.json", **content))


def test_the_pooling_folder_is_the_one_that_modules_names(folder: Path) -> None:
    modules(folder, "Transformer", "Pooling")
    (folder / "modules.json").write_text((folder / "modules.json").read_text().replace("1_Pooling", "pool"))
    written(folder, "1_Pooling/config.json", pooling_mode="max")
    assert read_conventions(written(folder, "pool/config.json", pooling_mode="cls")).pooling == "cls"


@pytest.mark.parametrize(
    ("kinds", "refused"),
    [
        (("Transformer", "Pooling", "Dense"), "Dense"),
        (("Transformer", "Pooling", "Dense", "Normalize"), "Dense"),
        (("Transformer", "Pooling", "LayerNorm"), "LayerNorm"),
        (("Transformer", "Normalize", "Pooling"), "Transformer > Normalize > Pooling"),
        (("WordEmbeddings", "Pooling"), "WordEmbeddings"),
        ((), "is not supported"),
    ],
)
def test_other_modules_are_refused(folder: Path, kinds: tuple[str, ...], refused: str) -> None:
    with pytest.raises(InputDataError, match=rf"modules\.json: .*{refused}.*; choose another encoder"):
        read_conventions(modules(folder, *kinds))


def test_a_network_in_a_folder_of_its_own(folder: Path) -> None:
    modules(folder, "Transformer", "Pooling")
    text = (folder / "modules.json").read_text().replace('"path": ""', '"path": "0_Transformer"')
    (folder / "modules.json").write_text(text)
    with pytest.raises(InputDataError, match="puts the network into the folder 0_Transformer; give that folder"):
        read_conventions(folder)


def test_prompts(folder: Path) -> None:
    name = "config_sentence_transformers.json"
    assert read_conventions(written(folder, name, prompts={"query": "q: "})).prompt == ""
    assert (
        read_conventions(written(folder, name, prompts={"a": "x ", "b": "y "}, default_prompt_name="b")).prompt == "y "
    )
    for content in ({"default_prompt_name": "c", "prompts": {"a": "x "}}, {"default_prompt_name": "c"}):
        with pytest.raises(
            InputDataError, match=rf"{name}: default_prompt_name 'c' is none of its prompts; set the key `prompt`"
        ):
            read_conventions(written(folder, name, **content))
        assert read_conventions(folder, prompt="mine: ").prompt == "mine: "
    written(folder, name, prompts={"a": "x "}, default_prompt_name="a")
    with pytest.raises(InputDataError, match="its pooling leaves the prompt out"):
        read_conventions(written(folder, "1_Pooling/config.json", pooling_mode="mean", include_prompt=False))


def test_lower_casing(folder: Path) -> None:
    assert read_conventions(written(folder, "sentence_roberta_config.json", do_lower_case=True)).lower_case
    with pytest.raises(InputDataError, match=r"sentence_roberta_config\.json: do_lower_case is 'yes'"):
        read_conventions(written(folder, "sentence_roberta_config.json", do_lower_case="yes"))


@pytest.mark.parametrize(
    ("content", "longest"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "bert"}, 512),
        ({"model_type": "distilbert", "max_position_embeddings": 256, "pad_token_id": 0}, 256),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 3}, 510),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 8194, "pad_token_id": 1}, 8192),
        # MPNet numbers positions from 2 on, whatever its padding token.
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 0}, 512),
        ({"model_type": "modernbert", "max_position_embeddings": 8192, "pad_token_id": 50283}, 8192),
        ({"model_type": "modernbert"}, 8192),
    ],
)
def test_the_longest_input_is_what_positions_allow(folder: Path, content: dict[str, Any], longest: int) -> None:
    assert read_conventions(written(folder, "config.json", **content)).max_length == longest


def test_what_is_no_number(folder: Path) -> None:
    with pytest.raises(InputDataError, match=r"config\.json: max_position_embeddings and pad_token_id must be numbers"):
        read_conventions(written(folder, "config.json", model_type="roberta", max_position_embeddings="514"))


@pytest.mark.parametrize("kind", ["t5", "deberta-v2", None, ["bert"]])
def test_another_type_of_model_is_refused(folder: Path, kind: object) -> None:
    with pytest.raises(
        InputDataError, match=rf"model_type {re.escape(repr(kind))} .* is not supported; choose one of bert, roberta"
    ):
        read_conventions(written(folder, "config.json", model_type=kind))


def test_code_that_comes_along_is_refused(folder: Path) -> None:
    with pytest.raises(InputDataError, match=r"comes with code of its own \(auto_map in config\.json\)"):
        read_conventions(written(folder, "config.json", model_type="bert", auto_map={"AutoModel": "own.Model"}))


def test_weights_must_be_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")  # As for weights in several files.
    assert read_conventions(folder) == PLAIN
    (folder / "model.safetensors.index.json").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputDataError, match=r"a pickle \(pytorch_model\.bin\), which is never opened; save them as"):
        read_conventions(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(InputDataError, match=r"there is no model\.safetensors"):
        read_conventions(folder)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
    ],
)
@pytest.mark.parametrize("content", [b'{"half":', b"\xff\xfe", b'"text"', b""])
def test_a_malformed_file_is_named(folder: Path, name: str, content: bytes) -> None:
    kit.write_conventions(folder, prompt="query: ")
    (folder / name).write_bytes(content)
    with pytest.raises(InputDataError, match=f"encoder 'mine': {name} (is not readable JSON|holds a str).*; fetch the"):
        read_conventions(folder, name="mine")


def test_modules_that_are_no_modules(folder: Path) -> None:
    for content in ("[3]", '[{"type": "x.Transformer"}]'):
        (folder / "modules.json").write_text(content)
        with pytest.raises(InputDataError, match=r"modules\.json is not a list of modules"):
            read_conventions(folder)


def test_what_is_not_there(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing", "no-such-encoder-anywhere", "no name"):
        with pytest.raises(InputDataError, match=r"there is no config\.json; give a folder with config\.json"):
            read_conventions(source)
