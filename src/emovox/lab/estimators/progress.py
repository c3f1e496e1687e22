"""What trainings in other processes tell about their epochs: lines of a file that the first process follows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emovox.errors import InputError

#: Seconds between two looks at the file.
PAUSE = 0.5


@dataclass(frozen=True)
class EpochLog:
    """A file with one line of JSON an epoch; many processes may write to it.

    Attributes
    ----------
    path : Path or None
        The file; None keeps nothing.

    Examples
    --------
    >>> EpochLog(None).write({"epoch": 1})
    """

    path: Path | None

    def write(self, epoch: Mapping[str, Any]) -> None:
        """Add a line."""
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(epoch)) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path} ({error.strerror}): make room, or give another --out"
            ) from error


def curve(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Keep of skorch's history what belongs into a learning curve: epoch, losses and recalls.

    Examples
    --------
    >>> curve([{"epoch": 1, "train_loss": 2.0, "valid_loss": 2.1, "dur": 3.0, "batches": []}])
    [{'epoch': 1, 'train_loss': 2.0, 'valid_loss': 2.1}]
    """
    wanted = ("epoch", "train_loss", "train_uar", "valid_loss", "valid_uar")
    return [{key: entry[key] for key in wanted if key in entry} for entry in history]


def described(epoch: Mapping[str, Any]) -> str:
    """Put an epoch into words.

    Examples
    --------
    >>> described({"task": "seed 0, fold 1", "epoch": 3, "train_loss": 1.5, "valid_loss": 1.75, "valid_uar": 0.5})
    'seed 0, fold 1, epoch 3: loss 1.50, held out: loss 1.75, UAR 50.0'
    """
    parts = {"": ("train_loss", "train_uar"), "held out: ": ("valid_loss", "valid_uar")}
    words = []
    for prefix, (loss, uar) in parts.items():
        if loss in epoch:
            words.append(f"{prefix}loss {epoch[loss]:.2f}")
        if uar in epoch:
            words.append(f"UAR {100 * epoch[uar]:.1f}")
    place = [str(epoch["task"])] if epoch.get("task") else []
    place.append(f"epoch {epoch['epoch']}")
    return f"{', '.join(place)}: {', '.join(words)}"


@contextmanager
def followed(log: EpochLog, total: int, tell: Callable[[str, int, int], None]) -> Iterator[None]:
    """Tell of each epoch that is written while the block runs.

    Parameters
    ----------
    log : EpochLog
        What the trainings write.
    total : int
        Epochs that are planned.
    tell : callable
        Called with ("epochs: " and the last epoch in words, done, total).
    """
    if log.path is None or not total:
        yield
        return
    ended = threading.Event()
    path, already = log.path, _lines(log.path)

    def look() -> None:
        seen = 0
        while True:
            last = ended.wait(PAUSE)
            lines = _lines(path)[len(already) :]
            if len(lines) > seen:
                seen = len(lines)
                tell(f"epochs: {described(json.loads(lines[-1]))}", min(seen, total), total)
            if last:
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _lines(path: Path) -> list[str]:
    """Return the whole lines of a file; none where it is not there yet."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return text.split("\n")[:-1]
