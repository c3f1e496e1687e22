"""Who speaks when: turns, voice embeddings, their clustering, and the diarization made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emovox.errors import InputError
from emovox.model.profiles import Profile
from emovox.session import open_session
from emovox.speech.vad import VadOptions, VoiceActivity
from emovox.types import RATE, Float32Array, Float64Array, Segment, Waveform

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: What the encoder is called in profiles: only voices of the same one can be compared.
NAME = "cam++ 1"
#: Numbers of a voice.
WIDTH = 192
#: Samples of a frame of the filter bank, from one to the next, and of its spectrum; bands and their range in Hz.
_FRAME, _HOP, _FFT = 400, 160, 512
_BANDS, _LOW, _HIGH = 80, 20.0, 8000.0
#: Where the networks are.
_FOLDER = Path(__file__).with_name("speakers")
#: Frames of the filter bank that the network makes one of.
_STRIDE = 2
#: Least energy of a band: the rounding of 32 bits.
_FLOOR = float(np.finfo(np.float32).eps)
#: Least samples that can be encoded, 0.3 s.
LEAST = 3 * RATE // 10


def filter_bank(samples: Float32Array) -> Float32Array:
    """Compute log energies of 80 mel bands, every 10 ms over 25 ms, less their means over time.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        16 kHz, :data:`LEAST` or more.

    Returns
    -------
    ndarray of float32, shape (1 + (n_samples - 400) // 160, 80)

    Source
    ------
    Kaldi, feat/feature-fbank.cc with its defaults and without dither, as the encoder was trained.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames - np.float32(0.97) * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window, bands = _window_and_bands()
    power = np.square(np.abs(np.fft.rfft(emphasised * window, _FFT)))
    energies = np.log(np.maximum(power @ bands, _FLOOR))
    found: Float32Array = (energies - energies.mean(axis=0)).astype(np.float32)
    return found


def voices(samples: Float32Array, spans: list[tuple[int, int]]) -> Float32Array:
    """Encode the voice in some spans of one stretch of speech, in one run of the network.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        16 kHz, :data:`LEAST` or more, nominally in [-1, 1].
    spans : list of pair of int
        First sample of each and the one after its last, at least :data:`LEAST` apart.

    Returns
    -------
    ndarray of float32, shape (n_spans, 192)
        Vectors of length 1: the product of two is their cosine similarity.

    Source
    ------
    H. Wang, S. Zheng, Y. Chen, L. Cheng and Q. Chen, "CAM++: A fast and efficient network for speaker verification
    using context-aware masking", Interspeech 2023.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    >>> voices(noise, [(0, 32000), (0, 16000)]).shape
    (2, 192)
    """
    bank = filter_bank(samples)
    count = -(-len(bank) // _STRIDE)
    weights = np.zeros((len(spans), count), np.float32)
    for row, (begin, end) in zip(weights, spans, strict=True):
        first = min(begin // (_HOP * _STRIDE), count - 2)
        row[first : max(first + 2, end // (_HOP * _STRIDE))] = 1
    weights /= weights.sum(axis=1, keepdims=True)
    found = _session().run(None, {"fbank": bank[np.newaxis], "weights": weights})[0]
    unit: Float32Array = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), _FLOOR)
    return unit


def without_emotion(voices: Float32Array) -> Float32Array:
    """Take out of voices what the emotion of who speaks does to them.

    Their part in three directions is left out, in which voices of actors move most with their emotions: principal
    components of the means by emotion of 43 speakers of three corpora, less the means of the speakers
    (``python benchmarks/speakers.py --moods``).

    Parameters
    ----------
    voices : ndarray of float32, shape (n, 192)
        From :func:`voices`.

    Returns
    -------
    ndarray of float32, shape (n, 192)
        Vectors of length 1.

    Source
    ------
    A. Solomonoff, C. Quillen and W. M. Campbell, "Channel compensation for SVM speaker recognition", Odyssey 2004:
    nuisance attribute projection.
    """
    moods = _moods()
    rest = voices - (voices @ moods.T) @ moods
    unit: Float32Array = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), _FLOOR)
    return unit


@lru_cache(maxsize=1)
def _moods() -> Float32Array:
    """Return orthonormal directions, shape (3, 192)."""
    found: Float32Array = np.load(_FOLDER / "moods.npy", allow_pickle=False)
    return found


@lru_cache(maxsize=1)
def _window_and_bands() -> tuple[Float32Array, Float32Array]:
    """Return Povey's window, and the triangles of the bands over the bins of the spectrum."""
    window = np.hanning(_FRAME) ** 0.85
    low, high = (1127.0 * np.log1p(edge / 700.0) for edge in (_LOW, _HIGH))
    edges = np.linspace(low, high, _BANDS + 2)
    bins = 1127.0 * np.log1p(np.arange(_FFT // 2 + 1) * RATE / _FFT / 700.0)[:, np.newaxis]
    width = edges[1] - edges[0]
    bands = np.clip(np.minimum((bins - edges[:-2]) / width, (edges[2:] - bins) / width), 0, None)
    return window.astype(np.float32), bands.astype(np.float32)


@lru_cache(maxsize=1)
def _session() -> InferenceSession:
    """Open the encoder, once a process: all threads share it."""
    return open_session(_FOLDER / "encoder.onnx", "the speaker encoder")


#: Who cuts utterances: see :func:`pieces`.
TurnFinder = Callable[[Float32Array, int, Sequence[tuple[int, int]]], "list[Piece]"]
#: Samples from one frame of the network to the next, and where the middle of the first one lies.
_STEP, _CENTRE = 270, 495
#: Least samples that the network takes.
_LEAST = 4000
#: From this class on two speak: nobody; one of three; two of three.
_TWO = 4
#: A change that does not last so many frames, 0.2 s, is none.
_SHORTEST = 12
#: Most of a piece that its voice is taken of, in samples: the middle 6 s.
_HEARD = 6 * RATE
#: Windows in which a long piece is heard besides, the step between them at most, and the shortest such piece.
WINDOW, _APART, _DIVISIBLE = 3 * RATE // 2, RATE // 2, 2 * RATE
#: A longer piece is two, or more, so that memory has a bound.
_LONGEST = 15 * RATE


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of an utterance in which nobody else begins or ends to speak, as far as can be heard.

    Attributes
    ----------
    start, end : int
        First sample in the recording, and the one after the last.
    both : bool
        Whether two speak at once.
    utterance : int
        Number of the utterance; pieces of the same one follow each other without a pause.
    voice : ndarray of float32, shape (192,)
        See :func:`emovox.speech.diarization.voices`.
    windows : ndarray of float32, shape (n, 192), or None
        The voice in windows of :data:`WINDOW` samples, evenly spaced from the first to the last that fits; None for a
        piece of less than 2 s, or of two speakers.
    """

    start: int
    end: int
    both: bool
    utterance: int
    voice: Float32Array
    windows: Float32Array | None = None

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end - self.start) / RATE


def cut(samples: Float32Array, offset: int, utterances: Sequence[tuple[int, int]], first: int = 0) -> list[Piece]:
    """Cut the utterances of a stretch of a recording where the speaker changes.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        The stretch at 16 kHz, best some 10 s of it.
    offset : int
        Where it begins in the recording, in samples.
    utterances : sequence of pair of int
        Where they begin and end in the recording, in samples, in order, all inside the stretch.
    first : int, default 0
        Number of the first of them.

    Returns
    -------
    list of Piece
        In order of time; together they are the utterances.

    Source
    ------
    A. Plaquet and H. Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization", Interspeech
    2023.
    """
    classes = _classes(samples)
    found = []
    for number, (begin, end) in enumerate(utterances, first):
        low, high = (max(0, (place - offset - _CENTRE) // _STEP) for place in (begin, end))
        changes, kinds = _runs(classes[low : high + 1])
        inner = [int(offset + _CENTRE + (low + change) * _STEP) for change in changes]
        edges = [begin, *(place for place in inner if begin < place < end), end]
        for left, right, kind in zip(edges, edges[1:], kinds, strict=False):
            parts = np.linspace(left, right, -(-(right - left) // _LONGEST) + 1).astype(int).tolist()
            for first, last in pairwise(parts):
                heard = _heard(samples, first - offset, last - offset, divisible=bool(kind < _TWO))
                found.append(Piece(first, last, bool(kind >= _TWO), number, *heard))
    return found


def _classes(samples: Float32Array) -> NDArray[np.intp]:
    """Return the most probable class of each frame: nobody, one of three speakers, or two of them."""
    padded = np.pad(samples, (0, max(0, _LEAST - len(samples))))
    found: NDArray[np.intp] = _turns_session().run(None, {"samples": padded[np.newaxis]})[0].argmax(axis=1)
    return found


def _runs(classes: NDArray[np.intp]) -> tuple[list[int], list[int]]:
    """Return where the class of frames changes, and the class of each run; pauses and short changes are none."""
    spoken = np.flatnonzero(classes)
    if not len(spoken):
        return [], [1]
    frames = np.arange(len(classes))
    after = np.clip(np.searchsorted(spoken, frames), 0, len(spoken) - 1)
    kinds = classes[spoken[after]].copy()
    while True:
        starts = np.flatnonzero(np.diff(kinds, prepend=-1))
        lengths = np.diff(starts, append=len(kinds))
        shortest = int(lengths.argmin())
        if len(lengths) == 1 or lengths[shortest] >= _SHORTEST:
            return starts[1:].tolist(), kinds[starts].tolist()
        sides = [side for side in (shortest - 1, shortest + 1) if 0 <= side < len(lengths)]
        longer = max(sides, key=lambda side: lengths[side])
        kinds[starts[shortest] : starts[shortest] + lengths[shortest]] = kinds[starts[longer]]


def _heard(samples: Float32Array, begin: int, end: int, *, divisible: bool) -> tuple[Float32Array, Float32Array | None]:
    """Encode a piece, at least 0.3 s around it and at most the middle of it, and windows of a long one."""
    middle, half = (begin + end) // 2, max(end - begin, LEAST) // 2 + 1
    low = max(0, middle - half)
    part = samples[low : middle + half]
    part = np.pad(part, (0, max(0, LEAST - len(part))))
    spans = [(max(0, middle - low - _HEARD // 2), min(len(part), middle - low + _HEARD // 2))]
    if divisible and end - begin >= _DIVISIBLE:
        starts = window_starts(end - begin) + begin - low
        spans += [(start, start + WINDOW) for start in starts.tolist()]
    found = voices(part, spans)
    return found[0], found[1:] if len(found) > 1 else None


def window_starts(length: int) -> NDArray[np.intp]:
    """Return where the windows of a piece of so many samples begin in it.

    Examples
    --------
    >>> window_starts(2 * RATE).tolist()
    [0, 8000]
    """
    count = -(-(length - WINDOW) // _APART) + 1
    found: NDArray[np.intp] = np.linspace(0, length - WINDOW, count).astype(np.intp)
    return found


@lru_cache(maxsize=1)
def _turns_session() -> InferenceSession:
    """Open the network, once a process: all threads share it."""
    return open_session(_FOLDER / "turns.onnx", "the network of speakers turns")


#: Most vectors that are compared all with all; more are first clustered part by part.
_MOST = 3000
#: By how much two voices must be more alike to become one inside a part.
_STRICTER = 0.1
#: Similarity of what is no longer there.
_GONE = -np.inf


def clustered(
    vectors: Float32Array, weights: Float64Array, *, alike: float, count: int | None = None
) -> NDArray[np.intp]:
    """Cluster vectors by agglomeration with average linkage: the two clusters most alike become one, again and again.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        Of length 1.
    weights : ndarray of float64, shape (n,)
        How much each counts, such as its duration; positive.
    alike : float
        Least mean cosine similarity of two clusters that become one.
    count : int, optional
        How many clusters there are, if that is known; `alike` does not matter then.

    Returns
    -------
    ndarray of int, shape (n,)
        Clusters, numbered from 0 by their first vector.

    Source
    ------
    R. R. Sokal and C. D. Michener, "A statistical method for evaluating systematic relationships", 1958.

    Examples
    --------
    >>> vectors = np.array([[1, 0], [0, 1], [0.8, 0.6], [0, 1]], np.float32)
    >>> clustered(vectors, np.ones(4), alike=0.7).tolist()
    [0, 1, 0, 1]
    >>> clustered(vectors, np.ones(4), alike=0.7, count=1).tolist()
    [0, 0, 0, 0]
    """
    if len(vectors) > _MOST:
        return _by_parts(vectors, weights, alike, count)
    groups = np.arange(len(vectors))
    similar = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(similar, _GONE)
    weights, left = weights.astype(np.float64), len(vectors)
    best = similar.argmax(axis=1)
    while left > (count or 1):
        first = int(np.argmax(similar[np.arange(len(best)), best]))
        then = int(best[first])
        if count is None and similar[first, then] < alike:
            break
        shares = weights[[first, then]] / weights[[first, then]].sum()
        row = shares @ similar[[first, then]]
        row[[first, then]] = _GONE
        similar[first] = similar[:, first] = row
        similar[then] = similar[:, then] = _GONE
        weights[first] += weights[then]
        groups[groups == then] = first
        left -= 1
        stale = np.flatnonzero((best == first) | (best == then))
        stale = np.append(stale, [first, then])
        best[stale] = similar[stale].argmax(axis=1)
        better = row > similar[np.arange(len(best)), best]
        best[better] = first
    return _numbered(groups)


def _by_parts(vectors: Float32Array, weights: Float64Array, alike: float, count: int | None) -> NDArray[np.intp]:
    """Cluster parts of the vectors by themselves, then the means of those clusters."""
    groups = np.empty(len(vectors), dtype=np.intp)
    means: list[Float32Array] = []
    sums: list[Float64Array] = []
    for rows in np.array_split(np.arange(len(vectors)), -(-len(vectors) // _MOST)):
        found = clustered(vectors[rows], weights[rows], alike=alike + _STRICTER)
        groups[rows] = found + sum(len(one) for one in means)
        means.append(centres(vectors[rows], weights[rows], found))
        sums.append(np.bincount(found, weights[rows]).astype(np.float64))
    if len(means) > 1 and sum(len(one) for one in means) == len(vectors):  # nothing is like anything
        return groups
    return _numbered(clustered(np.concatenate(means), np.concatenate(sums), alike=alike, count=count)[groups])


def centres(vectors: Float32Array, weights: Float64Array, groups: NDArray[np.intp]) -> Float32Array:
    """Return the weighted means of clusters, each of length 1, shape (n_clusters, d)."""
    sums = np.zeros((int(groups.max()) + 1, vectors.shape[1]))
    np.add.at(sums, groups, vectors * weights[:, np.newaxis])
    found: Float32Array = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return found


def _numbered(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give clusters numbers by what comes first."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.intp)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse]


@dataclass
class Acquaintances:
    """Voices that become known while they are heard: each is the nearest one that is like enough, or a new one.

    Attributes
    ----------
    alike : float
        Least cosine similarity with a known voice.
    most : int or None
        How many voices there can be at most.
    sums : list of ndarray
        What was heard of each, weighted.

    Examples
    --------
    >>> known = Acquaintances(alike=0.5)
    >>> [known.meet(np.array(one, np.float32), 1.0) for one in ([1, 0], [0, 1], [0.9, 0.1])]
    [0, 1, 0]
    """

    alike: float
    most: int | None = None
    sums: list[Float64Array] = field(default_factory=list)

    @property
    def means(self) -> Float32Array:
        """Means of the known voices, each of length 1, shape (n, d)."""
        return np.stack([one / np.linalg.norm(one) for one in self.sums]).astype(np.float32)

    def nearest(self, vector: Float32Array) -> list[tuple[float, int]]:
        """Return similarities with the known voices, the largest first."""
        found = [(float(one @ vector / np.linalg.norm(one)), index) for index, one in enumerate(self.sums)]
        return sorted(found, key=lambda one: -one[0])

    def meet(self, vector: Float32Array, weight: float, *, new: bool = True) -> int:
        """Return whose voice it is and learn from it; where it may not be a `new` one, the nearest."""
        known = self.nearest(vector)
        full = self.most is not None and len(known) >= self.most
        if not known or (known[0][0] < self.alike and new and not full):
            self.sums.append(vector.astype(np.float64) * weight)
            return len(self.sums) - 1
        found = known[0][1]
        if known[0][0] >= self.alike:
            self.sums[found] = self.sums[found] + vector * weight
        return found


#: Column of a segment that tells how many of its seconds have two speakers.
OVERLAP = "overlap"
#: What is heard together to tell speakers apart, in samples: about 10 s.
_STRETCH = 10 * RATE
#: Similarities at which a tree of voices is cut where the number of speakers is known.
_CUTS = (0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3)
#: Pieces from this length on, in seconds, make clusters; shorter ones join them.
_LONG = 1.2
#: Cosine similarity that a change of speaker inside a piece must gain over its windows; how often they are looked for.
_CHANGE, _ROUNDS = 0.1, 2
#: Share of the speech of a short recording that makes a speaker.
_SHARE = 0.1


@dataclass(frozen=True)
class DiarizationOptions:
    """How speakers are told apart.

    Attributes
    ----------
    count : int, optional
        How many speakers there are, if that is known, 1 to 50.
    alike : float
        Least mean cosine similarity, in [-1, 1], of voices that are one speaker's, whatever their emotions:
        :func:`emovox.speech.diarization.without_emotion`.
    known : float
        Least cosine similarity, in [-1, 1], with an enrolled voice that gives a speaker its name.
    least : float
        Seconds of speech that make a speaker, where `count` is not known, or a tenth of all speech if that is less;
        what has less joins the most similar one.
    vad : VadOptions
        When speech begins and ends.

    Raises
    ------
    InputError
        A value is out of its range.
    """

    count: int | None = None
    alike: float = 0.4
    known: float = 0.65
    least: float = 6.0
    vad: VadOptions = field(default_factory=lambda: VadOptions(0.3, 0.1, min_speech=0.25, padding=0.0, reach=0.4))

    def __post_init__(self) -> None:
        if self.count is not None and not 1 <= self.count <= 50:
            raise InputError(f"speakers is {self.count}: expected a number from 1 to 50")
        for name in ("alike", "known"):
            if not -1 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: expected a cosine similarity from -1 to 1")


def diarize(
    blocks: Iterable[Waveform],
    options: DiarizationOptions | None = None,
    enrolled: Mapping[str, Float32Array] | None = None,
) -> list[Segment]:
    """Find who speaks when in a recording.

    Utterances are found by voice activity and cut where the speaker changes; the voice of each piece is encoded, and
    voices that are alike are one speaker.  Pieces are then cut where one of these speakers follows another unnoticed.

    Parameters
    ----------
    blocks : iterable of Waveform
        All of the recording in consecutive blocks, see :func:`emovox.audio.blocks`.
    options : DiarizationOptions, optional
        How speakers are told apart.
    enrolled : mapping of str to ndarray of float32, shape (192,), optional
        Voices that are known by name.

    Returns
    -------
    list of Segment
        Turns in order of time, with the `speaker`: a name, or ``"speaker 1"`` for who speaks first, and so on.  Turns
        of two who speak at once overlap, and their columns tell by how many seconds.

    Examples
    --------
    >>> from emovox import audio
    >>> {turn.speaker for turn in diarize([audio.read("examples/plain.wav")])}
    {'speaker 1'}
    """
    options = options or DiarizationOptions()
    found = _pieces(blocks, options.vad)
    if not found:
        return []
    found, means = _told_apart(found, options)
    who = _speakers(found, means)
    voices, seconds = np.stack([one.voice for one in found]), np.array([one.seconds for one in found])
    row, side = np.nonzero(who >= 0)
    names = _names(centres(voices[row], seconds[row], who[row, side]), enrolled or {}, options.known)
    return turns(found, [[names[one] for one in dict.fromkeys(pair) if one >= 0] for pair in who.tolist()])


def _pieces(blocks: Iterable[Waveform], vad: VadOptions) -> list[Piece]:
    """Cut a recording into pieces of one speaker, in memory that holds some seconds of it."""
    activity, found = VoiceActivity(vad), list[Piece]()
    waiting: list[tuple[int, int]] = []
    kept, offset, number, begin = np.empty(0, np.float32), 0, 0, 0

    def ready() -> None:
        nonlocal waiting, number
        low, high = waiting[0][0] - offset, waiting[-1][1] - offset
        found.extend(cut(kept[low:high], offset + low, waiting, number))
        number, waiting = number + len(waiting), []

    for block in chain(blocks, [None]):
        events = activity.finish() if block is None else activity.push(block.samples)
        kept = kept if block is None else np.concatenate([kept, block.samples])
        for event in events:
            place = round(event.time * RATE)
            if event.kind == "start":
                begin = place
                continue
            if waiting and place - waiting[0][0] > _STRETCH:
                ready()
            if place > begin:
                waiting.append((begin, place))
        needed = waiting[0][0] if waiting else begin if activity.speaking else offset + len(kept) - activity.reach
        if needed > offset:
            kept, offset = kept[needed - offset :], needed
    if waiting:
        ready()
    return found


def _told_apart(found: list[Piece], options: DiarizationOptions) -> tuple[list[Piece], Float32Array]:
    """Cluster voices and cut pieces where the speakers that were found change; return pieces and means of speakers."""
    means = _means(*_core(found), options)
    divided = found
    for _ in range(_ROUNDS if len(means) > 1 else 0):
        divided = [part for one in found for part in _divided(one, means)]
        means = _nearest_means(*_core(divided), means)
    return divided, means


def _core(found: Sequence[Piece]) -> tuple[Float32Array, Float64Array]:
    """Return voices and seconds of the pieces that make clusters: long ones of one speaker, where there are any."""
    long = [one for one in found if one.seconds >= _LONG and not one.both] or found
    return without_emotion(np.stack([one.voice for one in long])), np.array([one.seconds for one in long])


def _divided(one: Piece, means: Float32Array) -> list[Piece]:
    """Cut a piece where the speaker that its windows are most like changes: the best path, changes having a price."""
    if one.windows is None:
        return [one]
    path = _path(without_emotion(one.windows) @ means.T)
    cuts = np.flatnonzero(np.diff(path)) + 1
    centre = one.start + window_starts(one.end - one.start) + WINDOW // 2
    edges = [one.start, *((centre[cuts - 1] + centre[cuts]) // 2).tolist(), one.end]
    if len(edges) == 2:
        return [one]
    sums = [part.sum(axis=0) for part in np.split(one.windows, cuts)]
    return [
        replace(one, start=begin, end=end, voice=own / np.linalg.norm(own), windows=None)
        for begin, end, own in zip(edges, edges[1:], sums, strict=False)
    ]


def _path(scores: Float32Array) -> NDArray[np.intp]:
    """Return the state of each step, by the greatest sum of scores, shape (steps, states), less changes of state."""
    best, came = scores[0].astype(np.float64), np.zeros(scores.shape, dtype=np.intp)
    for step in range(1, len(scores)):
        other = int(best.argmax())
        stays = best >= best[other] - _CHANGE
        came[step] = np.where(stays, np.arange(len(best)), other)
        best = np.where(stays, best, best[other] - _CHANGE) + scores[step]
    found = np.empty(len(scores), dtype=np.intp)
    found[-1] = best.argmax()
    for step in range(len(scores) - 1, 0, -1):
        found[step - 1] = came[step, found[step]]
    return found


def _speakers(found: Sequence[Piece], means: Float32Array) -> NDArray[np.intp]:
    """Return the speaker of each piece, numbered as they come, and the second one or -1, shape (n, 2)."""
    similar = without_emotion(np.stack([one.voice for one in found])) @ means.T
    who = np.full((len(found), 2), -1)
    who[:, 0] = similar.argmax(axis=1)
    for index in [number for number, one in enumerate(found) if one.both and len(means) > 1]:
        who[index] = _pair(found, who[:, 0], similar[index], index)
    order = {one: number for number, one in enumerate(dict.fromkeys(who[who >= 0].tolist()))} | {-1: -1}
    numbered: NDArray[np.intp] = np.vectorize(order.__getitem__)(who)
    return numbered


def _means(vectors: Float32Array, seconds: Float64Array, options: DiarizationOptions) -> Float32Array:
    """Cluster voices and return the means of the clusters that are speakers."""
    if options.count is None:
        groups = clustered(vectors, seconds, alike=options.alike)
        least = min(options.least, _SHARE * float(seconds.sum()))
        kept = max(1, int((np.bincount(groups, seconds) >= least).sum()))
    else:
        groups, kept = _so_many(vectors, seconds, options.count), options.count
    longest = np.argsort(-np.bincount(groups, seconds), kind="stable")[:kept]
    return _nearest_means(vectors, seconds, centres(vectors, seconds, groups)[longest])


def _nearest_means(vectors: Float32Array, seconds: Float64Array, means: Float32Array) -> Float32Array:
    """Let every voice join the nearest mean and take means anew, five times."""
    for _ in range(5):
        nearest = (vectors @ means.T).argmax(axis=1)
        _, nearest = np.unique(nearest, return_inverse=True)
        means = centres(vectors, seconds, nearest)
    return means


def _so_many(vectors: Float32Array, seconds: Float64Array, count: int) -> NDArray[np.intp]:
    """Cluster voices so that the longest clusters, as many as there are speakers, are all long.

    Agglomeration down to the number itself would end with a shout or a whisper as a speaker of its own.
    """
    cuts = [clustered(vectors, seconds, alike=alike) for alike in _CUTS]
    cuts = [groups for groups in cuts if groups.max() + 1 >= count]
    if not cuts:
        return clustered(vectors, seconds, alike=_CUTS[0], count=count)
    return max(cuts, key=lambda groups: float(np.sort(np.bincount(groups, seconds))[-count]))


def _pair(found: Sequence[Piece], who: NDArray[np.intp], similar: Float32Array, index: int) -> tuple[int, int]:
    """Say who speaks at once: those before and after, where they are two; else the two most similar voices."""
    near = [
        int(who[other])
        for other in (index - 1, index + 1)
        if 0 <= other < len(found) and not found[other].both and found[other].utterance == found[index].utterance
    ]
    if len(set(near)) == 2:
        return near[0], near[1]
    first = near[0] if near else int(similar.argmax())
    rest = np.array(similar, dtype=np.float64)
    rest[first] = -np.inf
    return first, int(rest.argmax())


def prints_of(profiles: Iterable[Profile]) -> dict[str, Float32Array]:
    """Return the voice prints of profiles by name, those that this encoder has taken."""
    known = [one for one in profiles if one.voice and one.encoder == NAME and len(one.voice) == WIDTH]
    return {one.name: np.array(one.voice, np.float32) for one in known}


def _names(means: Float32Array, enrolled: Mapping[str, Float32Array], least: float) -> list[str]:
    """Name speakers: those enrolled who are alike enough, each once and the most similar first; others by number."""
    names = [""] * len(means)
    pairs = [(float(voice @ mean), index, name) for name, voice in enrolled.items() for index, mean in enumerate(means)]
    for similar, index, name in sorted(pairs, reverse=True):
        if similar >= least and not names[index] and name not in names:
            names[index] = name
    return [name or f"speaker {number}" for number, name in enumerate(names, 1)]


def turns(found: Sequence[Piece], who: Sequence[Sequence[str]]) -> list[Segment]:
    """Make turns of pieces: what a speaker says without a pause, though others may speak at the same time.

    Examples
    --------
    >>> one, other = (Piece(16000 * at, 16000 * at + 16000, False, 0, np.zeros(1, np.float32)) for at in (0, 1))
    >>> [(turn.start, turn.end, turn.speaker) for turn in turns([one, other], [["anna"], ["ben"]])]
    [(0.0, 1.0, 'anna'), (1.0, 2.0, 'ben')]
    """
    made: list[Segment] = []
    for _, group in groupby(zip(found, who, strict=True), key=lambda one: one[0].utterance):
        going: dict[str, tuple[int, int, float]] = {}
        for piece, speakers in group:
            silent = [name for name in going if name not in speakers]
            made += [_turn(name, *going.pop(name)) for name in silent]
            for name in speakers:
                begin, _, shared = going.get(name, (piece.start, piece.end, 0.0))
                going[name] = begin, piece.end, shared + (piece.seconds if len(speakers) > 1 else 0.0)
        made += [_turn(name, *one) for name, one in going.items()]
    return sorted(made, key=lambda one: (one.start, one.end))


def _turn(name: str, begin: int, end: int, shared: float) -> Segment:
    return Segment(begin / RATE, end / RATE, name, {OVERLAP: f"{shared:.2f}"} if shared else {})


class Listener:
    """Who speaks in a stream, utterance by utterance: what was said later changes nothing.

    Parameters
    ----------
    options : DiarizationOptions, optional
        How speakers are told apart; `count` is how many there can be.
    enrolled : mapping of str to ndarray of float32, optional
        Voices that are known by name.
    pieces : callable, optional
        Who cuts utterances and encodes the voices; the default is :func:`emovox.speech.diarization.cut`, here.
    """

    def __init__(
        self,
        options: DiarizationOptions | None = None,
        enrolled: Mapping[str, Float32Array] | None = None,
        pieces: TurnFinder | None = None,
    ) -> None:
        self._options, self._enrolled = options or DiarizationOptions(), dict(enrolled or {})
        self._pieces = pieces or cut
        self._known = Acquaintances(self._options.alike, self._options.count)
        self._names: list[str] = []

    def heard(self, samples: Float32Array, begin: int) -> list[Segment]:
        """Take the samples of one utterance, which begins so many samples after the stream, and return its turns."""
        found = self._pieces(samples, begin, [(begin, begin + len(samples))])
        if len(self._names) > 1:
            found = [part for one in found for part in _divided(one, self._known.means)]
        who = []
        for one in found:
            new, (voice,) = one.seconds >= _LONG and not one.both, without_emotion(one.voice[np.newaxis])
            index = self._known.meet(voice, one.seconds, new=new)
            if index == len(self._names):
                self._names.append(self._name(one.voice))
            near = [index, *(other for _, other in self._known.nearest(voice) if other != index)]
            who.append([self._names[other] for other in near[: 1 + one.both]])
        return turns(found, who)

    def _name(self, voice: Float32Array) -> str:
        free = {name: one for name, one in self._enrolled.items() if name not in self._names}
        best = max(free, key=lambda name: float(free[name] @ voice), default=None)
        if best is not None and float(free[best] @ voice) >= self._options.known:
            return best
        return f"speaker {len(self._names) + 1}"
