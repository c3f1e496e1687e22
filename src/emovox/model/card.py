"""What a model says of itself: its labels, front end, training data and scores, carried inside the model file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emovox.errors import ModelError
from emovox.types import RATE, FeatureSpec

#: Version of the ModelCard's structure; a file with another one is refused.
FORMAT_VERSION = 1


@dataclass(frozen=True)
class CorpusSummary:
    """One corpus that a model was trained on, as its card tells it."""

    name: str
    licence: str
    clips: int
    speakers: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ModelCard:
    """What a model is, made by training and carried inside the model file.

    Attributes
    ----------
    name : str
        Short name, for people.
    family : str
        ``"ann"``, ``"mlp"``, ``"svm"``, ...
    labels : tuple of str
        Class order of the network's output: the only place where it is stated.  Empty only for a model that has
        dimensions instead.
    features : FeatureSpec
        The front end that this model needs.
    threshold : float
        A prediction whose confidence is lower is an abstention.  0 never abstains.
    known_threshold : float or None
        The same where a baseline of setting or speaker is known; None: `threshold`.
    shortest : float
        Seconds of speech in an utterance below which the answer is an abstention; 0 answers any.
    corpora : tuple of CorpusSummary
        Training data with licences.
    licence : str
        Licence of the weights, as inherited from the training data.
    evaluation : mapping
        Protocol and scores: ``protocol``, ``folds``, ``seed``, ``uar``, ``wa``, ``macro_f1``, ...
    recipe : mapping
        The recipe that made the model, complete.
    text : mapping
        What a model that fuses voice and words needs to be told of the words, empty for others: ``columns`` (names of
        the numbers), ``version``, ``transcriber`` (whose transcripts it was trained on; it is not inside the file),
        ``language``.
    intended_use, limitations : str
        Prose for whoever deploys the model.
    software : str
        Version of emovox that wrote the file.
    created : str
        Date, ISO 8601.
    rate : int
        Sampling rate in Hz.
    format_version : int
        Version of this structure.
    dimensions : tuple of str
        Names of the emotion dimensions that the network predicts besides or instead of classes, for example
        ``("arousal", "valence")``, in the order of its output ``dimensions``; empty for most models.
    training_digest : str
        What tells whether a clip was trained on: the first 4 bytes of a digest of the sound of each training clip,
        sorted, in Base64; empty where it is not known.  No recording can be had from it.

    Raises
    ------
    ModelError
        There are neither labels nor dimensions.
    """

    name: str
    family: str
    labels: tuple[str, ...]
    features: FeatureSpec
    threshold: float = 0.0
    corpora: tuple[CorpusSummary, ...] = ()
    licence: str = ""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = ""
    limitations: str = ""
    software: str = ""
    created: str = ""
    rate: int = RATE
    format_version: int = FORMAT_VERSION
    dimensions: tuple[str, ...] = ()
    training_digest: str = ""
    known_threshold: float | None = None
    shortest: float = 0.0

    def __post_init__(self) -> None:
        if not self.labels and not self.dimensions:
            raise ModelError(f"model {self.name!r} has no output: its card must name labels or dimensions")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelCard:
        """Rebuild a card from :meth:`to_dict`'s values.

        Raises
        ------
        ModelError
            The values are of another format, or are not a card at all.
        """
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(
                f"model card format {version!r}, expected {FORMAT_VERSION}: "
                "upgrade emovox, or train the model again with this version"
            )
        try:
            plain = dict(values)
            plain["features"] = FeatureSpec(**plain["features"])
            plain["features"].parts()  # a joint one holds others, which must be whole too
            plain["labels"], plain["dimensions"] = tuple(plain["labels"]), tuple(plain.get("dimensions", ()))
            plain["corpora"] = tuple(
                CorpusSummary(**{**corpus, "labels": tuple(corpus["labels"])}) for corpus in plain["corpora"]
            )
            return cls(**plain)
        except (KeyError, TypeError) as error:
            raise ModelError(f"the model card is damaged ({error}): get the model file again") from error
