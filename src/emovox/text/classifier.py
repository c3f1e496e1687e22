"""Emotion of a text by a sequence classifier from the Hugging Face hub or a folder.

Only safetensors are read, and no code of a checkpoint is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from emovox import hub
from emovox.errors import MissingExtraError, ModelError
from emovox.labels import COMMON, canonical

#: Labels of text-emotion corpora mapped to the common ones, in addition to the synonyms of :mod:`emovox.labels`.
SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("love", "amusement", "excitement", "gratitude", "pride", "admiration", "optimism"), "happy"),
    **dict.fromkeys(("relief", "caring", "approval", "serenity", "trust"), "calm"),
    **dict.fromkeys(("grief", "disappointment", "remorse", "loneliness"), "sad"),
    **dict.fromkeys(("annoyance", "disapproval", "rage", "contempt"), "angry"),
    **dict.fromkeys(("nervousness", "anxiety", "terror", "worry"), "fearful"),
    **dict.fromkeys(("realization", "confusion", "curiosity", "astonishment"), "surprised"),
    **dict.fromkeys(("no_emotion", "none", "other", "others"), "neutral"),
}

#: The only files of a checkpoint that are downloaded.
_FILES = (*hub.HUB_FILES, "tokenizer*.json", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")
#: How a classifier is found by its name.
KIND = hub.CheckpointKind("a text classifier", "config.json, model.safetensors and a tokenizer", "owner/model", _FILES)
#: Words classified at a time: well below the input length of such models, and close to their training texts.
_PIECE = 60


class TextClassifier:
    """Estimates the emotion of a text with a sequence classifier of transformers.

    Parameters
    ----------
    model : str or Path
        A folder with ``config.json``, ``model.safetensors`` and the tokenizer's files, or a repository on the hub.
        Loaded, and downloaded if necessary, with the first text.
    labels : mapping of str to str, optional
        Maps labels of the model to common ones (:data:`emovox.labels.COMMON`), for labels such as ``LABEL_0`` that name
        no emotion.  Labels without a common counterpart are ignored.

    Raises
    ------
    ModelError
        A label is mapped to one that is not in :data:`emovox.labels.COMMON`.

    Examples
    --------
    >>> TextClassifier("someone/some-model", labels={"LABEL_0": "gloomy"})
    Traceback (most recent call last):
    emovox.errors.ModelError: label 'gloomy' is not known: choose one of neutral, calm, happy, sad, angry, ...
    """

    def __init__(self, model: str | Path, labels: Mapping[str, str] | None = None) -> None:
        self.model = str(model)
        self.labels = dict(labels or {})
        for label in self.labels.values():
            if label not in COMMON:
                raise ModelError(f"label {label!r} is not known: choose one of {', '.join(COMMON)}")

    def emotions(self, text: str) -> dict[str, float]:
        """Estimate the emotion of a text.

        Parameters
        ----------
        text : str
            Text of any length: long texts are classified in pieces of 60 words, whose probabilities are averaged.

        Returns
        -------
        dict of str to float
            Probabilities of the labels of :data:`emovox.labels.COMMON`, in that order; they sum to 1.  A text without
            words has a uniform distribution.

        Raises
        ------
        ModelError
            The model cannot be found or read, or fewer than two of its labels have a common counterpart.
        MissingExtraError
            transformers is not installed.
        """
        words = text.split()
        if not words:
            return dict.fromkeys(COMMON, 1 / len(COMMON))
        import numpy as np

        pieces = [words[begin : begin + _PIECE] for begin in range(0, len(words), _PIECE)]
        rows = [self._judge(" ".join(piece)) for piece in pieces]
        mean = np.average(rows, axis=0, weights=[len(piece) for piece in pieces])
        return dict(zip(COMMON, (mean / mean.sum()).tolist(), strict=True))

    def _judge(self, text: str) -> list[float]:
        import torch

        tokenizer, network, targets = self._loaded
        with torch.inference_mode():
            logits = network(**tokenizer(text, return_tensors="pt", truncation=True)).logits[0].double()
        several = network.config.problem_type == "multi_label_classification"
        found = (logits.sigmoid() if several else logits.softmax(0)).tolist()
        sums = dict.fromkeys(COMMON, 0.0)
        for index, label in targets.items():
            sums[label] += found[index]
        total = sum(sums.values())
        return [value / total if total else 1 / len(COMMON) for value in sums.values()]

    @cached_property
    def _loaded(self) -> tuple[Any, Any, dict[int, str]]:
        try:
            import torch  # noqa: F401 - transformers imports without it and fails later
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError as error:
            raise MissingExtraError("judging words with a text classifier", "hub,train") from error
        folder = hub.find(self.model, KIND).folder  # refuses what is no safetensors
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network = AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except Exception as error:  # transformers raises a dozen kinds
            reason = (str(error).strip().splitlines() or [""])[0][:160] or type(error).__name__
            raise ModelError(f"cannot read the text classifier in {folder} ({reason}): get it again") from error
        return tokenizer, network.eval(), self._targets(network.config.id2label)

    def _targets(self, names: Mapping[int, str]) -> dict[int, str]:
        """Map the indices of the model's outputs to common labels."""
        found: dict[int, str] = {}
        for index, name in names.items():
            word = canonical(name)
            label = self.labels.get(name) or SYNONYMS.get(word, word)
            if label in COMMON:
                found[int(index)] = label
        if len(set(found.values())) < 2:
            raise ModelError(
                f"the labels of the text classifier {self.model} ({', '.join(map(str, names.values()))}) stand for no "
                "emotions that are known: say what they mean, labels={'LABEL_0': 'sad', ...}"
            )
        return found
