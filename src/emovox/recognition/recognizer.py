"""The recogniser: one recording, a timeline, many at once; profiles; and what gives features instead of answers."""

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
        How long recordings are cut.
    speaker : Profile, str or path, optional
        Whose voice it is: a profile from :meth:`enroll`, the name of a stored one, or its path; the default is not
        known.  The setting that the profile names is taken along.
    setting : Profile, str or path, optional
        Microphone, room and language: a profile from :meth:`adapt`, the name of a stored one, or its path; the default
        is not known.  ``"auto"`` takes the recordings at hand as their own setting: files are heard twice, all of
        one call together; a stream knows what it has heard so far.  Fewer than three utterances are none.
    gate : GateOptions, optional
        How sure to be that somebody speaks: windows without speech take no part, and a recording without any is
        refused.  ``GateOptions(threshold=0)`` analyses everything.
    threshold : float, optional
        Confidence in [0, 1] under which an answer is an abstention, 0 for never; the default is the model's own.
    transcriber : Transcriber, optional
        Who recognises the words, for example ``WhisperTranscriber()``; the default is nobody.  Where words cannot be
        had the voice is judged all the same, and the prediction's `why` says so.
    text_model : TextClassifier, optional
        A classifier that judges the emotion of the words as well, for ``text_<label>`` in `linguistic`.
    fuse : bool, optional
        Whether words that were heard take part in the answer: by the model's own fusion where it has one, else by the
        gated pool that comes with emovox.  Otherwise they are only reported.  The default is True for a model that was
        trained with words and False for the others: that pool rests on an assumption about people, not on people.
    rules : sequence of Rule, optional
        Decision rules over voice and words, for example :data:`emovox.text.fusion.DEFAULT`; the default is those of the
        model's recipe, which mostly has none.

    Attributes
    ----------
    card : ModelCard
        What the model is: its labels, training data, licence and scores.

    Raises
    ------
    ModelError
        The model cannot be read, it needs features that this version does not compute, or a speaker or setting is given
        and it takes no baseline.
    ProfileError
        A profile is not there, or was made with another model.
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
        """Recognise one recording of any length, in memory that does not grow with it.

        The answer is that of its utterances, see :meth:`timeline`: the mean of their probabilities, weighted by
        duration.

        Parameters
        ----------
        source : str, path, bytes, binary file, array, or pair of array and rate
            The recording: a file, or samples of shape (n_samples,) or (n_samples, n_channels).
        rate : float, optional
            Sampling rate of an array in Hz.
        name : str, optional
            What the prediction calls the recording; the default is its path.
        transcript : Transcript, optional
            What is said in it, if that is known: used instead of the transcriber.
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
            Nobody speaks in it.

        Examples
        --------
        >>> recognizer = EmotionRecognizer()
        >>> samples = audio.read("examples/plain.wav").samples
        >>> recognizer.predict(samples, rate=16000, name="take 1").file
        'take 1'
        """
        return self.alone(self._analysis.predict, source, rate, progress, name=name, transcript=transcript)

    def predict_array(self, samples: NDArray[Any], rate: float, name: str = "<array>") -> Prediction:
        """Recognise samples in memory as :meth:`predict`, which takes them as well: this older name gives a warning."""
        warnings.warn("predict_array is called predict: predict(samples, rate=rate)", DeprecationWarning, stacklevel=2)
        return self.predict(samples, rate=rate, name=name)

    @property
    def threshold(self) -> float:
        """Confidence under which an answer is an abstention, by what is known at the beginning."""
        return self._voice.threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window of a recording or stream; with ``setting="auto"`` as if nothing was known of the setting.

        Parameters
        ----------
        window : Waveform
            0.3 to 30 s.
        name : str
            What the prediction calls the recording.
        running : bool, default False
            Whether this is an estimate while somebody speaks: neither the gate nor the transcriber is asked.

        Returns
        -------
        Prediction or None
            None where there is nothing to judge: nobody speaks, or it is silent or shorter than 0.1 s.
        """
        return self._analysis.assess(self._voice, self._voice, window, name, running=running)

    def for_stream(self, *, speakers: bool = False) -> Judge:
        """Return the judge of a stream that begins: itself, or one that learns of its setting, or of its `speakers`."""
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
        """Recognise a recording of any length segment by segment, in memory that does not grow with it.

        Parameters
        ----------
        source, rate, name, progress
            As for :meth:`predict`.
        options : TimelineOptions, optional
            How it is cut and judged.
        transcript : Transcript, optional
            What is said in it, with the times of the words, if that is known: used instead of the transcriber.
        segments : sequence of Segment or pair of float, optional
            What is to be judged, in seconds, each by itself: as an utterance is, heard with 0.1 s on either side, and
            if it is longer than the window, cut where speech is least probable.  :func:`emovox.read_segments` reads
            them from files.  The default is what voice activity detection finds.
        tell : callable, optional
            Called with each event of the stream that the recording is, as soon as it is certain: the judgements of
            the voice, before they are merged and before words are put to them.

        Returns
        -------
        Timeline
            Without any segment where nobody speaks. Where voice activity finds no utterance but the speech gate hears
            somebody, as in a short scream or whisper, windows of one length are judged. With a transcriber, which hears
            the recording as a whole, each has its words, those whose middle lies in it; they take part in its answer as
            for :meth:`predict`. A stream of the same samples gives exactly the same answers of the voice, see
            :class:`emovox.recognition.streaming.StreamingRecognizer`; its words are recognised utterance by utterance.

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
        """Give the segments of :meth:`timeline` while the recording is read, each as soon as it is certain.

        Yields
        ------
        Prediction
            Those of the timeline, one behind what is certain.  `unread` and `notes` are what is known by then, of the
            last one all.  With a transcriber they come when all has been heard.

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
        """Recognise many recordings side by side; one that fails becomes a Failure and the rest go on.

        Parameters
        ----------
        sources : str, path, bytes, binary file, array, pair of array and rate, or iterable of them
            The recordings.  A folder stands for the recordings in it and below, a pattern such as ``calls/*.wav`` for
            what it matches.  An iterable is taken as it is needed: two a thread are at work or wait.
        jobs : int, optional
            How many are analysed at a time, each in a thread of its own; the default is one a processor core.  Words
            are recognised one recording at a time all the same.
        names : iterable of str or None, optional
            What the predictions call them, one for each.
        transcripts : iterable of Transcript or None, optional
            What is said in them, one for each.
        progress : callable, optional
            Called, in the threads, with the number of a recording, from 0, and the seconds of it analysed so far.
        rate : float, optional
            Sampling rate of the arrays in Hz; everything else tells its own.

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
        """Make the timelines of many recordings side by side, as :meth:`predict_many`.

        Parameters
        ----------
        sources, jobs, names, transcripts, progress, rate
            As for :meth:`predict_many`.
        options : TimelineOptions, optional
            How they are cut and judged.
        segments : iterable of sequences of Segment, optional
            What is to be judged in each, as for :meth:`timeline`.

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
        """Learn what a speaker's voice is ordinarily like, for `speaker`; the sound itself is not kept.

        Parameters
        ----------
        name : str
            The speaker: letters and digits of any script, ``-`` and ``_``.
        sources : str, path, bytes, binary file, pair of array and rate, or iterable of them
            Recordings of ordinary speech, or folders or patterns of them: two short sentences, or up to a minute.
        setting : Profile or str, optional
            The stored setting that the speaker belongs to: whoever names the speaker takes it along.
        voice : bool, default True
            Whether to take a voice print, by which :class:`emovox.TimelineOptions` names speakers that are `enrolled`.
        neutral : bool, default False
            Whether you know that all of it is neutral.  Such speech is believed at once, which helps much; what is said
            to be neutral and is not misleads as much.
        jobs : int, optional
            How many recordings are heard at a time; the default is one a processor core.
        progress : callable, optional
            Called, in the threads, with the number of recordings heard so far and the seconds analysed.

        Returns
        -------
        Profile
            :func:`emovox.model.profiles.save` writes it.

        Raises
        ------
        ModelError
            The model takes no baseline.
        AudioError, NoSpeechError
            A recording cannot be used, or nobody speaks in it.
        ProfileError
            There is less than a second of speech in all, a name is not possible, or the model makes no use of
            `neutral`.
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
        """Learn what a setting (microphone, room, language) is ordinarily like, for `setting`; no sound is kept.

        Parameters
        ----------
        name : str
            The setting: letters and digits of any script, ``-`` and ``_``.
        sources : str, path, bytes, binary file, pair of array and rate, or iterable of them
            Unlabelled recordings of it, of any speakers in any moods, as they come: 50 are plenty, 10 help.
        jobs, progress
            As for :meth:`enroll`; so are the exceptions.
        left_out : callable, optional
            Called with the error of each recording that cannot be used, which is then left out; the default raises it.

        Returns
        -------
        Profile
            Of three recordings with ten seconds of speech in all at least.
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
        Seconds of sound in a row, 0.5 or more; recordings of more than one and a half windows are cut.  The default is
        60, and 6 for ``default``, which takes 30 at most.

    Attributes
    ----------
    window : float
        Seconds of sound in a row.

    Raises
    ------
    FeatureError
        There is no such set, or the window is out of its range.

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
        """What a row is about: ``"clip"``, a window of sound, or ``"frame"``."""
        return sets.get(self._spec.set).level

    @property
    def hop(self) -> float:
        """Seconds from one frame to the next, of a set of frames; they are centred."""
        return float(self._spec.parameters.get("hop_length", 160)) / 16000

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return sets.feature_names(self._spec)

    def compute(self, waveform: Waveform) -> Float32Array:
        """Describe a waveform that is short enough: shape (n_features,), or (n_frames, n_features)."""
        return sets.extract(waveform, self._spec)

    def stretches(
        self, source: Sound, report: Callable[[Any], None] | None = None
    ) -> Iterator[tuple[Waveform, Float32Array]]:
        """Describe a recording window by window, in memory that does not grow with it.

        Parameters
        ----------
        source : str, path, bytes, binary file, or pair of array and rate
            The recording.
        report : callable, optional
            Called at the end with the blocks that were read, which know what could not be and what channels there are.

        Yields
        ------
        Waveform
            A window with sound in it: digital silence is left out.
        ndarray of float32
            What :meth:`compute` says of it.

        Raises
        ------
        AudioError
            The recording cannot be read, is too short, or silent as a whole.
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
        """Tell from when to when each row of what :meth:`compute` says of a stretch goes, in seconds."""
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
    """Computes the emotion axes of recordings: the few numbers by which a model knows settings and speakers.

    For each label, there are three linear scores of the embedding, learnt in training: ``setting_angry`` from clips
    less the mean of their setting, ``absolute_angry`` from clips as they are, and ``speaker_angry`` from clips less
    the mean of their speaker's neutral ones.

    Parameters
    ----------
    model : Model, str or path, default "default"
        Whose axes.
    setting : Profile, str or path, optional
        A setting from ``emovox adapt``: from every axis the mean of what was heard of it is subtracted, and the
        difference divided by the standard deviation, so that 0 is ordinary there.  The default gives the axes as
        they are.
    window : float, optional
        Seconds of sound in a row, from 0.5 to 30; the default is 6.

    Raises
    ------
    ModelError
        The model has no axes.
    ProfileError
        There is no such setting, or another model heard it.

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
        """Names of the columns: point of view and label."""
        return tuple(f"{view}_{label}" for view in self.VIEWS for label in sorted(self._model.card.labels))

    def compute(self, waveform: Waveform) -> Float32Array:
        """Describe a waveform of 30 s at most, shape (n_axes,)."""
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
    """Compare recordings with one another: of each column the mean is 0 then, and the standard deviation 1.

    Parameters
    ----------
    rows : sequence of ndarray, shape (n_features,)

    Returns
    -------
    ndarray of float32, shape (n_rows, n_features)
        A column whose values are all the same is 0.

    Examples
    --------
    >>> standardised([np.float32([1, 5]), np.float32([3, 5])]).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    table = np.stack(rows).astype(np.float64)
    spread = table.std(axis=0)
    scores: Float32Array = ((table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    return scores
