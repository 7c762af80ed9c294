"""The precision in which documents are read: int8 weights where they are faster, and the states they give."""

from __future__ import annotations

from pathlib import Path

import kit
import pytest
from train_kit import settings
from transformers import AutoConfig

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.errors import InputDataError, UsageError
from tlnlp.model.encoder_conventions import EncoderSource, read_conventions
from tlnlp.model.engines.network_file import read_network
from tlnlp.model.tokenize import Encoder, TokenIds
from tlnlp.model.torch_encoder import encoder_network
from tlnlp.registry import Registry
from tlnlp.train.document_embeddings import COMPARED, LEAST_GAIN, MOST_ERROR, relative_error
from tlnlp.train.finetune import finetune
from tlnlp.train.fit.encoder_fit import EmbeddingSpec
from tlnlp.train.fit.run_fit import CPU, embed
from tlnlp.train.local_executor import LocalExecutor


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_int8_weights_give_nearly_the_states_of_torch(kind: str, tmp_path: Path) -> None:
    folder = kit.make_encoder(tmp_path / "encoder", kind)
    source = EncoderSource(str(folder), read_conventions(folder), 0)
    tokens = TokenIds.of(Encoder.load(folder / "tokenizer.json", 32, 0.5).encode(kit.texts(40, 3)))
    states, _ = embed(tokens, None, EmbeddingSpec(source, 2, "fp32"), CPU, 1)
    rounded, _ = embed(tokens, None, EmbeddingSpec(source, 2, "int8"), CPU, 1)
    # Rounded weights are used, and the texts keep their places.
    assert 1e-4 < relative_error(rounded, states) < 0.05
    assert relative_error(rounded[::-1], states) > 1.0


@pytest.mark.parametrize(
    "precision",
    [
        "auto",
        pytest.param("training", marks=pytest.mark.acceptance),
        pytest.param("int8", marks=pytest.mark.acceptance),
    ],
)
def test_a_run_reads_its_documents_in_the_precision_of_the_settings(
    precision: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    rows = [{"text": row["text"]} for row in kit.labelled(2 * COMPARED, 5, ("calm", "cross", "mixed"))]
    documents = kit.write_jsonl(tmp_path / "documents.jsonl", rows)
    given = settings(tmp_path, tiny_encoder, f"teaching.read_precision={precision}", steps=4)
    given += [f"unlabelled={documents}", "time_budget_s=6000", "teaching.max_rounds=1", "teaching.batch_size=8"]
    finetune(load_settings(FinetuneSettings, None, given), LocalExecutor())
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    found = ledger["results"].get("reading")
    assert (found is None) is (precision != "auto")
    if found is not None:
        expected = found["gain"] > LEAST_GAIN and found["error"] <= MOST_ERROR
        assert found["precision"] == ("int8" if expected else None)
        assert found["tokens_per_s"] > 0


def test_an_encoder_without_int8_weights_is_refused_before_any_work(tmp_path: Path) -> None:
    encoder = kit.make_encoder(tmp_path / "mpnet", "mpnet")
    given = settings(tmp_path, encoder, "teaching.read_precision=int8")
    with pytest.raises(UsageError, match=r"read_precision: int8 cannot run .*mpnet, whose network is of another kind"):
        finetune(load_settings(FinetuneSettings, None, given), LocalExecutor())


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet"])
def test_the_network_of_an_encoder_is_that_of_its_file(kind: str, tmp_path: Path) -> None:
    folder = kit.make_encoder(tmp_path / "encoder", kind)
    network = encoder_network(str(folder))
    assert network == read_network(folder)
    assert (network is None) is (kind == "mpnet")


def test_the_network_of_an_encoder_on_a_hub_is_read_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With HF_HUB_OFFLINE=0 an encoder stays a name, and no folder of that name exists; transformers knows where it is.
    folder = kit.make_encoder(tmp_path / "hub", "bert")
    opened = AutoConfig.from_pretrained

    def from_hub(name: str, **options: bool) -> object:
        assert name == "someone/encoder"
        return opened(folder, **options)

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(AutoConfig, "from_pretrained", from_hub)
    assert encoder_network("someone/encoder") == read_network(folder)


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputDataError, match="transformers cannot open it"):
        encoder_network(str(tmp_path))
