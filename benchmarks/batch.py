"""`emovox batch`: rate against the bare library, memory, kill -9 anywhere, a cluster that loses workers.

    python benchmarks/batch.py rate ../shared/corpora/nemo --recordings 200 1000
    python benchmarks/batch.py memory --rows 1000000
    python benchmarks/batch.py links ../shared/corpora/nemo --recordings 100000
    python benchmarks/batch.py kill ../shared/corpora/nemo --times 100 --model tests/data/classic.onnx
    python benchmarks/batch.py kill ../shared/corpora/nemo --times 100 --model tests/data/classic.onnx --dask
    python benchmarks/batch.py cluster ../shared/corpora/nemo --recordings 400 --every 20
    python benchmarks/batch.py long ../shared/corpora/tess --recordings 100000 --to build/long

Recordings are hard links of real ones, but for `long`.  `rate` compares processor time a recording, which other work on
the machine changes little, as the difference of two sizes, so that starting is not in it; with the cores to itself the
ratio of the rates is that of the processor times.

`long` needs idle cores: its rates are by the clock.  Its recordings are copies of the shortest ones, each with another
pattern in the lowest bits of its first samples, so that no two have the same bytes or the same sound (100,000 of TESS
take 6 GB, removed at the end).  Before, after and twice within the batch, which is stopped there by Ctrl-C and goes on,
the bare library judges a sample on each of as many cores.  The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from emovox.batch.places import Entry, Inputs, place
from emovox.batch.plan import Done, Local, Plan
from emovox.batch.runs import Run
from emovox.batch.summary import Log, Report, finish
from emovox.batch.tasks import Outcome, PartFormat, Task
from emovox.recognition.analysis import AUDIO_SUFFIXES

EMOVOX = [sys.executable, "-c", "from emovox.cli.main import run; run()"]
BARE = """
import sys
from emovox import EmotionRecognizer
recognizer = EmotionRecognizer()
for line in open(sys.argv[1]).read().splitlines()[: int(sys.argv[2])]:
    recognizer.predict(line)
"""


#: The same from when all processes are ready, which tell so by a line and wait for one; how long it takes by the clock.
BARE_RATE = """
import sys, time
from emovox import EmotionRecognizer
recognizer = EmotionRecognizer()
files = open(sys.argv[1]).read().splitlines()
recognizer.predict(files[0])
print(flush=True), input()
begin, cpu = time.monotonic(), time.process_time()
for file in files:
    recognizer.predict(file)
print(time.monotonic() - begin, time.process_time() - cpu)
"""


def recordings(source: Path) -> list[Path]:
    """Find the recordings of a folder."""
    return sorted(path for path in source.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)


def link(source: Path, folder: Path, number: int) -> Path:
    """Fill a folder with hard links of recordings, or copies on another file system."""
    found = recordings(source)
    random.Random(0).shuffle(found)
    folder.mkdir(parents=True)
    for at in range(number):
        path = found[at % len(found)]
        target = folder / f"{at:06d}{path.suffix}"
        try:
            target.hardlink_to(path)
        except OSError:
            target.write_bytes(path.read_bytes())
    return folder


def alter(source: Path, folder: Path, number: int, shortest: int) -> None:
    """Fill a folder with 16-bit copies of the shortest recordings, no two alike; go on where that was stopped."""
    found = sorted(recordings(source), key=lambda path: soundfile.info(path).duration)[:shortest]
    random.Random(0).shuffle(found)
    sounds = [soundfile.read(path, dtype="int16", always_2d=True) for path in found]
    needed = sum(sounds[at % len(sounds)][0].nbytes for at in range(number))
    folder.mkdir(parents=True, exist_ok=True)
    there = {path.name: path.stat().st_size for path in folder.iterdir() if path.stat().st_nlink == 1}
    if (free := shutil.disk_usage(folder).free + sum(there.values())) < needed + 2**30:
        sys.exit(f"{number} copies take {needed / 1e9:.1f} GB, and 1 GB must be left: {free / 1e9:.1f} GB are free")
    bits = np.arange(32)
    for at in range(number):
        samples, frequency = sounds[at % len(sounds)]
        target = folder / f"{at:06d}.wav"
        if target.name in there:
            continue
        copy = samples.copy()
        copy[: len(bits), 0] ^= (at >> bits & 1).astype(np.int16)
        unfinished = folder / ".unfinished"
        soundfile.write(unfinished, copy, frequency, subtype="PCM_16", format="WAV")
        unfinished.replace(target)


def processor_seconds(command: list[str]) -> float:
    """Run a command; return the processor time of all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def batch(source: Path, output: Path, *options: str) -> list[str]:
    return [*EMOVOX, "batch", str(source), str(output), "--quiet", *options]


def rate(given: argparse.Namespace, folder: Path) -> None:
    few, many = given.recordings
    clips = link(given.source, folder / "clips", many)
    listed = folder / "clips.txt"
    listed.write_text("\n".join(str(path) for path in sorted(clips.iterdir())))
    costs: dict[str, list[float]] = {"library": [], "batch": []}
    for number in (few, many):
        costs["library"].append(processor_seconds([sys.executable, "-c", BARE, str(listed), str(number)]))
        options = ("--jobs", str(given.jobs), "--limit", str(number))
        costs["batch"].append(processor_seconds(batch(clips, folder / f"out{number}", *options)))
    each = {name: (last - first) / (many - few) for name, (first, last) in costs.items()}
    for name, seconds in each.items():
        print(f"| {name} | {1000 * seconds:.2f} ms of processor time a recording |", flush=True)
    print(f"| rate against the bare library on each core | {each['library'] / each['batch']:.1%} |")


class Stub:
    """In place of the recogniser, in processes of its own: reads the recording, and has the same answer for each."""

    def __init__(self, columns: list[str]) -> None:
        same = {"duration": 3.0, "label": "neutral", "confidence": 0.5, "abstained": False}
        self._rest = tuple(same.get(name) for name in columns[2:])

    def __call__(self) -> Callable[[Entry, object], Outcome]:
        return self.heard

    def heard(self, entry: Entry, _: object) -> Outcome:
        Path(entry.file).read_bytes()
        return self.answer(entry)

    def answer(self, entry: Entry) -> Outcome:
        return Outcome(((entry.id, entry.file, *self._rest),), seconds=3.0)


class Instant:
    """An engine that has the answer at once: what is left is the coordinator."""

    width, deaths = 4, 0

    def __init__(self, columns: list[str]) -> None:
        self._stub = Stub(columns)

    def submit(self, entry: Entry, done: Done) -> None:
        done(self._stub.answer(entry))

    def check(self) -> None: ...

    def close(self, *, wait: bool = True) -> None: ...


def coordinate(inputs: Inputs, folder: Path, form: str, start: Callable[[list[str]], Any]) -> None:
    """Do a run with an engine that judges nothing, and tell what it costs this process."""
    begin, wall = time.process_time(), time.monotonic()
    task, where = Task(), place(str(folder / "out"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = Plan.of(inputs, task, form=PartFormat(form))
    plan.claim(where)
    with closing(start(list(task.columns(task.facts())))) as engine:
        done = Run(plan, inputs, where, engine, Report(plan, Log(where)))
        done()
    finish(plan, where)
    peak, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time() - begin
    print(f"| recordings | {done.recordings} | parts {len(plan.done(where))} | failed {done.failed} |")
    print(f"| memory at its highest | {peak / 1024:.0f} MiB, {before / 1024:.0f} MiB before the first |")
    print(f"| processor time of the command | {seconds:.0f} s, {1e6 * seconds / done.recordings:.0f} µs a recording |")
    print(f"| lasted | {time.monotonic() - wall:.0f} s |", flush=True)


def memory(given: argparse.Namespace, folder: Path) -> None:
    manifest = folder / "calls.csv"
    with manifest.open("w") as file:
        file.write("file,speaker,age\n")
        file.writelines(
            f"calls/2026/{n // 1000:04d}/call-{n:07d}.wav,s{n % 5000},{n % 80}\n" for n in range(given.rows)
        )
    coordinate(Inputs(str(manifest)), folder, given.format, Instant)


def links(given: argparse.Namespace, folder: Path) -> None:
    import batch  # this module, by a name under which other processes find it

    clips = link(given.source, folder / "clips", given.recordings)
    stub: Any = batch.Stub
    coordinate(Inputs(str(clips)), folder, "parquet", lambda columns: Local(stub(columns), given.jobs))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"| processor time of the workers | {used.ru_utime + used.ru_stime:.0f} s |")


def content(output: Path) -> dict[str, bytes]:
    names = sorted(path for path in output.rglob("*") if path.is_file())
    return {
        name.relative_to(output).as_posix(): name.read_bytes()
        for name in names
        if name.parent.name != "logs" and name.name != "report.html"
    }


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


class Dask:
    """A scheduler and two workers, processes of their own, which are started again where they were killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.mend()

    def mend(self) -> None:
        """Start what does not run."""
        port = self.address.rpartition(":")[2]
        workers = ["dask", "worker", self.address, "--nthreads", "1", "--no-nanny", "--death-timeout", "60"]
        commands = {
            "scheduler": ["dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"],
            "worker 1": [*workers, "--no-dashboard", "--local-directory", str(self._folder / "dask")],
            "worker 2": [*workers, "--no-dashboard", "--local-directory", str(self._folder / "dask")],
        }
        for name, command in commands.items():
            if name not in self.processes or self.processes[name].poll() is not None:
                self.processes[name] = subprocess.Popen(command, stderr=subprocess.DEVNULL)
                time.sleep(0.5)  # a port that was just left is not free at once

    def end(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            process.kill()
            process.wait()


def kill(given: argparse.Namespace, folder: Path) -> None:
    clips = link(given.source, folder / "clips", given.recordings)
    common = ("--part", str(given.part), *(("--model", str(given.model)) if given.model else ()))
    subprocess.run(batch(clips, folder / "whole", "--jobs", "2", *common), check=True)
    dask = Dask(folder) if given.dask else None
    command = batch(clips, folder / "out", *(("--on", dask.address) if dask else ("--jobs", "2")), *common)
    choose, completed = random.Random(given.seed), 0
    killed = dict.fromkeys(("coordinator", "worker", *(("scheduler",) if dask else ())), 0)
    running = subprocess.Popen(command)
    while sum(killed.values()) < given.times:
        time.sleep(choose.uniform(0.05, given.within))
        who = min(killed, key=lambda name: killed[name])
        if running.poll() is None and (alive := victims(who, running.pid, dask)):
            with suppress(ProcessLookupError):
                os.kill(choose.choice(alive), signal.SIGKILL)
                killed[who] += 1
            if who == "coordinator":
                running.wait()
        elif running.poll() == 0:
            completed += 1
            same(folder)
            undo(folder / "out" / "parts", choose)
        if dask:
            dask.mend()
        if running.poll() is not None:
            running = subprocess.Popen(command)
    while running.wait() == 2:  # a command that lost its scheduler goes on when it is called again
        if dask:
            dask.mend()
        running = subprocess.Popen(command)
    if dask:
        dask.end()
    print(f"| killed | {killed} | {completed} times done between | exit code {running.returncode} |", flush=True)
    same(folder)


def undo(parts: Path, choose: random.Random) -> None:
    """Remove parts of an output that is whole, so that there is something to do again."""
    there = sorted(parts.iterdir())
    for part in choose.sample(there, max(1, len(there) * 3 // 4)):
        part.unlink()


def victims(who: str, coordinator: int, dask: Dask | None) -> list[int]:
    """Return the processes of a kind that may be killed now."""
    if who == "coordinator":
        return [coordinator]
    if who == "scheduler":
        return [dask.processes["scheduler"].pid] if dask else []
    parents = [dask.processes[name].pid for name in ("worker 1", "worker 2")] if dask else []
    return parents + [pid for one in parents or [coordinator] for pid in children(one)]


def same(folder: Path) -> None:
    """End the program where an output is not that of the undisturbed run."""
    whole, out = content(folder / "whole"), content(folder / "out")
    if whole != out:
        differ = sorted(name for name in whole.keys() | out.keys() if whole.get(name) != out.get(name))
        sys.exit(f"| bytes DIFFERENT | {', '.join(differ[:5])} |")
    print("| bytes equal |", flush=True)


def cluster(given: argparse.Namespace, folder: Path) -> None:
    clips = link(given.source, folder / "clips", given.recordings)
    common = ("--part", str(given.part), *(("--model", str(given.model)) if given.model else ()))
    subprocess.run(batch(clips, folder / "whole", "--jobs", "2", *common), check=True)
    dask, over, killed = Dask(folder), threading.Event(), [0]

    def lose() -> None:
        while not over.wait(given.every):
            worker = dask.processes[f"worker {1 + killed[0] % 2}"]
            worker.kill()
            worker.wait()
            killed[0] += 1
            dask.mend()

    thread = threading.Thread(target=lose)
    thread.start()
    begin = time.monotonic()
    done = subprocess.run(batch(clips, folder / "out", "--on", dask.address, *common), check=False)
    seconds = time.monotonic() - begin
    over.set()
    thread.join()
    dask.end()
    print(f"| killed {killed[0]} workers in {seconds:.0f} s | exit code {done.returncode} |")
    same(folder)


class Long:
    """A long batch by the clock, against the bare library on as many cores, in turns; what is measured is kept.

    Parameters
    ----------
    given : argparse.Namespace
        What was asked for.
    """

    #: Of how many of the shortest recordings the copies are, and how many the bare library judges each time and core.
    SHORTEST, SAMPLE = 500, 400

    def __init__(self, given: argparse.Namespace) -> None:
        self.home, self.jobs, self.recordings, self.part = Path(given.to), given.jobs, given.recordings, given.part
        self.clips, self.lines = self.home / "clips", self.home / "measured.jsonl"
        if not (self.home / "out" / "summary.json").exists():
            alter(given.source, self.clips, self.recordings, self.SHORTEST)

    def __call__(self) -> None:
        """Go on to the end, print the rates and remove the copies."""
        if not self.lines.exists():
            self.bare()
        for share in (1 / 3, 2 / 3, 1.0):
            if self.parts() < (wanted := math.ceil(share * self.recordings / self.part)):
                self.batch(wanted)
                self.bare()
        found = [json.loads(line) for line in self.lines.read_text().splitlines()]
        rates = {}
        for what in ("library", "batch"):
            of = [one for one in found if one["what"] == what]
            done, lasted, used = (sum(one[name] for one in of) for name in ("recordings", "seconds", "processor"))
            rates[what] = done / lasted
            each = ", ".join(f"{one['recordings'] / one['seconds']:.1f}" for one in of)
            print(f"| {what} | {done} in {lasted:.0f} s: {rates[what]:.2f} a second ({each}) |")
            print(f"| {what}, processor time a recording | {1000 * used / done:.2f} ms |")
        print(
            f"| rate against the bare library on each of {self.jobs} cores | {rates['batch'] / rates['library']:.1%} |"
        )
        shutil.rmtree(self.clips, ignore_errors=True)

    def parts(self) -> int:
        """Count the parts that are whole."""
        folder = self.home / "out" / "parts"
        return sum(not path.name.endswith(".part") for path in folder.iterdir()) if folder.exists() else 0

    def bare(self) -> None:
        """Judge a sample by the bare library, in as many processes as cores, which begin together."""
        files = random.Random(self.parts()).sample(sorted(self.clips.iterdir()), min(self.SAMPLE, self.recordings))
        listed = self.home / "sample.txt"
        listed.write_text("\n".join(str(path) for path in files))
        command = [sys.executable, "-c", BARE_RATE, str(listed)]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        running: list[Any] = [subprocess.Popen(command, env=alone, **pipes) for _ in range(self.jobs)]
        for one in running:
            one.stdout.readline()
        for one in running:
            one.stdin.write("\n")
            one.stdin.flush()
        found = [[float(number) for number in one.communicate()[0].split()] for one in running]
        seconds = sum(lasted for lasted, _ in found) / self.jobs
        self.keep("library", self.jobs * len(files), seconds, sum(used for _, used in found))

    def batch(self, wanted: int) -> None:
        """Go on with the batch until so many parts are whole."""
        before, begin, used = self.parts(), time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        options = ("--jobs", str(self.jobs), "--part", str(self.part))
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        running = subprocess.Popen(batch(self.clips, self.home / "out", *options), env=alone)
        last = wanted * self.part >= self.recordings
        while running.poll() is None:
            if not last and self.parts() >= wanted:
                running.send_signal(signal.SIGINT)
                running.wait()
            time.sleep(0.2)
        seconds, now = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        done = min(self.recordings, self.part * self.parts()) - min(self.recordings, self.part * before)
        self.keep("batch", done, seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)

    def keep(self, what: str, recordings: int, seconds: float, processor: float) -> None:
        """Write down what was measured."""
        with self.lines.open("a") as file:
            line = {"what": what, "recordings": recordings, "seconds": seconds, "processor": processor}
            file.write(json.dumps(line) + "\n")
        print(f"| {what} | {recordings} in {seconds:.1f} s |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, what in {
        "rate": rate,
        "memory": memory,
        "links": links,
        "kill": kill,
        "cluster": cluster,
        "long": None,
    }.items():
        one = commands.add_parser(name)
        one.set_defaults(function=what or (lambda given, _: Long(given)()))
        if name == "memory":
            one.add_argument("--rows", type=int, default=1_000_000)
            one.add_argument("--format", default="parquet")
            continue
        one.add_argument("source", type=Path)
        one.add_argument(
            "--recordings",
            type=int,
            nargs=2 if name == "rate" else None,
            default=[200, 1000] if name == "rate" else 400,
        )
        one.add_argument("--jobs", type=int, default=2)
        one.add_argument("--part", type=int, default=500 if name == "long" else 16)
        one.add_argument(
            "--to", type=Path, default=Path("build/long"), help="long: folder of copies, output and figures"
        )
        one.add_argument("--times", type=int, default=100)
        one.add_argument("--every", type=float, default=20.0)
        one.add_argument("--seed", type=int, default=0)
        one.add_argument("--model", type=Path, help="a model file; the built-in one by default")
        one.add_argument("--dask", action="store_true", help="kill: on a Dask cluster, whose scheduler is killed, too")
        one.add_argument("--within", type=float, default=5.0, help="kill: seconds until the next one, at most")
    given = parser.parse_args()
    function: Callable[[argparse.Namespace, Path], None] = given.function
    with tempfile.TemporaryDirectory(dir=os.environ.get("EMOVOX_SCRATCH")) as folder:
        function(given, Path(folder))


if __name__ == "__main__":
    main()
