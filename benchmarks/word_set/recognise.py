"""Add recognised transcripts of the development sentences to the training sentences of fusion.

    python benchmarks/word_set/speak.py DEV --set development
    python benchmarks/word_set/recognise.py DEV --asr tiny.en

Each sentence is recognised once, from its clip in a neutral voice.  The transcript, with errors and confidence, becomes
a row of ``src/emovox/lab/experiments/sentences.csv`` after the written sentences, so that the fusion gate can learn
from the confidence.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from emovox import audio
from emovox.errors import EmovoxError
from emovox.outputs.console import progress_bars
from emovox.text.transcribe import CachedTranscriber, WhisperTranscriber, transcribe

SENTENCES = Path(__file__).parents[2] / "src" / "emovox" / "lab" / "experiments" / "sentences.csv"
CELLS = ("voice neutral", "both neutral")


def rows(folder: Path, asr: str) -> list[list[str]]:
    """Recognise the clips in a neutral voice; return label, confidence and text of each with words."""
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        clips = [row for row in csv.DictReader(file) if row["cell"] in CELLS]
    transcriber = CachedTranscriber(WhisperTranscriber(asr))
    found = []
    with progress_bars() as progress:
        for number, clip in enumerate(clips):
            heard = transcribe(audio.blocks(folder / clip["file"]), transcriber)
            if heard.text:
                found.append([clip["label_words"], f"{heard.confidence:.2f}", heard.text])
            progress("transcripts", number + 1, len(clips))
    return found


def main() -> int:
    """Rewrite the file: written sentences, then recognised ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder that speak.py --set development wrote")
    parser.add_argument("--asr", default="tiny.en", help="Whisper model")
    parser.add_argument("--out", type=Path, default=SENTENCES)
    arguments = parser.parse_args()
    try:
        recognised = rows(arguments.folder, arguments.asr)
    except (EmovoxError, OSError) as error:
        print(f"recognise: {error}", file=sys.stderr)
        return 2
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        header, *given = csv.reader(file)
    written = [row for row in given if float(row[1]) == 1]
    partial = arguments.out.with_suffix(".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *written, *recognised])
    partial.replace(arguments.out)
    print(f"{len(written)} written and {len(recognised)} recognised sentences, {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
