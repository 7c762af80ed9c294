"""Tests of the engines: the int8 engine computes what the network is, whatever a text is read with."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlnlp.model.engines import processor
from tlnlp.model.engines.ctranslate2_int8 import CTranslate2Int8Engine
from tlnlp.model.engines.int8_weights import float_weights, quantise, reduced, shapes_of
from tlnlp.model.engines.network import Network, network_of
from tlnlp.model.engines.side_by_side import each_group, thread_count
from tlnlp.model.tensor_file import map_tensors

KINDS = ("bert", "roberta", "xlm-roberta", "distilbert")
TOKENS = 40
IDS = st.lists(st.lists(st.integers(5, TOKENS), min_size=1, max_size=24), min_size=1, max_size=12)


def load(folder: Path) -> tuple[dict[str, Any], Network]:
    """Return the tensors and the network of an encoder's folder."""
    network = network_of(json.loads((folder / "config.json").read_text()))
    assert network is not None
    return map_tensors(folder / "model.safetensors"), network


@pytest.fixture(scope="module", params=KINDS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose states depend much on its weights."""
    return kit.make_encoder(tmp_path_factory.mktemp("int8") / request.param, request.param, deviation=0.3)


def head(classes: int = 3, hidden: int = 32) -> dict[str, Any]:
    generator = np.random.default_rng(5)
    weight = (0.4 * generator.normal(size=(classes, hidden))).astype(np.float32)
    return {"weight": weight, "bias": generator.normal(size=classes).astype(np.float32)}


def engine(folder: Path, pooling: str = "mean", normalise: bool = False, threads: int = 1) -> CTranslate2Int8Engine:
    tensors, network = load(folder)
    return CTranslate2Int8Engine(quantise(tensors, network), network, head(), pooling, normalise, threads)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("normalise", [False, True])
def test_probabilities_are_near_those_of_torch(encoder: Path, pooling: str, normalise: bool) -> None:
    import torch

    from tlnlp.model.onnx_export import reference_probabilities
    from tlnlp.model.torch_encoder import load_encoder

    model = load_encoder(str(encoder), 3, pooling, 0.0, seed=0, normalise=normalise).eval()
    model.head.load_state_dict({name: torch.from_numpy(values) for name, values in head().items()})
    generator = np.random.default_rng(1)
    encoded = [generator.integers(5, TOKENS, size).tolist() for size in (1, 2, 3, 17, 60, 100)]
    expected = reference_probabilities(model, encoded, pad_token_id=1)
    found = engine(encoder, pooling, normalise).predict(encoded)
    # With 7 bits the weights are rounded twice as coarsely as with 8.
    assert np.abs(found - expected).max() < (0.12 if processor.saturates() else 0.05)
    # The texts differ by far more, so the engine reads all of a network's parts.
    assert np.abs(expected - expected[0]).max() > 0.2


@settings(max_examples=40, deadline=None)
@given(encoded=IDS, threads=st.sampled_from((1, 2)))
def test_a_texts_probabilities_are_the_same_bits_in_any_company(encoder: Path, encoded: Any, threads: int) -> None:
    key = (str(encoder), threads)
    if key not in _engines:
        _engines[key] = engine(encoder, threads=threads)
    together = _engines[key].predict(encoded)
    alone = np.vstack([_engines[key].predict([ids]) for ids in encoded])
    assert (together == alone).all()
    if (other := _engines.get((str(encoder), 3 - threads))) is not None:
        assert (other.predict(encoded) == together).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_groups_are_read_side_by_side_in_their_order(threads: int) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def read(group: list[int]) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.01)
        with lock:
            busy -= 1
        return sum(group)

    groups = [[number, number + 1] for number in range(12)]
    assert list(each_group(read, groups, threads)) == [(group, sum(group)) for group in groups]
    assert most == threads
    assert list(each_group(read, [], threads)) == []


def test_too_little_memory_for_one_group_is_reported() -> None:
    def read(group: list[int]) -> int:
        if group == [3]:
            raise MemoryError
        return 0

    with pytest.raises(MemoryError):
        list(each_group(read, [[number] for number in range(6)], 2))


def test_no_threads_are_as_many_as_cores() -> None:
    assert thread_count(0) == len(os.sched_getaffinity(0))
    assert thread_count(3) == 3


_engines: dict[tuple[str, int], CTranslate2Int8Engine] = {}


def test_states_are_those_of_the_librarys_own_conversion(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library takes 8 bits on every processor.
    monkeypatch.setattr("tlnlp.model.engines.ctranslate2_int8.saturates", lambda: False)
    import ctranslate2
    from ctranslate2.specs import common_spec, model_spec, transformer_spec

    tensors, network = load(encoder)
    inner = transformer_spec.TransformerEncoderSpec(
        network.layers,
        network.heads,
        pre_norm=False,
        activation=common_spec.Activation.GELU,
        layernorm_embedding=True,
    )
    inner.scale_embeddings = False
    spec = transformer_spec.TransformerEncoderModelSpec(inner)
    for name, values in float_weights(tensors, network):
        place, _, last = name.rpartition("/")
        setattr(model_spec.index_spec(spec, place), last, np.array(values, dtype=np.float32))
    spec.config.layer_norm_epsilon = network.epsilon
    spec.register_vocabulary([str(token) for token in range(network.tokens)])
    spec.validate()
    spec.optimize("int8_float32")
    spec.save(str(tmp_path))
    theirs = ctranslate2.Encoder(str(tmp_path), compute_type="int8_float32", intra_threads=1)
    ours = quantise(tensors, network)
    shapes, types = shapes_of(network)
    assert {name: values.shape for name, values in ours.items()} == shapes
    assert {name: str(values.dtype) for name, values in ours.items()} == dict.fromkeys(shapes, "float32") | types
    for ids in ([7], [9, 8, 7, 6, 5], list(range(5, TOKENS))):
        expected = np.array(theirs.forward_batch([ids]).last_hidden_state)[0]
        assert (engine(encoder).states([ids])[0] == expected).all()


@pytest.mark.parametrize("kind", ["mpnet", "modernbert"])
def test_networks_of_other_kinds_have_no_int8_engine(kind: str, tmp_path: Path) -> None:
    folder = kit.make_encoder(tmp_path / kind, kind)
    assert network_of(json.loads((folder / "config.json").read_text())) is None


def test_seven_bits_keep_the_weights_but_for_rounding(encoder: Path) -> None:
    tensors = quantise(*load(encoder))
    found = reduced(tensors)
    assert found.keys() == tensors.keys()
    for name, values in tensors.items():
        if values.dtype != np.int8:
            continue
        own, scale = found[name], found[name + "_scale"]
        if "embeddings" in name:
            assert own is values
            continue
        assert own.dtype == np.int8
        assert np.abs(own).max() <= 63
        before, after = values / tensors[name + "_scale"][:, None], own / scale[:, None]
        assert np.abs(before - after).max() <= 0.51 / scale.min()


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "fpu avx2 avx512_vnni", False),
        ("AMD64", "fpu avx2 avx_vnni", False),
        ("x86_64", "fpu avx avx2 avx512f", True),
        ("x86_64", None, True),
        ("aarch64", None, False),
    ],
)
def test_a_processor_without_vnni_saturates(
    machine: str, flags: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(f"processor : 0\nflags\t\t: {flags}\nbugs : none\n")
    monkeypatch.setattr(processor, "_CPUINFO", info)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert processor.saturates.__wrapped__() is expected
