"""A linear head over embeddings, fitted first and then fine-tuned together with the blocks of the encoder.

A head at its optimum prevents the first steps from distorting the pretrained features (A. Kumar et al., *Fine-tuning
can distort pretrained features and underperform out-of-distribution*, ICLR 2022).
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emovox.errors import ModelError, ProtocolError
from emovox.lab.corpora.groups import held_out_speakers
from emovox.lab.encoders import embeddings
from emovox.lab.encoders.embedders import Embedder
from emovox.lab.estimators.adaptive import NO_SPEAKERS, AdaptiveClassifier, AdaptiveOptions
from emovox.lab.estimators.checkpoints import Checkpoint, Stored
from emovox.lab.estimators.encoder_tuning import EncoderTuning, FinetuneOptions, LinearProbe, targets
from emovox.lab.estimators.training import Speech, TrainingSet
from emovox.lab.extraction.sequences import Features
from emovox.lab.threads import single_thread
from emovox.model.file import TINY, fit_temperature, temper
from emovox.types import FeatureSpec, Float32Array

#: Version of the checkpoints; increased whenever the training changes, so that old ones are not resumed.
FORM = 2
#: Clips read at a time for embedding.
POOL = 64


class FinetunedClassifier(AdaptiveClassifier):
    """An `AdaptiveClassifier` over the embeddings of a fine-tuned encoder.

    The blocks of the encoder are tuned under a linear head, which is then left behind.  Embeddings and baselines are
    those of the fine-tuned encoder, see :meth:`embed`.

    Parameters
    ----------
    options : FinetuneOptions
        Options of fine-tuning and of the classifier.

    Attributes
    ----------
    embedder_ : Embedder
        The fine-tuned encoder.
    losses_ : list of float
        Loss on held-out speakers before fine-tuning and after each epoch; empty without held-out speakers.
    epochs_ : int
        Number of epochs of the result; with 0 it is that of `AdaptiveClassifier`.
    """

    needs = (*AdaptiveClassifier.needs, "speech")

    def __init__(self, options: FinetuneOptions | None = None) -> None:
        self.options: FinetuneOptions | None = options

    @property
    def adaptive_options(self) -> AdaptiveOptions:
        """Options of the classifier, with the seed of fine-tuning."""
        options = self.options or FinetuneOptions()
        return dataclasses.replace(options.head, seed=options.seed)

    def fit(
        self,
        X: Float32Array,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Float32Array | None = None,
        settings: NDArray[Any] | None = None,
        speech: Speech | None = None,
    ) -> FinetunedClassifier:
        """Fine-tune the encoder, then fit the classifier to its embeddings.

        Parameters
        ----------
        X, y, speakers, corpora, copies, settings
            As for `AdaptiveClassifier.fit`, with embeddings of the pretrained encoder.
        speech : Speech
            Waveforms of the clips.

        Raises
        ------
        ProtocolError
            The speakers are unknown, or none can be held out.
        RecipeError
            The loss is not finite, or the device does not exist.
        ModelError
            A checkpoint is damaged.
        """
        clips = TrainingSet(X, y, speakers, corpora, copies, speech, settings=settings)
        speech = clips.recordings
        if speakers is None:
            raise ProtocolError(NO_SPEAKERS)
        options = self.options or FinetuneOptions()
        checkpoint = Checkpoint(speech.checkpoints, _key(options, clips))
        stored = checkpoint.read()
        embedder = embeddings.embedder(speech.encoder.set, **speech.encoder.parameters)
        if not isinstance(embedder, Embedder):
            raise ModelError(f"this model tunes one encoder, and {speech.encoder.set!r} has several: name one")
        self.embedder_ = embedder
        if stored.state.get("stage") == "done":
            views = self._restored(stored, clips)
        else:
            self.losses_ = _search(embedder, clips, options, checkpoint, stored)
            self.epochs_ = int(np.argmin(self.losses_)) if self.losses_ else options.epochs
            views = self._tuned(clips, options, checkpoint, stored)
            encoder = {f"encoder.{name}": value for name, value in self.embedder_.state_dict().items()}
            checkpoint.write(self._state("done", self.epochs_), {"views": torch.from_numpy(views), **encoder})
        super().fit(views[0], y, speakers, corpora, np.moveaxis(views[1:], 0, 1) if len(views) > 1 else None, settings)
        return self

    def _state(self, stage: str, epochs: int) -> dict[str, Any]:
        return {"stage": stage, "epochs": epochs, "losses": self.losses_}

    def _tuned(
        self, clips: TrainingSet, options: FinetuneOptions, checkpoint: Checkpoint, stored: Stored
    ) -> Float32Array:
        """Fine-tune on all clips for the best number of epochs; return their embeddings in every view."""
        views = range(clips.n_views)
        if not self.epochs_:
            return np.stack([clips.view(view) for view in views])
        classes = np.unique(clips.y)
        tuning = EncoderTuning(self.embedder_, LinearProbe.fit(clips, classes, options), clips, classes, options)
        if stored.state.get("stage") == "final":
            tuning.restore(stored)
        searched = max(0, len(self.losses_) - 1)
        while tuning.epochs < self.epochs_:
            tuning.epoch()
            checkpoint.write(self._state("final", tuning.epochs), tuning.tensors())
            clips.recordings.progress("epochs", searched + tuning.epochs, searched + self.epochs_)
        self.embedder_, _ = tuning.result()
        return np.stack([embedded(self.embedder_, clips.recordings, view) for view in views])

    def _restored(self, stored: Stored, clips: TrainingSet) -> Float32Array:
        """Load the result of an earlier fine-tuning on the same clips; return the embeddings in every view."""
        self.epochs_, self.losses_ = stored.state["epochs"], stored.state["losses"]
        self.embedder_ = copy.deepcopy(self.embedder_)
        views = np.zeros((clips.n_views, *clips.X.shape), dtype=np.float32)
        encoder = {f"encoder.{name}": value for name, value in self.embedder_.state_dict().items()}
        stored.fill({"views": torch.from_numpy(views), **encoder})
        return views

    def features(self, clips: TrainingSet) -> Features:
        """Return embeddings by the fine-tuned encoder of clips with waveforms."""
        return clips.X if clips.speech is None or not len(clips) else embedded(self.embedder_, clips.speech)

    def encoder(self, spec: FeatureSpec) -> nn.Module:
        """Return the fine-tuned encoder."""
        return self.embedder_


def embedded(embedder: Embedder, speech: Speech, view: int = 0) -> Float32Array:
    """Compute the embeddings of clips in one view, clip by clip on one thread, shape (n_clips, n_features)."""
    found = []
    everything = np.arange(len(speech.sounds))
    for rows in np.split(everything, range(POOL, len(everything), POOL)):
        heard = speech.heard(rows, np.full_like(rows, view))
        with single_thread(), torch.inference_mode():
            found += [embedder(torch.from_numpy(samples).unsqueeze(0)).numpy() for samples in heard]
    return np.concatenate(found)


def held_out_loss(
    embedder: Embedder, probe: LinearProbe, clips: TrainingSet, classes: NDArray[Any], options: FinetuneOptions
) -> float:
    """Compute the mean negative log-likelihood of the linear head on clips of other speakers.

    It is calibrated by its best temperature, because models are calibrated after training.
    """
    target, _, counts = targets(clips, classes, options)
    with torch.inference_mode():
        found = torch.softmax(probe(torch.from_numpy(embedded(embedder, clips.recordings))), dim=1).numpy()
    tempered = temper(found, fit_temperature(found, target))
    likelihoods = np.maximum(tempered[np.arange(len(target)), target], TINY)
    return float(np.average(-np.log(likelihoods), weights=counts))


def _search(
    embedder: Embedder, clips: TrainingSet, options: FinetuneOptions, checkpoint: Checkpoint, stored: Stored
) -> list[float]:
    """Fine-tune without some speakers; return their loss before and after each epoch, or [] without patience."""
    if not options.patience or stored.state.get("stage") == "final":
        return list(stored.state.get("losses", []))
    train, held = held_out_speakers(np.asarray(clips.speakers), clips.y, options.validation, options.seed)
    ours, theirs = clips[train], clips[held]
    classes = np.unique(ours.y)
    probe = LinearProbe.fit(ours, classes, options)
    tuning = EncoderTuning(embedder, probe, ours, classes, options)
    losses = list(stored.state.get("losses", []))
    if losses:
        tuning.restore(stored)
    else:
        losses.append(held_out_loss(embedder, probe, theirs, classes, options))
    while tuning.epochs < options.epochs and tuning.epochs - int(np.argmin(losses)) < options.patience:
        tuning.epoch()
        losses.append(held_out_loss(*tuning.result(), theirs, classes, options))
        checkpoint.write({"stage": "search", "epochs": tuning.epochs, "losses": losses}, tuning.tensors())
        clips.recordings.progress("epochs", tuning.epochs, 2 * options.epochs)
    return losses


def _key(options: FinetuneOptions, clips: TrainingSet) -> str:
    """Return a digest of everything that training depends on; features stand for clips and weights."""
    plain = [FORM, dataclasses.asdict(options), dataclasses.asdict(clips.recordings.encoder)]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode())
    for array in (clips.X, clips.y, clips.speakers, clips.corpora, clips.copies):
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()[:32]
