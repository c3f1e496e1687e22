"""Data of an experiment: corpora -> clips -> features, of the clips and of augmented copies."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox import audio
from emovox.errors import CorpusError, EmovoxError, FeatureError
from emovox.features import sets
from emovox.lab.corpora import registry
from emovox.lab.corpora.same_sound import moments
from emovox.lab.corpora.table import Corpus, combine
from emovox.lab.estimators import families
from emovox.lab.estimators.training import Sentences, Speech, TrainingSet
from emovox.lab.evaluation import raters
from emovox.lab.experiments.recipe import AugmentRecipe, ModelRecipe, Recipe
from emovox.lab.experiments.spoken import development_sentences, words_of
from emovox.lab.extraction import content
from emovox.lab.extraction.cache import FeatureCache
from emovox.lab.extraction.extraction import Stretch, augmented, extract_copies, extract_many, virtual_setting
from emovox.lab.extraction.sequences import Features, Inputs, gather
from emovox.model.file import INPUT, WORDS, CorpusSummary
from emovox.types import FeatureSpec, Float32Array, Waveform, ordered

_LOG = logging.getLogger("emovox")

#: Longest clip in training, in seconds; `emovox predict` has no such limit.
LONGEST_CLIP = 600
#: What there is of a clip.
Row = TypeVar("Row")
#: Progress callback: stage, done, total.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sound:
    """Waveform of a clip, and of its augmented copies, from which their features are computed.

    Attributes
    ----------
    stretch : tuple of (Path, float, float)
        File, start and end in seconds.
    group : str
        Speaker, see :func:`groups`.
    preprocess : mapping
        Preprocessing options.
    augment : AugmentRecipe
        Options of augmentation.
    """

    stretch: Stretch
    group: str
    preprocess: Mapping[str, Any]
    augment: AugmentRecipe

    def __call__(self, view: int) -> Float32Array:
        """Return preprocessed samples of the clip (view 0), or of one of its copies (view 1, 2, ...)."""
        path, start, end = self.stretch
        waveform = audio.read(path, start=start, end=None if np.isinf(end) else end)
        if view:
            draw = (self.augment.seed, view - 1)
            copy = augmented(waveform.samples, self.augment.options, draw, self.group, path.name)
            waveform = Waveform(copy, 0.0)
        return sets.extract(waveform, sets.samples_spec(self.preprocess))


@dataclass(frozen=True, eq=False)
class Data:
    """Clips with their features; arrays have one row per clip.

    Attributes
    ----------
    table : DataFrame
        Corpus table.
    X : ndarray of float32, shape (n_clips, n_features), or Sequences
        Features of the same rows.
    spec : FeatureSpec
        Specification of the features.
    corpora : tuple of Corpus
        Corpora of the clips.
    skipped : tuple of str
        Clips without features, with the reason.
    paths : tuple of Path
        File of each row.
    copies : ndarray of float32, shape (n_clips, n_copies, n_features), Sequences, or None
        Features of augmented copies.
    sounds : tuple of Sound
        Waveforms, for families that fine-tune an encoder.
    sentences : Sentences or None
        Development sentences, for families that use words; X then has the inputs ``features`` and ``words``.
    settings : ndarray of str, shape (n_clips, 1 + n_copies), or None
        Setting of each clip, its corpus, and of each copy.
    """

    table: pd.DataFrame
    X: Features
    spec: FeatureSpec
    corpora: tuple[Corpus, ...]
    skipped: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    copies: Features | None = None
    sounds: tuple[Sound, ...] = ()
    sentences: Sentences | None = None
    settings: NDArray[np.str_] | None = None

    @property
    def y(self) -> NDArray[np.str_]:
        """Labels."""
        return self.table["label"].to_numpy(str)

    @property
    def speakers(self) -> NDArray[np.str_] | None:
        """Speakers, None unless all are known."""
        speakers = self.table["speaker"].to_numpy(str)
        return None if (speakers == "").any() else speakers

    def training_set(self, jobs: int, progress: Progress, kept: Path | None = None) -> TrainingSet:
        """Return the training set of all clips, for training and hyper-parameter search.

        Parameters
        ----------
        jobs : int
            Number of processes that read waveforms; -1 is one per core.
        progress : callable
            Progress callback: stage, done, total.
        kept : Path, optional
            Folder of checkpoints.
        """
        return TrainingSet(
            self.X,
            self.y,
            self.speakers,
            self.table["corpus"].to_numpy(str),
            self.copies,
            Speech(self.sounds, self.spec, kept, jobs, progress) if self.sounds else None,
            self.sentences,
            kept,
            self.settings,
            raters.votes(self.table, ordered(self.y)),
            ordered(self.y),
        )


def load(
    recipe: Recipe,
    roots: Mapping[str, Path],
    *,
    cache: FeatureCache | None = None,
    jobs: int = -1,
    progress: Progress = lambda stage, done, total: None,
) -> Data:
    """Read the corpora of a recipe and compute their features.

    Clips without features are skipped and listed; more than one in ten is an error, because the corpus is then probably
    not the intended one.
    """
    missing = [name for name in recipe.corpora if name not in roots]
    if missing:
        raise CorpusError(
            f"recipe {recipe.name!r} needs corpus {missing[0]!r}: say where it is with --corpus {missing[0]}=DIR"
        )
    unused = [name for name in roots if name not in recipe.corpora]
    if unused:
        raise CorpusError(
            f"recipe {recipe.name!r} does not use corpus {unused[0]!r}: it uses {', '.join(recipe.corpora)}"
        )
    corpora = tuple(
        select(registry.load(name, roots[name], **part.options), part.labels) for name, part in recipe.corpora.items()
    )
    spec = recipe.feature_spec()
    table = combine(corpora)
    paths = [path for corpus in corpora for path in corpus.paths()]
    cache = cache or FeatureCache()
    fronts = spec.parts()
    found = _analysed(stretches_of(paths, table), fronts, cache, jobs, progress)
    rows, kept, reasons = usable(found)
    skipped = tuple(reasons)
    if len(skipped) > len(paths) / 10:
        raise CorpusError(f"{len(skipped)} of {len(paths)} clips cannot be analysed, the first: {skipped[0]}")
    chosen = [path for path, keep in zip(paths, kept, strict=True) if keep]
    table = listened(table[kept], chosen, cache, jobs, progress)
    X, copies = {}, {}
    for name, part in recipe.parts().items():
        level = sets.get(fronts[name].set).level
        X[name] = gather([row[name] for row in rows], level)
        copies[name] = _copies_of(part, stretches_of(chosen, table), groups(table), fronts[name], cache, jobs, progress)
    sounds: tuple[Sound, ...] = ()
    if families.family(recipe.family).tunes_encoder:
        stretches = zip(stretches_of(chosen, table), groups(table), strict=True)
        sounds = tuple(Sound(stretch, group, spec.preprocess, recipe.augment) for stretch, group in stretches)
    if families.family(recipe.family).takes_words:
        words, problems = words_of(
            stretches_of(chosen, table), recipe.words.transcriber, recipe.words.language, progress
        )
        both, sentences = Inputs({INPUT: X[""], WORDS: words}), development_sentences()
        return Data(table, both, spec, corpora, (*skipped, *problems), tuple(chosen), None, sounds, sentences)
    if not recipe.members:
        settings = settings_of(table, recipe.augment)
        return Data(table, X[""], spec, corpora, skipped, tuple(chosen), copies[""], sounds, None, settings)
    return Data(table, Inputs(X), spec, corpora, skipped, tuple(chosen), Inputs(copies), sounds)


def listened(
    table: pd.DataFrame, paths: Sequence[Path], cache: FeatureCache, jobs: int, progress: Progress
) -> pd.DataFrame:
    """Add to a table what is found by listening: ``content``, a digest, and ``sound``, the group of each clip.

    Clips of the same content or of overlapping stretches of one recording, under whatever names, are of one group; see
    :func:`emovox.lab.corpora.same_sound.moments`.
    """
    heard = content.listen(stretches_of(paths, table), jobs, progress, cache.folder)
    partly = [one.partly for one in heard if one.partly]
    if partly:
        _LOG.warning("%d of %d clips cannot be read whole, the first: %s", len(partly), len(heard), partly[0])
    digests = [one.digest for one in heard]
    groups = moments(table, [one.recording for one in heard], digests)
    columns = {"content": digests, "sound": [str(group) for group in groups]}
    return table.assign(**{name: pd.array(values, dtype="str") for name, values in columns.items()})


def _analysed(
    stretches: Sequence[Stretch], fronts: Mapping[str, FeatureSpec], cache: FeatureCache, jobs: int, progress: Progress
) -> list[Mapping[str, Float32Array] | str]:
    """Compute the features of each model for each clip, or one line with the reason why there are none."""
    refused = [_too_long(stretch) for stretch in stretches]
    short = [stretch for stretch, why in zip(stretches, refused, strict=True) if not why]
    found = [extract_many(short, spec, cache, jobs, progress) for spec in fronts.values()]
    rows = zip(*found, strict=True)
    result: list[Mapping[str, Float32Array] | str] = []
    for why in refused:
        row = (why,) if why else next(rows)
        bad = next((one for one in row if isinstance(one, str)), None)
        result.append(bad or {name: np.asarray(one) for name, one in zip(fronts, row, strict=True)})
    return result


def _too_long(stretch: Stretch) -> str:
    """Return why a clip is too long, or None; memory grows with its length."""
    path, start, end = stretch
    try:
        end = (audio.duration(path) or 0.0) if np.isinf(end) else end
    except EmovoxError:
        return ""  # feature extraction reports the error
    if end - start <= LONGEST_CLIP:
        return ""
    return (
        f"{path} is {end - start:.0f} s long, and a clip to learn from is at most {LONGEST_CLIP} s: "
        "cut it into stretches, by columns start and end of a manifest"
    )


def _copies_of(
    part: ModelRecipe,
    stretches: Sequence[Stretch],
    speakers: Sequence[str],
    spec: FeatureSpec,
    cache: FeatureCache,
    jobs: int,
    progress: Progress,
) -> Features | None:
    """Compute the features of augmented copies, if the recipe has any."""
    wanted = part.augment
    if not wanted.copies:
        return None
    rows = extract_copies(stretches, speakers, spec, wanted.options, wanted.copies, wanted.seed, cache, jobs, progress)
    return gather(rows, sets.get(spec.set).level)


def groups(table: pd.DataFrame) -> list[str]:
    """Return the speaker of each clip; a clip without one is a group of its own."""
    files = table.index.get_level_values("file")
    names = zip(table["corpus"], table["speaker"], files, strict=True)
    return [f"{corpus}/{speaker or file}" for corpus, speaker, file in names]


def settings_of(table: pd.DataFrame, wanted: AugmentRecipe) -> NDArray[np.str_]:
    """Return the setting of each clip, its corpus, and of each copy, shape (n_clips, 1 + n_copies)."""
    speakers = groups(table)
    copies = [
        [virtual_setting(wanted.options, (wanted.seed, copy), speaker) for speaker in speakers]
        for copy in range(wanted.copies)
    ]
    return np.array([table["corpus"].tolist(), *copies]).T


def features_of(
    paths: Sequence[Path],
    table: pd.DataFrame,
    spec: FeatureSpec,
    cache: FeatureCache | None,
    jobs: int,
    progress: Progress,
) -> tuple[Features, NDArray[np.bool_], list[str]]:
    """Compute the features of the rows of a table; return which rows have some, and why the others have none."""
    if (level := sets.get(spec.set).level) == "samples":
        raise FeatureError(f"feature set {spec.set!r} is of level {level!r}: choose another with features.set")
    found = extract_many(stretches_of(paths, table), spec, cache or FeatureCache(), jobs, progress)
    rows, kept, skipped = usable(found)
    return gather(rows, level), kept, skipped


def stretches_of(paths: Sequence[Path], table: pd.DataFrame) -> list[Stretch]:
    """Return file, start and end of the rows of a table."""
    starts, ends = (table.index.get_level_values(name) for name in ("start", "end"))
    return list(zip(paths, starts, ends, strict=True))


def usable(results: Sequence[Row | str]) -> tuple[list[Row], NDArray[np.bool_], list[str]]:
    """Return the successful results, which clips have one, and why the others do not."""
    kept = np.array([not isinstance(one, str) for one in results])
    skipped = [one for one in results if isinstance(one, str)]
    if not kept.any():
        raise CorpusError(f"none of {len(kept)} clips can be analysed, the first: {skipped[0]}")
    return [one for one in results if not isinstance(one, str)], kept, skipped


def shown_clips(data: Data, count: int = 60) -> list[Float32Array]:
    """Return preprocessed samples of some clips, evenly from all, to measure the effect of quantisation."""
    spec = sets.samples_spec(data.spec.preprocess)
    stretches = stretches_of(data.paths, data.table)[:: max(1, len(data.paths) // count)]
    return [
        sets.extract(audio.read(path, start=start, end=None if np.isinf(end) else end), spec)
        for path, start, end in stretches
    ]


def select(corpus: Corpus, labels: Sequence[str]) -> Corpus:
    """Select the clips with these labels; an empty sequence selects all."""
    unknown = [label for label in labels if label not in set(corpus.table["label"])]
    if unknown:
        raise CorpusError(
            f"corpus {corpus.name!r} has no label {unknown[0]!r}: it has {', '.join(ordered(corpus.table['label']))}"
        )
    if not labels:
        return corpus
    return dataclasses.replace(corpus, table=corpus.table[corpus.table["label"].isin(labels)])


def summaries(data: Data) -> tuple[CorpusSummary, ...]:
    """Return the description of the corpora for the model card."""
    result = []
    for corpus in data.corpora:
        rows = data.table[data.table["corpus"] == corpus.name]
        result.append(
            CorpusSummary(
                name=corpus.name,
                licence=corpus.licence or "not stated",
                clips=len(rows),
                speakers=int((rows["speaker"].unique() != "").sum()),
                labels=ordered(rows["label"]),
            )
        )
    return tuple(result)
