"""What worker processes do: tasks that travel to them, and what a process keeps from one to the next.

Here foreign bytes are decoded.  A task is a frozen dataclass with a method ``run``; its result travels back.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from emovox import audio
from emovox.audio import Sound
from emovox.errors import EmovoxError, MissingExtraError, NoSpeechError
from emovox.live.sources import ENCODINGS, Layout
from emovox.model.file import Model, load
from emovox.model.profiles import Profile, Subject
from emovox.recognition.analysis import StreamJudge
from emovox.recognition.cutting import StreamEvent
from emovox.recognition.processes import Tell
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.recognition.speakers import Named
from emovox.recognition.timeline import Timeline, TimelineOptions
from emovox.recognition.voice import Memory, judge_of
from emovox.serve.problems import Problem
from emovox.speech.gate import GateOptions
from emovox.types import Float32Array, Prediction, Waveform

if TYPE_CHECKING:
    from emovox.speech.speakers.turns import Piece
    from emovox.text.transcribe import Transcriber


class _Bytes(io.BytesIO):
    """Bytes with the name that messages call them."""

    name = ""


@dataclass(frozen=True)
class Upload:
    """A recording that a client has sent: bytes, never a place where there might be one.

    Attributes
    ----------
    content : bytes or str
        The bytes, or the path of a temporary file of ours that holds them.
    name : str
        What the client calls it.
    layout : Layout or None
        Sample format of raw PCM; None where the bytes say themselves what they are.
    """

    content: bytes | str
    name: str
    layout: Layout | None = None

    @contextmanager
    def opened(self) -> Iterator[Sound]:
        """Open it."""
        file: IO[bytes]
        if isinstance(self.content, bytes):
            file = _Bytes(self.content)
            file.name = self.name
        else:
            raw = io.FileIO(self.content)
            raw.name = self.name
            file = io.BufferedReader(raw)
        with file:
            yield file if self.layout is None else _samples(file, self.layout, self.name)


def _samples(file: IO[bytes], layout: Layout, name: str) -> audio.Samples:
    """Take raw PCM; half a frame at the end is left out."""
    data = file.read()
    data = data[: len(data) // layout.frame_bytes * layout.frame_bytes]
    if layout.encoding == "s24le":
        return audio.Samples(layout.decoded(data), layout.rate, name)
    values = np.frombuffer(data, dtype=ENCODINGS[layout.encoding])
    return audio.Samples(values.reshape(-1, layout.channels), layout.rate, name)


@dataclass(frozen=True)
class Ask:
    """Who judges: the options of a recogniser that a client may choose.

    Attributes
    ----------
    model : str or None
        Name of a built-in model; None for the server's own.
    speaker : Profile or None
        Whose voice it is.
    setting : Profile, "auto" or None
        Where it was recorded; ``"auto"``: the recording or stream is its own setting.
    threshold : float or None
        Confidence that an answer needs.
    gate : bool
        Whether the speech gate is asked.
    text : bool
        Whether words are recognised.
    language : str or None
        What is spoken.
    """

    model: str | None = None
    speaker: Profile | None = None
    setting: Profile | str | None = None
    threshold: float | None = None
    gate: bool = True
    text: bool = False
    language: str | None = None


#: Makes a recogniser: :class:`emovox.EmotionRecognizer`, or a fake one.
Build = Callable[..., EmotionRecognizer]


class Bench:
    """What a worker process keeps from task to task: models that are read, recognisers that are made of them.

    Parameters
    ----------
    model : str, optional
        Model file, run folder or built-in name that judges by default.
    asr : str, optional
        Whisper model for words.
    build : callable, optional
        What makes a recogniser of a model; the default is :class:`emovox.EmotionRecognizer`.
    """

    def __init__(self, model: str | None = None, asr: str | None = None, build: Build = EmotionRecognizer) -> None:
        self._default, self._asr, self._build = model or None, asr or None, build
        self._models: dict[str | None, Model] = {}
        self._transcribers: dict[str | None, Transcriber] = {}
        self._made = lru_cache(maxsize=16)(self._make)

    def recognizer(self, ask: Ask) -> EmotionRecognizer:
        """Return the recogniser that a client asks for."""
        return self._made(ask)

    def transcriber(self, language: str | None) -> Transcriber:
        """Return the recogniser of words."""
        from emovox.text.whisper import WhisperTranscriber

        if language not in self._transcribers:
            self._transcribers[language] = WhisperTranscriber(self._asr, language)
        return self._transcribers[language]

    def require_words(self, language: str | None) -> None:
        """Make sure that words can be recognised, before anybody waits for them.

        Raises
        ------
        Problem
            They cannot.
        """
        try:
            transcriber = self.transcriber(language)
            transcriber.transcribe(Waveform(np.zeros(1600, dtype=np.float32)))
        except MissingExtraError as error:
            raise Problem("words_unavailable", "this server recognises no words: it lacks the [text] extra") from error
        except EmovoxError as error:
            raise Problem("words_unavailable", "this server recognises no words, or not in that language") from error

    def warm(self) -> None:
        """Read the model and every network once, so that the first client does not wait for them."""
        recognizer = self.recognizer(Ask(gate=True))
        noise = np.random.default_rng(0).normal(0, 0.05, 16000).astype(np.float32)
        recognizer.assess(Waveform(noise), "warm-up")
        recognizer.timeline(noise, rate=16000)

    def _make(self, ask: Ask) -> EmotionRecognizer:
        return self._build(
            self._model(ask.model),
            speaker=ask.speaker,
            setting=ask.setting,
            threshold=ask.threshold,
            gate=None if ask.gate else GateOptions(threshold=0),
            transcriber=self.transcriber(ask.language) if ask.text else None,
        )

    def _model(self, name: str | None) -> Model | None:
        if self._build is not EmotionRecognizer:
            return None
        if name not in self._models:
            self._models[name] = load(name or self._default)
        return self._models[name]


class Task(Protocol):
    """Something that a worker process does."""

    def run(self, bench: Bench, tell: Tell) -> Any:
        """Do it, and return what travels back."""
        ...


@dataclass(frozen=True)
class Recognise:
    """Judge one recording.

    Attributes
    ----------
    upload : Upload
        The recording.
    ask : Ask
        Who judges.
    cut : TimelineOptions or None
        How its timeline is cut; None for one answer.
    channels : str
        ``mix``, ``each`` or the number of one.
    longest : float
        Seconds of sound that are taken at most.
    """

    upload: Upload
    ask: Ask = field(default_factory=Ask)
    cut: TimelineOptions | None = None
    channels: str = "mix"
    longest: float = float("inf")

    def run(self, bench: Bench, tell: Tell) -> Timeline:
        """Return what is found: the same predictions, in the same order, as of ``emovox predict``."""
        if self.ask.text:
            bench.require_words(self.ask.language)
        recognizer = bench.recognizer(self.ask)
        found = [self._judged(recognizer, number, count, tell) for number, count in self._channels()]
        return Timeline(
            self.upload.name,
            max(one.duration for one in found),
            tuple(each for one in found for each in one.predictions),
        )

    def _channels(self) -> list[tuple[int | None, int]]:
        """Give the channels that are judged, None for all mixed, with how many they are."""
        if self.channels == "mix":
            return [(None, 1)]
        if self.channels != "each":
            return [(int(self.channels), 1)]
        with self.upload.opened() as sound:
            count = audio.channels(sound)
        return [(None, 1)] if count == 1 else [(number, count) for number in range(1, count + 1)]

    def _judged(self, recognizer: EmotionRecognizer, number: int | None, count: int, tell: Tell) -> Timeline:
        before = 0.0 if number is None or count == 1 else number - 1.0
        known = _length(self.upload)
        if known is not None:
            require_length(known, self.longest)

        def heard(seconds: float) -> None:
            require_length(seconds, self.longest)
            tell(seconds if count == 1 else ((known or seconds) * before + seconds) / count)

        def certain(event: StreamEvent) -> None:
            if event.kind == "result" and event.prediction is not None:
                tell(replace(event.prediction, channel=number))

        with self.upload.opened() as sound:
            part = sound if number is None else audio.Channel(sound, number)  # type: ignore[arg-type]
            if self.cut is None:
                one = recognizer.predict(part, name=self.upload.name, progress=heard)
                return Timeline(one.file, one.end, (one,))
            found = recognizer.timeline(part, self.cut, name=self.upload.name, progress=heard, tell=certain)
        if not found.predictions:
            raise NoSpeechError(f"{found.file} holds no speech that can be judged in {found.duration:.1f} s")
        return found


def _length(upload: Upload) -> float | None:
    """Tell how long a recording claims to be."""
    try:
        with upload.opened() as sound:
            return audio.duration(sound)
    except EmovoxError:  # reported when it is read
        return None


def require_length(seconds: float, longest: float) -> None:
    """Refuse a recording that is longer than a client may send."""
    if seconds > longest:
        raise Problem(
            "audio_too_long",
            f"the recording lasts {seconds:.0f} s or more, and {longest:g} s are taken: send a job, or parts",
        )


@dataclass(frozen=True)
class Judge:
    """Judge one window of a live stream.

    Attributes
    ----------
    window : Waveform
        The window.
    name : str
        What the stream is called.
    ask : Ask
        Who judges.
    running : bool
        Whether this is an estimate while somebody speaks.
    memory : Memory or None
        What the stream has told of its setting, where it is its own, or of the speaker: any process may judge the next
        window.
    who : str or None
        Which speaker of the stream speaks, where they are told apart.
    """

    window: Waveform
    name: str
    ask: Ask
    running: bool = False
    memory: Memory | None = None
    who: str | None = None

    def run(self, bench: Bench, tell: Tell) -> Judged:
        """Return the judgement, and what is remembered for the next one."""
        judge = judge_of(bench.recognizer(self.ask).for_stream(speakers=self.who is not None), self.who)
        learner = judge.judge if isinstance(judge, Named) else judge
        if isinstance(learner, StreamJudge) and self.memory is not None:
            learner.memory = self.memory
        found = judge.assess(self.window, self.name, running=self.running)
        return Judged(found, judge.threshold, learner.memory if isinstance(learner, StreamJudge) else None)


@dataclass(frozen=True)
class Judged:
    """What became of a window.

    Attributes
    ----------
    prediction : Prediction or None
        None where there is nothing to judge.
    threshold : float
        Confidence that the answer needed.
    memory : Memory or None
        For the next window.
    """

    prediction: Prediction | None
    threshold: float
    memory: Memory | None = None


@dataclass(frozen=True, eq=False)
class Voices:
    """Cut an utterance of a live stream where the speaker changes, and encode the voices.

    Attributes
    ----------
    samples : ndarray of float32, shape (n_samples,)
        What is around the utterances, at 16 kHz.
    offset : int
        Samples of the stream before them.
    utterances : sequence of pair of int
        Where the utterances begin and end in the stream, in samples.
    """

    samples: Float32Array
    offset: int
    utterances: Sequence[tuple[int, int]]

    def run(self, bench: Bench, tell: Tell) -> list[Piece]:
        """Return the pieces, see :func:`emovox.speech.speakers.turns.pieces`."""
        from emovox.speech.speakers.turns import pieces

        return pieces(self.samples, self.offset, self.utterances)


@dataclass(frozen=True)
class Learn:
    """Learn what a voice or a setting is ordinarily like.

    Attributes
    ----------
    kind : {"speaker", "setting"}
        What the recordings are of.
    name : str
        What to call it.
    uploads : tuple of Upload
        Recordings of it.
    setting : str or None
        The setting that a speaker belongs to.
    longest : float
        Seconds of sound of one that are taken at most.
    voice : bool
        Whether to take a voice print of a speaker.
    """

    kind: Subject
    name: str
    uploads: tuple[Upload, ...]
    setting: str | None = None
    longest: float = float("inf")
    voice: bool = True

    def run(self, bench: Bench, tell: Tell) -> tuple[Profile, list[str]]:
        """Return the profile, and what is wrong with recordings of a setting that were left out."""
        for upload in self.uploads:
            require_length(_length(upload) or 0.0, self.longest)
        recognizer, left_out = bench.recognizer(Ask()), list[str]()

        def heard(_: int, seconds: float) -> None:
            tell(seconds)

        with ExitStack() as stack:
            sounds = [stack.enter_context(upload.opened()) for upload in self.uploads]
            if self.kind == "speaker":
                learnt = recognizer.enroll(self.name, sounds, self.setting, voice=self.voice, jobs=1, progress=heard)
                return learnt, left_out
            found = recognizer.adapt(
                self.name, sounds, jobs=1, progress=heard, left_out=lambda error: left_out.append(str(error))
            )
            return found, left_out


@dataclass(frozen=True)
class Prepare:
    """Get ready to judge as a client asks, so that what is impossible is told at once.

    Attributes
    ----------
    ask : Ask
        Who is to judge.
    """

    ask: Ask

    def run(self, bench: Bench, tell: Tell) -> float:
        """Return the threshold of the answers."""
        return bench.recognizer(self.ask).threshold
