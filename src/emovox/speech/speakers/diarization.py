"""Who speaks when, in a recording as a whole and in a stream: utterances to turns with the names of speakers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby

import numpy as np
from numpy.typing import NDArray

from emovox.errors import InputError
from emovox.model.profiles import Profile
from emovox.speech.speakers import encoder
from emovox.speech.speakers.clustering import Acquaintances, centres, clustered
from emovox.speech.speakers.turns import Piece, TurnFinder
from emovox.speech.speakers.turns import pieces as cut
from emovox.speech.vad import VadOptions, VoiceActivity
from emovox.types import RATE, Float32Array, Float64Array, Segment, Waveform

#: Column of a segment that tells how many of its seconds have two speakers.
OVERLAP = "overlap"
#: What is heard together to tell speakers apart, in samples: about 10 s.
_STRETCH = 10 * RATE
#: Similarities at which a tree of voices is cut where the number of speakers is known.
_CUTS = (0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3)
#: Pieces from this length on, in seconds, make clusters; shorter ones join them.
_LONG = 0.8
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
        Least mean cosine similarity, in [-1, 1], of voices that are one speaker's.
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
    alike: float = 0.35
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
    voices that are alike are one speaker.

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
    vectors = np.stack([one.voice for one in found])
    who = _speakers(found, vectors, options)
    seconds = np.array([one.seconds for one in found])
    row, side = np.nonzero(who >= 0)
    names = _names(centres(vectors[row], seconds[row], who[row, side]), enrolled or {}, options.known)
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


def _speakers(found: Sequence[Piece], vectors: Float32Array, options: DiarizationOptions) -> NDArray[np.intp]:
    """Return the speaker of each piece, numbered as they come, and the second one or -1, shape (n, 2)."""
    seconds = np.array([one.seconds for one in found])
    both = np.array([one.both for one in found])
    core = np.flatnonzero((seconds >= _LONG) & ~both)
    core = core if len(core) else np.arange(len(found))
    means = _means(vectors[core], seconds[core], options)
    similar = vectors @ means.T
    who = np.full((len(found), 2), -1)
    who[:, 0] = similar.argmax(axis=1)
    for index in np.flatnonzero(both) if len(means) > 1 else ():
        who[index] = _pair(found, who[:, 0], similar[index], int(index))
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
    means = centres(vectors, seconds, groups)[longest]
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
    known = [one for one in profiles if one.voice and one.encoder == encoder.NAME and len(one.voice) == encoder.WIDTH]
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
        Who cuts utterances and encodes the voices; the default is :func:`emovox.speech.speakers.turns.pieces`, here.
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
        who = []
        for one in found:
            new = one.seconds >= _LONG and not one.both
            index = self._known.meet(one.voice, one.seconds, new=new)
            if index == len(self._names):
                self._names.append(self._name(one.voice))
            near = [index, *(other for _, other in self._known.nearest(one.voice) if other != index)]
            who.append([self._names[other] for other in near[: 1 + one.both]])
        return turns(found, who)

    def _name(self, voice: Float32Array) -> str:
        free = {name: one for name, one in self._enrolled.items() if name not in self._names}
        best = max(free, key=lambda name: float(free[name] @ voice), default=None)
        if best is not None and float(free[best] @ voice) >= self._options.known:
            return best
        return f"speaker {len(self._names) + 1}"
