"""Costs of streams and long recordings: latency of events, concurrent streams, real-time factor, memory.

    python benchmarks/live.py CLIP... [--minutes 120] [--hours 0] [--json live.json]

The clips are concatenated, with 0.7 s of quiet noise between them.  All times are processor time of this process, which
equals wall-clock time on an idle core and does not depend on other load.  The number of concurrent streams on two cores
is computed from the processor time of one stream.  --hours sends that much audio through one stream and compares the
memory with that after one minute.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from emovox import EmotionRecognizer, StreamingRecognizer, audio
from emovox.types import RATE, Float32Array

#: Block size of a microphone, in samples.
PIECE = RATE // 10


def strung(clips: list[Path]) -> Float32Array:
    """Concatenate clips, with pauses of quiet noise."""
    rng = np.random.default_rng(0)
    parts: list[Float32Array] = []
    for clip in clips:
        parts += [audio.read(clip).samples, (1e-4 * rng.standard_normal(round(0.7 * RATE))).astype(np.float32)]
    return np.concatenate(parts)


def endless(sound: Float32Array, seconds: float) -> Iterator[Float32Array]:
    """Repeat a waveform for some seconds, in blocks of one second."""
    for begin in range(0, round(seconds * RATE), RATE):
        yield np.take(sound, np.arange(begin, begin + RATE), mode="wrap")


def memory() -> float:
    """Return the resident memory in MB (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


def one_stream(streams: StreamingRecognizer, sound: Float32Array) -> dict[str, Any]:
    """Measure the time per event, and the total cost of a stream."""
    stream = streams.open()
    times: dict[str, list[float]] = {"estimate": [], "result": []}
    began = time.process_time()
    for begin in range(0, len(sound), PIECE):
        before = time.process_time()
        events = stream.push(sound[begin : begin + PIECE])
        spent = time.process_time() - before
        for kind in {event.kind for event in events} & times.keys():
            times[kind].append(spent)
    cost = (time.process_time() - began) / (len(sound) / RATE)
    return {
        "ms to an event": {
            kind: {"median": 1e3 * float(np.median(some)), "95 %": 1e3 * float(np.percentile(some, 95))}
            for kind, some in times.items()
        },
        "processor time of a stream, of real time": cost,
        "streams on two cores": int(2 / cost),
    }


def long_file(recognizer: EmotionRecognizer, sound: Float32Array, minutes: float) -> dict[str, Any]:
    """Measure the timeline of a long file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for piece in endless(sound, 60 * minutes):
                file.write(piece)
        began = time.process_time()
        timeline = recognizer.timeline(path)
        spent = time.process_time() - began
    return {
        "minutes": minutes,
        "real-time factor": spent / timeline.duration,
        "segments": len(timeline.predictions),
        "MB resident at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def long_stream(streams: StreamingRecognizer, sound: Float32Array, hours: float) -> dict[str, float]:
    """Send hours of audio through one stream, faster than real time."""
    stream = streams.open(estimates=False)
    began, after_minute = time.perf_counter(), 0.0
    for second, piece in enumerate(endless(sound, 3600 * hours)):
        stream.push(piece)
        if second == 60:
            after_minute = memory()
    stream.finish()
    spent = time.perf_counter() - began
    return {"hours": hours, "MB after a minute": after_minute, "MB at the end": memory(), "seconds": spent}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", help="recordings of speech")
    parser.add_argument("--minutes", type=float, default=120, help="length of the long file; 0 leaves it out")
    parser.add_argument("--hours", type=float, default=0, help="length of the long stream; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    given = parser.parse_args()
    recognizer = EmotionRecognizer()
    streams = StreamingRecognizer(recognizer)
    sound = strung(given.clips)
    result: dict[str, Any] = {"one stream": one_stream(streams, sound)}
    if given.hours:
        result["long stream"] = long_stream(streams, sound, given.hours)
    if given.minutes:
        result["long file"] = long_file(recognizer, sound, given.minutes)
    text = json.dumps(result, indent=1)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
