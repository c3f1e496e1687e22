"""What a first answer costs in processor time: interpreter, imports, the model, one answer.

    python benchmarks/startup.py
    python benchmarks/startup.py --size

Each row is a process of its own that does everything up to there, with modules compiled, as an installation has them.
The rows take turns, and of each the least of several runs counts: other programs on the machine only ever add.

With --size, how much an installation of the package and of all that it needs takes: with and without the byte code that
pip compiles.  Run it with the Python of an environment that holds the package itself, and not a link to its source.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

VOICE = Path(__file__).parents[1] / "examples" / "plain.wav"
RUNS = 8
PARTS: dict[str, str | list[str]] = {
    "python": "pass",
    "import numpy": "import numpy",
    "numpy and onnxruntime": "import numpy, onnxruntime",
    "import emovox": "import emovox",
    "import the recogniser": "from emovox import EmotionRecognizer as R; R",
    "load the model": "from emovox import EmotionRecognizer as R; R()",
    "one answer": f"from emovox import EmotionRecognizer as R; R().predict({str(VOICE)!r})",
    "emovox --version": ["-m", "emovox", "--version"],
    "emovox models": ["-m", "emovox", "models"],
    "emovox predict": ["-m", "emovox", "predict", str(VOICE)],
}


def processor_time(command: list[str]) -> float:
    """Return the processor time of a command, user and system, in seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def needed(name: str) -> set[str]:
    """Return the names of a distribution and of all that it needs without extras, as far as they are installed."""
    found, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            try:
                wanted = metadata.requires(one) or []
            except metadata.PackageNotFoundError:  # for another system
                continue
            found.add(one)
            waiting += [re.split(r"[^\w.-]", text)[0] for text in wanted if "extra ==" not in text]
    return found


def sizes(name: str) -> tuple[float, float]:
    """Return the size of a distribution's files in MB, and of the byte code among them."""
    paths = [Path(str(file.locate())) for file in metadata.files(name) or ()]
    there = [(path.suffix == ".pyc", path.stat().st_size / 1e6) for path in paths if path.exists()]
    return sum(size for _, size in there), sum(size for compiled, size in there if compiled)


def print_sizes() -> None:
    found = {name: sizes(name) for name in needed("emovox")}
    found["all"] = sum(whole for whole, _ in found.values()), sum(compiled for _, compiled in found.values())
    print("distribution          MB   without byte code")
    for name, (whole, compiled) in sorted(found.items(), key=lambda item: item[1]):
        print(f"{name:18} {whole:5.1f} {whole - compiled:8.1f}")


def main() -> None:
    if "--size" in sys.argv[1:]:
        print_sizes()
        return
    commands = {name: ["-c", part] if isinstance(part, str) else part for name, part in PARTS.items()}
    runs = [{name: processor_time(command) for name, command in commands.items()} for _ in range(RUNS)]
    least = {name: min(run[name] for run in runs[1:]) for name in PARTS}  # the first run may compile
    print("part                     s   against numpy")
    for name, found in least.items():
        print(f"{name:22} {found:5.3f} {found / least['import numpy']:8.1f}")


if __name__ == "__main__":
    main()
