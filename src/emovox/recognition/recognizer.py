"""The recogniser: single recordings, timelines, many recordings in parallel, profiles; extractors of features."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emovox import audio
from emovox.audio import Sound, source_name
from emovox.errors import AudioError, EmovoxError, FeatureError, InputError
from emovox.features import sets
from emovox.model import profiles
from emovox.model.file import Model, ModelCard, load
from emovox.model.profiles import AUTO, Profile, check_name
from emovox.recognition import analysis
from emovox.recognition.analysis import Analysis, FirstPass, Result, Results, Sources, Speakers, analysed
from emovox.recognition.streaming import StreamEvent
from emovox.recognition.timeline import WHOLE, Timeline, TimelineOptions, WindowOptions, join_rest
from emovox.recognition.voice import Judge, Voice
from emovox.speech.vad import GATE, GateOptions
from emovox.types import Failure, Float32Array, Prediction, Segment, Transcript, Waveform

if TYPE_CHECKING:  # emovox.text is imported where words are asked for: most recordings are judged without
    from emovox.text.fusion import Rule
    from emovox.text.transcribe import Transcriber
    from emovox.text.words import TextClassifier


#: Seconds of sound that a feature set describes by one row, where nothing else is asked for.
WINDOW = 60.0
#: Longest window that the encoder takes, in seconds.
_LONGEST = 30.0
#: How the built-in model's front end prepares sound for the encoder.
HEARD = {"trim": True, "trim_threshold": 30.0}


class EmotionRecognizer:
    """Recognises the emotion of recordings with one model.

    Parameters
    ----------
    model : path, str or Model, optional
        Model file, run folder or name of a built-in model, or a model already read; the default is the built-in model.
    windows : WindowOptions, optional
        How long recordings are divided into windows.
    speaker : Profile, str or path, optional
        Profile of the speaker: the result of :meth:`enroll`, the name of a stored profile, or its path; by default the
        speaker is unknown. If the profile belongs to a setting, that setting is used too.
    setting : Profile, str or path, optional
        Profile of microphone, room and language: the result of :meth:`adapt`, the name of a stored profile, or its
        path; by default the setting is unknown. ``"auto"`` estimates the setting from the given recordings: files are
        read twice, and all recordings of one call count together; a stream uses what it has heard so far. At least
        three utterances are needed.
    gate : GateOptions, optional
        Options of the speech gate: windows without speech are excluded, and a recording without any speech is refused.
        ``GateOptions(threshold=0)`` analyses everything.
    threshold : float, optional
        Confidence in [0, 1] below which an answer is an abstention; 0 never abstains. The default is the model's own
        threshold.
    transcriber : Transcriber, optional
        Speech recogniser, for example ``WhisperTranscriber()``; by default there is none. If transcription fails, the
        voice alone is judged, and the prediction's `why` says so.
    text_model : TextClassifier, optional
        Classifier of the emotion of the words, which adds ``text_<label>`` to `linguistic`.
    fuse : bool, optional
        Whether words take part in the answer: by the model's own fusion if it has one, else by the gated mixture in
        the package. Otherwise they are only reported. The default is True for models that were trained with words and
        False for others, because the gated mixture rests on an assumption that was not measured on people.
    rules : sequence of Rule, optional
        Decision rules on voice and words, for example :data:`emovox.text.fusion.DEFAULT`; the default is the rules of
        the model's recipe, if any.

    Attributes
    ----------
    card : ModelCard
        Model card: labels, training data, licence and scores.

    Raises
    ------
    ModelError
        The model cannot be read, needs features that this version does not compute, or takes no baseline although a
        speaker or setting is given.
    ProfileError
        A profile does not exist, or was made with another model.
    InputError
        The threshold is out of its range.

    Examples
    --------
    >>> recognizer = EmotionRecognizer()
    >>> prediction = recognizer.predict("examples/plain.wav")
    >>> prediction.label in recognizer.card.labels
    True
    """

    def __init__(
        self,
        model: str | Path | Model | None = None,
        *,
        windows: WindowOptions | None = None,
        speaker: Profile | str | os.PathLike[str] | None = None,
        setting: Profile | str | os.PathLike[str] | None = None,
        gate: GateOptions | None = None,
        threshold: float | None = None,
        transcriber: Transcriber | None = None,
        text_model: TextClassifier | None = None,
        fuse: bool | None = None,
        rules: Sequence[Rule] | None = None,
    ) -> None:
        self._model: Model = model if isinstance(model, Model) else load(model)
        self.card = self._model.card
        self.windows = windows or WindowOptions()
        self.gate = gate or GATE
        self.transcriber = transcriber
        self.text_model = text_model
        self.fuse = bool(self.card.text) if fuse is None else fuse
        self.rules = _rules_of(self.card) if rules is None else tuple(rules)
        known_of = profiles.given(speaker, setting) if speaker or setting else (None, None)
        self.speaker, self.setting = known_of
        if self.setting == AUTO:
            self._model.require_baseline()
        known = self.setting if isinstance(self.setting, Profile) else None
        self._voice = Voice.of(self._model, self.gate, threshold, self.speaker, known)

    def __repr__(self) -> str:
        known = {"setting": self.setting, "speaker": self.speaker}
        named = [f"{what} {getattr(one, 'name', one)}" for what, one in known.items() if one is not None]
        return f"<{type(self).__name__} {', '.join([self.card.name, *named, f'threshold {self.threshold:.2f}'])}>"

    def predict(
        self,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        transcript: Transcript | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Prediction:
        """Recognise the emotion of one recording of any length, in constant memory.

        The probabilities are the mean of those of its utterances (see :meth:`timeline`), weighted by duration.

        Parameters
        ----------
        source : str, path, bytes, binary file, array, or pair of array and rate
            The recording: a file, or samples of shape (n_samples,) or (n_samples, n_channels).
        rate : float, optional
            Sampling rate of an array in Hz.
        name : str, optional
            Name of the recording in the prediction; the default is its path.
        transcript : Transcript, optional
            Known transcript, used instead of the transcriber.
        progress : callable, optional
            Called with the seconds analysed so far.

        Returns
        -------
        Prediction

        Raises
        ------
        AudioError
            The recording cannot be read, is shorter than 0.1 s or holds digital silence only; an array comes without
            its rate.
        NoSpeechError
            The recording contains no speech.

        Examples
        --------
        >>> recognizer = EmotionRecognizer()
        >>> samples = audio.read("examples/plain.wav").samples
        >>> recognizer.predict(samples, rate=16000, name="take 1").file
        'take 1'
        """
        return self.alone(self._analysis.predict, source, rate, progress, name=name, transcript=transcript)

    def predict_array(self, samples: NDArray[Any], rate: float, name: str = "<array>") -> Prediction:
        """Recognise samples in memory: deprecated, use :meth:`predict`."""
        warnings.warn("predict_array is called predict: predict(samples, rate=rate)", DeprecationWarning, stacklevel=2)
        return self.predict(samples, rate=rate, name=name)

    @property
    def threshold(self) -> float:
        """Confidence below which an answer is an abstention, given the profiles in use."""
        return self._voice.threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window of a recording or stream; ``setting="auto"`` has no effect here.

        Parameters
        ----------
        window : Waveform
            0.3 to 30 s.
        name : str
            What the prediction calls the recording.
        running : bool, default False
            Whether this is an estimate during an utterance, without speech gate and transcriber.

        Returns
        -------
        Prediction or None
            None if there is no speech, digital silence, or less than 0.1 s of sound.
        """
        return self._analysis.assess(self._voice, self._voice, window, name, running=running)

    def for_stream(self, *, speakers: bool = False) -> Judge:
        """Return the judge of a new stream: this one, or one that adapts to its setting or `speakers`."""
        everybody = self._analysis.learner(self._voice) if self.setting == AUTO else self
        learns = speakers and self._voice.may_learn
        own = partial(self._analysis.learner, self._voice) if learns else lambda: self
        return Speakers(everybody, lambda name: own()) if speakers else everybody

    def timeline(
        self,
        source: Sound | NDArray[Any],
        options: TimelineOptions | None = None,
        *,
        rate: float | None = None,
        name: str | None = None,
        transcript: Transcript | None = None,
        segments: Sequence[Segment | tuple[float, float]] | None = None,
        progress: Callable[[float], None] | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
    ) -> Timeline:
        """Recognise the emotion of each segment of a recording of any length, in constant memory.

        Parameters
        ----------
        source, rate, name, progress
            As for :meth:`predict`.
        options : TimelineOptions, optional
            How the recording is divided and judged.
        transcript : Transcript, optional
            Known transcript with times of the words, used instead of the transcriber.
        segments : sequence of Segment or pair of float, optional
            Segments to judge, in seconds, instead of the utterances that voice activity detection finds. Each is
            judged like an utterance: with 0.1 s of context on either side, and cut where speech is least probable if
            it is longer than the window. :func:`emovox.read_segments` reads them from files.
        tell : callable, optional
            Called with each stream event as soon as it is certain. These judgements are of the voice alone, before
            segments are merged and words are added.

        Returns
        -------
        Timeline
            Empty if there is no speech. If voice activity detection finds no utterance but the speech gate accepts the
            sound, as for a short scream or whisper, windows of fixed length are judged. With a transcriber, which
            processes the recording as a whole, each segment has the words whose middle lies in it; they take part in
            its answer as for :meth:`predict`. A stream of the same samples gives exactly the same answers of the
            voice, see :class:`emovox.recognition.streaming.StreamingRecognizer`; its words are recognised utterance by
            utterance.

        Raises
        ------
        AudioError
            The recording cannot be read.
        TranscriptError, InputError
            The transcript has no times; a segment begins before the recording, or does not end after it begins.

        Examples
        --------
        >>> given = EmotionRecognizer().timeline("examples/plain.wav", segments=[(0.0, 1.5), Segment(1.5, 3.0, "anna")])
        >>> [(one.start, one.end, one.speaker) for one in given]
        [(0.0, 1.5, None), (1.5, 3.0, 'anna')]
        """
        analyse = partial(self._analysis.timeline, options or TimelineOptions())
        given = {"name": name, "transcript": transcript, "segments": segments, "tell": tell}
        return self.alone(analyse, source, rate, progress, **given)

    def each_segment(
        self,
        source: Sound | NDArray[Any],
        options: TimelineOptions | None = None,
        *,
        rate: float | None = None,
        name: str | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[Prediction]:
        """Yield the segments of :meth:`timeline` while the recording is read, each as soon as it is certain.

        Yields
        ------
        Prediction
            The segments of the timeline, delayed by one. `unread` and `notes` hold what is known so far, those of the
            last segment everything. With a transcriber, all segments come at the end of the recording.

        Examples
        --------
        >>> [one.file for one in EmotionRecognizer().each_segment("examples/plain.wav")]
        ['examples/plain.wav']
        """
        each = partial(self._analysis.each, options or TimelineOptions())
        return self.alone(each, source, rate, progress, name=name)

    def predict_many(
        self,
        sources: Sources,
        *,
        jobs: int | None = None,
        names: Iterable[str | None] | None = None,
        transcripts: Iterable[Transcript | None] | None = None,
        progress: Callable[[int, float], None] | None = None,
        rate: float | None = None,
    ) -> Results[Prediction]:
        """Recognise many recordings in parallel; a recording that fails becomes a Failure among the results.

        Parameters
        ----------
        sources : str, path, bytes, binary file, array, pair of array and rate, or iterable of them
            The recordings. A folder stands for all recordings in it and its subfolders, a pattern such as
            ``calls/*.wav`` for the files that match. An iterable is consumed lazily: at most two recordings per thread
            are in work or waiting.
        jobs : int, optional
            Number of threads, each analysing one recording at a time; the default is one per processor core.
            Transcription is serial.
        names : iterable of str or None, optional
            Names of the recordings in the predictions.
        transcripts : iterable of Transcript or None, optional
            Known transcripts of the recordings.
        progress : callable, optional
            Called, in the threads, with the number of a recording, from 0, and the seconds of it analysed so far.
        rate : float, optional
            Sampling rate of arrays in Hz; files have their own.

        Returns
        -------
        Results
            An iterator of Prediction or Failure in the order of the sources, the same as of :meth:`predict`; its
            :meth:`~Results.to_frame` is a table of pandas.

        Raises
        ------
        InputError
            `jobs` is less than 1.

        Examples
        --------
        >>> recognizer = EmotionRecognizer()
        >>> [type(one).__name__ for one in recognizer.predict_many(["examples/plain.wav", "missing.wav"])]
        ['Prediction', 'Failure']
        """
        return self._many(self._analysis.predict, sources, jobs, progress, rate, name=names, transcript=transcripts)

    def timeline_many(
        self,
        sources: Sources,
        options: TimelineOptions | None = None,
        *,
        jobs: int | None = None,
        names: Iterable[str | None] | None = None,
        transcripts: Iterable[Transcript | None] | None = None,
        segments: Iterable[Sequence[Segment | tuple[float, float]] | None] | None = None,
        progress: Callable[[int, float], None] | None = None,
        rate: float | None = None,
    ) -> Results[Timeline]:
        """Compute the timelines of many recordings in parallel, as :meth:`predict_many`.

        Parameters
        ----------
        sources, jobs, names, transcripts, progress, rate
            As for :meth:`predict_many`.
        options : TimelineOptions, optional
            How the recordings are divided and judged.
        segments : iterable of sequences of Segment, optional
            Segments of each recording to judge, as for :meth:`timeline`.

        Returns
        -------
        Results
            An iterator of Timeline or Failure in the order of the sources, the same as of :meth:`timeline`.
        """
        analyse = partial(self._analysis.timeline, options or TimelineOptions())
        given = {"name": names, "transcript": transcripts, "segments": segments}
        return self._many(analyse, sources, jobs, progress, rate, **given)

    def enroll(
        self,
        name: str,
        sources: Sources,
        setting: Profile | str | None = None,
        *,
        voice: bool = True,
        neutral: bool = False,
        jobs: int | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> Profile:
        """Compute a speaker's profile from ordinary speech; it stores numbers, no sound.

        Parameters
        ----------
        name : str
            Name of the speaker: letters and digits of any script, ``-`` and ``_``.
        sources : str, path, bytes, binary file, pair of array and rate, or iterable of them
            Recordings of ordinary speech, or folders or patterns of them: two short sentences, or up to a minute.
        setting : Profile or str, optional
            The stored setting that the speaker belongs to; it is used whenever the speaker's profile is.
        voice : bool, default True
            Whether to store a voice print, by which :class:`emovox.TimelineOptions` identifies `enrolled` speakers.
        neutral : bool, default False
            Whether all of the speech is known to be neutral. The profile then has full weight after a few clips, which
            improves answers much; if the speech is in fact not neutral, it worsens them as much.
        jobs : int, optional
            Number of recordings analysed in parallel; the default is one per processor core.
        progress : callable, optional
            Called, in the threads, with the number of recordings and the seconds analysed so far.

        Returns
        -------
        Profile
            :func:`emovox.model.profiles.save` writes it.

        Raises
        ------
        ModelError
            The model takes no baseline.
        AudioError, NoSpeechError
            A recording cannot be read, or contains no speech.
        ProfileError
            There is less than a second of speech in total, the name has other characters, or the model does not
            support `neutral`.
        """
        if neutral:
            profiles.require_neutral(self._model)
        belongs = setting.name if isinstance(setting, Profile) else setting
        more = {"voice": voice, "neutral": neutral}
        return self._learnt("speaker", name, sources, jobs, progress, analysis.refuse, belongs, **more)

    def adapt(
        self,
        name: str,
        sources: Sources,
        *,
        jobs: int | None = None,
        progress: Callable[[int, float], None] | None = None,
        left_out: Callable[[EmovoxError], None] | None = None,
    ) -> Profile:
        """Compute the profile of a setting (microphone, room, language); it stores numbers, no sound.

        Parameters
        ----------
        name : str
            Name of the setting: letters and digits of any script, ``-`` and ``_``.
        sources : str, path, bytes, binary file, pair of array and rate, or iterable of them
            Unlabelled, unselected recordings of any speakers in any moods: 10 help, 50 are plenty.
        jobs, progress
            As for :meth:`enroll`; so are the exceptions.
        left_out : callable, optional
            Called with the error of each recording that cannot be used, which is then left out; the default raises it.

        Returns
        -------
        Profile
            Needs at least three recordings, or ten seconds of speech in total.
        """
        return self._learnt("setting", name, sources, jobs, progress, left_out or analysis.refuse)

    def _learnt(
        self,
        kind: profiles.Subject,
        name: str,
        sources: Sources,
        jobs: int | None,
        progress: Callable[[int, float], None] | None,
        left_out: Callable[[EmovoxError], None],
        setting: str | None = None,
        *,
        voice: bool = False,
        neutral: bool = False,
    ) -> Profile:
        """Make a profile; what must fail fails before the first recording is read."""
        self._model.require_baseline()
        name, setting = check_name(name, kind), setting and check_name(setting, "setting")
        heard = analysis.of_many(self._voice, self._whole, sources, jobs, left_out, progress, prints=voice)
        return profiles.build(kind, name, self._model, setting=setting, neutral=neutral, **heard)

    @property
    def _whole(self) -> TimelineOptions:
        if self.windows.duration == WHOLE.window:
            return WHOLE
        return TimelineOptions(window=self.windows.duration, hop=min(self.windows.duration, TimelineOptions.hop))

    @property
    def _analysis(self) -> Analysis:
        return Analysis(self._whole, self.transcriber, self.text_model, self.fuse, self.rules)

    def alone(
        self,
        analyse: Callable[..., Result],
        source: Sound | NDArray[Any],
        rate: float | None,
        progress: Callable[[float], None] | None,
        **further: Any,
    ) -> Result:
        """Analyse one recording, against itself where it is its own setting."""
        if self.setting != AUTO:
            return analyse(self._voice, source, rate=rate, progress=progress, **further)
        sounds = [audio.as_sound(source, rate)]
        first = FirstPass(self._voice, self._whole, sounds, 1, None, progress and (lambda _, heard: progress(heard)))
        return analyse(first.voice, sounds[0], progress=partial(first.second, 0), **further)

    def _many(
        self,
        analyse: Callable[..., Result],
        sources: Sources,
        jobs: int | None,
        progress: Callable[[int, float], None] | None,
        rate: float | None,
        **each: Iterable[Any] | None,
    ) -> Results[Result]:
        """Analyse many recordings, against all of them together where they are their own setting."""
        if self.setting != AUTO:
            return analysed(partial(analyse, self._voice), sources, jobs, progress, rate, **each)

        def twice() -> Iterator[Result | Failure]:
            first = FirstPass(self._voice, self._whole, sources, jobs, rate, progress)
            yield from analysed(partial(analyse, first.voice), first.sources, jobs, first.second, rate, **each)

        return Results(twice())


def _rules_of(card: ModelCard) -> tuple[Rule, ...]:
    """Return the decision rules of a model's recipe; most have none."""
    if not card.recipe.get("decision", {}).get("rules"):
        return ()
    from emovox.text import fusion

    return fusion.rules_of(card)


class FeatureExtractor:
    """Computes features of recordings.

    The set ``default``, the embedding of the encoder inside the package, needs no PyTorch: onnxruntime runs it.

    Parameters
    ----------
    name : str, default "prosodic"
        A feature set, see :func:`emovox.features.sets.available`.
    window : float, optional
        Duration in seconds that a row describes, at least 0.5; recordings longer than one and a half windows are cut.
        The default is 60, and 6 for ``default``, whose largest is 30.

    Attributes
    ----------
    window : float
        Seconds of sound in a row.

    Raises
    ------
    FeatureError
        The set does not exist, or the window is out of its range.

    Examples
    --------
    >>> extractor = FeatureExtractor("prosodic")
    >>> extractor("examples/plain.wav").shape, len(extractor.names)
    ((91,), 91)
    >>> bool(np.isfinite(FeatureExtractor("default")("examples/plain.wav")).all())
    True
    """

    def __init__(self, name: str = "prosodic", *, window: float | None = None) -> None:
        self._spec = sets.spec(name, preprocess=HEARD if name == sets.ENCODER else {})
        self.window = (WindowOptions.duration if name == sets.ENCODER else WINDOW) if window is None else window
        longest = _LONGEST if name == sets.ENCODER else np.inf
        if not 0.5 <= self.window <= longest:
            raise FeatureError(f"window is {window}: expected seconds from 0.5 to {longest:g} for {name}")

    @property
    def level(self) -> str:
        """What a row describes: ``"clip"``, a window of sound, or ``"frame"``."""
        return sets.get(self._spec.set).level

    @property
    def hop(self) -> float:
        """Step in seconds between the centres of frames, of a frame-level set."""
        return float(self._spec.parameters.get("hop_length", 160)) / 16000

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return sets.feature_names(self._spec)

    def compute(self, waveform: Waveform) -> Float32Array:
        """Compute the features of one window: shape (n_features,), or (n_frames, n_features)."""
        return sets.extract(waveform, self._spec)

    def stretches(
        self, source: Sound, report: Callable[[Any], None] | None = None
    ) -> Iterator[tuple[Waveform, Float32Array]]:
        """Compute the features of a recording window by window, in constant memory.

        Parameters
        ----------
        source : str, path, bytes, binary file, or pair of array and rate
            The recording.
        report : callable, optional
            Called at the end with the blocks that were read; they hold the unreadable parts and the channels.

        Yields
        ------
        Waveform
            A window with sound in it: digital silence is left out.
        ndarray of float32
            Its features, see :meth:`compute`.

        Raises
        ------
        AudioError
            The recording cannot be read, is too short, or is digital silence.
        """
        silent: AudioError | None = None
        heard = False
        blocks = audio.blocks(source, self.window)
        for stretch in join_rest(blocks, self.window / 2):
            try:
                audio.require_signal(stretch, source_name(source))
            except AudioError as error:
                silent = error
            else:
                heard = True
                yield stretch, self.compute(stretch)
        if report:
            report(blocks)
        if not heard:
            raise silent or AudioError(f"{source_name(source)} has no samples: give a recording that is not empty")

    def spans(self, stretch: Waveform, found: Float32Array) -> list[tuple[float, float]]:
        """Return start and end in seconds of each row that :meth:`compute` returns for a window."""
        if found.ndim == 1:
            return [(stretch.start, stretch.end)]
        starts = [round(stretch.start + number * self.hop, 6) for number in range(len(found))]
        return [(start, round(start + self.hop, 6)) for start in starts]

    def __call__(self, source: Sound | NDArray[Any], *, rate: float | None = None) -> Float32Array:
        """Describe a recording by one vector, or by its frames.

        Parameters
        ----------
        source : str, path, bytes, binary file, array, or pair of array and rate
            The recording.
        rate : float, optional
            Sampling rate of an array in Hz.

        Returns
        -------
        ndarray of float32, shape (n_features,) or (n_frames, n_features)
            Of a recording with several windows the mean, weighted by duration; of a set of frames, all frames.

        Raises
        ------
        AudioError
            The recording cannot be read, is too short, or silent.
        """
        parts = list(self.stretches(audio.as_sound(source, rate)))
        if self.level == "frame":
            return np.concatenate([found for _, found in parts])
        lengths = [stretch.duration for stretch, _ in parts]
        mean: Float32Array = np.average([found for _, found in parts], axis=0, weights=lengths).astype(np.float32)
        return parts[0][1] if len(parts) == 1 else mean


class AxesExtractor(FeatureExtractor):
    """Computes the emotion axes of recordings: the scores by which a model represents settings and speakers.

    For each label, there are three linear scores of the embedding, learnt in training: ``setting_angry`` from clips
    less the mean of their setting, ``absolute_angry`` from clips as they are, and ``speaker_angry`` from clips less
    the mean of their speaker's neutral ones.

    Parameters
    ----------
    model : Model, str or path, default "default"
        Model with axes.
    setting : Profile, str or path, optional
        A setting from ``emovox adapt``, by whose mean and standard deviation each axis is standardised, so that 0 is
        ordinary there. By default axes are not standardised.
    window : float, optional
        Duration in seconds that a row describes, from 0.5 to 30; the default is 6.

    Raises
    ------
    ModelError
        The model has no axes.
    ProfileError
        The setting does not exist, or was made with another model.

    Examples
    --------
    >>> extractor = AxesExtractor()
    >>> len(extractor.names), extractor.names[0], extractor("examples/plain.wav").shape
    (24, 'setting_angry', (24,))
    """

    #: Points of view of the axes, in the model's order.
    VIEWS = ("setting", "absolute", "speaker")

    def __init__(
        self,
        model: Model | str | Path = "default",
        *,
        setting: Profile | str | Path | None = None,
        window: float | None = None,
    ) -> None:
        super().__init__(sets.ENCODER, window=window)
        self._model = model if isinstance(model, Model) else load(model)
        _, known = profiles.given(None, setting)
        if isinstance(known, str):
            raise InputError(f"setting {known!r} is no profile: axes are compared with a setting that was heard before")
        profiles.baseline(self._model, known)  # refuses a model without axes, and what another model heard
        self._ordinary = known.statistics if known else None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns: kind of axis and label."""
        return tuple(f"{view}_{label}" for view in self.VIEWS for label in sorted(self._model.card.labels))

    def compute(self, waveform: Waveform) -> Float32Array:
        """Compute the axes of a waveform of at most 30 s: shape (n_axes,)."""
        inputs = {name: sets.extract(waveform, spec)[np.newaxis] for name, spec in self._model.inputs.items()}
        output = self._model.run(inputs).axes
        assert output is not None  # a model that takes a baseline has axes
        found: Float32Array = output[0]
        if self._ordinary is None:
            return found
        spread = np.sqrt(np.maximum(self._ordinary.variance, np.finfo(np.float32).tiny))
        apart: Float32Array = ((found - self._ordinary.mean) / spread).astype(np.float32)
        return apart


def standardised(rows: Sequence[Float32Array]) -> Float32Array:
    """Standardise the columns of recordings to mean 0 and standard deviation 1.

    Parameters
    ----------
    rows : sequence of ndarray, shape (n_features,)

    Returns
    -------
    ndarray of float32, shape (n_rows, n_features)
        A constant column becomes 0.

    Examples
    --------
    >>> standardised([np.float32([1, 5]), np.float32([3, 5])]).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    table = np.stack(rows).astype(np.float64)
    spread = table.std(axis=0)
    scores: Float32Array = ((table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    return scores
