"""What a first answer costs in processor time: interpreter, imports, the model, one answer.

    python benchmarks/startup.py

Each row is a process of its own that does everything up to there, with modules compiled, as an installation has them.
The rows take turns, and of each the least of several runs counts: other programs on the machine only ever add.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
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


def main() -> None:
    commands = {name: ["-c", part] if isinstance(part, str) else part for name, part in PARTS.items()}
    runs = [{name: processor_time(command) for name, command in commands.items()} for _ in range(RUNS)]
    least = {name: min(run[name] for run in runs[1:]) for name in PARTS}  # the first run may compile
    print("part                     s   against numpy")
    for name, found in least.items():
        print(f"{name:22} {found:5.3f} {found / least['import numpy']:8.1f}")


if __name__ == "__main__":
    main()
