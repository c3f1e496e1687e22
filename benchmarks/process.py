"""Installed size, and times of `emovox predict` and `emovox train ravdess-ann` as whole processes.

    python benchmarks/process.py --corpora ../shared/corpora

Creates a virtual environment with the light install (without the [train] extra), measures there, and trains in the
environment of this script, with an empty feature cache.  Prints Markdown rows with medians and ranges.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def seconds(command: list[str], times: int, **environment: str) -> list[float]:
    """Run a command several times as a whole process."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
        found.append(time.perf_counter() - begin)
    return found


def row(what: str, found: list[float]) -> None:
    print(f"| {what} | {statistics.median(found):.2f} s | {min(found):.2f}-{max(found):.2f} s |", flush=True)


def light_install(folder: Path) -> Path:
    """Create an environment with the light install and return its `bin` folder."""
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    subprocess.run([programs / "pip", "install", "--quiet", ROOT], check=True)
    return programs


def installed_size(programs: Path) -> tuple[float, float]:
    """Return the size of site-packages in MB (10^6 bytes) without pip and setuptools, and that of the byte code."""
    (packages,) = programs.parent.glob("lib/python*/site-packages")
    files = [path for path in packages.rglob("*") if path.is_file() and not path.is_symlink()]
    own = ("pip", "setuptools", "_distutils_hack", "pkg_resources")
    kept = [path for path in files if not path.relative_to(packages).parts[0].startswith(own)]
    compiled = [path for path in kept if path.suffix == ".pyc"]
    whole, byte_code = (sum(path.stat().st_size for path in paths) / 1e6 for paths in (kept, compiled))
    return whole, byte_code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--train", action="store_true", help="also time the training (a minute or more)")
    arguments = parser.parse_args()
    clip = sorted((ROOT / "examples").glob("*.wav"))[0]
    with tempfile.TemporaryDirectory() as folder:
        programs = light_install(Path(folder) / "venv")
        whole, byte_code = installed_size(programs)
        print(f"| light install, site-packages | {whole:.0f} MB, {byte_code:.0f} MB of it byte code | |")
        command = [str(programs / "emovox"), "predict", str(clip)]
        seconds(command, 2)  # compile the byte code, warm the disk cache
        row("`emovox predict one.wav`, whole process", seconds(command, arguments.times))
        row(
            "of which `python -c 'import numpy, onnxruntime'`",
            seconds([str(programs / "python"), "-c", "import numpy, onnxruntime"], arguments.times),
        )
    if arguments.train:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", "from emovox.cli.main import run; run()", "train", "ravdess-ann"]
            command += ["--corpus", f"ravdess={arguments.corpora / 'ravdess'}", "--out", f"{folder}/run"]
            found = seconds(command, 1, EMOVOX_CACHE=f"{folder}/cache")
        row("`emovox train ravdess-ann`, cold cache", found)


if __name__ == "__main__":
    main()
