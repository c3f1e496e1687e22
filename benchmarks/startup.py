"""What a first answer costs in processor time: interpreter, imports, the model, one answer.

    python benchmarks/startup.py

Each row is a process of its own that does everything up to there; the least of several runs counts, for other programs
on the machine only ever add.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VOICE = Path(__file__).parents[1] / "examples" / "plain.wav"
RUNS = 7
PARTS: dict[str, str | list[str]] = {
    "python": "pass",
    "import numpy": "import numpy",
    "import onnxruntime": "import onnxruntime",
    "import emovox": "import emovox",
    "import the recogniser": "from emovox import EmotionRecognizer as R; R",
    "load the model": "from emovox import EmotionRecognizer as R; R()",
    "one answer": f"from emovox import EmotionRecognizer as R; R().predict({str(VOICE)!r})",
    "emovox --version": ["-m", "emovox", "--version"],
    "emovox models": ["-m", "emovox", "models"],
    "emovox predict": ["-m", "emovox", "predict", str(VOICE)],
}
#: Runs a command as its only child, and prints the child's processor time.
MEASURE = (
    "import resource, subprocess, sys\n"
    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
    "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "print(used.ru_utime + used.ru_stime)\n"
)


def processor_time(command: list[str]) -> float:
    """Return the least processor time of several runs, in seconds."""
    wrapped = [sys.executable, "-c", MEASURE, sys.executable, *command]
    runs = [subprocess.run(wrapped, check=True, capture_output=True, text=True) for _ in range(RUNS)]
    return min(float(run.stdout) for run in runs)


def main() -> None:
    print("part                     s   against numpy")
    numpy = processor_time(["-c", "import numpy"])
    for name, part in PARTS.items():
        found = processor_time(["-c", part] if isinstance(part, str) else part)
        print(f"{name:22} {found:5.3f} {found / numpy:8.1f}", flush=True)


if __name__ == "__main__":
    main()
