"""One process that works on items for another: what its parent sees, what it runs, and the pipe between them."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import IO, Any, Protocol, TypeAlias, TypeVar, cast

from emovox.errors import EmovoxError, InputError, WorkerError
from emovox.recognition.many import StoppedError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Tell(Protocol):
    """The line of a work to whoever has submitted the item."""

    def __call__(self, what: object = None) -> None:
        """Say something before the result, or nothing: the sign that the work lives.

        Raises
        ------
        StoppedError
            Nobody wants the result any more.
        """


#: What is done with an item.  It gets a function besides, to be called from time to time.
Work: TypeAlias = Callable[[Item, Tell], Result]

#: What a worker process runs: the paths of its parent, then :func:`serve`.
_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); import emovox.recognition.processes as p; p.serve()"
#: One thread a worker: as many workers as cores share them without fighting, and sums are taken in one order.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: Seconds between two signs of life that a worker sends, and that a process has to end.
_BEAT, _END = 1.0, 5.0
#: Seconds that a process may take to begin: a model is loaded then.
_BEGIN = 300.0
#: Number of the item, and length of what follows.  Nothing that follows says: stop that item; of item 0: end.
_HEAD = struct.Struct("<QQ")


class DiedError(Exception):
    """A process is gone."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class SetupError(Exception):
    """What a process is to do could not be made in it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message

    def as_told(self) -> EmovoxError:
        """Return the error that users see."""
        return InputError(self.message) if self.kind == "refused" else EmovoxError(self.message)


class Process:
    """A worker as its parent sees it."""

    def __init__(self, make: bytes) -> None:
        environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers itself
        )
        self.pid = self._process.pid
        self.heard = time.monotonic()
        self.items = 0
        self.ready = False
        self._lock = threading.Lock()  # of what is sent
        self._send(0, make)

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def give(self, payload: bytes) -> None:
        """Give it an item to work on."""
        self.items += 1
        self._send(self.items, payload)

    def ask_to_stop(self) -> None:
        """Say that nobody wants the result of its item any more."""
        self._send(self.items, b"")

    def _send(self, number: int, payload: bytes) -> None:
        """Send something; that the process is gone shows when its answer does not come."""
        self.heard = time.monotonic()
        with self._lock, contextlib.suppress(OSError, ValueError):
            _write(cast(IO[bytes], self._process.stdin), number, payload)

    def answer(self, told: Callable[[object], None] | None = None) -> Any:
        """Wait for the answer, past all that is told before it."""
        while True:
            message = _read(cast(IO[bytes], self._process.stdout))
            self.heard = time.monotonic()
            if message is None:
                raise DiedError(self._gone())
            kind, value = pickle.loads(message[1])
            if kind == "done":
                self.ready = True
                return value
            if kind == "told" and told is not None:
                told(value)
            elif kind == "stopped":
                raise StoppedError
            elif kind == "failed":
                raise WorkerError(value)
            elif kind in ("refused", "broken"):
                self.end()
                raise SetupError(kind, value)

    def silent(self, patience: float) -> bool:
        """Tell whether there was no sign of life for too long; to begin may take longer, a model is loaded then."""
        return time.monotonic() - self.heard > (patience if self.ready else max(patience, _BEGIN))

    def kill(self) -> None:
        """End the process wherever it is."""
        self._process.kill()

    def end(self) -> None:
        """Let the process end, which is idle."""
        self._send(0, b"")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)
        self._gone()

    def _gone(self) -> int:
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                cast(IO[bytes], stream).close()
        try:
            return self._process.wait(_END)
        except subprocess.TimeoutExpired:  # it closed its output, and goes on
            self._process.kill()
            return self._process.wait()


def serve() -> None:
    """Work for the process that started this one, until it has enough or is gone."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # that process decides when to end
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the answers
    inbox, line = _Inbox(), _Line(output)
    # Not sys.stdin: its lock, held while this thread waits, would stop the end of the interpreter.
    threading.Thread(target=inbox.fill, args=(os.fdopen(os.dup(0), "rb", 0),), daemon=True).start()
    try:
        work: Work[Any, Any] = pickle.loads(inbox.items.get()[1])()
    except EmovoxError as error:
        line.send("refused", str(error))
        return
    except Exception as error:
        line.send("broken", f"a worker cannot begin: {in_one_line(error)}")
        return
    line.send("done")
    while (item := inbox.items.get())[1]:
        line.send(*_worked(work, item, inbox, line))


def _worked(work: Work[Any, Any], item: tuple[int, bytes], inbox: _Inbox, line: _Line) -> tuple[str, Any]:
    """Do one item, and say how that ended."""
    last = 0.0

    def tell(what: object = None) -> None:
        nonlocal last
        if inbox.stopped >= item[0]:
            raise StoppedError
        now = time.monotonic()
        if what is not None:
            line.send("told", what)
        elif now - last >= _BEAT:
            last = now
            line.send("alive")

    try:
        return "done", work(pickle.loads(item[1]), tell)
    except StoppedError:
        return "stopped", None
    except Exception as error:
        traceback.print_exc()
        return "failed", in_one_line(error)


class _Line:
    """The way to the parent; several threads may tell something."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output, self._lock = output, threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        """Send one message."""
        payload = pickle.dumps((kind, value))
        try:
            with self._lock:
                _write(self._output, 0, payload)
        except BrokenPipeError:  # the parent was killed: nobody is left who wants the answers
            os._exit(1)


class _Inbox:
    """What comes from the parent: items, and the number of the last one that it does not want any more."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self.stopped = 0

    def fill(self, stream: IO[bytes]) -> None:
        """Take what comes; where nobody is left who wants the answers, end the process whatever it does."""
        while (message := _read(stream)) is not None:
            if message[0] and not message[1]:
                self.stopped = message[0]
            else:
                self.items.put(message)
        os._exit(1)


def _write(stream: IO[bytes], number: int, payload: bytes) -> None:
    stream.write(_HEAD.pack(number, len(payload)))
    stream.write(payload)
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[int, bytes] | None:
    """Read one message; None where the stream ends, between two of them or within one."""
    try:
        head = _exactly(stream, _HEAD.size)
        if head is None:
            return None
        number, length = _HEAD.unpack(head)
        payload = _exactly(stream, length)
    except (OSError, ValueError):  # closed
        return None
    return None if payload is None else (number, payload)


def _exactly(stream: IO[bytes], size: int) -> bytes | None:
    pieces: list[bytes] = []
    while size:
        if not (piece := stream.read(size)):
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def in_one_line(error: Exception) -> str:
    """Say what an exception is."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
