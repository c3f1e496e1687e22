"""What a corpus is worth: level, clipping and bandwidth of every clip, copies, leaks between parts, and balance.

All is measured on the samples as they are stored, before anything is resampled.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray

from emovox.audio.decoding import to_float
from emovox.audio.reading import open_recording
from emovox.errors import EmovoxError
from emovox.lab.corpora.same_sound import moments
from emovox.lab.corpora.table import Corpus, sentences, strings
from emovox.lab.extraction.content import listen
from emovox.lab.extraction.extraction import Stretch, by_file

#: Level in dB of full scale below which the loudest 32 ms of a clip count as silent.
SILENT = -60.0
#: Samples in a row at the peak that make a flat top, and flat tops that make a clip clipped.
FLAT, TOPS = 4, 3
#: Share of the power above the bandwidth.
ABOVE = 1e-6
#: Bandwidth in Hz below which a clip is band-limited: that of a telephone, with its filter's slope.
NARROW = 4200.0
#: Share of clips of one label, speaker or text from which on it is told.
MOST = 0.5

_FRAME = 1024


@dataclass(frozen=True)
class Measures:
    """What was measured of a clip.

    Attributes
    ----------
    rate : int
        Sampling rate in Hz of its file.
    duration : float
        Seconds.
    peak : float
        Largest sample, full scale is 1.
    level : float
        Level of the loudest 32 ms in dB of full scale; -inf if it is digital silence.
    tops : int
        Flat tops: runs of four samples or more at the peak, within half a step of 16 bits.
    bandwidth : float
        Frequency in Hz above which a millionth of the power is left.
    problem : str
        Why it cannot be read; empty if it can.
    """

    rate: int = 0
    duration: float = 0.0
    peak: float = 0.0
    level: float = -math.inf
    tops: int = 0
    bandwidth: float = 0.0
    problem: str = ""


def measure(samples: NDArray[np.float32], rate: int) -> Measures:
    """Measure a clip.

    Parameters
    ----------
    samples : ndarray, shape (n,)
        One channel, full scale is 1.
    rate : int
        Sampling rate in Hz.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    >>> measure(tone / 2, 16000).tops, measure(np.clip(tone, -0.5, 0.5), 16000).tops > 100
    (0, True)
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0:
        return Measures(rate, len(samples) / rate)
    frame = round(0.032 * rate)
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % frame)).reshape(-1, frame)
    level = 10 * math.log10(float(np.square(padded).mean(axis=1).max()))
    return Measures(rate, len(samples) / rate, peak, level, _flat_tops(samples, peak), _bandwidth(samples, rate))


def _flat_tops(samples: NDArray[np.float32], peak: float) -> int:
    """Count the runs of samples at the peak."""
    at_peak = np.abs(samples) >= peak - 0.5 / 32768
    edges = np.flatnonzero(np.diff(np.concatenate([[False], at_peak, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2] >= FLAT).sum())


def _bandwidth(samples: NDArray[np.float32], rate: int) -> float:
    """Return the frequency above which a millionth of the power is left."""
    hop = _FRAME // 2
    padded = np.pad(samples.astype(np.float64), (0, max(0, _FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.blackman(_FRAME), axis=1))).sum(axis=0)
    above = np.cumsum(power[::-1])[::-1] / power.sum()
    return float(np.count_nonzero(above > ABOVE) * rate / _FRAME)


def _measured(batch: Sequence[Stretch]) -> list[Measures]:
    """Measure some clips, in a worker process."""
    return [_of_clip(path, float(start), float(end)) for path, start, end in batch]


def _of_clip(path: Path, start: float, end: float) -> Measures:
    """Measure a stretch of a file, its channels mixed."""
    try:
        with open_recording(path) as recording:
            pieces = [(to_float(piece.samples, str(path)).mean(axis=1), piece.rate) for piece in recording.pieces]
    except EmovoxError as error:
        return Measures(problem=str(error))
    if not pieces:
        return Measures(problem=f"{path} holds no sound")
    rate = pieces[0][1]
    samples = np.concatenate([samples for samples, other in pieces if other == rate])
    last = None if math.isinf(end) else round(end * rate)
    return measure(np.asarray(samples[round(start * rate) : last], dtype=np.float32), rate)


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found in a corpus.

    Attributes
    ----------
    name : str
        Of the corpus.
    clips : DataFrame
        One row a clip: file, label, speaker, what was measured, and ``flags``, the faults in words, joined by commas.
    findings : tuple of Finding
        The gravest first.
    """

    name: str
    clips: pd.DataFrame
    findings: tuple[Finding, ...]

    def summary(self) -> dict[str, Any]:
        """Return it for machines."""
        table = self.clips
        counts = {what: table[what].value_counts().to_dict() for what in ("label", "speaker")}
        return {
            "corpus": self.name,
            "clips": len(table),
            "hours": round(float(table["duration"].sum()) / 3600, 3),
            "labels": counts["label"],
            "speakers": len(set(table["speaker"]) - {""}),
            "findings": [asdict(one) for one in self.findings],
        }


@dataclass(frozen=True)
class Finding:
    """One kind of fault: ``leak``, ``fault`` or ``balance``; how many clips; a sentence; some of the clips."""

    kind: str
    clips: int
    text: str
    examples: tuple[str, ...] = ()


def audit(
    corpus: Corpus, jobs: int = -1, progress: Callable[[str, int, int], None] = lambda stage, done, total: None
) -> Audit:
    """Measure every clip of a corpus, and look for copies, leaks and imbalance.

    Parameters
    ----------
    corpus, jobs, progress
        As for :func:`emovox.lab.extraction.inspection.inspect`.

    Returns
    -------
    Audit
        Copies are clips whose decoded samples are equal (see `emovox.lab.extraction.content`); leaks are speakers,
        sentences and copies on both sides of the split that the corpus has.
    """
    table = corpus.table
    starts, ends = (table.index.get_level_values(name).to_numpy(dtype=float) for name in ("start", "end"))
    stretches = list(zip(corpus.paths(), starts.tolist(), ends.tolist(), strict=True))
    measured: dict[int, Measures] = {}
    batches = by_file(stretches, jobs)
    work = (delayed(_measured)([stretches[one] for one in batch]) for batch in batches)
    for batch, found in zip(batches, Parallel(n_jobs=jobs, return_as="generator")(work), strict=True):
        measured.update(zip(batch, found, strict=True))
        progress("measuring", len(measured), len(stretches))
    clips = _table(corpus, [measured[row] for row in range(len(stretches))])
    heard = listen(stretches, jobs, progress)
    digests = [one.digest or f"clip {row}" for row, one in enumerate(heard)]
    same = moments(table, [one.recording or row for row, one in enumerate(heard)], digests)
    findings = [*_leaks(table, same), *_copies(table, same), *_faults(clips), *_balance(table)]
    return Audit(corpus.name, clips, tuple(findings))


def _table(corpus: Corpus, measured: Sequence[Measures]) -> pd.DataFrame:
    """Put what was measured beside what is known."""
    known = corpus.table.reset_index()[["file", "start", "label", "speaker", "sex"]]
    clips = pd.concat([known, pd.DataFrame([asdict(one) for one in measured])], axis=1)
    clips["flags"] = [", ".join(_flags(one)) for one in measured]
    return clips


def _flags(one: Measures) -> Iterator[str]:
    """Yield the faults of a clip."""
    if one.problem:
        yield "unreadable"
    elif one.level < SILENT:
        yield "silent"
    else:
        if one.tops >= TOPS:
            yield "clipped"
        if one.bandwidth < NARROW:
            yield "band-limited"


_TOLD = {
    "unreadable": "cannot be read",
    "silent": f"nowhere louder than {SILENT:g} dB of full scale",
    "clipped": f"clipped: {TOPS} or more flat tops",
    "band-limited": f"nothing above {NARROW / 1000:g} kHz, as through a telephone",
}


def _faults(clips: pd.DataFrame) -> Iterator[Finding]:
    """Yield what is wrong with clips, and where a fault goes with one label."""
    for flag, told in _TOLD.items():
        rows = clips[[flag in flags.split(", ") for flags in clips["flags"]]]
        if rows.empty:
            continue
        share = rows["label"].value_counts() / clips["label"].value_counts()
        worst, rest = share.idxmax(), len(rows) / len(clips)
        uneven = (
            f"; of {worst} {share.max():.0%}, of all {rest:.0%}" if share.max() > 2 * rest and len(rows) > 4 else ""
        )
        yield Finding("fault", len(rows), f"{told}{uneven}", tuple(rows["file"][:5]))
    rates = Counter(rate for rate in clips["rate"].tolist() if rate).most_common()
    if len(rates) > 1:
        text = ", ".join(f"{count} at {rate / 1000:g} kHz" for rate, count in rates)
        yield Finding("fault", sum(count for _, count in rates[1:]), f"several sampling rates: {text}")


def _copies(table: pd.DataFrame, same: NDArray[np.intp]) -> Iterator[Finding]:
    """Yield the clips with sound in common."""
    groups, counts = np.unique(same, return_counts=True)
    rows = np.flatnonzero(np.isin(same, groups[counts > 1]))
    if not len(rows):
        return
    text = "the same sound as another clip"
    for column in ("speaker", "label"):
        mixed = _in_mixed(same, strings(table, column))
        if mixed:
            text += f"; {mixed} of them under different {column}s"
    yield Finding("leak", len(rows), text, tuple(table.index.get_level_values("file")[rows[:5]]))


def _in_mixed(groups: NDArray[np.intp], values: NDArray[np.str_]) -> int:
    """Count the clips of groups that have several values."""
    several = pd.Series(values).groupby(groups).transform("nunique") > 1
    return int(several.sum())


def _leaks(table: pd.DataFrame, same: NDArray[np.intp]) -> Iterator[Finding]:
    """Yield what is on both sides of the corpus's own split."""
    if "split" not in table or not (set(table["split"]) - {""}):
        return
    split = strings(table, "split")
    for what, values in (("speaker", strings(table, "speaker")), ("sentence", sentences(table)), ("sound", same)):
        parts = pd.DataFrame({"value": values.astype(str), "split": split})
        parts = parts[(parts["split"] != "") & (parts["value"] != "")]
        shared = parts.groupby("value")["split"].nunique()
        names = shared.index[shared > 1]
        if len(names):
            count = int(parts["value"].isin(names).sum())
            examples = () if what == "sound" else tuple(names[:5])
            yield Finding(
                "leak", count, f"{len(names)} {what}{'s'[: len(names) > 1]} on several sides of the split", examples
            )


def _balance(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield what is uneven: labels, speakers, and sentences that tell the label."""
    labels = table["label"].value_counts()
    if labels.iloc[0] > 2 * labels.iloc[-1]:
        text = f"labels are unbalanced: {labels.iloc[0]} {labels.index[0]}, {labels.iloc[-1]} {labels.index[-1]}"
        yield Finding("balance", int(labels.iloc[0]), text)
    known = table[table["speaker"] != ""]
    if len(known) < len(table):
        yield Finding("balance", len(table) - len(known), "no speaker is known: protocols that hold out speakers fail")
    if len(known):
        yield from _by_speaker(known)
    texts = table[table["text"] != ""]
    alone = texts.groupby("text")["label"].transform("nunique") == 1
    several = texts.groupby("text")["label"].transform("size") > 1
    told = int((alone & several).sum())
    if told > MOST * len(table):
        yield Finding("balance", told, "the sentence tells the label: these are said in one emotion only")


def _by_speaker(known: pd.DataFrame) -> Iterator[Finding]:
    """Yield speakers who have much, or lack labels."""
    speakers = known["speaker"].value_counts()
    if len(speakers) > 2 and speakers.iloc[0] > MOST * len(known):
        yield Finding("balance", int(speakers.iloc[0]), f"most clips are of one speaker, {speakers.index[0]}")
    lacking = known.groupby("speaker")["label"].nunique() < known["label"].nunique()
    if lacking.any():
        names = tuple(lacking.index[lacking][:5])
        text = f"{int(lacking.sum())} of {len(speakers)} speakers without clips of some label"
        yield Finding("balance", int(known["speaker"].isin(lacking.index[lacking]).sum()), text, names)
