"""Progress of training in worker processes: an epoch log on disk that the main process follows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emovox.errors import InputError

#: Polling interval of the log, in seconds.
PAUSE = 0.5


@dataclass(frozen=True)
class EpochLog:
    """Log file with one line of JSON per epoch, shared by several processes.

    Attributes
    ----------
    path : Path or None
        The file; None discards everything.

    Examples
    --------
    >>> EpochLog(None).write({"epoch": 1})
    """

    path: Path | None

    def write(self, epoch: Mapping[str, Any]) -> None:
        """Append an epoch."""
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
    """Extract a learning curve from the history of skorch: epoch, losses and UAR.

    Examples
    --------
    >>> curve([{"epoch": 1, "train_loss": 2.0, "valid_loss": 2.1, "dur": 3.0, "batches": []}])
    [{'epoch': 1, 'train_loss': 2.0, 'valid_loss': 2.1}]
    """
    wanted = ("epoch", "train_loss", "train_uar", "valid_loss", "valid_uar")
    return [{key: entry[key] for key in wanted if key in entry} for entry in history]


def described(epoch: Mapping[str, Any]) -> str:
    """Describe an epoch in one line.

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
def followed(log: EpochLog, total: int, progress: Callable[[str, int, int], None]) -> Iterator[None]:
    """Report each epoch that is logged while the block runs.

    Parameters
    ----------
    log : EpochLog
        Log of the training processes.
    total : int
        Planned number of epochs.
    progress : callable
        Progress callback, called with ("epochs: ..." with a description of the last epoch, done, total).
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
                progress(f"epochs: {described(json.loads(lines[-1]))}", min(seen, total), total)
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
    """Return the complete lines of a file; none if it does not exist yet."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return text.split("\n")[:-1]
