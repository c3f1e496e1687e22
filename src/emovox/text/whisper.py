"""Speech recognition by Whisper on the CPU, through faster-whisper."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from emovox import hub
from emovox.errors import InputError, MissingExtraError, ModelError, TranscriptError
from emovox.types import Float32Array, Transcript, Waveform, Word

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
        return _whole(hub.locate(self.model, KIND))

    @cached_property
    def name(self) -> str:
        """Digest of the weights, language and version of the decoding: all that a transcript depends on."""
        digests = [hub.file_digest(path) for path in sorted(self.folder.iterdir()) if path.is_file()]
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
    if hub.is_repository(name) or name in available_models():
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
KIND = hub.CheckpointKind(
    "a Whisper model in CTranslate2's format",
    ", ".join(FILES),
    "Systran/faster-whisper-tiny.en",
    repository=_repository,
    download=_download,
)
