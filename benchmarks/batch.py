"""`emovox batch`: rate against the bare library, memory, kill -9 anywhere, a cluster that loses workers.

    python benchmarks/batch.py rate ../shared/corpora/nemo --recordings 200 1000
    python benchmarks/batch.py memory --rows 1000000
    python benchmarks/batch.py kill ../shared/corpora/nemo --recordings 400 --times 100
    python benchmarks/batch.py cluster ../shared/corpora/nemo --recordings 400 --every 20

Recordings are hard links of real ones.  `rate` compares processor time a recording, which other work on the machine
changes little, as the difference of two sizes, so that starting is not in it; with the cores to itself the ratio of the
rates is that of the processor times.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emovox.audio.sources import AUDIO_SUFFIXES
from emovox.batch.engines import Done
from emovox.batch.entries import Entry, Inputs
from emovox.batch.places import place
from emovox.batch.plan import Plan
from emovox.batch.report import Log, Report
from emovox.batch.runs import Run
from emovox.batch.tables import PartFormat
from emovox.batch.tasks import Outcome, Task

EMOVOX = [sys.executable, "-c", "from emovox.cli.main import run; run()"]
BARE = """
import sys
from emovox import EmotionRecognizer
recognizer = EmotionRecognizer()
for line in open(sys.argv[1]).read().splitlines()[: int(sys.argv[2])]:
    recognizer.predict(line)
"""


def link(source: Path, folder: Path, number: int) -> Path:
    """Fill a folder with hard links of recordings, or copies on another file system."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
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


class Instant:
    """An engine that has the answer at once: what is left is the coordinator."""

    width, deaths = 4, 0

    def __init__(self, columns: int) -> None:
        self._rest = (None,) * (columns - 2)

    def submit(self, entry: Entry, done: Done) -> None:
        done(Outcome(((entry.id, entry.file, *self._rest),), seconds=3.0))

    def check(self) -> None: ...

    def close(self, *, wait: bool = True) -> None: ...


def memory(given: argparse.Namespace, folder: Path) -> None:
    begin = time.process_time()
    manifest = folder / "calls.csv"
    with manifest.open("w") as file:
        file.write("file,speaker,age\n")
        file.writelines(
            f"calls/2026/{n // 1000:04d}/call-{n:07d}.wav,s{n % 5000},{n % 80}\n" for n in range(given.rows)
        )
    inputs, task, where = Inputs(str(manifest)), Task(), place(str(folder / "out"))
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = Plan.of(inputs, task, form=PartFormat(given.format))
    plan.claim(where)
    width = len(task.columns(task.facts()))
    done = Run(plan, inputs, where, Instant(width), Report(plan, Log(where)))
    done()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"| rows | {done.recordings} | parts {len(plan.done(where))} |")
    print(f"| memory at its highest | {peak / 1024:.0f} MiB, {start / 1024:.0f} MiB before the first row |")
    print(f"| processor time | {time.process_time() - begin:.0f} s |")


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


def kill(given: argparse.Namespace, folder: Path) -> None:
    clips = link(given.source, folder / "clips", given.recordings)
    options = ("--jobs", "2", "--part", str(given.part))
    begin = time.monotonic()
    subprocess.run(batch(clips, folder / "whole", *options), check=True)
    lasts = time.monotonic() - begin
    choose, killed = random.Random(given.seed), {"coordinator": 0, "worker": 0}
    running = subprocess.Popen(batch(clips, folder / "out", *options))
    for _ in range(given.times):
        time.sleep(choose.uniform(0.05, 2 * lasts / max(10, given.times)))
        if running.poll() is not None:
            running = subprocess.Popen(batch(clips, folder / "out", *options))
            continue
        workers = children(running.pid)
        if workers and choose.random() < 0.5:
            os.kill(choose.choice(workers), signal.SIGKILL)
            killed["worker"] += 1
        else:
            running.kill()
            running.wait()
            killed["coordinator"] += 1
            running = subprocess.Popen(batch(clips, folder / "out", *options))
    running.wait()
    code = subprocess.run(batch(clips, folder / "out", *options), check=False).returncode
    same = content(folder / "whole") == content(folder / "out")
    print(f"| killed | {killed} | exit code {code} | bytes {'equal' if same else 'DIFFERENT'} |")
    if not same:
        sys.exit(1)


def cluster(given: argparse.Namespace, folder: Path) -> None:
    import distributed

    start: Any = distributed.LocalCluster  # it has no types
    clips = link(given.source, folder / "clips", given.recordings)
    subprocess.run(batch(clips, folder / "whole", "--jobs", "2"), check=True)
    over, killed = threading.Event(), list[int]()
    with start(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:

        def lose() -> None:
            while not over.wait(given.every):
                if alive := [nanny.pid for nanny in found.workers.values() if nanny.pid]:
                    killed.append(alive[len(killed) % len(alive)])
                    os.kill(killed[-1], signal.SIGKILL)

        thread = threading.Thread(target=lose)
        thread.start()
        begin = time.monotonic()
        done = subprocess.run(batch(clips, folder / "out", "--on", found.scheduler_address), check=False)
        seconds = time.monotonic() - begin
        over.set()
        thread.join()
    same = content(folder / "whole") == content(folder / "out")
    ids = [json.loads(line)["id"] for part in (folder / "out" / "parts").glob("*.jsonl") for line in part.open()]
    print(f"| killed {len(killed)} workers in {seconds:.0f} s | exit code {done.returncode} | bytes equal: {same} |")
    if ids:
        print(f"| ids | {len(ids)}, each once: {len(set(ids)) == len(ids)} |")
    if not same:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, what in {"rate": rate, "memory": memory, "kill": kill, "cluster": cluster}.items():
        one = commands.add_parser(name)
        one.set_defaults(function=what)
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
        one.add_argument("--part", type=int, default=16)
        one.add_argument("--times", type=int, default=100)
        one.add_argument("--every", type=float, default=20.0)
        one.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    function: Callable[[argparse.Namespace, Path], None] = given.function
    with tempfile.TemporaryDirectory(dir=os.environ.get("EMOVOX_SCRATCH")) as folder:
        function(given, Path(folder))


if __name__ == "__main__":
    main()
