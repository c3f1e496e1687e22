"""Write what emovox says of recordings, for the tests that hold the browser's answers to it.

    python scripts/browser_reference.py FOLDER RECORDING... [--whole RATE...]

Into the folder goes each recording as WAV, in turn at each of the rates that recordings come at, and
``reference.jsonl``: ways to cut a timeline and what is learnt of all recordings together, then one line a recording.
With --whole, the rates are those given, and a line holds the judgement of the whole recording alone and, as ``heard``,
the samples at 16 kHz that it was made of.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from emovox import audio
from emovox.errors import EmovoxError
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import TimelineOptions
from emovox.speech.vad import speech_probability
from emovox.types import RATE

#: Sampling rates in Hz; None keeps that of the recording.
RATES = (None, 48000, None, 44100, None, 22050, None, 24414, None, 8000)
#: Ways to cut a timeline, by name.
CUTS: dict[str, dict[str, Any]] = {
    "utterance": {},
    "interval": {"mode": "interval", "window": 3.0, "hop": 1.0, "smoothing": 1.0},
    "tidied": {"window": 2.0, "merge": 0.5, "min_segment": 0.6},
}
#: Samples that a stream takes at a time.
PIECE = 1600


def stored(recording: str, number: int, folder: Path, rates: Sequence[int | None] = RATES) -> str:
    """Write a recording as WAV, and return its path."""
    samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    wanted = rates[number % len(rates)] or rate
    path = folder / f"{number:03d}.wav"
    soundfile.write(path, soxr.resample(samples, rate, wanted), wanted, subtype="FLOAT")
    return str(path)


def reference(recognizer: EmotionRecognizer, path: str, recording: str) -> dict[str, Any]:
    """Return what is compared of one recording."""
    samples = audio.read(path).samples
    try:
        whole: dict[str, Any] = recognizer.predict(path).to_dict()
    except EmovoxError as error:
        whole = {"error": type(error).__name__}
    cuts = {name: recognizer.timeline(path, TimelineOptions(**options)).to_dict() for name, options in CUTS.items()}
    stream = StreamingRecognizer(recognizer).open(path)
    events = [event for at in range(0, len(samples), PIECE) for event in stream.push(samples[at : at + PIECE])]
    return {
        "file": path,
        "recording": Path(recording).name,
        "samples": len(samples),
        "gate": speech_probability(audio.read(path)),
        "predict": whole,
        "timelines": cuts,
        "events": [event.to_dict() for event in events + stream.finish()],
    }


def judged(recognizer: EmotionRecognizer, path: str, recording: str) -> dict[str, Any]:
    """Return the judgement of a recording as a whole, and write what it was made of."""
    heard = str(Path(path).with_suffix(".heard.wav"))
    soundfile.write(heard, audio.read(path).samples, RATE, subtype="FLOAT")
    try:
        whole = recognizer.predict(path).to_dict()
    except EmovoxError:  # nobody speaks
        whole = None
    return {"file": path, "recording": Path(recording).name, "heard": heard, "predict": whole}


def learnt(recognizer: EmotionRecognizer, paths: list[str], folder: Path) -> dict[str, Any]:
    """Return what recordings say of their setting: as a profile, and as parts of one recording that is its own."""
    profile = recognizer.adapt("room", paths)
    speaker = recognizer.enroll("anna", paths[:1], voice=False, neutral=True)
    pause = np.zeros(RATE, dtype=np.float32)
    whole = str(folder / "whole.wav")
    sound = np.concatenate([part for path in paths for part in (audio.read(path).samples, pause)])
    soundfile.write(whole, sound, RATE, subtype="FLOAT")
    told = [EmotionRecognizer(speaker=speaker, setting=one) for one in (None, profile)]
    alone = EmotionRecognizer(setting="auto")
    stream = StreamingRecognizer(alone).open(whole)
    events = stream.push(sound) + stream.finish()
    return {
        "profile": dataclasses.asdict(profile),
        "known": EmotionRecognizer(setting=profile).predict(paths[0]).to_dict(),
        "speaker": dataclasses.asdict(speaker),
        "neutral": [known.predict(paths[-1]).to_dict() for known in told],
        "file": whole,
        "auto": alone.timeline(whole).to_dict()["predictions"],
        "adapting": [one.prediction.to_dict() for one in events if one.kind == "result" and one.prediction],
    }


def main() -> None:
    """Write recordings and reference into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--whole", nargs="+", type=int, metavar="RATE")
    given = parser.parse_args()
    recognizer = EmotionRecognizer()
    rates: Sequence[int | None] = given.whole or RATES
    paths = [stored(recording, number, given.folder, rates) for number, recording in enumerate(given.recordings)]
    first: dict[str, Any] = {"cuts": CUTS}
    if not given.whole:
        with contextlib.suppress(EmovoxError):  # too few, or nobody speaks in one
            first["learnt"] = learnt(recognizer, paths, given.folder)
    with (given.folder / "reference.jsonl").open("w", encoding="utf-8") as file:
        print(json.dumps(first), file=file)
        for path, recording in zip(paths, given.recordings, strict=True):
            print(json.dumps((judged if given.whole else reference)(recognizer, path, recording)), file=file)


if __name__ == "__main__":
    main()
