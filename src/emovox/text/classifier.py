"""Emotion of words by a classifier from the Hugging Face hub or a folder, as an option beside the rule.

Only safetensors are read and no code of a checkpoint is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from emovox import hub
from emovox.errors import MissingExtraError, ModelError
from emovox.labels import COMMON, canonical

#: Words of text-emotion corpora for the common labels; those of :mod:`emovox.labels` are known besides.
SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("love", "amusement", "excitement", "gratitude", "pride", "admiration", "optimism"), "happy"),
    **dict.fromkeys(("relief", "caring", "approval", "serenity", "trust"), "calm"),
    **dict.fromkeys(("grief", "disappointment", "remorse", "loneliness"), "sad"),
    **dict.fromkeys(("annoyance", "disapproval", "rage", "contempt"), "angry"),
    **dict.fromkeys(("nervousness", "anxiety", "terror", "worry"), "fearful"),
    **dict.fromkeys(("realization", "confusion", "curiosity", "astonishment"), "surprised"),
    **dict.fromkeys(("no_emotion", "none", "other", "others"), "neutral"),
}

#: Files of a checkpoint that are fetched, and nothing else.
_FILES = (*hub.HUB_FILES, "tokenizer*.json", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")
#: What is looked for where a classifier is named.
KIND = hub.CheckpointKind("a text classifier", "config.json, model.safetensors and a tokenizer", "owner/model", _FILES)
#: Words judged at a time: far below what such models take, and about the length of what they were trained on.
_PIECE = 60


class TextClassifier:
    """A sequence classifier of transformers that judges the emotion of a text.

    Parameters
    ----------
    model : str or Path
        A folder with ``config.json``, ``model.safetensors`` and the tokenizer's files, or a name on the hub.  Nothing
        is loaded or fetched before the first text.
    labels : mapping of str to str, optional
        The model's label to a common one, for labels that say nothing, such as ``LABEL_0``.  Labels without a
        counterpart among the common ones are left out.

    Raises
    ------
    ModelError
        A label is mapped to something that is no common one.

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
        """Judge a text.

        Parameters
        ----------
        text : str
            Of any length: long ones are judged in pieces and averaged.

        Returns
        -------
        dict of str to float
            A probability for each label of :data:`emovox.labels.COMMON`, in that order; they sum to 1.  All are equal
            where there are no words.

        Raises
        ------
        ModelError
            The model cannot be found or read, or knows none of the common labels.
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
        """Map the model's outputs to common labels."""
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
