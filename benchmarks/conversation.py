"""Accuracy of timelines of two-person conversations, for speakers outside the training set.

    emovox train RECIPE --corpus ravdess=DIR --keep-folds --out RUN
    python benchmarks/conversation.py RUN --corpus ravdess=DIR [--only FOLD] [--json conversation.json]
    python benchmarks/conversation.py --vad --corpus ravdess=DIR [--actors 1-12]

A conversation consists of turns of two actors, a man and a woman: their clips in random order, each with 0.25 to 1 s of
its own background on both sides, so that turns are 0.5 to 2 s apart.  The reference, fixed before any measurement: a
turn lasts from the first to the last 20 ms whose level is within 30 dB of the loudest 20 ms of the clip.  This is the
rule by which the models trim silence, and close to active speech in ITU-T P.56 (15.9 dB below the active level, which
is about 13 dB below the loudest 20 ms).  A turn is speech from beginning to end, pauses included.

With --vad only voice activity is measured, without a model, against two references: this one, and one without clicks,
which is fairer and was defined after looking at results of the first.  In the second, a turn does not begin or end with
a click: less than 0.1 s of sound (a smack of the lips, a rustle) that 0.2 s or more of silence separate from the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from robustness import Fold, read_folds

from emovox import EmotionRecognizer, audio
from emovox.audio.preprocess import trim_silence
from emovox.errors import EmovoxError, InputError
from emovox.lab.commands.options import named_folders
from emovox.lab.corpora import registry
from emovox.lab.evaluation.timelines import TimelineScores, Turn, boundary_errors, score, total
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import TimelineOptions
from emovox.speech.vad import VadOptions, segments
from emovox.types import RATE, Float32Array, Waveform

#: Silence in the reference: level below the loudest 20 ms of a clip, in dB.
SILENCE = 30.0
#: Longest click, and shortest silence that separates it from the voice, in seconds.
KNOCK, APART = 0.1, 0.2
#: Background kept on both sides of a turn, in seconds.
ROOM = (0.25, 1.0)
#: Largest number of turns in a conversation.
TURNS = 60
#: Collar around reference boundaries, in seconds.
COLLAR = 0.25


@dataclass(frozen=True)
class Clip:
    """A clip of a corpus, with speaker and emotion."""

    path: Path
    speaker: str
    label: str


@dataclass(frozen=True)
class Conversation:
    """A waveform and its reference turns."""

    name: str
    samples: Float32Array
    turns: tuple[Turn, ...]
    voices: tuple[Turn, ...]  # the turns without knocks

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE


def converse(name: str, clips: Sequence[Clip], rng: np.random.Generator) -> Conversation:
    """Build a conversation of clips."""
    parts: list[Float32Array] = []
    turns: list[Turn] = []
    voices: list[Turn] = []
    time = 0
    for clip in clips:
        samples = audio.read(clip.path).samples
        voice, begin = trim_silence(samples, SILENCE, 0.0)
        before, after = (rng.uniform(*ROOM, 2) * RATE).astype(int)
        first, last = max(0, begin - before), min(len(samples), begin + len(voice) + after)
        parts.append(samples[first:last])
        start = (time + begin - first) / RATE
        turns.append(Turn(start, start + len(voice) / RATE, clip.label))
        opening, closing = without_knocks(voice)
        voices.append(Turn(start + opening / RATE, start + closing / RATE, clip.label))
        time += last - first
    return Conversation(name, np.concatenate(parts), tuple(turns), tuple(voices))


def without_knocks(turn: Float32Array) -> tuple[int, int]:
    """Return the first and last sample of the voice in a turn, without clicks at its ends."""
    hop = RATE // 100
    steps = np.square(turn[: len(turn) // hop * hop].reshape(-1, hop)).sum(axis=1)
    frames = steps[:-1] + steps[1:]
    loud = np.flatnonzero(frames > frames.max() * 10 ** (-SILENCE / 10))
    runs = np.split(loud, np.flatnonzero(np.diff(loud) * hop > APART * RATE) + 1)
    long = [run for run in runs if len(run) * hop >= KNOCK * RATE]
    return (int(long[0][0]) * hop, min(len(turn), int(long[-1][-1] + 2) * hop)) if long else (0, len(turn))


def conversations(clips: Sequence[Clip], seed: int) -> Iterator[Conversation]:
    """Pair speakers with odd and even numbers: men and women in RAVDESS."""
    speakers = sorted({clip.speaker for clip in clips})
    men, women = speakers[0::2], speakers[1::2]
    for index, man in enumerate(men):
        pair = (man, women[index % len(women)]) if women else (man,)
        rng = np.random.default_rng([seed, index])
        some = [clip for clip in clips if clip.speaker in pair]
        yield converse(" and ".join(pair), [some[i] for i in rng.permutation(len(some))[:TURNS]], rng)


def of_fold(fold: Fold) -> list[Clip]:
    """Return the test clips of a fold."""
    rows = zip(fold.clips["path"], fold.clips["speaker"], fold.clips["label"], strict=True)
    return [Clip(path, speaker, label) for path, speaker, label in rows]


def of_actors(root: Path, actors: Sequence[str]) -> list[Clip]:
    """Return the speech clips of some actors."""
    corpus = registry.load("ravdess", root, kind="speech")
    rows = zip(corpus.paths(), corpus.table["speaker"], corpus.table["label"], strict=True)
    return [Clip(path, speaker, label) for path, speaker, label in rows if speaker.rpartition("/")[2] in actors]


@dataclass
class Tally:
    """Accumulated scores of conversations, without and with a collar, and boundary errors."""

    strict: list[TimelineScores]
    lenient: list[TimelineScores]
    boundaries: list[Any]

    @classmethod
    def empty(cls) -> Tally:
        """Return an empty accumulator."""
        return cls([], [], [])

    def add(self, one: Conversation, found: Sequence[Any]) -> None:
        """Score one conversation."""
        self.strict.append(score(one.turns, found, one.duration))
        self.lenient.append(score(one.turns, found, one.duration, collar=COLLAR))
        self.boundaries.append(boundary_errors(one.turns, found))

    def summary(self) -> dict[str, Any]:
        """Return the reported scores."""
        distances = np.concatenate(self.boundaries)
        result: dict[str, Any] = {}
        for name, scores in (("strict", total(self.strict)), (f"collar {COLLAR} s", total(self.lenient))):
            result[name] = {
                "missed": scores.missed_rate,
                "false": scores.false_rate,
                "confusion": scores.confusion_rate,
                "segment error": scores.segment_error,
                "diarization error": scores.diarization_error,
                "EDER (SpeechBrain)": scores.emotion_diarization_error,
            }
        result["boundaries within"] = {f"{limit} s": float((distances <= limit).mean()) for limit in (0.05, 0.1, 0.25)}
        result["seconds"] = asdict(total(self.strict))
        return result


def show(name: str, summary: dict[str, Any]) -> None:
    """Print a result."""
    print(name)
    for part in ("strict", f"collar {COLLAR} s", "boundaries within"):
        print(f"  {part}: " + ", ".join(f"{key} {value:.1%}" for key, value in summary[part].items()))


def measure_activity(clips: Sequence[Clip], options: VadOptions, seed: int) -> dict[str, Any]:
    """Measure voice activity alone, against both references."""
    tallies = {"voice activity": Tally.empty(), "voice activity, turns without knocks": Tally.empty()}
    for one in conversations(clips, seed):
        found = [Turn(part.start, part.end, "speech") for part in segments(Waveform(one.samples), options)]
        for tally, turns in zip(tallies.values(), (one.turns, one.voices), strict=True):
            speech = tuple(Turn(turn.start, turn.end, "speech") for turn in turns)
            tally.add(replace(one, turns=speech), found)
    return {name: tally.summary() for name, tally in tallies.items()}


def measure_emotion(folds: Sequence[Fold], ways: dict[str, TimelineOptions], seed: int) -> dict[str, Any]:
    """Measure timelines of all kinds; labels are scored even if the model abstains."""
    tallies = {name: Tally.empty() for name in ways}
    for fold in folds:
        recognizer = EmotionRecognizer(fold.model)
        for one in conversations(of_fold(fold), seed):
            for name, options in ways.items():
                timeline = StreamingRecognizer(recognizer, options).timeline([Waveform(one.samples)], one.name)
                tallies[name].add(one, timeline.predictions)
    return {name: tally.summary() for name, tally in tallies.items()}


def ways() -> dict[str, TimelineOptions]:
    """Return the timeline options to compare."""
    return {
        "utterances": TimelineOptions(),
        "intervals of 1 s, windows of 2 s": TimelineOptions("interval", window=2.0),
        "intervals of 1 s, windows of 3 s, smoothed 1 s": TimelineOptions("interval", window=3.0, smoothing=1.0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="run folder that `emovox train --keep-folds` wrote")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--folds", type=Path, help="where the folds' models are (RUN/folds)")
    parser.add_argument("--only", action="append", default=[], metavar="FOLD", help="measure this fold; repeatable")
    parser.add_argument("--vad", action="store_true", help="voice activity alone, without a run")
    parser.add_argument("--actors", default="1-24", metavar="FIRST-LAST", help="whose clips, with --vad")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    given = parser.parse_args()
    try:
        roots = named_folders(given.corpus)
        if given.vad:
            first, last = map(int, given.actors.split("-"))
            clips = of_actors(roots["ravdess"], [f"{actor:02d}" for actor in range(first, last + 1)])
            result = measure_activity(clips, TimelineOptions().vad, given.seed)
        elif given.run is None:
            raise InputError("no run is given: name its folder, or measure voice activity alone with --vad")
        else:
            folds = read_folds(given.run, given.folds or given.run / "folds", roots, given.only)
            result = measure_emotion(folds, ways(), given.seed)
    except EmovoxError as error:
        print(f"conversation.py: {error}", file=sys.stderr)
        return 2
    for name, summary in result.items():
        show(name, summary)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
