"""Write what emovox says of recordings, for the tests that hold the browser's answers to it.

    python scripts/browser_reference.py FOLDER RECORDING...

Into the folder goes each recording as WAV, in turn at each of the rates that recordings come at, and
``reference.jsonl``: ways to cut a timeline and what is learnt of all recordings together, then one line a recording.
"""

from __future__ import annotations

import dataclasses
import json
import sys
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
from emovox.speech.gate import speech_probability
from emovox.types import RATE

#: Sampling rates in Hz; None keeps that of the recording.
RATES = (None, 48000, None, 44100, None, 24414, None, 8000)
#: Ways to cut a timeline, by name.
CUTS: dict[str, dict[str, Any]] = {
    "utterance": {},
    "interval": {"mode": "interval", "window": 3.0, "hop": 1.0, "smoothing": 1.0},
    "tidied": {"window": 2.0, "merge": 0.5, "min_segment": 0.6},
}
#: Samples that a stream takes at a time.
PIECE = 1600


def stored(recording: str, number: int, folder: Path) -> str:
    """Write a recording as WAV, and return its path."""
    samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    wanted = RATES[number % len(RATES)] or rate
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


def learnt(recognizer: EmotionRecognizer, paths: list[str], folder: Path) -> dict[str, Any]:
    """Return what recordings say of their setting: as a profile, and as parts of one recording that is its own."""
    profile = recognizer.adapt("room", paths)
    pause = np.zeros(RATE, dtype=np.float32)
    whole = str(folder / "whole.wav")
    sound = np.concatenate([part for path in paths for part in (audio.read(path).samples, pause)])
    soundfile.write(whole, sound, RATE, subtype="FLOAT")
    alone = EmotionRecognizer(setting="auto")
    stream = StreamingRecognizer(alone).open(whole)
    events = stream.push(sound) + stream.finish()
    return {
        "profile": dataclasses.asdict(profile),
        "known": EmotionRecognizer(setting=profile).predict(paths[0]).to_dict(),
        "file": whole,
        "auto": alone.timeline(whole).to_dict()["predictions"],
        "adapting": [one.prediction.to_dict() for one in events if one.kind == "result" and one.prediction],
    }


def main(folder: Path, recordings: list[str]) -> None:
    """Write recordings and reference into a folder."""
    recognizer = EmotionRecognizer()
    paths = [stored(recording, number, folder) for number, recording in enumerate(recordings)]
    try:
        first = {"cuts": CUTS, "learnt": learnt(recognizer, paths, folder)}
    except EmovoxError:  # too few, or nobody speaks in one
        first = {"cuts": CUTS}
    with (folder / "reference.jsonl").open("w", encoding="utf-8") as file:
        print(json.dumps(first), file=file)
        for path, recording in zip(paths, recordings, strict=True):
            print(json.dumps(reference(recognizer, path, recording)), file=file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
