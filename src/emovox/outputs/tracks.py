"""Predictions as tracks beside the sound, for other programs: WebVTT, SubRip, Praat TextGrid, RTTM, Audacity labels.

An abstention stays visible in each of them: ``don't know (sad)`` where there is room for words, ``unknown`` in RTTM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from emovox.errors import InputError
from emovox.outputs.text import shown
from emovox.types import Prediction

#: What an abstention is called where a label must be one word.
UNKNOWN = "unknown"

#: Overlap, in seconds, that is taken for rounding: half a sample at 16 kHz.
_ROUNDING = 0.5 / 16000

#: A moment that somebody marked: seconds from the beginning, and what to call it.
Mark = tuple[float, str]


def describe(prediction: Prediction) -> str:
    """Say in a few words what a prediction says.

    Examples
    --------
    >>> describe(Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo"))
    'sad 75%'
    """
    label = f"don't know ({prediction.label})" if prediction.abstained else prediction.label
    return f"{label} {prediction.confidence:.0%}"


def to_vtt(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Write WebVTT subtitles of one recording, one cue a prediction.

    Parameters
    ----------
    predictions : iterable of Prediction
        In the order of time.  A speaker becomes the cue's voice, what was said its second line.

    Yields
    ------
    str
        Pieces of the file, as predictions come.

    Raises
    ------
    InputError
        The predictions are of more than one recording.

    Source
    ------
    W3C, WebVTT: The Web Video Text Tracks Format, https://www.w3.org/TR/webvtt1/.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> print("".join(to_vtt([example])))
    WEBVTT
    <BLANKLINE>
    00:00:00.000 --> 00:00:01.500
    sad 75%
    <BLANKLINE>
    """
    yield "WEBVTT\n"
    for one in _of_one_recording(predictions, "WebVTT"):
        text = _vtt_text(describe(one))
        if one.speaker:
            text = f"<v {_vtt_text(one.speaker)}>{text}"
        said = f"{_vtt_text(one.transcript)}\n" if one.transcript and one.transcript.strip() else ""
        yield f"\n{_cue(one)}\n{text}\n{said}"


def to_srt(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Write SubRip subtitles of one recording, as players of films take them, one a prediction.

    Parameters
    ----------
    predictions : iterable of Prediction
        In the order of time.  What was said becomes the second line.

    Yields
    ------
    str
        Pieces of the file, as predictions come.

    Raises
    ------
    InputError
        The predictions are of more than one recording.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> from dataclasses import replace
    >>> print("".join(to_srt([replace(example, transcript="Oh no.")])), end="")
    1
    00:00:00,000 --> 00:00:01,500
    sad 75%
    Oh no.
    <BLANKLINE>
    """
    for number, one in enumerate(_of_one_recording(predictions, "SRT"), 1):
        said = f"{_one_line(one.transcript)}\n" if one.transcript and one.transcript.strip() else ""
        speaker = f"{_one_line(one.speaker)}: " if one.speaker else ""
        yield f"{number}\n{_cue(one).replace('.', ',')}\n{speaker}{_one_line(describe(one))}\n{said}\n"


def to_textgrid(
    predictions: Iterable[Prediction], duration: float | None = None, marks: Sequence[Mark] = ()
) -> Iterator[str]:
    """Write a Praat TextGrid of one recording: a tier of emotions and one of confidences, and one of marks.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of stretches that do not overlap; what lies between them becomes empty intervals.  Each channel, and each
        speaker where there are several, has tiers of its own.
    duration : float, optional
        Length of the recording in seconds; the default is the end of its last prediction.
    marks : sequence of (float, str), optional
        Moments in seconds with their names.

    Yields
    ------
    str
        Pieces of the file, in Praat's long text format; only when all predictions are there.

    Raises
    ------
    InputError
        The predictions are of more than one recording, overlap, or there is nothing that has a length.

    Source
    ------
    Praat manual, TextGrid file formats, https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.5, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> grid = "".join(to_textgrid([example], duration=2.0))
    >>> grid.count("intervals ["), grid.count('text = "sad"')
    (6, 1)
    """
    found = sorted(_of_one_recording(predictions, "a TextGrid"), key=lambda one: one.start)
    length = max([duration or 0.0, *(one.end for one in found), *(time for time, _ in marks)])
    if length <= 0:
        raise InputError("a TextGrid cannot be empty, and nothing was recognised: name another format")
    tiers = []
    several = len({one.speaker for one in found}) > 1
    for channel, who in sorted({_tier(one, several) for one in found}) or [(0, "")]:
        stretches = _without_gaps([one for one in found if _tier(one, several) == (channel, who)], length)
        about = [f"channel {channel}"] * bool(channel) + [shown(who)] * bool(who)
        of = f" ({', '.join(about)})" if about else ""
        tiers += [
            (f"emotion{of}", [(start, end, _emotion(one)) for start, end, one in stretches]),
            (
                f"confidence{of}",
                [(start, end, f"{one.confidence:.4f}" if one else "") for start, end, one in stretches],
            ),
        ]
    yield 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    yield f"xmin = 0\nxmax = {length:.9g}\ntiers? <exists>\nsize = {len(tiers) + bool(marks)}\nitem []:\n"
    for number, (name, intervals) in enumerate(tiers, 1):
        yield _tier_head(number, "IntervalTier", name, length) + f"        intervals: size = {len(intervals)}\n"
        for index, (start, end, text) in enumerate(intervals, 1):
            yield f"        intervals [{index}]:\n            xmin = {start:.9g}\n            xmax = {end:.9g}\n"
            yield f"            text = {_quoted(text)}\n"
    if marks:
        yield _tier_head(len(tiers) + 1, "TextTier", "marks", length) + f"        points: size = {len(marks)}\n"
        for index, (time, text) in enumerate(sorted(marks), 1):
            yield f"        points [{index}]:\n            number = {time:.9g}\n            mark = {_quoted(text)}\n"


def to_rttm(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Write RTTM, one ``SPEAKER`` line a prediction.

    Where the speaker is known, the line is that of a diarization, with the emotion in the field of the orthography;
    elsewhere the emotion stands where diarization has the speaker.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of any number of recordings.  A recording is called what its file is, without folder and ending; blanks become
        ``_``, and of two with the same name the second gets a number.

    Yields
    ------
    str
        One line: recording, channel, start and duration in seconds, the emotion (``unknown`` for an abstention) beside
        a speaker, the speaker or the emotion, and the confidence of the emotion.

    Source
    ------
    NIST, The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan, appendix A.

    Examples
    --------
    >>> example = Prediction("my call.wav", 0.5, 2.0, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> print("".join(to_rttm([example])), end="")
    SPEAKER my_call 1 0.500 1.500 <NA> <NA> sad 0.7500 <NA>
    """
    names = Names()
    for one in predictions:
        label = UNKNOWN if one.abstained else _one_word(one.label)
        start, end = round(one.start, 3), round(one.end, 3)
        said, who = ("<NA>", label) if one.speaker is None else (label, _one_word(one.speaker))
        yield (
            f"SPEAKER {_one_word(names(one.file))} {one.channel or 1} {start:.3f} {end - start:.3f} {said} <NA> "
            f"{who} {one.confidence:.4f} <NA>\n"
        )


def to_audacity(predictions: Iterable[Prediction], marks: Sequence[Mark] = ()) -> Iterator[str]:
    r"""Write an Audacity label track of one recording: start, end and label, and marks as point labels.

    Parameters
    ----------
    predictions : iterable of Prediction
        In any order.
    marks : sequence of (float, str), optional
        Moments in seconds with their names.

    Yields
    ------
    str
        One line, separated by tabs.

    Raises
    ------
    InputError
        The predictions are of more than one recording.

    Source
    ------
    Audacity manual, Importing and Exporting Labels.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> list(to_audacity([example], marks=[(1.0, "here")]))
    ['0.000000\t1.500000\tsad 75%\n', '1.000000\t1.000000\there\n']
    """
    for one in _of_one_recording(predictions, "an Audacity label track"):
        yield f"{one.start:.6f}\t{one.end:.6f}\t{_one_line(describe(one))}\n"
    for time, text in marks:
        yield f"{time:.6f}\t{time:.6f}\t{_one_line(text)}\n"


class Names:
    """Names of recordings without folder and ending, each given once.

    Examples
    --------
    >>> names = Names()
    >>> names("a/call.wav"), names("b/call.wav"), names("a/call.wav")
    ('call', 'call-2', 'call')
    """

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._taken: set[str] = set()

    def __call__(self, file: str) -> str:
        """Return the name of a recording, the same for the same one."""
        if file not in self._of:
            stem = PurePath(file).stem.strip("<>") or "recording"
            name, number = stem, 2
            while name.casefold() in self._taken:  # "A.wav" and "a.wav" are one file to some systems
                name, number = f"{stem}-{number}", number + 1
            self._taken.add(name.casefold())
            self._of[file] = name
        return self._of[file]


def _of_one_recording(predictions: Iterable[Prediction], what: str) -> Iterator[Prediction]:
    file: str | None = None
    for one in predictions:
        file = one.file if file is None else file
        if one.file != file:
            raise InputError(
                f"{what} holds one recording, and these are {file} and {one.file}: write one file a recording "
                "(--out FOLDER/), or name another format"
            )
        yield one


def _tier(one: Prediction, several: bool) -> tuple[int, str]:
    """Say which tiers a prediction stands in: those of its channel and, of several, its speaker."""
    return one.channel or 0, (one.speaker or "") if several else ""


def _without_gaps(predictions: Sequence[Prediction], length: float) -> list[tuple[float, float, Prediction | None]]:
    """Cover a recording with intervals: the predictions', and None between them."""
    stretches: list[tuple[float, float, Prediction | None]] = []
    position = 0.0
    for one in predictions:
        if one.start < position - _ROUNDING:
            raise InputError(
                f"{one.file} has predictions that overlap at {one.start:g} s, which a TextGrid cannot hold: "
                "name another format"
            )
        start = one.start if one.start > position + _ROUNDING else position
        if start > position:
            stretches.append((position, start, None))
        if one.end > start:
            stretches.append((start, one.end, one))
        position = max(position, one.end)
    if length > position + _ROUNDING:
        stretches.append((position, length, None))
    elif stretches:
        start, _, last = stretches[-1]
        stretches[-1] = (start, length, last)
    return stretches


def _emotion(prediction: Prediction | None) -> str:
    if prediction is None:
        return ""
    return f"don't know ({prediction.label})" if prediction.abstained else prediction.label


def _tier_head(number: int, kind: str, name: str, length: float) -> str:
    return (
        f'    item [{number}]:\n        class = "{kind}"\n        name = {_quoted(name)}\n'
        f"        xmin = 0\n        xmax = {length:.9g}\n"
    )


def _cue(one: Prediction) -> str:
    """Write from when to when a cue is shown; it may not be empty."""
    start = round(1000 * one.start)
    return f"{_vtt_time(start)} --> {_vtt_time(max(start + 1, round(1000 * one.end)))}"


def _vtt_time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


def _vtt_text(text: str) -> str:
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    doubled = _one_line(text).replace('"', '""')
    return f'"{doubled}"'


def _one_line(text: str) -> str:
    """Make one line of any text: a tab, a line break or a control character becomes a blank."""
    return shown(re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip())


def _one_word(text: str) -> str:
    return shown(re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", "_", text.strip())) or UNKNOWN
