"""A text-emotion classifier from a folder, as an option: a tiny BERT of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emovox import EmotionRecognizer
from emovox.errors import ModelError
from emovox.text.words import TextClassifier
from emovox.types import COMMON, Transcript
from tests import EXAMPLES

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "am", "very", "happy", "sad"]


def checkpoint(folder: Path, labels: list[str], **more: Any) -> Path:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(
        vocab_size=len(WORDS), id2label=dict(enumerate(labels)), initializer_range=1.0, **sizes, **more
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("bert") / "model", ["joy", "love", "sadness", "Anger", "desire"])


def test_labels_are_mapped_and_the_others_left_out(model: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    text = "I am very happy"
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    with torch.inference_mode():
        raw = network(**AutoTokenizer.from_pretrained(model)(text, return_tensors="pt")).logits[0].softmax(0).tolist()
    found = TextClassifier(model).emotions(text)
    kept = sum(raw[:4])
    assert tuple(found) == COMMON
    assert sum(found.values()) == pytest.approx(1)
    assert found["happy"] == pytest.approx((raw[0] + raw[1]) / kept, abs=1e-5)
    assert found["sad"] == pytest.approx(raw[2] / kept, abs=1e-5)
    assert found["angry"] == pytest.approx(raw[3] / kept, abs=1e-5)


def test_long_texts_are_averaged_and_empty_ones_undecided(model: Path) -> None:
    classifier = TextClassifier(model)
    once = classifier.emotions("i am very happy " * 15)
    assert classifier.emotions("i am very happy " * 600) == pytest.approx(once)
    assert set(classifier.emotions(" ").values()) == {1 / 8}


def test_several_labels_at_once(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m", ["joy", "fear"], problem_type="multi_label_classification")
    found = TextClassifier(folder).emotions("very sad")
    assert sum(found.values()) == pytest.approx(1)
    assert {label for label, value in found.items() if value} == {"happy", "fearful"}


def test_labels_that_say_nothing_need_a_mapping(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m", ["LABEL_0", "LABEL_1"])
    with pytest.raises(ModelError, match=r"\(LABEL_0, LABEL_1\) stand for no emotions that are known"):
        TextClassifier(folder).emotions("sad")
    found = TextClassifier(folder, labels={"LABEL_0": "sad", "LABEL_1": "calm"}).emotions("sad")
    assert found["sad"] + found["calm"] == pytest.approx(1)


def test_pickles_are_never_read(model: Path, tmp_path: Path) -> None:
    for file in model.iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, which may run code"):
        TextClassifier(tmp_path).emotions("sad")


def test_what_is_not_there_or_damaged_is_one_line(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder 'nowhere' with a text classifier"):
        TextClassifier("nowhere").emotions("sad")
    for file in model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot read the text classifier") as error:
        TextClassifier(tmp_path).emotions("sad")
    assert "\n" not in str(error.value)


def test_a_prediction_carries_what_the_classifier_says(model: Path) -> None:
    recognizer = EmotionRecognizer(text_model=TextClassifier(model))
    found = recognizer.predict(EXAMPLES / "plain.wav", transcript=Transcript("I am very happy"))
    expected = TextClassifier(model).emotions("I am very happy")
    assert found.linguistic is not None
    assert {label: found.linguistic[f"text_{label}"] for label in COMMON} == pytest.approx(expected)
    json.dumps(found.to_dict())


def test_a_classifier_that_fails_leaves_the_rest(tmp_path: Path) -> None:
    recognizer = EmotionRecognizer(text_model=TextClassifier(tmp_path))
    found = recognizer.predict(EXAMPLES / "plain.wav", transcript=Transcript("I am very happy"))
    assert found.transcript == "I am very happy"
    assert found.linguistic is not None
    assert "text_sad" not in found.linguistic
    assert "no emotion of the words by " in " ".join(found.why or ())
