"""Recognise every recording in a folder and group the files by emotion.

::

    python examples/predict_folder.py examples
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from emovox import EmotionRecognizer, Failure


def by_emotion(folder: Path) -> tuple[dict[str, list[str]], list[Failure]]:
    """Return the file names of each emotion, the most confident first, and the recordings that failed."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in {".wav", ".flac", ".ogg", ".mp3"})
    found: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    failures = []
    for result in EmotionRecognizer().predict_many(files):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            found[result.label].append((-result.confidence, Path(result.file).name))
    return {label: [name for _, name in sorted(rows)] for label, rows in sorted(found.items())}, failures


def main() -> int:
    """Print the groups; return 2 if a recording failed, as `emovox predict` does."""
    groups, failures = by_emotion(Path(sys.argv[1]))
    for label, names in groups.items():
        print(f"{label}: {', '.join(names)}")
    for failure in failures:
        print(f"failed: {failure.error}", file=sys.stderr)
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
