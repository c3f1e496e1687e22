"""Material of the speech gate benchmark: many kinds of speech, and other sound.

Every item belongs to one of two parts, split by speaker, file, family of files or kind of sound: "choose", to which the
constants of the gate were fitted, and "report", on which it is evaluated.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.signal
import soxr
from numpy.typing import NDArray

from emovox import audio
from emovox.lab.augmentation.augment import coloured_noise, mix
from emovox.types import RATE, Float32Array

PARTS = ("choose", "report")

#: Debian packages: telephone prompts (one real speaker each, by turns for the two parts), a library of instruments,
#: drums and ambience, and music and signals.
PROMPTS = tuple(f"asterisk-core-sounds-{language}-wav" for language in ("en", "fr", "it", "ru"))
SAMPLES = "sonic-pi-samples"
MUSIC = (
    "asterisk-moh-opsound-wav",
    "asc-music",
    "pushover-data",
    "lomiri-sounds",
    "oxygen-sounds",
    "sound-theme-freedesktop",
)

SENTENCES = (
    "Kids are talking by the door.",
    "Dogs are sitting by the door.",
    "I never said that you should leave.",
    "Somebody is outside, be quiet.",
    "No.",
    "Come here!",
    "Where did you put the keys last night?",
    "Please do not wake the children.",
    "Eleven o'clock.",
    "He told me that it would be over by the end of the week, and now look at it.",
)
#: Whispering voices of espeak-ng for each part.
VOICES = {
    "choose": ("en-us+whisper", "de+whisper", "es+whisper"),
    "report": ("en-gb+whisperf", "pl+whisperf", "en-us+croak"),
}


class Item(NamedTuple):
    """One sound to classify."""

    speech: bool
    kind: str
    part: str
    name: str
    samples: Float32Array


def seeded(*words: str) -> np.random.Generator:
    """Return a generator seeded by these words alone."""
    return np.random.default_rng(zlib.crc32("/".join(words).encode()))


# Speech


def corpus_clips(corpora: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield kind, part and file of about 620 clips."""
    ravdess = sorted(corpora.glob("ravdess/Actor_*/*.*"))
    shouted = [file for file in ravdess if file.name[6:11] in ("05-02", "06-02")]
    others = [file for file in ravdess if file.name[6:11] not in ("05-02", "06-02")]
    tess = sorted(corpora.glob("tess/*/*.*"))
    nemo = sorted(corpora.glob("nemo/samples/*.*"))
    speakers = sorted({file.name.split("_")[0] for file in nemo})
    part_of: dict[str, Callable[[Path], int]] = {
        "RAVDESS, angry or fearful, strong": lambda file: int(file.parent.name[-2:]) > 12,
        "RAVDESS, the others": lambda file: int(file.parent.name[-2:]) > 12,
        "TESS": lambda file: file.parent.name.startswith("YAF"),
        "nEMO": lambda file: speakers.index(file.name.split("_")[0]) % 2,
    }
    for (kind, part), files, count in zip(
        part_of.items(), (shouted, others, tess, nemo), (120, 200, 150, 150), strict=True
    ):
        order = seeded(kind).permutation(len(files))[:count]
        yield from ((kind, PARTS[part(files[i])], files[i]) for i in sorted(order))


def speech(corpora: Path, packages: Path) -> Iterator[Item]:
    """Yield clean and distorted speech, telephone prompts, and whispering."""
    changes: dict[str, Callable[[Float32Array, np.random.Generator], Float32Array]] = {
        "whispered (noise-excited LPC)": whispered,
        "whispered, 15 dB white noise": lambda x, rng: in_noise(whispered(x, rng), rng, 15, 0),
        "one word, 0.5 to 1 s": one_word,
        "10 dB white noise": lambda x, rng: in_noise(x, rng, 10, 0),
        "10 dB pink noise": lambda x, rng: in_noise(x, rng, 10, 1),
        "telephone": telephone,
        "telephone, 10 dB pink noise": lambda x, rng: telephone(in_noise(x, rng, 10, 1), rng),
        "one word in 6 s, 20 dB pink noise": lambda x, rng: in_noise(lonely(one_word(x, rng), rng), rng, 20, 1),
        "small room": small_room,
        "clipped": lambda x, rng: np.clip(x, -np.abs(x).max() / 8, np.abs(x).max() / 8),
        "melody 10 dB below": lambda x, rng: mix(x, _peak(_melody(np.arange(len(x)) / RATE, rng), 1), 10, rng),
    }
    for number, (kind, part, file) in enumerate(corpus_clips(corpora)):
        samples = audio.read(file).samples
        yield Item(True, kind, part, file.name, samples)
        for offset in (0, 4, 8):
            name = list(changes)[(number + offset) % len(changes)]
            rng = seeded(name, file.name)
            yield Item(True, name, part, file.name, changes[name](samples, rng))
    for number, package in enumerate(PROMPTS):
        yield from prompts_of(packages / package, PARTS[number % 2], 60)
    yield from synthetic_whispers()


def prompts_of(folder: Path, part: str, count: int) -> Iterator[Item]:
    """Yield telephone prompts of at least 0.4 s; silences, tones and screaming monkeys are excluded by name."""
    others = {"silence", "beep", "tone", "monkeys"}
    files = [file for file in sorted(folder.rglob("*.wav")) if not others & set(_words(file))]
    for i in seeded(folder.name).permutation(len(files))[:count]:
        waveform = audio.read(files[i])
        if waveform.duration >= 0.4:
            yield Item(True, "telephone prompts", part, f"{folder.name}/{files[i].name}", waveform.samples)


def _words(file: Path) -> list[str]:
    return [*file.stem.replace("_", "-").split("-"), file.parent.name]


def synthetic_whispers() -> Iterator[Item]:
    """Yield whispering voices of espeak-ng, if it is installed."""
    program = shutil.which("espeak-ng")
    if not program:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        for part, voices in VOICES.items():
            for voice in voices:
                for sentence in SENTENCES:
                    subprocess.run([program, "-v", voice, "-w", str(file), sentence], check=True)
                    yield Item(True, "espeak-ng whispers", part, f"{voice}: {sentence}", audio.read(file).samples)


def whispered(samples: Float32Array, rng: np.random.Generator, order: int = 20) -> Float32Array:
    """Convert speech to whispering: linear prediction with Gaussian noise as excitation."""
    length, hop = 512, 128
    taper = scipy.signal.get_window("hann", length)
    padded = np.pad(samples.astype(np.float64), length)
    # Whispering lacks the strong low harmonics of a voice; without this filter the result is too dull.
    padded = scipy.signal.lfilter([1, -0.9], [1], padded)
    result = np.zeros(len(padded))
    for begin in range(0, len(padded) - length, hop):
        frame = padded[begin : begin + length] * taper
        correlation = np.correlate(frame, frame, "full")[length - 1 : length + order]
        correlation[0] = correlation[0] * (1 + 1e-6) + 1e-9
        predictor = scipy.linalg.solve_toeplitz(correlation[:-1], correlation[1:])
        error = max(correlation[0] - predictor @ correlation[1:], 0.0) / np.sum(taper**2)
        noise = np.sqrt(error) * rng.standard_normal(length)
        result[begin : begin + length] += taper * scipy.signal.lfilter([1], np.r_[1, -predictor], noise)
    return _peak(result[length : length + len(samples)], 0.3)


def one_word(samples: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Cut 0.5 to 1 s around the loudest frame."""
    length = int(RATE * rng.uniform(0.5, 1.0))
    power = np.convolve(np.square(samples), np.ones(length // 2), "same")
    begin = int(np.clip(np.argmax(power) - length // 2, 0, max(0, len(samples) - length)))
    return samples[begin : begin + length]


def lonely(samples: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Place a word at random in 6 s of silence."""
    before = int(rng.integers(6 * RATE - len(samples)))
    return np.pad(samples, (before, 6 * RATE - len(samples) - before))


def small_room(samples: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Convolve with an exponentially decaying noise: a room with a reverberation time of 0.3 to 0.6 s."""
    decay = np.exp(-6.9 * np.arange(RATE // 2) / (rng.uniform(0.3, 0.6) * RATE))
    response = decay * rng.standard_normal(len(decay)) * rng.uniform(0.02, 0.1)
    response[0] = 1
    return _peak(scipy.signal.fftconvolve(samples, response)[: len(samples)], 0.5)


def in_noise(samples: Float32Array, rng: np.random.Generator, ratio: float, exponent: float) -> Float32Array:
    """Add noise at a signal-to-noise ratio in dB."""
    return mix(samples, coloured_noise(len(samples), rng, exponent), ratio, rng)


def telephone(samples: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Limit to 300 to 3400 Hz at 8 kHz, with 8-bit mu-law."""
    narrow = soxr.resample(samples, RATE, 8000)
    sections = scipy.signal.butter(4, [300, 3400], "band", fs=8000, output="sos")
    narrow = _peak(scipy.signal.sosfilt(sections, narrow), 0.5)
    coded = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    narrow = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255
    return np.asarray(soxr.resample(narrow, 8000, RATE), dtype=np.float32)


# Other sound


def other_sound(packages: Path) -> Iterator[Item]:
    """Yield synthetic sounds, instruments, drums, ambience and music."""
    for part in PARTS:
        for kind, make in SOUNDS.items():
            for take in range(25):
                rng = seeded(part, kind, str(take))
                time = np.arange(int(RATE * rng.uniform(0.5, 6.0))) / RATE
                sound = _peak(make(time, rng), 10 ** rng.uniform(-2, -0.1))
                floor = 10 ** rng.uniform(-5, -3) * rng.standard_normal(len(time))
                yield Item(False, kind, part, f"{kind} {take}", (sound + floor).astype(np.float32))
    yield from instruments(packages / SAMPLES)
    for package in MUSIC:
        yield from pieces_of_music(packages / package)


def instruments(folder: Path) -> Iterator[Item]:
    """Yield each sample of a library, its telephone version, and rhythms of each family."""
    files = sorted(folder.rglob("*.flac"))
    families = sorted({file.stem.split("_")[0] for file in files})
    for number, family in enumerate(families):
        part = PARTS[number % 2]
        mine = [file for file in files if file.stem.split("_")[0] == family]
        sounds = [audio.read(file).samples for file in mine]
        for file, sound in zip(mine, sounds, strict=True):
            if len(sound) >= 0.3 * RATE:
                rng = seeded(file.name)
                piece = cut(sound, rng.uniform(1, 6), rng)
                yield Item(False, f"samples: {family}", part, file.name, piece)
                yield Item(False, "samples by telephone", part, file.name, telephone(piece, rng))
        for take in range(6):
            rng = seeded(family, str(take))
            yield Item(False, "samples in a rhythm", part, f"{family} {take}", rhythm(sounds, rng))


def pieces_of_music(folder: Path) -> Iterator[Item]:
    """Yield excerpts of each file, up to 24 of a long one."""
    endings = (".wav", ".ogg", ".oga", ".flac", ".mp3")
    # The freedesktop sound theme contains spoken names of loudspeakers.
    files = sorted(file for file in folder.rglob("*.*") if file.suffix in endings and "audio-channel" not in file.name)
    for number, file in enumerate(files):
        sound = audio.read(file).samples
        rng = seeded(file.name)
        for take in range(min(24, 1 + len(sound) // (5 * RATE))):
            piece = cut(sound, rng.uniform(0.5, 6), rng)
            if np.sqrt(np.mean(piece**2)) > 1e-4:
                yield Item(False, f"music: {folder.name}", PARTS[number % 2], f"{file.name} {take}", piece)


def cut(sound: Float32Array, duration: float, rng: np.random.Generator) -> Float32Array:
    """Take a random excerpt."""
    length = int(duration * RATE)
    begin = int(rng.integers(max(1, len(sound) - length)))
    return sound[begin : begin + length]


def rhythm(sounds: Sequence[Float32Array], rng: np.random.Generator) -> Float32Array:
    """Place sounds on the beats of a rhythm of two to four seconds."""
    step = int(RATE * rng.uniform(0.12, 0.3))
    total = np.zeros(int(RATE * rng.uniform(2, 4)), dtype=np.float32)
    for begin in range(0, len(total), step):
        if rng.uniform() < 0.7:
            sound = sounds[int(rng.integers(len(sounds)))][: len(total) - begin]
            total[begin : begin + len(sound)] += np.float32(rng.uniform(0.3, 1)) * sound
    return _peak(total, 0.7)


def _peak(sound: NDArray[np.floating], peak: float) -> Float32Array:
    return np.asarray(sound * (peak / max(float(np.abs(sound).max()), 1e-9)), dtype=np.float32)


Array = NDArray[np.float64]


def _tone(time: Array, rng: np.random.Generator) -> Array:
    return np.asarray(np.sin(2 * np.pi * np.exp(rng.uniform(np.log(80), np.log(6000))) * time))


def _hum(time: Array, rng: np.random.Generator) -> Array:
    base = rng.choice([50.0, 60.0]) * (1 + 0.002 * rng.standard_normal())
    phases = 2 * np.pi * base * time
    return sum((rng.uniform(0, 1) / k * np.sin(k * phases) for k in range(1, 12)), np.zeros(len(time)))


def _sweep(time: Array, rng: np.random.Generator) -> Array:
    ends = np.exp(rng.uniform(np.log(80), np.log(7000), 2))
    return np.asarray(scipy.signal.chirp(time, ends[0], time[-1], ends[1], "logarithmic"))


def _siren(time: Array, rng: np.random.Generator) -> Array:
    pitch = rng.uniform(400, 1000) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.2, 3) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.3 * np.sin(3 * phase)


def _note(time: Array, pitch: float, rng: np.random.Generator, vibrato: float) -> Array:
    """Synthesise a note of a harmonic instrument, with attack and decay."""
    phase = 2 * np.pi * np.cumsum(pitch * (1 + vibrato * np.sin(2 * np.pi * 5.5 * time))) / RATE
    slope, decay, attack = rng.uniform(0.7, 2), rng.uniform(0.5, 6), rng.uniform(0.005, 0.05)
    harmonics = range(1, int(min(15, 7000 // pitch)) + 1)
    wave = sum((np.sin(k * phase) / k**slope for k in harmonics), np.zeros(len(time)))
    return wave * np.minimum(time / attack, 1) * np.exp(-decay * time)


def _melody(time: Array, rng: np.random.Generator, vibrato: float = 0.0) -> Array:
    total, begin = np.zeros(len(time)), 0
    scale = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12) * 2.0 ** rng.integers(-1, 2)
    while begin < len(time):
        length = int(RATE * rng.choice([0.15, 0.2, 0.3, 0.4, 0.6]))
        stretch = time[: min(length, len(time) - begin)]
        total[begin : begin + length] += _note(stretch, float(rng.choice(scale)), rng, vibrato)
        begin += length
    return total


def _chords(time: Array, rng: np.random.Generator) -> Array:
    root = rng.uniform(90, 350)
    intervals = rng.choice([3, 4, 5, 7, 8, 10, 12, 16], 3, replace=False)
    return sum((_note(time, root * 2 ** (i / 12), rng, 0.0) for i in (0, *intervals)), np.zeros(len(time)))


def _keys(time: Array, rng: np.random.Generator) -> Array:
    """Synthesise dual-tone dialling (DTMF)."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    key = (time // rng.uniform(0.15, 0.3)).astype(int)
    low, high = rng.choice(rows, key[-1] + 1)[key], rng.choice(columns, key[-1] + 1)[key]
    gate = (np.mod(time, 0.2) < rng.uniform(0.08, 0.18)).astype(np.float64)
    return np.asarray(gate * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)))


def _call_progress(time: Array, rng: np.random.Generator) -> Array:
    """Synthesise call-progress tones: dial tone, busy or ringing."""
    period = rng.choice([0.5, 1.0, 3.0, 100.0])
    gate = (np.mod(time, period) < period / 2).astype(np.float64)
    low, high = rng.choice([350, 425, 440, 480, 620], 2)
    return np.asarray(gate * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)))


def _clicks(time: Array, rng: np.random.Generator) -> Array:
    impulses = np.zeros(len(time))
    impulses[rng.integers(0, len(time), max(2, int(time[-1] * rng.uniform(1, 15))))] = 1
    decay = np.exp(-np.arange(800) / rng.uniform(5, 200)) * rng.standard_normal(800)
    return np.asarray(scipy.signal.fftconvolve(impulses, decay)[: len(time)])


def _bursts(time: Array, rng: np.random.Generator) -> Array:
    """Synthesise band noise modulated at the rate of syllables: wipers, saws, footsteps."""
    low = rng.uniform(100, 2000)
    band = scipy.signal.butter(2, [low, min(7500, low * rng.uniform(1.5, 4))], "band", fs=RATE, output="sos")
    swell = np.maximum(0, np.sin(2 * np.pi * rng.uniform(0.5, 6) * time)) ** rng.uniform(0.5, 4)
    return np.asarray(swell * scipy.signal.sosfilt(band, rng.standard_normal(len(time))))


def _wind(time: Array, rng: np.random.Generator) -> Array:
    gusts = np.abs(
        scipy.signal.sosfilt(scipy.signal.butter(2, 1.5, fs=RATE, output="sos"), rng.standard_normal(len(time)))
    )
    return np.asarray(coloured_noise(len(time), rng, rng.uniform(1, 2)) * (0.1 + gusts / gusts.max()))


def _engine(time: Array, rng: np.random.Generator) -> Array:
    rate = rng.uniform(15, 60) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.1, 0.6) * time))
    pulses = scipy.signal.sawtooth(2 * np.pi * np.cumsum(rate) / RATE) ** 5
    return np.asarray(pulses + 0.3 * coloured_noise(len(time), rng, 1.0))


SOUNDS: dict[str, Callable[[Array, np.random.Generator], NDArray[np.floating]]] = {
    "noise floor": lambda time, rng: np.zeros(len(time)),
    "white noise": lambda time, rng: coloured_noise(len(time), rng, 0.0),
    "pink noise": lambda time, rng: coloured_noise(len(time), rng, 1.0),
    "brown noise": lambda time, rng: coloured_noise(len(time), rng, 2.0),
    "wind": _wind,
    "hum": _hum,
    "engine": _engine,
    "tone": _tone,
    "sweep": _sweep,
    "siren": _siren,
    "chord": _chords,
    "melody": _melody,
    "melody with vibrato": lambda time, rng: _melody(time, rng, 0.02),
    "dialling": _keys,
    "call progress": _call_progress,
    "clicks": _clicks,
    "bursts of noise": _bursts,
}
