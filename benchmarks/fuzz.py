"""Mutated recordings through every decoder path: nothing crashes, hangs or takes all memory.

    python benchmarks/fuzz.py --out fuzz/ [--inputs 100000] [--formats wav,m4a] [--only NUMBER --formats wav]
    python benchmarks/fuzz.py --out fuzz/ --guided 600          (needs atheris: pip install atheris)

Makes a short recording in each of 43 formats with the command ffmpeg, damages it (bits, sizes in headers, pieces left
out, doubled, moved or taken from another format, ends cut off), and reads it in a process of its own: whole, in blocks,
in part, its length, its channels.  Input NUMBER of a format is always the same.  A reading must end in a waveform of
finite numbers or an error of emovox, within 10 s of processor time and 1 GB of memory.  A run that was stopped goes on
where it was; inputs that fail are kept in the folder, and the table says how many there are.

With --guided, libFuzzer chooses the damage instead, by what it reaches of emovox's own code, for so many seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

#: What each input may take: processor time in seconds, and memory of the process beside what it had, in bytes.
SECONDS, MEMORY = 10, 10**9
#: Inputs that a process reads before it gives way to a fresh one.
BATCH = 500
#: Seconds without any news after which a process is taken for hanging, whatever it waits for.
PATIENCE = 1800

#: Name of the format and how ffmpeg makes it of 0.4 s of speech-like sound.
MADE = {
    "wav": "-c:a pcm_s16le -f wav",
    "wav24": "-c:a pcm_s24le -ac 2 -f wav",
    "wav-float": "-c:a pcm_f32le -f wav",
    "wav-ulaw": "-c:a pcm_mulaw -ar 8000 -f wav",
    "wav-ms-adpcm": "-c:a adpcm_ms -f wav",
    "wav-ima-adpcm": "-c:a adpcm_ima_wav -f wav",
    "wav-g722": "-c:a g722 -f wav",
    "wav-g726": "-c:a g726 -ar 8000 -f wav",
    "w64": "-f w64",
    "rf64": "-rf64 always -f wav",
    "aiff": "-f aiff",
    "aifc-ulaw": "-c:a pcm_mulaw -f aiff",
    "au": "-f au",
    "caf": "-c:a pcm_s16be -f caf",
    "caf-alac": "-c:a alac -f caf",
    "flac": "-f flac",
    "flac24": "-c:a flac -sample_fmt s32 -ac 2 -f flac",
    "mp3": "-c:a libmp3lame -b:a 64k -f mp3",
    "mp3-vbr": "-c:a libmp3lame -q:a 5 -write_xing 0 -f mp3",
    "mp3-joint-stereo": "-c:a libmp3lame -b:a 96k -ac 2 -f mp3",
    "mp2": "-c:a mp2 -b:a 64k -f mp2",
    "ogg-vorbis": "-c:a libvorbis -f ogg",
    "ogg-opus": "-c:a libopus -f ogg",
    "ogg-flac": "-c:a flac -f ogg",
    "ogg-speex": "-c:a libspeex -f ogg",
    "m4a-aac": "-c:a aac -f ipod",
    "m4a-alac": "-c:a alac -f ipod",
    "mp4-fragments": "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -f mp4",
    "mov": "-c:a pcm_s16le -f mov",
    "webm": "-c:a libopus -f webm",
    "mkv-flac": "-c:a flac -f matroska",
    "mka-vorbis": "-c:a libvorbis -f matroska",
    "aac": "-c:a aac -f adts",
    "wma": "-c:a wmav2 -f asf",
    "wma1": "-c:a wmav1 -f asf",
    "avi": "-c:a pcm_s16le -f avi",
    "flv": "-c:a libmp3lame -ar 44100 -f flv",
    "mpeg-ts": "-c:a aac -f mpegts",
    "mpeg-ps": "-c:a mp2 -f mpeg",
    "wavpack": "-f wv",
    "tta": "-f tta",
    "ac3": "-f ac3",
    "amr": "",
}
#: AMR, which few ffmpegs write, is frames of any bytes behind a mark.
AMR = b"#!AMR\n" + b"".join(b"\x3c" + bytes((37 * i + 11 * j) % 256 for j in range(31)) for i in range(20))

#: Numbers that headers should not hold.
EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def seeds(folder: Path) -> dict[str, bytes]:
    """Make the undamaged recordings, once; formats that this ffmpeg cannot write are left out with a word."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, how in MADE.items():
        path = folder / name
        if name == "amr" and not path.exists():
            path.write_bytes(AMR)
        if not path.exists():
            sound = "aevalsrc=0.4*sin(2*PI*(180+40*sin(9*t))*t)*(0.6+0.4*sin(31*t))+0.02*random(0):d=0.4:s=16000"
            made = subprocess.run(
                ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", sound, *shlex.split(how), "-y", str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                print(f"{name} is left out: {made.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                path.unlink(missing_ok=True)
                continue
        found[name] = path.read_bytes()
    return found


class Mutation:
    """Damage to a recording, always the same for a number."""

    def __init__(self, recordings: dict[str, bytes], form: str, number: int) -> None:
        self._draw = np.random.default_rng([list(MADE).index(form), number])
        self._others = [content for name, content in sorted(recordings.items()) if name != form]
        self._content = recordings[form]

    def apply(self) -> bytes:
        """Damage it in one to six places."""
        content = self._content
        kinds = (self._bits, self._number, self._number, self._cut, self._double, self._moved, self._alien, self._end)
        for _ in range(self._draw.integers(1, 7)):
            if content:
                content = kinds[self._draw.integers(len(kinds))](content)
        return content

    def _place(self, content: bytes) -> int:
        """Choose a place: headers are where decoders decide how much to take."""
        near = (64, 600, len(content))[self._draw.integers(3)]
        return int(self._draw.integers(min(near, len(content))))

    def _bits(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(self._draw.integers(1, 9)):
            changed[self._place(content)] ^= 1 << int(self._draw.integers(8))
        return bytes(changed)

    def _number(self, content: bytes) -> bytes:
        """Put an extreme number of 1 to 8 bytes somewhere, or a small change of the number that stands there."""
        at, size = self._place(content), (1, 2, 4, 8)[self._draw.integers(4)]
        order: Literal["little", "big"] = "big" if self._draw.integers(2) else "little"
        if self._draw.integers(2):
            value = EXTREMES[self._draw.integers(len(EXTREMES))]
        else:
            value = int.from_bytes(content[at : at + size], order) + int(self._draw.integers(-16, 17))
        changed = (value & ((1 << (8 * size)) - 1)).to_bytes(size, order)
        return content[:at] + changed + content[at + size :]

    def _piece(self, content: bytes) -> tuple[int, int]:
        begin = self._place(content)
        return begin, begin + int(self._draw.integers(1, (4, 64, 2000)[self._draw.integers(3)]))

    def _cut(self, content: bytes) -> bytes:
        begin, end = self._piece(content)
        return content[:begin] + content[end:]

    def _double(self, content: bytes) -> bytes:
        begin, end = self._piece(content)
        return content[:end] + content[begin:end] * int(self._draw.integers(1, 4)) + content[end:]

    def _moved(self, content: bytes) -> bytes:
        begin, end = self._piece(content)
        at = self._place(content)
        return content[:at] + content[begin:end] + content[at + (end - begin) :]

    def _alien(self, content: bytes) -> bytes:
        """Put a piece of another format somewhere, or behind the whole."""
        other = self._others[self._draw.integers(len(self._others))]
        begin, end = self._piece(other)
        at = self._place(content) if self._draw.integers(3) else len(content)
        return content[:at] + (other if at == len(content) else other[begin:end]) + content[at:]

    def _end(self, content: bytes) -> bytes:
        return content[: self._place(content)]


def read(content: bytes, number: int) -> str:
    """Read an input by one of the ways there are; return what became of it."""
    from emovox import audio
    from emovox.errors import AudioError

    ways: tuple[Callable[[], Any], ...] = (
        lambda: list(audio.blocks(content, 0.1)),
        lambda: audio.read(content, start=0.15, end=0.3),
        lambda: audio.duration(content),
        lambda: audio.channels(content),
        lambda: list(audio.blocks(audio.Channel(content, 1), 0.1)),
    )
    try:
        waveform = audio.read(content)
    except AudioError:
        found = "refused"
    else:
        samples = waveform.samples
        if samples.dtype != np.float32 or samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
            raise ValueError(f"read gives {samples.dtype} of shape {samples.shape}, or numbers that are not finite")
        found = "told" if waveform.unread else "read"
    with suppress(AudioError):
        ways[number % len(ways)]()
    return found


@dataclass(frozen=True)
class Job:
    """What a process does: inputs of one format, from one number to another."""

    form: str
    first: int
    last: int


def work(job: Job, folder: str, pipe: Any) -> None:
    """Read the inputs of a job and send what becomes of each; the process dies of one that takes too long."""
    import emovox.audio  # noqa: F401  # not counted

    warnings.simplefilter("error")
    recordings = seeds(Path(folder) / "seeds")
    read(recordings[job.form], 0)
    begun = _memory()
    limit = begun + 3 * MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(job.first, job.last):
        content = Mutation(recordings, job.form, number).apply()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # its signal ends the process, also inside a library
        try:
            found = read(content, number)
        except BaseException as failure:
            found = f"failed: {type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        if _memory() - begun > MEMORY:
            pipe.send((number, "failed: more than 1 GB of memory"))
            return
        pipe.send((number, found))


def _memory() -> int:
    """Return the most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def done(job: Job, folder: Path) -> Iterator[tuple[int, str]]:
    """Let a process do a job; yield number and fate of each input, that of the one it died of included."""
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job, str(folder), there), daemon=True)
    process.start()
    there.close()
    number = job.first - 1
    try:
        while number + 1 < job.last:
            if not here.poll(PATIENCE):
                yield number + 1, f"failed: nothing for {PATIENCE} s"
                return
            number, found = here.recv()
            yield number, found
            if found == "failed: more than 1 GB of memory":
                return
    except EOFError:
        process.join()
        code = process.exitcode or 0
        why = f"more than {SECONDS} s" if code == -signal.SIGPROF else f"the process ended with {code}"
        yield number + 1, f"failed: {why}"
    finally:
        process.kill()
        process.join()


class Ledger:
    """What has been tried, in a file, so that a run can go on."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "state.json"
        known = json.loads(self._path.read_text()) if self._path.exists() else {}
        self.next: Counter[str] = Counter(known.get("next", {}))
        self.fates: dict[str, Counter[str]] = {name: Counter(one) for name, one in known.get("fates", {}).items()}
        self.failures: list[tuple[str, int, str]] = [tuple(one) for one in known.get("failures", [])]

    def note(self, form: str, number: int, found: str, content: Callable[[], bytes]) -> None:
        """Write down what became of an input; keep the input where it failed."""
        self.next[form] = number + 1
        kind = found.partition(":")[0]
        self.fates.setdefault(form, Counter())[kind] += 1
        if kind == "failed":
            self.failures.append((form, number, found))
            (self._folder / f"{form}-{number}").write_bytes(content())
            print(f"{form} {number}: {found}", flush=True)

    def save(self) -> None:
        plain = {"next": self.next, "fates": self.fates, "failures": self.failures}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(plain, indent=1))
        new.replace(self._path)

    def table(self) -> str:
        lines = ["| format | inputs | read | told in part | refused | failed |", "|---|---|---|---|---|---|"]
        total: Counter[str] = Counter()
        for form, fates in self.fates.items():
            total += fates
            lines.append(_row(form, fates))
        return "\n".join([*lines, _row("all", total)])


def _row(form: str, fates: Counter[str]) -> str:
    counts = (fates.total(), *(fates[kind] for kind in ("read", "told", "refused", "failed")))
    return f"| {form} | " + " | ".join(f"{count:,}" for count in counts) + " |"


def mutate(folder: Path, formats: list[str], inputs: int) -> Ledger:
    """Try so many inputs in all, the formats by turns."""
    recordings, ledger = seeds(folder / "seeds"), Ledger(folder)
    formats = [form for form in formats if form in recordings]
    each = -(-inputs // len(formats))
    while waiting := [form for form in formats if ledger.next[form] < each]:
        for form in waiting:
            first = ledger.next[form]
            for number, found in done(Job(form, first, min(each, first + BATCH)), folder):
                ledger.note(form, number, found, Mutation(recordings, form, number).apply)
            ledger.save()
    return ledger


def guided(folder: Path, seconds: int) -> None:
    """Let libFuzzer look for damage that reaches what was not reached; it ends the process where something fails."""
    import atheris

    with atheris.instrument_imports(include=["emovox"]):
        import emovox.audio  # noqa: F401
    seeds(folder / "seeds")
    kept = folder / "guided"
    kept.mkdir(exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS * 5}",  # by the clock, and the machine may be busy
        f"-rss_limit_mb={MEMORY // 10**6 + 400}",
        "-max_len=20000",
        f"-artifact_prefix={folder}/guided-",
        str(kept),
        str(folder / "seeds"),
    ]
    atheris.Setup(arguments, lambda content: read(content, len(content)), enable_python_coverage=True)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--formats", default=",".join(MADE))
    parser.add_argument("--only", type=int, metavar="NUMBER")
    parser.add_argument("--guided", type=int, metavar="SECONDS")
    wanted = parser.parse_args()
    formats = wanted.formats.split(",")
    if wanted.guided:
        guided(wanted.out, wanted.guided)
    elif wanted.only is not None:
        print(read(Mutation(seeds(wanted.out / "seeds"), formats[0], wanted.only).apply(), wanted.only))
    else:
        begun = time.monotonic()
        ledger = mutate(wanted.out, formats, wanted.inputs)
        print(f"{ledger.table()}\n\n{time.monotonic() - begun:.0f} s")
        sys.exit(1 if ledger.failures else 0)


if __name__ == "__main__":
    main()
