"""The recogniser: one recording, a timeline, many at once, a speaker's profile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from emovox import audio
from emovox.audio import Sound
from emovox.audio.sources import source_name
from emovox.errors import AudioError, FeatureError, InputError, ModelError, NoSpeechError
from emovox.features import sets
from emovox.model import profiles
from emovox.model.file import Model, load
from emovox.model.profiles import Profile
from emovox.recognition.cutting import Judge, StreamEvent
from emovox.recognition.many import Results, Sources, analysed, one_at_a_time
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import Timeline, TimelineOptions, WindowOptions, join_rest, tidied
from emovox.recognition.voice import Recording, Voice, fused, rules_of
from emovox.speech.gate import GateOptions
from emovox.types import Float32Array, Prediction, Segment, Transcript, Waveform

if TYPE_CHECKING:  # emovox.text is imported where words are asked for: most recordings are judged without
    from emovox.text.classifier import TextClassifier
    from emovox.text.rules import Rule
    from emovox.text.transcribe import Transcriber
    from emovox.text.words import Heard

#: Seconds of a long recording that are read at a time.
_BLOCK = 10.0


class EmotionRecognizer:
    """Recognises the emotion of recordings with one model.

    Parameters
    ----------
    model : path, str or Model, optional
        Model file, run folder or name of a built-in model, or a model already read; the default is the built-in model.
    windows : WindowOptions, optional
        How long recordings are cut.
    speaker : Profile, optional
        Whose voice it is, from :meth:`enroll` or :func:`emovox.model.profiles.find`; the default is not known.
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
        Decision rules over voice and words, for example :data:`emovox.text.rules.DEFAULT`; the default is those of the
        model's recipe, which mostly has none.

    Attributes
    ----------
    card : ModelCard
        What the model is: its labels, training data, licence and scores.

    Raises
    ------
    ModelError
        The model cannot be read, it needs features that this version does not compute, or a speaker is given and it
        takes no baseline.
    ProfileError
        The speaker's profile was made with another model.
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
        speaker: Profile | None = None,
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
        self.gate = gate or GateOptions()
        self.threshold = self.card.threshold if threshold is None else threshold
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold}: expected a confidence from 0 to 1")
        self.transcriber = transcriber
        self.text_model = text_model
        self.fuse = bool(self.card.text) if fuse is None else fuse
        self.rules = rules_of(self.card) if rules is None else tuple(rules)
        self.speaker = speaker
        baseline = speaker.baseline(self._model) if speaker else None
        self._voice = Voice(self._model, self.gate, self.threshold, baseline, speaker.name if speaker else None)
        for name, spec in self._model.inputs.items():
            try:
                level = sets.reproduced(spec).level
            except (FeatureError, TypeError) as error:
                raise ModelError(f"model {self.card.name!r} cannot be used: {error}") from error
            if level != self._model.level(name):
                raise ModelError(
                    f"input {name!r} of model {self.card.name!r} takes one vector a {self._model.level(name)}, and its "
                    f"card asks for {spec.set!r}: get the model file again"
                )

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
        window = self.windows.duration
        options = TimelineOptions(window=window, hop=min(window, TimelineOptions.hop))
        judge = Recording(self._voice, keep=bool(self.transcriber or transcript) and self._takes_both())
        sound = audio.as_sound(source, rate, name)
        found, heard = self._analysed(judge, sound, options, name, transcript, progress, self.text_model)
        whole = judge.whole(found)
        return whole if heard is None else self._with_words(whole, heard, *judge.seen(found))

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window of a recording or stream.

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
        found = self._voice.assess(window, name, running=running)
        if found is None or running or self.transcriber is None:
            return found
        from emovox.text.words import Hearing

        hearing = Hearing(self.transcriber, classifier=self.text_model)
        for _ in hearing.tap([window]):
            pass
        return self._with_words(found, hearing.result(window.duration), [window], [window.duration])

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
        source : str, path, bytes, binary file, array, or pair of array and rate
            The recording, as for :meth:`predict`.
        options : TimelineOptions, optional
            How it is cut and judged.
        rate : float, optional
            Sampling rate of an array in Hz.
        name : str, optional
            What the predictions call the recording; the default is its path.
        transcript : Transcript, optional
            What is said in it, with the times of the words, if that is known: used instead of the transcriber.
        segments : sequence of Segment or pair of float, optional
            What is to be judged, in seconds, each by itself: as an utterance is, heard with 0.1 s on either side, and
            if it is longer than the window, cut where speech is least probable.  :func:`emovox.read_segments` reads
            them from files.  The default is what voice activity detection finds.
        progress : callable, optional
            Called with the seconds analysed so far.
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
        TranscriptError
            The transcript does not tell when its words are said.
        InputError
            A segment begins before the recording, or does not end after it begins.

        Examples
        --------
        >>> timeline = EmotionRecognizer().timeline("examples/plain.wav")
        >>> [one.label in timeline.summary().share for one in timeline.predictions]
        [True]
        >>> given = EmotionRecognizer().timeline("examples/plain.wav", segments=[(0.0, 1.5), Segment(1.5, 3.0, "anna")])
        >>> [(one.start, one.end, one.speaker) for one in given]
        [(0.0, 1.5, None), (1.5, 3.0, 'anna')]
        """
        if transcript:
            from emovox.text.words import require_times

            require_times(transcript)
        options = options or TimelineOptions()
        given = None if segments is None else [one if isinstance(one, Segment) else Segment(*one) for one in segments]
        untidied = replace(options, merge=None, min_segment=0.0)  # what is given stays, what is said is tidied with it
        options = options if given is None else untidied
        cut = untidied if self.transcriber or transcript else options
        sound = audio.as_sound(source, rate, name)
        found, heard = self._analysed(self._voice, sound, cut, name, transcript, progress, tell=tell, segments=given)
        if heard is None:
            return found
        parts = [(one, heard.within(one.start, one.end, self.text_model)) for one in found.predictions]
        return replace(found, predictions=tidied([self._with_words(*part) for part in parts], options))

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
            what it matches.  An iterable is taken as it is needed: at most two a thread before their results are.
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
        >>> recognizer.predict_many("examples").to_frame()["label"].nunique() > 0
        True
        """
        return analysed(self.predict, sources, jobs, progress, rate, name=names, transcript=transcripts)

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
        sources : str, path, bytes, binary file, array, pair of array and rate, or iterable of them
            The recordings, as for :meth:`predict_many`.
        options : TimelineOptions, optional
            How they are cut and judged.
        jobs, names, transcripts, progress, rate
            As for :meth:`predict_many`.
        segments : iterable of sequences of Segment, optional
            What is to be judged in each, as for :meth:`timeline`.

        Returns
        -------
        Results
            An iterator of Timeline or Failure in the order of the sources, the same as of :meth:`timeline`.
        """
        work = partial(self.timeline, options=options)
        return analysed(work, sources, jobs, progress, rate, name=names, transcript=transcripts, segments=segments)

    def enroll(self, name: str, sources: Iterable[Sound]) -> Profile:
        """Learn what a speaker's voice is ordinarily like, for `speaker`; the sound itself is not kept.

        Parameters
        ----------
        name : str
            The speaker: letters, digits, ``-`` and ``_``.
        sources : iterable of str, path, bytes, binary file, or pair of array and rate
            Recordings of the speaker's ordinary speech: two short sentences, or up to a minute of running speech.

        Returns
        -------
        Profile
            :func:`emovox.model.profiles.save` writes it.

        Raises
        ------
        ModelError
            The model takes no baseline.
        AudioError
            A recording cannot be used.
        NoSpeechError
            Nobody speaks in one of them.
        ProfileError
            There is less than a second of speech in all, or the name is not possible.
        """
        profiles.require_baseline(self._model)
        profiles.check_name(name)
        rows: list[Float32Array] = []
        weights: list[float] = []
        clips = 0
        for source in sources:
            clips += 1
            source = audio.as_sound(source)
            blocks = audio.blocks(source, self.windows.duration)
            found, lengths = self._embeddings(blocks, source_name(source))
            rows += found
            weights += lengths
        return profiles.build(name, self._model, rows, weights, clips)

    def _analysed(
        self,
        judge: Judge,
        sound: Sound,
        options: TimelineOptions,
        name: str | None,
        transcript: Transcript | None,
        progress: Callable[[float], None] | None,
        classifier: TextClassifier | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> tuple[Timeline, Heard | None]:
        """Run a recording through a stream, and a listener of words beside it where words are asked for."""
        blocks, hearing = audio.blocks(sound, _BLOCK), None
        if self.transcriber or transcript:
            from emovox.text.words import Hearing

            hearing = Hearing(one_at_a_time(self.transcriber), transcript, classifier)
        streams = StreamingRecognizer(judge, options)
        listen = hearing.hear if hearing else None
        found = streams.timeline(blocks, name or source_name(sound), progress, listen, tell, segments)
        found = replace(found, predictions=tuple(_noted(one, sound, blocks) for one in found.predictions))
        return found, hearing.result(found.duration) if hearing else None

    def _with_words(
        self,
        voice: Prediction,
        heard: Heard,
        seen: Sequence[Waveform] | None = None,
        weights: Sequence[float] = (),
    ) -> Prediction:
        """Put what was heard beside an answer of the voice or, where it may, into it; `seen` is the sound, if kept."""
        from emovox.text import fusion

        found = heard.beside(voice)
        if self.fuse:
            found = fused(found, heard, self.card, self.threshold, self._voice.output, seen, weights)
        return fusion.ruled(found, self.rules, heard, self.threshold)

    def _takes_both(self) -> bool:
        """Say whether the model must see words and sound at once."""
        from emovox.text import fusion

        return self.fuse and fusion.pool_of(self.card) is None

    def _embeddings(self, blocks: Iterable[Waveform], name: str) -> tuple[list[Float32Array], list[float]]:
        """Describe the voice in each window with speech; return embeddings and the windows' lengths."""
        rows, weights = [], []
        refused: AudioError | None = None
        for window in join_rest(blocks, self.windows.duration / 2):
            if why := self._voice.refusal(window, name):  # nothing in this window; the others may have something
                refused = refused if isinstance(refused, NoSpeechError) else why
            else:
                rows.append(self._voice.embedding(window))
                weights.append(window.duration)
        if not rows:
            raise refused or AudioError(f"{name} has no samples: give a recording that is not empty")
        return rows, weights


def _noted(prediction: Prediction, sound: Sound, blocks: audio.Blocks) -> Prediction:
    """Add what reading the recording has brought up: the channel, what could not be read, what was done to channels."""
    channel = sound.number if isinstance(sound, audio.Channel) else None
    return replace(prediction, unread=blocks.unread, notes=blocks.notes, channel=channel)
