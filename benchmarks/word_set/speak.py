"""Generate the word test set: emotional sentences spoken by synthetic voices of the same or another emotion.

    apt-get install espeak-ng flite
    python benchmarks/word_set/speak.py OUT [--set test|development] [--limit N]

OUT receives one WAV file per clip and ``manifest.csv`` with the columns file, label_words, label_voice, cell, speaker,
text.  The same command with the same versions of the two programs writes the same bytes.

The test set has the 320 sentences of ``sentences.csv``, forty per class.  Each emotional sentence is spoken three
times: in the voice of its own emotion (cell *agree*), in a neutral voice (*voice neutral*) and in the voice of another
emotion in rotation (*disagree*).  Each neutral sentence is spoken in a neutral voice (*both neutral*) and in those of
the seven emotions (*words neutral*).  Four speakers alternate.  The development set is built in the same way from the
training sentences of fusion in emovox, with four other speakers.

The emotion of a voice is a setting of the synthesiser (:data:`SETTINGS`): tempo, pitch, pitch range, level,
spectral tilt and tremor, in the directions that the literature on vocal expression reports (K. Scherer, "Vocal
communication of emotion", Speech Communication 40, 2003, table 2).  It was not rated by listeners.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
import soundfile
from joblib import Parallel, delayed
from numpy.typing import NDArray

from emovox.errors import InputError
from emovox.types import COMMON


@dataclass(frozen=True)
class Voice:
    """A synthetic voice.

    Attributes
    ----------
    program : {"espeak-ng", "flite"}
        Synthesiser.
    name : str
        Name of the voice in the program.
    mean, spread : float
        Mean and standard deviation of its pitch in Hz, for flite, which needs absolute values.
    """

    program: str
    name: str
    mean: float = 0.0
    spread: float = 0.0


#: Two men and two women, in the other set three men and a woman; the sets share no voice.  They were selected by the
#: word error rate of a speech recogniser on the development sentences, before any measurement on the test set.
SPEAKERS = {
    "test": {
        "m1": Voice("espeak-ng", "en-us+m3"),
        "f1": Voice("espeak-ng", "en-us+f2"),
        "m2": Voice("flite", "awb", 129, 12),
        "f2": Voice("flite", "slt", 170, 13),
    },
    "development": {
        "m3": Voice("espeak-ng", "en-us+m1"),
        "f3": Voice("espeak-ng", "en-us+f3"),
        "m4": Voice("flite", "rms", 97, 12),
        "m5": Voice("flite", "kal16", 90, 10),
    },
}
NEUTRAL = "neutral"
#: Step of the pitch option of espeak-ng in semitones; 50 is the pitch of the voice.
SEMITONES = 0.18
#: Size of the WAV header that both programs write, in bytes.
HEADER = 44
COLUMNS = ("file", "label_words", "label_voice", "cell", "speaker", "text")


@dataclass(frozen=True)
class Setting:
    """Prosodic setting of a voice for an emotion.

    Attributes
    ----------
    rate : int
        Words per minute.
    pitch : float
        Shift of the mean pitch in semitones.  (Not applied to ``rms`` of flite.)
    range : int
        Pitch range in percent of that of the voice.
    level : float
        Level in dB; 0 is a peak 3 dB below full scale.
    tilt : float
        Spectral tilt added above 500 Hz, up to 4 kHz, in dB per octave.
    tremor : float
        Depth of a 6 Hz modulation of the level, 0 to 1.
    """

    rate: int
    pitch: float
    range: int
    level: float
    tilt: float = 0.0
    tremor: float = 0.0


SETTINGS = {
    "neutral": Setting(160, 0, 100, -10),
    "calm": Setting(130, -1.5, 70, -14, tilt=-2),
    "happy": Setting(185, 3, 180, -6, tilt=2),
    "sad": Setting(120, -2, 40, -16, tilt=-4),
    "angry": Setting(190, 1.5, 150, 0, tilt=4),
    "fearful": Setting(205, 5.5, 120, -10, tilt=1, tremor=0.4),
    "disgust": Setting(140, -2.5, 120, -8, tilt=-1),
    "surprised": Setting(180, 5.5, 200, -5, tilt=1),
}


@dataclass(frozen=True)
class Utterance:
    """One clip to synthesise: a row of the manifest."""

    words: str
    voice: str
    cell: str
    speaker: str
    number: int
    text: str

    @property
    def file(self) -> str:
        """Name of the file: words, number of the sentence, voice, speaker."""
        return f"{self.words}-{self.number:02d}-{self.voice}-{self.speaker}.wav"


def sentences(which: str) -> dict[str, list[str]]:
    """Return the sentences of a set by the emotion of their words."""
    own = Path(__file__).with_name("sentences.csv")
    source = own if which == "test" else resources.files("emovox.lab.experiments") / "sentences.csv"
    result: dict[str, list[str]] = {label: [] for label in COMMON}
    for row in csv.DictReader(io.StringIO(source.read_text(encoding="utf-8"))):
        if float(row.get("confidence", 1)) == 1:  # written sentences only, without recognised ones
            result[row["label"]].append(row["text"])
    return result


def utterances(which: str) -> Iterator[Utterance]:
    """Return the clips of a set."""
    speakers = list(SPEAKERS[which])
    emotions = [label for label in COMMON if label != NEUTRAL]
    turn = itertools.count()
    for words, texts in sentences(which).items():
        others = [label for label in emotions if label != words]
        for number, text in enumerate(texts):
            if words == NEUTRAL:
                voices = {NEUTRAL: "both neutral", **dict.fromkeys(emotions, "words neutral")}
            else:
                voices = {words: "agree", NEUTRAL: "voice neutral", others[number % len(others)]: "disagree"}
            # The voices of a sentence have different speakers, and the first speaker rotates from sentence to sentence.
            first = next(turn)
            for index, (voice, cell) in enumerate(voices.items()):
                yield Utterance(words, voice, cell, speakers[(first + index) % len(speakers)], number, text)


def command(voice: Voice, setting: Setting, text: str) -> list[str]:
    """Return the command that synthesises a text as a WAV file on standard output."""
    if voice.program == "flite":
        values = {
            "duration_stretch": SETTINGS[NEUTRAL].rate / setting.rate,
            "int_f0_target_mean": voice.mean * 2 ** (setting.pitch / 12),
            "int_f0_target_stddev": voice.spread * setting.range / 100,
        }
        options = [word for key, value in values.items() for word in ("--setf", f"{key}={value:.3f}")]
        return ["flite", "-voice", voice.name, *options, "-t", text, "-o", "/dev/stdout"]
    markup = f'<speak><prosody range="{setting.range}%">{escape(text, quote=False)}</prosody></speak>'
    pitch = round(50 + setting.pitch / SEMITONES)
    return ["espeak-ng", "-m", "-v", voice.name, "-s", str(setting.rate), "-p", str(pitch), "--stdout", markup]


def spoken(utterance: Utterance, voice: Voice) -> tuple[NDArray[np.float64], int]:
    """Synthesise one clip; return samples and rate."""
    setting = SETTINGS[utterance.voice]
    done = subprocess.run(command(voice, setting, utterance.text), capture_output=True, check=False)
    if done.returncode or len(done.stdout) <= HEADER:
        raise InputError(
            f"{voice.program} cannot speak {utterance.text!r}: {done.stderr.decode().strip() or 'no sound'}"
        )
    # The header of a stream has no length, so all following bytes are samples.
    samples = np.frombuffer(done.stdout[HEADER:], dtype="<i2") / 32768
    rate = int.from_bytes(done.stdout[24:28], "little")
    return shaped(samples, rate, setting), rate


def shaped(samples: NDArray[np.float64], rate: int, setting: Setting) -> NDArray[np.float64]:
    """Apply tilt, tremor and level of a setting."""
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    octaves = np.clip(np.log2(np.maximum(frequency, 1) / 500), 0, 3)
    tilted = np.fft.irfft(np.fft.rfft(samples) * 10 ** (setting.tilt * octaves / 20), len(samples))
    time = np.arange(len(samples)) / rate
    shaken = tilted * (1 - setting.tremor * (0.5 - 0.5 * np.cos(2 * np.pi * 6 * time)))
    result: NDArray[np.float64] = shaken / np.abs(shaken).max() * 10 ** ((setting.level - 3) / 20)
    return result


def speak(which: str, folder: Path, limit: int | None = None, jobs: int = -1) -> Path:
    """Synthesise a set and write its manifest.

    Parameters
    ----------
    which : {"test", "development"}
        The set.
    folder : Path
        Output folder; created if it does not exist.
    limit : int, optional
        Write only this number of clips, evenly from all.
    jobs : int, default -1
        Number of parallel processes; -1 is one per core.

    Returns
    -------
    Path
        The manifest; it is written last, so its existence means that the clips are complete.

    Raises
    ------
    InputError
        espeak-ng or flite is not installed, or fails.
    """
    for program in ("espeak-ng", "flite"):
        if shutil.which(program) is None:
            raise InputError(f"{program} is not installed: apt-get install {program} (or brew install {program})")
    folder.mkdir(parents=True, exist_ok=True)
    chosen = list(utterances(which))
    if limit is not None:
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, min(limit, len(chosen))).round().astype(int)]

    def write(one: Utterance) -> None:
        samples, rate = spoken(one, SPEAKERS[which][one.speaker])
        soundfile.write(folder / one.file, samples, rate, subtype="PCM_16")

    Parallel(n_jobs=jobs, prefer="threads")(delayed(write)(one) for one in chosen)
    return write_manifest(chosen, folder / "manifest.csv")


def write_manifest(chosen: Sequence[Utterance], path: Path) -> Path:
    """Write the manifest in one step."""
    partial = path.with_suffix(".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([one.file, one.words, one.voice, one.cell, one.speaker, one.text] for one in chosen)
    return partial.replace(path)


def main() -> int:
    """Generate a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--set", choices=sorted(SPEAKERS), default="test", dest="which")
    parser.add_argument("--limit", type=int, help="only so many clips, evenly out of all")
    parser.add_argument("--jobs", type=int, default=-1, help="clips at a time; -1 is one a core")
    arguments = parser.parse_args()
    try:
        path = speak(arguments.which, arguments.out, arguments.limit, arguments.jobs)
    except (InputError, OSError) as error:
        print(f"speak: {error}", file=sys.stderr)
        return 2
    with path.open(encoding="utf-8") as file:
        cells = [row["cell"] for row in csv.DictReader(file)]
    for cell in dict.fromkeys(cells):
        print(f"{cells.count(cell):5d} {cell}")
    print(f"{len(cells):5d} clips, {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
