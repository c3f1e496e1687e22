"""Who speaks when, and what it does for emotions: conversations built from corpora.

    python benchmarks/speakers.py --corpora ../shared/corpora [--only ased nemo] [--count 6] [--json speakers.json]
    python benchmarks/speakers.py --corpora ../shared/corpora --only ased nemo emodb emospeech --emotions
    python benchmarks/speakers.py --corpora ../shared/corpora --baselines

A conversation of five minutes has two to four speakers of one corpus.  A turn is one to three clips of a speaker, 0.15
to 0.6 s apart; the next speaker begins after a gap whose logarithm is normal (median 0.35 s), or before the end of the
turn, so that one tenth of the time with speech has two speakers.  Everything is drawn from a seed.  The reference of a
clip is its voice without silence and clicks, as in ``conversation.py``; turns of the same speaker are not joined.
Diarization errors count overlap, with a collar of 0.25 s.

``--emotions`` compares timelines with speakers to timelines without by two measures, each on both sides.  The emotion
error is the share of the speaking time of the reference that no answer with its emotion covers, whoever is taken for
the speaker.  The error of emotions with their speaker counts only answers of the speaker who is mapped to the speaker
of the reference, by the mapping that is best for the diarization; a timeline without speakers is one of a single
speaker.  The mixed difference takes the speakers of the one side alone: the error with speakers where there are some,
the error without where there are none.  Emotions that the corpus does not have take no part in answers.

Of the same conversations ``--emotions`` gives the UAR over the clips of the reference: with turns that were found and
nothing known, with the recording as the setting, and with each speaker that was found as their own, as ``predict
--speakers auto`` judges.  The answer for a clip is the mean over what was judged while it lasts.

``--baselines`` does not tell speakers apart but asks what it would be worth: three speakers of a corpus that the
built-in model never heard, up to 24 clips each, judged against nothing and against what is heard of them.

``--names`` asks how often speakers are named after profiles: of each speaker three clips, neutral where there are, make
the voice print, nine others of any emotion are what a recording has of them.  A speaker is compared with the prints of
five, the own among them, or not: a stranger, who must not be named.

``--moods FILE`` computes the three directions in which voices move with emotions, which telling speakers apart leaves
out: ``src/emovox/speech/speakers/moods.npy``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from conversation import without_knocks
from numpy.typing import NDArray

from emovox import EmotionRecognizer, TimelineOptions, audio
from emovox.audio.preprocess import trim_silence
from emovox.features import sets
from emovox.lab.corpora import registry
from emovox.lab.evaluation import diarization
from emovox.lab.evaluation.metrics import confusion, uar
from emovox.lab.evaluation.paired import bootstrap_difference
from emovox.model import profiles
from emovox.model.file import Model, load
from emovox.model.profiles import Statistics
from emovox.recognition.analysis import turns_of
from emovox.recognition.streaming import StreamingRecognizer
from emovox.speech.diarization import LEAST, DiarizationOptions, diarize, voices
from emovox.testing import FakeRecognizer
from emovox.types import RATE, FeatureSpec, Float32Array, Prediction, Segment, Waveform

#: Corpora scored by default.  Thresholds were chosen on RAVDESS, EmoDB and nEMO; ASED and EmoSpeech chose nothing.
SCORED = ("ased", "nemo", "emospeech")
OPTIONS: dict[str, dict[str, Any]] = {"ravdess": {"kind": "speech"}}
#: Folders that are not called what the corpus is.
FOLDERS = {"emospeech": "emospeech-in"}
#: Corpora that the built-in model was not trained on, and labels that are one in scores.
STRANGE, SAME = ("ased", "emospeech"), {"calm": "neutral"}
#: Names: corpora that chose the threshold, the rest is scored; clips that are enrolled; among how many speakers.
NAMED_ON, ENROLLED, AMONG, MOST_NAMED = ("ravdess", "nemo", "emodb"), 3, 5, 24
#: What the directions that belong to emotions are computed from: corpora and how many clips of each.
MOVED_BY = {"ravdess": 720, "emodb": 400, "nemo": 400}
THRESHOLDS = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
#: Length of a conversation in seconds, conversations of a corpus, share of the speech with two speakers.
LENGTH, COUNT, OVERLAP = 300.0, 8, 0.1
#: What ``--emotions`` measures: whoever says it, then with the right speaker; each without speakers and with them.
EMOTION_ERRORS = (
    *("emotion error, no speakers", "emotion error, speakers found"),
    *("error with the speaker, no speakers", "error with the speaker, speakers found"),
)
#: Conversations as they are judged: with cuts of their own, then with turns that were found, by what is known.
JUDGED = ("no speakers", "turns found", "recording as setting", "speakers found")
APART = TimelineOptions(speakers="auto")
#: Level of the room below the speech, in dB.
ROOM = 45.0


@dataclass(frozen=True)
class Said:
    """A clip in a conversation."""

    start: float
    end: float
    speaker: str
    label: str


@dataclass(frozen=True)
class Conversation:
    """Samples, and who says what how."""

    name: str
    samples: Float32Array
    said: tuple[Said, ...]

    @property
    def turns(self) -> list[diarization.Turn]:
        """Who speaks when."""
        return [(one.start, one.end, one.speaker) for one in self.said]


def clips_of(name: str, root: Path, least: int) -> pd.DataFrame:
    """Return path, speaker and label of the clips of speakers with so many."""
    corpus = registry.load(name, root / FOLDERS.get(name, name), **OPTIONS.get(name, {}))
    table = corpus.table.assign(path=[str(path) for path in corpus.paths()])
    counts = table["speaker"].value_counts()
    return table[table["speaker"].isin(counts[counts >= least].index)]


def conversations(name: str, root: Path, seed: int = 0, count: int = COUNT) -> Iterator[Conversation]:
    """Build conversations of a corpus: of two, three and four speakers in turn."""
    table = clips_of(name, root, 24 if name != "emospeech" else 16)
    speakers = sorted(table["speaker"].unique())
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        some = rng.permutation(speakers)[: 2 + index % 3]
        rows = table[table["speaker"].isin(some)].sample(frac=1, random_state=seed * 1000 + index)
        clips = {str(who): list(zip(own["path"], own["label"], strict=True)) for who, own in rows.groupby("speaker")}
        yield converse(f"{name} {index}: {len(some)} speakers", clips, rng)


def converse(name: str, clips: dict[str, list[tuple[str, str]]], rng: np.random.Generator) -> Conversation:
    """Let speakers talk until the time is over or one of them has said everything."""
    sound = np.zeros(round((LENGTH + 60) * RATE), np.float32)
    said: list[Said] = []
    begin, before, overlapped = round(0.5 * RATE), "", 0.0
    while begin < LENGTH * RATE and all(len(own) >= 3 for own in clips.values()):
        who = str(rng.choice([one for one in clips if one != before]))
        first = begin
        for _ in range(rng.integers(1, 4)):
            path, label = clips[who].pop()
            voice = without_silence(audio.read(path).samples)
            sound[begin : begin + len(voice)] += voice
            said.append(Said(begin / RATE, (begin + len(voice)) / RATE, who, label))
            end = begin + len(voice)
            begin = end + round(rng.uniform(0.15, 0.6) * RATE)
        before = who
        spoken = sum(one.end - one.start for one in said) - overlapped
        if overlapped < OVERLAP * spoken:
            shared = min(rng.uniform(0.4, 2.0), 0.6 * (end - first) / RATE)
            overlapped += shared
            begin = end - round(shared * RATE)
        else:
            begin = end + round(min(2.0, np.exp(rng.normal(np.log(0.35), 0.6))) * RATE)
    sound = sound[: round((said[-1].end + 0.5) * RATE)]
    level = np.sqrt(np.mean(np.square(sound)))
    sound += rng.normal(0, level * 10 ** (-ROOM / 20), len(sound)).astype(np.float32)
    return Conversation(name, sound * np.float32(min(1.0, 0.99 / np.abs(sound).max())), tuple(said))


def without_silence(samples: Float32Array) -> Float32Array:
    """Return the voice of a clip, faded over 10 ms at its ends."""
    voice, _ = trim_silence(samples, 30.0, 0.0)
    first, last = without_knocks(voice)
    voice = voice[first:last].copy()
    fade = np.linspace(0, 1, RATE // 100, dtype=np.float32)
    voice[: len(fade)] *= fade
    voice[-len(fade) :] *= fade[::-1]
    return voice


def emotion_error(one: Conversation, found: Sequence[Prediction], *, attributed: bool) -> float:
    """Return the share of the speaking time that no answer with its emotion, and its speaker if that counts, covers."""
    there = {SAME.get(turn.label, turn.label) for turn in one.said}
    pairs = diarization.mapping(one.turns, [(part.start, part.end, part.speaker or "") for part in found])
    right = 0.0
    for turn in one.said:
        spans = [
            (max(turn.start, part.start), min(turn.end, part.end))
            for part in found
            if (not attributed or pairs.get(part.speaker or "") == turn.speaker)
            and _among(part, there) == SAME.get(turn.label, turn.label)
        ]
        right += covered(spans)
    return 1 - right / sum(turn.end - turn.start for turn in one.said)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of a union of spans; what two of them share counts once, what ends before it begins nothing.

    >>> covered([(0, 2), (1, 3), (5, 4), (6, 7)])
    4
    """
    total, until = 0.0, -np.inf
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, until))
        until = max(until, end)
    return total


def _among(part: Prediction, labels: set[str]) -> str:
    sums = dict.fromkeys(labels, 0.0)
    for label, value in part.probabilities.items():
        if SAME.get(label, label) in sums:
            sums[SAME.get(label, label)] += value
    return max(sums, key=lambda label: sums[label])


def measure(name: str, root: Path, seed: int, count: int, *, streams: bool) -> dict[str, float]:
    """Return errors in percent, and the real-time factor of telling speakers apart."""
    ways = ("recording", "number known", *(["stream"] if streams else []))
    found: dict[str, list[diarization.DiarizationScores]] = {way: [] for way in ways}
    more, seconds, length = [], 0.0, 0.0
    for one in conversations(name, root, seed, count):
        there = len({who for *_, who in one.turns})
        begun = time.process_time()
        turns = diarize([Waveform(one.samples)])
        seconds, length = seconds + time.process_time() - begun, length + len(one.samples) / RATE
        more.append(len({turn.speaker for turn in turns}) - there)
        found["recording"].append(errors(one, turns))
        found["number known"].append(errors(one, diarize([Waveform(one.samples)], DiarizationOptions(count=there))))
        if streams:
            found["stream"].append(errors(one, as_stream(one.samples)))
    total = {way: sum(scores[1:], scores[0]) for way, scores in found.items()}
    whole = total["recording"]
    return {
        "diarization error": 100 * whole.error,
        "missed": 100 * whole.missed / whole.speech,
        "false": 100 * whole.false_alarm / whole.speech,
        "confused": 100 * whole.confusion / whole.speech,
        "with the number known": 100 * total["number known"].error,
        **({"as a stream": 100 * total["stream"].error} if streams else {}),
        "speakers too many": float(np.mean(more)),
        "real-time factor": seconds / length,
    }


def errors(one: Conversation, found: Sequence[Segment | Prediction]) -> diarization.DiarizationScores:
    """Score who was found to speak."""
    return diarization.score(one.turns, [(turn.start, turn.end, turn.speaker or "") for turn in found])


def as_stream(samples: Float32Array) -> list[Prediction]:
    """Tell speakers apart as they are heard, 0.1 s at a time; emotions are made up."""
    stream = StreamingRecognizer(FakeRecognizer(), TimelineOptions(speakers="auto")).open(estimates=False)
    pieces = (samples[at : at + RATE // 10] for at in range(0, len(samples), RATE // 10))
    events = [*(event for piece in pieces for event in stream.push(piece)), *stream.finish()]
    return [event.prediction for event in events if event.kind == "result" and event.prediction]


def measure_emotions(name: str, root: Path, seed: int, count: int) -> dict[str, float]:
    """Return errors of emotions, and UAR over clips by what is known of those who speak, in percent."""
    plain, own = EmotionRecognizer(threshold=0), EmotionRecognizer(threshold=0, setting="auto")
    labels = sorted({SAME.get(label, label) for label in clips_of(name, root, 1)["label"]})
    rows: list[list[float]] = []
    answers: list[list[str]] = []
    scores: list[diarization.DiarizationScores] = []
    for one in conversations(name, root, seed, count):
        sound = one.samples, RATE
        found = turns_of(audio.as_sound(*sound), APART)
        scores.append(errors(one, found))
        with remembering():
            told = plain.timeline(sound, APART, segments=found).predictions
            nothing, recording = (who.timeline(sound, segments=found).predictions for who in (plain, own))
        alone = plain.timeline(sound).predictions
        rows.append([emotion_error(one, way, attributed=who) for who in (False, True) for way in (alone, told)])
        for turn in one.said:
            heard = [said_in(turn, way, labels) for way in (alone, nothing, recording, told)]
            answers.append([turn.speaker, SAME.get(turn.label, turn.label), *heard])
    shares = dict(zip(EMOTION_ERRORS, (100 * np.mean(rows, axis=0)).tolist(), strict=True))
    return {"diarization error": 100 * sum(scores[1:], scores[0]).error} | shares | recalls(answers, labels)


def recalls(answers: Sequence[Sequence[str]], labels: Sequence[str]) -> dict[str, float]:
    """Return the UAR in percent of columns of answers, after speaker and label, and what own baselines gain."""
    who, true, *ways = np.array(answers).T
    classes = [*labels, ""]  # the last one are clips without an answer, which are wrong
    counts = [
        np.stack([confusion(true[who == one], way[who == one], classes) for one in np.unique(who)]) for way in ways
    ]
    result = {f"UAR, {way}": 100 * float(uar(own.sum(axis=0))) for way, own in zip(JUDGED, counts, strict=True)}
    gain = bootstrap_difference(counts[3], counts[1])
    assert gain is not None
    return result | {"gain": 100 * gain.value, "gain at least": 100 * gain.low, "gain at most": 100 * gain.high}


@contextmanager
def remembering() -> Iterator[None]:
    """Compute the features of a window that is judged in several ways once."""
    compute, known = sets.extract, dict[tuple[str, bytes], Float32Array]()

    def extract(waveform: Waveform, spec: FeatureSpec) -> Float32Array:
        key = str(spec), hashlib.blake2b(waveform.samples.tobytes()).digest()
        if key not in known:
            known[key] = compute(waveform, spec)
        return known[key]

    sets.extract = extract
    try:
        yield
    finally:
        sets.extract = compute


def said_in(turn: Said, found: Sequence[Prediction], labels: Sequence[str]) -> str:
    """Return the emotion of what was judged during a clip, weighted by time; nothing where nothing was."""
    sums = dict.fromkeys(labels, 0.0)
    for part in found:
        shared = max(0.0, min(turn.end, part.end) - max(turn.start, part.start))
        for label, value in part.probabilities.items():
            if SAME.get(label, label) in sums:
                sums[SAME.get(label, label)] += shared * value
    return max(labels, key=lambda label: sums[label]) if any(sums.values()) else ""


def measure_baselines(name: str, root: Path, model: Model, speakers: int = 14, clips: int = 24) -> dict[str, float]:
    """Return the UAR in percent of speakers judged against nothing, and against what is heard of them."""
    table = clips_of(name, root, 24 if name == "ased" else 16)
    chosen = np.random.default_rng(0).permutation(sorted(table["speaker"].unique()))[:speakers].tolist()
    rows: list[tuple[str, str, dict[str, Float32Array], Float32Array]] = []
    for who in chosen:
        own = table[table["speaker"] == who].sample(frac=1, random_state=1)[:clips]
        for path, label in zip(own["path"], own["label"], strict=True):
            window = Waveform(without_silence(audio.read(path).samples))
            if window.duration < 0.3:
                continue
            inputs = {key: sets.extract(window, spec)[np.newaxis] for key, spec in model.inputs.items()}
            axes = model.run(inputs).axes
            assert axes is not None
            rows.append((who, SAME.get(label, label), inputs, axes[0]))
    labels = sorted({label for _, label, _, _ in rows})
    axes = np.stack([one for *_, one in rows])
    place = {label: [SAME.get(own, own) == label for own in model.card.labels] for label in labels}

    def uar(baseline: Callable[[list[int], list[int]], Float32Array | None]) -> float:
        """`baseline` takes the clips of three speakers, and those of the speaker before this one and with it."""
        right: dict[str, list[bool]] = {label: [] for label in labels}
        for group in (chosen[at : at + 3] for at in range(0, len(chosen), 3)):
            together = [index for index, row in enumerate(rows) if row[0] in group]
            for index in together:
                own = [other for other in together if rows[other][0] == rows[index][0]]
                found = model.run(rows[index][2], baseline=baseline(together, [index, *own])).probabilities[0]
                best = max(labels, key=lambda label: found[place[label]].sum())
                right[rows[index][1]].append(best == rows[index][1])
        return 100 * float(np.mean([np.mean(one) for one in right.values()]))

    def heard(some: list[int]) -> Statistics | None:
        return Statistics.of(axes[some]) if len(some) >= 3 else None

    return {
        "nothing": uar(lambda together, own: None),
        "recording as setting": uar(lambda together, own: profiles.baseline(model, heard(together))),
        "speaker as setting": uar(lambda together, own: profiles.baseline(model, heard(own[1:]))),
        "speaker as speaker": uar(lambda together, own: profiles.baseline(model, None, heard(own[1:]))),
        "so far": uar(lambda together, own: profiles.baseline(model, heard([one for one in own[1:] if one < own[0]]))),
    }


def moods(root: Path) -> Float32Array:
    """Return the directions, shape (3, 192), in which voices move most with emotions: of means less the speaker's."""
    moved: list[Float32Array] = []
    for name, most in MOVED_BY.items():
        table = clips_of(name, root, 1)
        table = table.sample(min(most, len(table)), random_state=0)
        sounds = [without_silence(audio.read(path).samples)[: 5 * RATE // 2] for path in table["path"]]
        table = table[[len(one) >= RATE // 2 for one in sounds]].reset_index(drop=True)
        heard = np.stack([voices(one, [(0, len(one))])[0] for one in sounds if len(one) >= RATE // 2])
        for _, own in table.groupby("speaker"):
            mean = heard[own.index].mean(axis=0)
            moved += [heard[said.index].mean(axis=0) - mean for _, said in own.groupby("label")]
    found: Float32Array = np.linalg.svd(np.stack(moved), full_matrices=False)[2][:3].astype(np.float32)
    return found


def measure_names(name: str, root: Path, clips: int = 12) -> dict[str, float]:
    """Return, in percent and by threshold, how often a speaker is named who must not, wrongly, or not at all."""
    table = clips_of(name, root, clips)
    prints: list[Float32Array] = []
    heard: list[Float32Array] = []
    for who in np.random.default_rng(0).permutation(sorted(table["speaker"].unique()))[:MOST_NAMED]:
        own = table[table["speaker"] == who].sample(frac=1, random_state=1)
        calm = own["label"].isin(("neutral", "calm"))
        own = pd.concat([own[calm][:ENROLLED], own[~calm], own[calm][ENROLLED:]])[:clips]
        sounds = [without_silence(audio.read(path).samples) for path in own["path"]]
        sounds = [one for one in sounds if len(one) >= LEAST]
        own_voices = np.stack([voices(one, [(0, len(one))])[0] * len(one) for one in sounds])
        for kept, some in ((prints, own_voices[:ENROLLED]), (heard, own_voices[ENROLLED:])):
            total = some.sum(axis=0)
            kept.append(total / np.linalg.norm(total))
    return naming(np.stack(heard) @ np.stack(prints).T)


def naming(similar: NDArray[np.float32], draws: int = 50) -> dict[str, float]:
    """Score names of speakers (rows) among those enrolled (columns); each is drawn among five, and as a stranger."""
    rng, count = np.random.default_rng(0), len(similar)
    known, own, stranger = [], [], []
    for who in range(count):
        others = np.delete(np.arange(count), who)
        for _ in range(draws):
            some = rng.permutation(others)[:AMONG]
            stranger.append(similar[who, some].max())
            known.append(similar[who, some[: AMONG - 1]].max(initial=-1.0))
            own.append(similar[who, who])
    other, right, false = np.array(known), np.array(own), np.array(stranger)
    found = {}
    for least in THRESHOLDS:
        found[f"strangers named at {least}"] = 100 * float((false >= least).mean())
        found[f"wrong names at {least}"] = 100 * float(((other >= least) & (other > right)).mean())
        found[f"no names at {least}"] = 100 * float((np.maximum(other, right) < least).mean())
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=None, metavar="NAME")
    parser.add_argument("--count", type=int, default=COUNT, help="conversations of a corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--streams", action="store_true", help="the error where nothing is changed later, too")
    parser.add_argument("--emotions", action="store_true", help="errors of emotions, and their UAR")
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--names", action="store_true", help="how often speakers who are enrolled are named")
    parser.add_argument(
        "--moods", type=Path, metavar="FILE", help="write the directions that belong to emotions, no more"
    )
    parser.add_argument("--json", type=Path, help="write the numbers here")
    given = parser.parse_args()
    if given.moods:
        np.save(given.moods, moods(given.corpora))
        return
    result: dict[str, dict[str, float]] = {}
    names = (*NAMED_ON, "ased", "emospeech", "tess") if given.names else STRANGE if given.baselines else SCORED
    for name in given.only or names:
        if given.names:
            result[name] = measure_names(name, given.corpora)
        elif given.baselines:
            result[name] = measure_baselines(name, given.corpora, load(None))
        elif given.emotions:
            result[name] = measure_emotions(name, given.corpora, given.seed, given.count)
        else:
            result[name] = measure(name, given.corpora, given.seed, given.count, streams=given.streams)
        print(name + ": " + ", ".join(f"{key} {value:.3g}" for key, value in result[name].items()), flush=True)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
