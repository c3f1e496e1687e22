"""`emovox listen` as a user meets it: a pipe, a terminal, a microphone that is not there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import emovox
from emovox.cli.commands import app
from emovox.errors import EmovoxError
from tests.cli import EMOVOX, emovox_command, emovox_process
from tests.conftest import speech


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two utterances with pauses around them."""
    pause = 0.0005 * np.random.default_rng(0).normal(size=16000)
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.concatenate([pause, speech(2), pause, speech(2, 5), pause]), 16000)
    return path


def test_a_pipe_gives_the_timeline_of_the_file(clip: Path, tmp_path: Path) -> None:
    save, sound = tmp_path / "talk.json", tmp_path / "copy.wav"
    done = emovox_process(
        "listen", "-", "--format", "json", "--save", save, "--save-audio", sound, stdin=clip.read_bytes()
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(event) == {"kind", "time", "decided", "prediction", "text", "channel"} for event in events)
    results = [event["prediction"] for event in events if event["kind"] == "result"]
    timeline = emovox.EmotionRecognizer().timeline(str(clip))
    assert results == [one.to_dict() | {"file": "<stdin>"} for one in timeline.predictions]
    assert json.loads(save.read_text(encoding="utf-8")) == results
    np.testing.assert_array_equal(soundfile.read(sound, dtype="int16")[0], soundfile.read(clip, dtype="int16")[0])
    assert done.stderr.splitlines()[1:] == [f"wrote {save}", f"wrote {sound}"]
    assert done.stderr.startswith(f"heard 0:07, {len(results)} utterance")


def test_lines_where_there_is_no_terminal_and_nothing_is_stored(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = emovox_command("listen", "-", stdin=clip.read_bytes())
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(re.fullmatch(r"0:0\d-0:0\d  (don't know \([a-z]+\)|[a-z]+)  \d+%", line) for line in lines)
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_that_ends_badly_keeps_what_came(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes() + b"RIFF\0\0\0\0nonsense"
    done = emovox_command("listen", "-", "--save", tmp_path / "talk.csv", stdin=data)
    assert done.returncode == 2
    assert "begins as a WAV file, but is none" in done.stderr
    assert len((tmp_path / "talk.csv").read_text().splitlines()) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["talk.csv"]


@pytest.mark.parametrize(
    ("stdin", "message"), [(b"", "<stdin> is empty"), (b"fLaC" + bytes(99), "neither WAV nor raw")]
)
def test_what_is_no_sound_ends_in_one_line(stdin: bytes, message: str) -> None:
    done = emovox_command("listen", "-", stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_the_check_measures_and_advises(clip: Path) -> None:
    done = emovox_command("listen", "-", "--check", stdin=clip.read_bytes())
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["the sound is fine"])
    done = emovox_command("listen", "-", "--check", "--rate", 8000, stdin=bytes(100_000))
    assert done.returncode == 2
    assert "every sample is zero" in done.stdout


def test_a_reader_that_has_enough_is_no_error(clip: Path, tmp_path: Path) -> None:
    save = tmp_path / "talk.rttm"
    command = " ".join(f"'{part}'" for part in [*EMOVOX, "listen", "-", "--format", "json", "--save", str(save)])
    script = f"set -o pipefail; {command} < '{clip}' | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr
    assert "wrote" in done.stderr
    assert save.exists()


class Card:
    """Stands for sounddevice: one microphone that gives some speech and is then unplugged."""

    PortAudioError = RuntimeError
    default = SimpleNamespace(device=[0, 0])

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": "USB", "max_input_channels": 1, "default_samplerate": 16000.0}]

    def InputStream(self, **_options: Any) -> Any:  # noqa: N802 - their name
        raise RuntimeError("Device unavailable")


def called(*arguments: str) -> tuple[int, str]:
    """Call the command in this process; an EmovoxError is exit code 2 and its text, as run() has it."""
    done = CliRunner().invoke(app, ["listen", *arguments])
    if isinstance(done.exception, EmovoxError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["call.wav"], "for the file call.wav write emovox predict call.wav --timeline"),
        (["-", "--device", "usb"], "leave out one of them"),
        (["--rate", "8000"], "describe raw sound from a pipe: add -"),
        (["-", "--encoding", "mp3"], "choose one of u8, s16le"),
        (["-", "--rate", "1"], "a sampling rate of 1 Hz"),
        (["-", "--hop", "9"], "hop is 9.0"),
        (["-", "--speakers", "talk.rttm"], "when listening, auto or how many there are"),
        (["--device", "bluetooth"], "there is no recording device 'bluetooth'"),
        ([], "USB cannot be opened (Device unavailable)"),
        (["-", "--save", "a.wav", "--save-audio", "a.wav"], "name two files"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emovox.live.sources.load", Card)
    code, text = called(*arguments)
    assert code == 2
    assert message in text
    assert "\n" not in text.strip()


def test_devices_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emovox.live.sources.load", Card)
    code, text = called("--list-devices")
    assert code == 0
    assert text.splitlines()[1].split() == ["0", "USB", "1", "16000", "Hz", "default"]


#: Makes the terminal that is standard output the controlling one, as a shell's is, where Ctrl-C interrupts.
ON_A_TERMINAL = (
    "import fcntl, signal, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.default_int_handler); " + EMOVOX[-1]
)


class Terminal:
    """A pseudo-terminal with the command on it, and a thread that reads what it shows."""

    def __init__(self, columns: int, *arguments: str, **environment: str) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.before = termios.tcgetattr(self.master)
        clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [*EMOVOX[:-1], ON_A_TERMINAL, "listen", "-", *arguments],
            stdin=subprocess.PIPE,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**clean, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment},
        )
        os.close(slave)
        self.shown = ""
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 4096)
            except OSError:  # how Linux says that nobody is left at the other end
                data = b""
            with self._news:
                self.shown += data.decode(errors="replace")
                self._news.notify_all()
            if not data:
                return

    def wait_for(self, text: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: text in self.shown, timeout=120), self.shown[-2000:]

    def close(self) -> int:
        assert self.process.stdin is not None
        try:
            code = self.process.wait(120)
        finally:
            self.process.kill()
            self.process.stdin.close()
        import termios

        self.after = termios.tcgetattr(self.master)
        self._thread.join(60)
        os.close(self.master)
        return code


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
@pytest.mark.parametrize(("columns", "end"), [(40, "q"), (100, "\x03")])
def test_a_terminal_shows_a_picture_heeds_keys_and_is_left_in_order(
    columns: int, end: str, clip: Path, tmp_path: Path
) -> None:
    terminal = Terminal(columns, "--save", str(tmp_path / "talk.TextGrid"))
    assert terminal.process.stdin is not None
    # The pipe stays open: only the key ends the session.
    terminal.process.stdin.write(clip.read_bytes())
    terminal.process.stdin.flush()
    terminal.wait_for("0:07")
    os.write(terminal.master, b"m")
    terminal.wait_for("▲")
    os.write(terminal.master, end.encode())
    terminal.wait_for("wrote ")
    assert terminal.close() == 0
    assert terminal.before == terminal.after
    assert "mark 1" in (tmp_path / "talk.TextGrid").read_text(encoding="utf-8")
    assert "\x1b[?25h" in terminal.shown  # the cursor is back
    assert "Traceback" not in terminal.shown


def test_each_channel_of_a_pipe_is_told_by_its_number(clip: Path, tmp_path: Path) -> None:
    sound, _ = soundfile.read(clip)
    stereo = tmp_path / "call.wav"
    soundfile.write(stereo, np.stack([sound, np.roll(sound, 8000)], axis=1), 16000)
    done = emovox_command("listen", "-", "--channels", "each", "--format", "json", stdin=stereo.read_bytes())
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["channel"] for event in events if event["kind"] in ("start", "result", "end")} == {1, 2}
    recognizer = emovox.EmotionRecognizer()
    for number in (1, 2):
        told = [event["prediction"] for event in events if event["kind"] == "result" and event["channel"] == number]
        alone = recognizer.timeline(emovox.audio.Channel(str(stereo), number))
        assert told == [one.to_dict() | {"file": "<stdin>"} for one in alone.predictions]
    lines = emovox_command("listen", "-", "--channels", 2, stdin=stereo.read_bytes()).stdout.splitlines()
    assert len(lines) == 2
    assert all(re.match(r"0:0\d-0:0\d  channel 2  ", line) for line in lines)
    done = emovox_command("listen", "-", "--channels", 2, "--speakers", "auto", stdin=stereo.read_bytes())
    assert all(re.match(r"0:0\d-0:0\d  channel 2  speaker 2  ", line) for line in done.stdout.splitlines())


def test_how_many_channels_raw_sound_has_is_another_option() -> None:
    done = emovox_command("listen", "-", "--rate", 48000, "--channels", 2, stdin=bytes(100_000))
    assert (done.returncode, done.stdout) == (2, "")
    assert "--pcm-channels 2 says how many there are" in done.stderr
    done = emovox_command("listen", "-", "--rate", 48000, "--pcm-channels", 2, stdin=bytes(100_000))
    assert done.returncode == 0, done.stderr
    done = emovox_command("listen", "-", "--channels", "left", stdin=bytes(100))
    assert "--channels left: expected mix, each or the number of a channel" in done.stderr
