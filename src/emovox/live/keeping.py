"""Files of a session: its timeline and, on request, its sound, safe against crashes.

Events and samples are written as they come, to ``<name>.jsonl.part`` and ``<name>.wav.part``; the final files are made
at the end.  A session that is killed leaves these two: a journal with one JSON object a line, and a valid WAV file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from emovox.errors import InputError
from emovox.live.state import SessionEvent
from emovox.outputs import formats
from emovox.outputs.text import json_line
from emovox.outputs.tracks import Mark, to_audacity
from emovox.types import RATE, Float32Array, Prediction
from emovox.writing import cannot_write, partial, replacing, require_writable


class TimelineKeeper:
    r"""Writes a session's timeline.

    Parameters
    ----------
    path : Path
        File to write at the end; its ending determines the format.
    labels : sequence of str
        The model's labels.

    Raises
    ------
    InputError
        The file or the journal of a killed session exists, the ending is no known format, or the folder is not
        writable.

    Examples
    --------
    >>> keeper = TimelineKeeper(Path("talk.rttm"), ["sad"])
    >>> said = Prediction("talk", 0.0, 1.5, "sad", {"sad": 1.0}, 1.0, False, "demo")
    >>> keeper.report(SessionEvent("result", 1.5, 2.0, said))
    >>> [path.name for path in keeper.finish(duration=3.0)]
    ['talk.rttm']
    >>> Path("talk.rttm").read_text()
    'SPEAKER talk 1 0.000 1.500 <NA> <NA> sad 1.0000 <NA>\n'
    """

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        self.path, self._labels = path, labels
        self._form = formats.format_of(path)
        self.journal = partial(path.with_name(path.name + ".jsonl"))
        _require_new(path, self.journal)
        if not self._form.has_marks:
            _require_new(self._marks_path)
        try:
            self._file = self.journal.open("x", encoding="utf-8")
        except OSError as error:
            raise cannot_write(path, error) from error

    @property
    def _marks_path(self) -> Path:
        """Where marks go that the format has no place for: an Audacity label track of their own."""
        return self.path.with_name(self.path.stem + ".marks.txt")

    def report(self, one: SessionEvent) -> None:
        """Append an event to the journal, if it belongs into the timeline.

        Raises
        ------
        InputError
            The journal cannot be written; earlier events are safe.
        """
        if one.kind not in ("result", "mark", "transcript"):
            return
        try:
            self._file.write(json_line(one.to_dict()) + "\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def finish(self, duration: float) -> list[Path]:
        """Write the timeline from the journal, and return the files written.

        Parameters
        ----------
        duration : float
            Length of the session in seconds.

        Raises
        ------
        InputError
            The timeline cannot be written; the journal stays.
        """
        with contextlib.suppress(OSError):
            self._file.close()
        marks = [(one.time, one.text or "") for one in self._written() if one.kind == "mark"]
        words = {(one.time, one.channel): one.text for one in self._written() if one.kind == "transcript"}
        channels = {one.channel for one in self._written() if one.kind == "result"}
        predictions = (
            dataclasses.replace(one.prediction, transcript=words.get((one.time, one.channel)))
            for channel in sorted(channels, key=lambda number: number or 0)  # one after the other, as of a file
            for one in self._written()
            if one.kind == "result" and one.prediction is not None and one.channel == channel
        )
        written = [self.path]
        with replacing(self.path) as part, part.open("w", encoding="utf-8", newline="") as file:
            pieces = formats.pieces(self._form, predictions, self._labels, duration=duration, marks=marks)
            file.writelines(pieces)
        if marks and not self._form.has_marks:
            self._write_marks(marks)
            written.append(self._marks_path)
        self.journal.unlink()
        return written

    def _write_marks(self, marks: Sequence[Mark]) -> None:
        with replacing(self._marks_path) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(to_audacity([], marks))

    def _written(self) -> Iterator[SessionEvent]:
        """Read the journal; a last line that was not finished is no news."""
        with self.journal.open(encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    values = json.loads(line)
                    if values["prediction"] is not None:
                        values["prediction"] = Prediction(**values["prediction"])
                    yield SessionEvent(**values)


class SoundKeeper:
    """Writes the sound of a session: WAV, 16 kHz, 16 bits, mono or the channels that are heard one by one.

    Parameters
    ----------
    path : Path
        A name that ends in ``.wav``.

    Raises
    ------
    InputError
        The file or that of a killed session exists, or the folder is not writable.

    Examples
    --------
    >>> keeper = SoundKeeper(Path("talk.wav"))
    >>> keeper.add_samples(np.zeros(16000, dtype=np.float32))
    >>> [path.stat().st_size for path in keeper.finish()]
    [32044]
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".wav":
            raise InputError(f"sound cannot be saved as {path}: end the name in .wav")
        self.path = path
        _require_new(path, partial(path))
        try:
            # The file outlives this function, and `wave` mends its header whenever something was written.
            self._file = partial(path).open("xb")
        except OSError as error:
            raise cannot_write(path, error) from error
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115 - closed by finish
        self._wave.setnchannels(1)
        self._wave.setsampwidth(2)
        self._wave.setframerate(RATE)

    def add_samples(self, samples: Float32Array) -> None:
        """Append samples, shape (n,) or (n, n_channels), from -1 to 1; louder ones are clipped.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        values = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
        try:
            if samples.ndim == 2 and not self._wave.getnframes():
                self._wave.setnchannels(samples.shape[1])
            self._wave.writeframes(values.tobytes())
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def finish(self) -> list[Path]:
        """Close the file, give it its final name and return it."""
        try:
            self._wave.close()
            self._file.close()
            partial(self.path).replace(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return [self.path]


def _require_new(*paths: Path) -> None:
    """Make sure that nothing would be overwritten: what was recorded once cannot be recorded again."""
    for path in paths:
        if path.exists():
            left = " (left by a session that was killed)" if path.suffix == ".part" else ""
            raise InputError(f"{path} exists already{left}: move it away, or name another file")
    require_writable(paths[0])
