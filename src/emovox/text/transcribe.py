"""Speech recognition: transcribers by name, and Whisper.

A recogniser is anything with the two members of :class:`Transcriber`.  It gets pieces of speech of half a minute at
most, so that memory does not grow with the recording, and knows nothing of files, pauses or caches.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from emovox import storage
from emovox.errors import EmovoxError, InputError, MissingExtraError, ModelError, TranscriptError
from emovox.speech.vad import FRAME, SpeechEvent, SpeechProbability, VadOptions, VoiceActivity, is_speech
from emovox.storage import cache_folder, replacing
from emovox.types import RATE, Float32Array, Transcript, Waveform, Word

#: Environment variable that names the default model.
VARIABLE = "EMOVOX_ASR"
#: The model used where none is named.
DEFAULT = "tiny.en"
#: Files that a model's folder must hold.  Without tokenizer.json faster-whisper would download one.
FILES = ("config.json", "model.bin", "tokenizer.json")
VOCABULARIES = ("vocabulary.txt", "vocabulary.json")

#: Mean probability of the words below which the language is checked.
_UNSURE = 0.5
#: Probability of a language other than the stated one from which the words are refused.
_CERTAIN = 0.7

#: Options of faster-whisper: no random retries, so that the same sound gives the same text.
_OPTIONS = {"beam_size": 5, "temperature": 0.0, "condition_on_previous_text": False, "word_timestamps": True}
#: Speech of at most so many seconds is recognised again, as one utterance, where the mean probability is lower.
_UTTERANCE, _SURE = 8.0, 0.93
#: Compression ratio above which a segment is a repetition loop, not speech: Whisper's own limit.
_LOOP = 2.4


class WhisperTranscriber:
    """Recognises speech with a Whisper model in CTranslate2's format, in 8 bits on the CPU.

    The model is loaded, and downloaded if necessary, with the first speech.

    Parameters
    ----------
    model : str or Path, optional
        A folder; a name such as ``tiny.en``, ``base`` or ``small``; or the id of a CTranslate2 model on the Hugging
        Face hub.  The default is the value of the environment variable ``EMOVOX_ASR``, or ``tiny.en``.
    language : str, optional
        Language that is spoken, as a code of two or three letters (ISO 639).  By default it is detected, which takes a
        multilingual model.
    threads : int, default 2
        Number of CPU threads.

    Raises
    ------
    InputError
        The language is no code, or the number of threads is not positive.
    ModelError
        The model is for English only, and `language` is another.

    Source
    ------
    Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak Supervision, arXiv 2212.04356.

    Examples
    --------
    >>> WhisperTranscriber("tiny.en", language="de")
    Traceback (most recent call last):
    emovox.errors.ModelError: model 'tiny.en' knows English only, not 'de': use a multilingual one such as 'tiny'
    """

    def __init__(self, model: str | Path | None = None, language: str | None = None, threads: int = 2) -> None:
        self.model = str(model) if model is not None else os.environ.get(VARIABLE) or DEFAULT
        self.language = language
        self.threads = threads
        if language is not None and not re.fullmatch(r"[a-z]{2,3}", language):
            raise InputError(f"language is {language!r}: expected a code of two letters, such as en")
        if threads < 1:
            raise InputError(f"threads is {threads}: expected 1 or more")
        if self.model.endswith(".en"):
            self._require_language(["en"])

    @cached_property
    def folder(self) -> Path:
        """Folder of the model; downloaded from the hub if necessary.

        Raises
        ------
        ModelError
            There is no such folder or name, it lacks a file, or the hub cannot be reached.
        MissingExtraError
            The model would have to be downloaded, and faster-whisper is not installed.
        """
        return _whole(storage.locate(self.model, KIND))

    @cached_property
    def name(self) -> str:
        """Digest of the weights, language and version of the decoding: all that a transcript depends on."""
        digests = [storage.file_digest(path) for path in sorted(self.folder.iterdir()) if path.is_file()]
        weights = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
        return f"whisper {weights} {self.language or 'any'} int8 beam5 v4"

    def transcribe(self, waveform: Waveform) -> Transcript:
        """Recognise a stretch of speech, see :class:`emovox.text.transcribe.Transcriber`.

        Raises
        ------
        ModelError
            The model cannot be found or read, or does not know the language.
        MissingExtraError
            faster-whisper is not installed.
        TranscriptError
            Another language than the stated one is spoken.
        """
        model = self._loaded
        words, language = self._recognise(model, waveform.samples)
        if words and _mean(words) < _SURE and waveform.duration <= _UTTERANCE:
            again = self._recognise_again(model, waveform.samples)
            # As one utterance several sentences may become one: no more than a word may be lost.
            words = again if len(again) >= len(words) - 1 else words
        confidence = _mean(words)
        if words and confidence < _UNSURE and self.language and model.model.is_multilingual:
            self._check_spoken(model, waveform)
        text = " ".join(word.text for word in words)
        return Transcript(text, words, self.language or language, confidence)

    def _recognise(self, model: Any, samples: Float32Array) -> tuple[tuple[Word, ...], str]:
        """Return words and language."""
        segments, information = model.transcribe(samples, language=self.language, **_OPTIONS)
        return _words(segments), information.language

    def _recognise_again(self, model: Any, samples: Float32Array) -> tuple[Word, ...]:
        """Recognise once more without Whisper's timestamp tokens, which compete with words."""
        segments, _ = model.transcribe(samples, language=self.language, without_timestamps=True, **_OPTIONS)
        # Without timestamps a pass takes the whole window, and a second one would recognise its end twice.
        return _words(_first_window(segments))

    @cached_property
    def _loaded(self) -> Any:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MissingExtraError("recognising speech", "text") from error
        try:
            model = WhisperModel(str(self.folder), device="cpu", compute_type="int8", cpu_threads=self.threads)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"cannot read the Whisper model in {self.folder} ({error}): get it again") from error
        self._require_language(model.supported_languages)
        return model

    def _require_language(self, known: list[str]) -> None:
        if self.language is None or self.language in known:
            return
        if known == ["en"]:
            raise ModelError(
                f"model {self.model!r} knows English only, not {self.language!r}: use a multilingual one such as 'tiny'"
            )
        raise ModelError(
            f"model {self.model!r} does not know the language {self.language!r}: use one of {', '.join(known)}"
        )

    def _check_spoken(self, model: Any, waveform: Waveform) -> None:
        spoken, probability, _ = model.detect_language(waveform.samples)
        if spoken != self.language and probability >= _CERTAIN:
            raise TranscriptError(
                f"language {self.language!r} was stated, but {waveform.start:.1f} to {waveform.end:.1f} s sound like "
                f"{spoken!r} ({probability:.0%}): state that, or no language at all"
            )


def _words(segments: Iterable[Any]) -> tuple[Word, ...]:
    """Take the words from segments of faster-whisper, without repetition loops and lone punctuation."""
    return tuple(
        Word(word.word.strip(), float(word.start), float(word.end), float(word.probability))
        for segment in segments
        if segment.compression_ratio <= _LOOP
        for word in segment.words or ()
        if any(map(str.isalnum, word.word))
    )


def _mean(words: Sequence[Word]) -> float:
    """Mean confidence, 0 without words."""
    return sum(word.confidence for word in words) / max(1, len(words))


def _first_window(segments: Iterable[Any]) -> Iterator[Any]:
    """Yield the segments of the first pass: the speech is no longer than a window."""
    first = None
    for segment in segments:
        first = segment.seek if first is None else first
        if segment.seek != first:
            return
        yield segment


def _whole(folder: Path) -> Path:
    """Check that a model's folder is complete."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in VOCABULARIES):
        missing.append(VOCABULARIES[0])
    if missing:
        hint = ""
        if (folder / "model.safetensors").is_file():
            hint = " (it holds a model for transformers: ct2-transformers-converter makes one for CTranslate2 of it)"
        raise ModelError(f"the Whisper model in {folder} lacks {', '.join(missing)}{hint}: get the whole folder again")
    return folder


def _repository(name: str) -> str | None:
    """Return the name by which faster-whisper downloads a model: the id of a repository, or a short name."""
    try:
        from faster_whisper import available_models
    except ImportError as error:
        raise MissingExtraError(f"using the Whisper model {name!r}", "text") from error
    if storage.is_repository(name) or name in available_models():
        return name
    raise ModelError(
        f"no Whisper model {name!r}: give a folder, an id on the Hugging Face hub, or one of "
        f"{', '.join(available_models())}"
    )


def _download(name: str) -> str:
    """Take a model from the cache of the hub's client, or download it."""
    from faster_whisper import download_model

    try:
        return str(download_model(name, local_files_only=True))
    except Exception:  # not there yet, which the hub's client reports by several exceptions
        return str(download_model(name))


#: How a Whisper model is found by its name.
KIND = storage.CheckpointKind(
    "a Whisper model in CTranslate2's format",
    ", ".join(FILES),
    "Systran/faster-whisper-tiny.en",
    repository=_repository,
    download=_download,
)


#: How far voice activity looks back: an event is told at most so many seconds after it happened.
_LATE = 2.0
#: Speech without a pause is cut at the quietest moment of so many last seconds.
_SEARCH = 4.0


@runtime_checkable
class Transcriber(Protocol):
    """A speech recogniser: a local model, or a client of a hosted one.

    Attributes
    ----------
    name : str
        Which recogniser this is, with everything that its answer depends on (model, version, language, options):
        transcripts are cached under it.

    Examples
    --------
    >>> from emovox.types import Word
    >>> class Echo:
    ...     name = "echo-1"
    ...     def transcribe(self, waveform):
    ...         return Transcript("hello", (Word("hello", 0.0, waveform.duration, 0.9),), "en", 0.9)
    >>> isinstance(Echo(), Transcriber)
    True
    """

    @property
    def name(self) -> str:
        """Identity of the recogniser: model, version, language and options."""
        ...

    def transcribe(self, waveform: Waveform) -> Transcript:
        """Recognise one piece of speech.

        Parameters
        ----------
        waveform : Waveform
            0.1 to 30 s of mono speech at 16 kHz.

        Returns
        -------
        Transcript
            Times count in seconds from the beginning of the *piece*; no text where nothing was understood.

        Raises
        ------
        Exception
            Whatever goes wrong: this piece has no words then, and the rest goes on.
        """
        ...


def _willing() -> VadOptions:
    return VadOptions(on=0.3, off=0.2, min_speech=0.1, min_silence=0.5, padding=0.2)


@dataclass(frozen=True)
class TranscriptionOptions:
    """How the recording is segmented into pieces.

    Attributes
    ----------
    longest : float, default 28
        Longest piece in seconds, pauses within it included; at most 30, which is what Whisper takes.
    pause : float, default 2
        A pause of so many seconds begins a new piece: recognisers invent words in long silence.
    margin : float, default 0.3
        Seconds of the recording that are kept before and after the speech of a piece.
    vad : VadOptions
        Where speech is; more willing than by default, because a word that is cut off is a wrong word.

    Raises
    ------
    InputError
        A value is out of its range.
    """

    longest: float = 28.0
    pause: float = 2.0
    margin: float = 0.3
    vad: VadOptions = field(default_factory=_willing)

    def __post_init__(self) -> None:
        if not 1 <= self.longest <= 30:
            raise InputError(f"longest is {self.longest}: expected seconds from 1 to 30")
        for name in ("pause", "margin"):
            if not 0 <= getattr(self, name) <= 10:
                raise InputError(f"{name} is {getattr(self, name)}: expected seconds from 0 to 10")


class Listener:
    """Transcribes one recording while its samples come, in memory that does not grow with its length.

    Parameters
    ----------
    transcriber : Transcriber or None
        The recogniser; without one only the amount of speech is measured.
    options : TranscriptionOptions, optional
        How the recording is segmented into pieces.

    Attributes
    ----------
    problems : list of str
        Errors so far, one line each; the pieces concerned have no words.

    Examples
    --------
    >>> from emovox import audio
    >>> listener = Listener(None)
    >>> for block in audio.blocks("examples/plain.wav"):
    ...     listener.push(block)
    >>> listener.finish().speech > 2
    True
    """

    def __init__(self, transcriber: Transcriber | None, options: TranscriptionOptions | None = None) -> None:
        self.options = options or TranscriptionOptions()
        self.problems: list[str] = []
        self._transcriber = transcriber
        self._activity = VoiceActivity(self.options.vad)
        self._own: SpeechProbability | None = None  # where nobody else runs the network
        self._frames: Float32Array = np.empty(0, dtype=np.float32)  # probabilities that are not used yet
        self._speech_held: list[Float32Array] = []  # those of the samples held, as long as that is all
        self._held: Float32Array = np.empty(0, dtype=np.float32)  # the samples from _first on
        self._rest: Float32Array = np.empty(0, dtype=np.float32)  # the samples of a second that is not full
        self._first = 0
        self._heard = 0
        self._given = 0
        self._origin = 0.0
        self._piece: tuple[float, float] | None = None  # speech that waits to be transcribed, in seconds
        self._onset: float | None = None  # speech that goes on
        self._speech = 0.0
        self._parts: list[Transcript] = []
        self._lengths: list[float] = []
        self._failed = 0

    def push(self, block: Waveform) -> None:
        """Add the next samples, any number of them; the result does not depend on the size of the blocks."""
        if self._own is None:
            self._own, self._origin = SpeechProbability(), block.start
        self.hear(block.samples, self._own.push(block.samples))

    def hear(self, samples: Float32Array, speech: Float32Array) -> None:
        """Add the next samples of a stream that somebody else has heard, instead of :meth:`push`.

        Parameters
        ----------
        samples : ndarray of float32, shape (n_samples,)
            Any number of them.
        speech : ndarray of float32, shape (n_frames,)
            Probabilities of the frames that they complete, as those of
            :class:`emovox.speech.vad.SpeechProbability`;
            at the end of the stream that of the frame that is not full, with no samples.
        """
        self._frames = np.concatenate([self._frames, speech])
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // RATE * RATE
        for begin in range(0, whole, RATE):
            self._second(samples[begin : begin + RATE])
        self._rest = samples[whole:]

    def finish(self) -> Transcript:
        """Transcribe what is left and return the transcript of the whole recording.

        Returns
        -------
        Transcript
            Its `speech` is the duration of speech in seconds; its text is empty if nobody spoke.

        Raises
        ------
        TranscriptError
            Not one piece could be transcribed: the message is that of the first problem.
        """
        if self._own:
            self._frames = np.concatenate([self._frames, self._own.finish()])
        if len(self._rest):
            self._second(self._rest)
        self._speech_held.append(self._frames)
        self._events(self._activity.finish(self._frames))
        if not self._speech and len(self._held) == self._heard and self._is_speech():
            # A short scream or whisper, which voice activity does not take for speech.
            self._add(0.0, self._heard / RATE)
        self._flush()
        if self._failed and not self._parts:
            raise TranscriptError(self.problems[0])
        return replace(joined(self._parts, self._lengths), speech=self._speech)

    def _is_speech(self) -> bool:
        return is_speech(Waveform(self._held, speech=np.concatenate(self._speech_held)))

    def _second(self, samples: Float32Array) -> None:
        self._held = np.concatenate([self._held, samples])
        complete = (self._heard + len(samples)) // FRAME - self._heard // FRAME
        speech, self._frames = self._frames[:complete], self._frames[complete:]
        self._heard += len(samples)
        self._speech_held.append(speech)
        self._events(self._activity.push(samples, speech))
        now = self._heard / RATE
        if self._onset is not None:
            begin = self._piece[0] if self._piece else self._onset
            if now - begin >= self.options.longest:
                self._cut(now)
        elif self._piece and now - self._piece[1] >= self.options.pause + self.options.vad.min_silence:
            self._flush()
        self._forget()

    def _events(self, events: Iterable[SpeechEvent]) -> None:
        for event in events:
            if event.kind == "start":
                self._onset = event.time
            elif self._onset is not None:
                self._add(self._onset, max(event.time, self._onset))
                self._onset = None

    def _add(self, start: float, end: float) -> None:
        """Put a segment into the piece that waits, or begin another one."""
        padding = self.options.vad.padding
        self._speech += max(0.0, end - start - (padding if start > 0 else 0.0) - padding)
        if self._piece and (start - self._piece[1] > self.options.pause or end - self._piece[0] > self.options.longest):
            self._flush()
        self._piece = (self._piece[0] if self._piece else start, end)

    def _cut(self, now: float) -> None:
        """Give out what there is of a piece that gets too long, up to its last pause or else to a quiet moment."""
        if self._piece is None and self._onset is not None:
            moment = now - self._since_quietest()
            self._add(self._onset, moment)
            self._onset = moment
            self._flush(margin=0.0)
        else:
            self._flush()

    def _since_quietest(self) -> float:
        """How long ago the quietest 0.1 s of the last seconds were."""
        width = RATE // 10
        recent = self._held[-round(min(_SEARCH, self.options.longest / 2) * RATE) :]
        frames = recent[len(recent) % width :].reshape(-1, width)
        return (len(frames) - int(np.square(frames).sum(axis=1).argmin()) - 0.5) * width / RATE

    def _flush(self, margin: float | None = None) -> None:
        """Transcribe the piece that waits."""
        after = self.options.margin if margin is None else margin
        if self._piece is None:
            return
        (start, end), self._piece = self._piece, None
        if self._transcriber is None:
            return
        first = max(self._first, self._given, round((start - self.options.margin) * RATE))
        last = min(self._heard, round((end + after) * RATE))
        self._given = last  # no sample is in two pieces, or its word might be heard twice
        piece = Waveform(self._held[first - self._first : last - self._first].copy(), self._origin + first / RATE)
        try:
            found = recognise(self._transcriber, piece)
        except EmovoxError as error:
            self._failed += 1
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return
        if found.text:
            self._parts.append(found)
            self._lengths.append(piece.duration)

    def _forget(self) -> None:
        """Drop the samples that no piece can need any more; of a short recording without speech so far, none."""
        if not (self._speech or self._piece) and self._heard <= self.options.longest * RATE:
            return
        needed = min(
            self._piece[0] if self._piece else np.inf,
            self._onset if self._onset is not None else np.inf,
            self._heard / RATE - _LATE,
        )
        first = max(self._first, round((needed - self.options.margin) * RATE))
        self._held = self._held[first - self._first :]
        self._first = first
        if first:
            self._speech_held.clear()


def transcribe(
    recording: Waveform | Iterable[Waveform],
    transcriber: Transcriber,
    options: TranscriptionOptions | None = None,
    progress: Callable[[float], None] | None = None,
) -> Transcript:
    """Transcribe a recording of any length, piece by piece.

    Parameters
    ----------
    recording : Waveform or iterable of Waveform
        The whole recording, or its consecutive blocks (:func:`emovox.audio.blocks`).
    transcriber : Transcriber
        The recogniser.
    options : TranscriptionOptions, optional
        How the recording is segmented into pieces.
    progress : callable, optional
        Progress callback: called with the seconds transcribed so far.

    Returns
    -------
    Transcript
        Times count from the beginning of the recording.

    Raises
    ------
    TranscriptError
        Not one piece could be transcribed.

    Examples
    --------
    >>> from emovox.types import Word
    >>> class Echo:
    ...     name = "echo-1"
    ...     def transcribe(self, waveform):
    ...         return Transcript("hello", (Word("hello", 0.5, 0.9, 0.8),), "en", 0.8)
    >>> from emovox import audio
    >>> transcribe(audio.blocks("examples/plain.wav"), Echo()).text
    'hello'
    """
    listener = Listener(transcriber, options)
    for block in [recording] if isinstance(recording, Waveform) else recording:
        listener.push(block)
        if progress:
            progress(block.end)
    return listener.finish()


def recognise(transcriber: Transcriber, piece: Waveform) -> Transcript:
    """Transcribe one piece; word times are shifted to count from the beginning of the recording.

    Raises
    ------
    EmovoxError
        The recogniser's own, or a TranscriptError for whatever else it raises.
    """
    try:
        found = transcriber.transcribe(piece)
    except EmovoxError:
        raise
    except Exception as error:  # a recogniser from elsewhere may raise anything
        reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
        raise TranscriptError(
            f"{transcriber.name} could not transcribe {piece.start:.1f} to {piece.end:.1f} s ({reason})"
        ) from error
    words = (replace(word, start=word.start + piece.start, end=word.end + piece.start) for word in found.words)
    return replace(found, text=found.text.strip(), words=tuple(words))


def joined(parts: Iterable[Transcript], lengths: Iterable[float]) -> Transcript:
    """Concatenate the transcripts of consecutive pieces.

    Parameters
    ----------
    parts : iterable of Transcript
        In temporal order.
    lengths : iterable of float
        Duration of each piece in seconds; the language spoken longest becomes that of the result.

    Examples
    --------
    >>> joined([Transcript("One."), Transcript("Two.")], [1.0, 1.0]).text
    'One. Two.'
    """
    found = list(parts)
    if not found:
        return Transcript("", confidence=0.0, language=None)
    seconds: dict[str | None, float] = {}
    for part, length in zip(found, lengths, strict=True):
        seconds[part.language] = seconds.get(part.language, 0.0) + length
    counts = [max(1, len(part.text.split())) for part in found]
    return Transcript(
        text=" ".join(part.text for part in found),
        words=tuple(word for part in found for word in part.words),
        language=max(seconds, key=lambda language: seconds[language]),
        confidence=float(np.average([part.confidence for part in found], weights=counts)),
    )


class CachedTranscriber:
    """A speech recogniser with a cache of transcripts on disk.

    The key is a digest of the samples of a piece and of the recogniser's name.  Each piece is written when it is done:
    a long recording that was interrupted goes on where it stopped.

    Parameters
    ----------
    transcriber : Transcriber
        The recogniser; its model is not loaded for pieces that are in the cache.
    folder : Path, optional
        Folder of the cache; the default is the folder ``transcripts`` in the user's cache (``EMOVOX_CACHE``).

    Examples
    --------
    >>> import numpy as np
    >>> class Counting:
    ...     name, calls = "counting-1", 0
    ...     def transcribe(self, waveform):
    ...         self.calls += 1
    ...         return Transcript("hello")
    >>> counting = Counting()
    >>> remembering = CachedTranscriber(counting)
    >>> silence = Waveform(np.zeros(16000, dtype=np.float32))
    >>> remembering.transcribe(silence) == remembering.transcribe(silence), counting.calls
    (True, 1)
    """

    def __init__(self, transcriber: Transcriber, folder: Path | None = None) -> None:
        self.transcriber = transcriber
        self.folder = folder or cache_folder() / "transcripts"

    @property
    def name(self) -> str:
        """Name of the recogniser."""
        return self.transcriber.name

    def transcribe(self, waveform: Waveform) -> Transcript:
        """Recognise one piece of speech, or return its cached transcript."""
        digest = hashlib.sha256(f"{self.name}\0".encode())
        digest.update(waveform.samples.tobytes())
        path = self.folder / digest.hexdigest()[:2] / f"{digest.hexdigest()}.json"
        found = _load(path)
        if found is None:
            found = self.transcriber.transcribe(waveform)
            with contextlib.suppress(InputError):  # a cache that cannot be written costs time, but no words
                _store(path, found)
        return found


def _load(path: Path) -> Transcript | None:
    """Read an entry, None where there is none or it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Transcript(**{**values, "words": tuple(Word(**word) for word in values["words"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _store(path: Path, transcript: Transcript) -> None:
    """Write an entry of the cache."""
    with replacing(path, unique=True) as part:
        part.write_text(json.dumps(asdict(transcript), ensure_ascii=False), encoding="utf-8")
