"""Accuracy, speed and memory of transcription.

    python benchmarks/transcription.py --ravdess DIR [--asr MODEL] [--threads 2] [--every]

48 clips of RAVDESS are selected by a rule: two per actor, one of each sentence, each emotion three times per sentence.
Sentence s of actor a has emotion (a + 4 s) mod 8, the first repetition, strong if a + s is odd.  A transcript is exact
if it has exactly the words of the sentence; case and punctuation are ignored.  No parameter was tuned on these clips.
Memory is the peak resident set size of a process that recognises one clip, with and without words.

``--every`` counts the exact transcripts of all 1440 clips instead, and of those that are not among the 48.  Cached
transcripts are used, so nothing is timed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from rich.progress import track

from emovox import audio
from emovox.text.transcribe import CachedTranscriber, Transcriber, WhisperTranscriber, transcribe

SENTENCES = {1: "kids are talking by the door", 2: "dogs are sitting by the door"}
MEASURE = """
import resource, sys
from emovox import EmotionRecognizer
from emovox.text.transcribe import WhisperTranscriber
transcriber = WhisperTranscriber(sys.argv[2], "en") if len(sys.argv) > 2 else None
found = EmotionRecognizer(transcriber=transcriber).predict(sys.argv[1])
assert bool(found.transcript) == (transcriber is not None), found.why
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


def clips(folder: Path) -> list[tuple[Path, str]]:
    """Return the selected clips and their sentences."""
    found = []
    for actor in range(1, 25):
        for sentence, text in SENTENCES.items():
            emotion = 1 + (actor + 4 * sentence) % 8
            intensity = 1 if emotion == 1 else 1 + (actor + sentence) % 2
            name = f"03-01-{emotion:02d}-{intensity:02d}-{sentence:02d}-01-{actor:02d}"
            (path,) = (folder / f"Actor_{actor:02d}").glob(f"{name}.*")
            found.append((path, text))
    return found


def every(folder: Path) -> list[tuple[Path, str]]:
    """Return all speech clips and their sentences."""
    paths = sorted(folder.glob("Actor_*/03-01-*"))
    return [(path, SENTENCES[int(path.name.split("-")[4])]) for path in paths]


def is_exact(found: str, sentence: str) -> bool:
    return " ".join(re.findall(r"[a-z']+", found.lower())) == sentence


def count_exact(folder: Path, transcriber: Transcriber) -> None:
    """Count the exact transcripts of all clips."""
    chosen, cached = {path for path, _ in clips(folder)}, CachedTranscriber(transcriber)
    exact: dict[bool, list[bool]] = {True: [], False: []}
    for path, sentence in track(every(folder), "listening"):
        exact[path in chosen].append(is_exact(transcribe(audio.read(path), cached).text, sentence))
    for name, right in (("the 48", exact[True]), ("the others", exact[False]), ("all", exact[True] + exact[False])):
        print(f"| {name} | {sum(right)} of {len(right)}, {sum(right) / len(right):.1%} |")


def megabytes(clip: Path, *model: str) -> float:
    """Return the peak resident set size of a process that recognises a clip, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(clip), *model], capture_output=True, encoding="utf-8", check=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ravdess", type=Path, required=True)
    parser.add_argument("--asr", help="as for emovox predict; the default is EMOVOX_ASR, else tiny.en")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", action="store_true", help="count the exact transcripts of all clips")
    arguments = parser.parse_args()
    transcriber = WhisperTranscriber(arguments.asr, "en", arguments.threads)
    if arguments.every:
        count_exact(arguments.ravdess, transcriber)
        return
    chosen = clips(arguments.ravdess)
    # First, because a process begins with the resident set of the one that starts it.
    plain, words = megabytes(chosen[0][0]), megabytes(chosen[0][0], str(transcriber.folder))
    transcribe(audio.read(chosen[0][0]), transcriber)  # loads the model
    exact, seconds, wall, busy = 0, 0.0, 0.0, 0.0
    for path, sentence in chosen:
        waveform = audio.read(path)
        begin, begin_busy = time.perf_counter(), time.process_time()
        found = transcribe(waveform, transcriber)
        wall += time.perf_counter() - begin
        busy += time.process_time() - begin_busy
        seconds += waveform.duration
        right = is_exact(found.text, sentence)
        exact += right
        if not right:
            print(f"{path.name}: {found.text!r} ({found.confidence:.2f})", flush=True)
    print(f"| sentence-exact | {exact} of {len(chosen)}, {exact / len(chosen):.1%} |")
    processor = f"processor time {busy / seconds:.3f}; load of the machine {os.getloadavg()[0]:.1f}"
    print(f"| real-time factor | {wall / seconds:.3f} ({processor}) |")
    print(f"| memory | {plain:.0f} MB without words, {words:.0f} MB with, {words - plain:.0f} MB more |")


if __name__ == "__main__":
    main()
