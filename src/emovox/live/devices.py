"""Microphones through PortAudio: listing, choosing and recording, and reconnecting after a device was unplugged."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from emovox.errors import AudioError, InputError, MissingExtraError, did_you_mean
from emovox.live.sources import Notice, Piece
from emovox.live.state import Splitter, Wanted
from emovox.types import RATE

#: Length of the queue between the sound card and the recogniser, in blocks of 50 ms: two minutes.
_WAITING = 2400


@dataclass(frozen=True)
class Device:
    """A recording device.

    Attributes
    ----------
    index : int
        Index of the device in PortAudio.
    name : str
        Name of the device.
    channels : int
        Largest number of input channels.
    rate : int
        Default sampling rate in Hz.
    default : bool
        Whether it is the system's default input.
    """

    index: int
    name: str
    channels: int
    rate: int
    default: bool


def load() -> Any:
    """Import sounddevice.

    Raises
    ------
    MissingExtraError
        sounddevice is not installed.
    InputError
        The PortAudio library is not installed.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise MissingExtraError("listening to a microphone", "live") from error
    except OSError as error:
        raise InputError(
            "the system has no PortAudio, which microphones are reached through: apt install libportaudio2 "
            "(Debian, Ubuntu), dnf install portaudio (Fedora) or brew install portaudio (macOS); "
            "or pipe sound in: arecord -f S16_LE -r 16000 | emovox listen -"
        ) from error
    return sounddevice


def available(sounddevice: Any) -> list[Device]:
    """List the recording devices.

    Parameters
    ----------
    sounddevice : module
        From :func:`load`.
    """
    try:
        default = int(sounddevice.default.device[0])
        return [
            Device(
                number,
                str(one["name"]),
                int(one["max_input_channels"]),
                int(one["default_samplerate"]),
                number == default,
            )
            for number, one in enumerate(sounddevice.query_devices())
            if one["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the system's sound does not answer ({error}): is a sound card there?") from error


def find(wanted: str | None, devices: list[Device]) -> Device:
    """Choose a recording device.

    Parameters
    ----------
    wanted : str or None
        Index, name or part of a name, in any case; None for the system's default.
    devices : list of Device
        From :func:`available`.

    Raises
    ------
    InputError
        There is no such device, or several names match.

    Examples
    --------
    >>> find("usb", [Device(0, "Built-in", 2, 48000, True), Device(3, "USB Audio", 1, 44100, False)]).index
    3
    """
    listed = "; ".join(f"{one.index} {one.name}" for one in devices)
    if not devices:
        raise InputError(
            "there is no microphone: plug one in, let this program use it, or pipe sound in, for example "
            "arecord -f S16_LE -r 16000 | emovox listen -"
        )
    if wanted is None:
        return next((one for one in devices if one.default), devices[0])
    if wanted.strip().isdecimal():
        found = [one for one in devices if one.index == int(wanted)]
    else:
        found = [one for one in devices if one.name == wanted] or [
            one for one in devices if wanted.casefold() in one.name.casefold()
        ]
    if len(found) == 1:
        return found[0]
    if found:
        names = "; ".join(f"{one.index} {one.name}" for one in found)
        raise InputError(f"several devices have {wanted!r} in their name ({names}): give one's number")
    if wanted.strip().isdecimal():
        raise InputError(f"there is no recording device {wanted}: choose one of {listed}")
    raise InputError(f"there is no recording device {wanted!r}: {did_you_mean(wanted, [one.name for one in devices])}")


class DeviceSource:
    """Sound of a microphone, see :class:`emovox.live.sources.SoundInput`.

    Parameters
    ----------
    wanted : str, optional
        Device to record from, see :func:`find`.
    sounddevice : module, optional
        From :func:`load`.
    patience : float, default 15
        Seconds to wait for a device to come back.
    silence : float, default 3
        Seconds without samples after which a device counts as unplugged.
    channels : {"mix", "each"} or int, default "mix"
        Which channels are heard: all mixed, each by itself, or one by its number.

    Raises
    ------
    MissingExtraError, InputError, AudioError
        There is no such device or no such channel, or it cannot be opened.
    """

    def __init__(
        self,
        wanted: str | None = None,
        sounddevice: Any = None,
        *,
        patience: float = 15.0,
        silence: float = 3.0,
        channels: Wanted = "mix",
    ) -> None:
        self._sounddevice = load() if sounddevice is None else sounddevice
        self._device = find(wanted, available(self._sounddevice))
        self._patience, self._silence, self._wanted = patience, silence, channels
        self.name, self.rate = self._device.name, self._device.rate
        self._stopped = threading.Event()
        self._lost = 0
        self._pieces: queue.Queue[Any] = queue.Queue(_WAITING)
        self._stream: Any = None
        self._splitter = self._open()

    def stop(self) -> None:
        """Ask :meth:`read` to end soon."""
        self._stopped.set()

    def read(self) -> Iterator[Piece]:
        """Yield the sound as it is recorded, until :meth:`stop`.

        Yields
        ------
        ndarray of float32, shape (n_samples,) or (n_samples, n_channels), or Notice
            Samples at 16 kHz.  While a device is unplugged, silence takes its place, so that times keep to the clock.

        Raises
        ------
        AudioError
            The device was lost and did not come back.
        """
        told = 0
        last = time.monotonic()
        try:
            while not self._stopped.is_set():
                try:
                    block = self._pieces.get(timeout=min(0.2, self._silence))
                except queue.Empty:
                    if not self._gone(last):
                        continue
                    yield from self._return(last)
                else:
                    yield self._splitter.push(np.nan_to_num(block, posinf=0.0, neginf=0.0))
                last = time.monotonic()
                if self._lost > told:
                    told = self._lost
                    yield Notice("some sound was lost: this computer does not keep up, close other programs")
        finally:
            self._close()

    def _gone(self, last: float) -> bool:
        return not self._stream.active or time.monotonic() - last > self._silence

    def _return(self, last: float) -> Iterator[Piece]:
        """Wait for an unplugged device to come back."""
        yield self._splitter.finish()
        yield Notice(f"{self.name} is gone: waiting {self._patience:g} s for it to come back")
        self._close()
        begun = time.monotonic()
        while not self._stopped.is_set():
            try:
                self._look_again()
                self._splitter = self._open()
            except (AudioError, InputError) as error:
                if time.monotonic() - begun > self._patience:
                    raise AudioError(
                        f"{self.name} was lost and did not come back: plug it in and start again"
                    ) from error
                self._stopped.wait(min(1.0, self._patience / 10))
            else:
                yield self._splitter.silence(round((time.monotonic() - last) * RATE))
                yield Notice(f"{self.name} is back")
                return

    def _look_again(self) -> None:
        """Restart PortAudio, which lists the devices only when it starts."""
        with suppress(self._sounddevice.PortAudioError):
            self._sounddevice._terminate()
        try:
            self._sounddevice._initialize()
        except self._sounddevice.PortAudioError as error:
            raise AudioError(f"the system's sound does not answer ({error})") from error
        devices = available(self._sounddevice)
        self._device = find(self.name, [one for one in devices if one.name == self.name])

    def _open(self) -> Splitter:
        """Open the device at its own rate, in mono where that is enough and possible."""
        errors = []
        enough = (1,) if self._wanted == "mix" else ()
        for channels in dict.fromkeys((*enough, self._device.channels)):
            pieces: queue.Queue[Any] = queue.Queue(_WAITING)
            try:
                self._stream = self._sounddevice.InputStream(
                    device=self._device.index,
                    samplerate=self._device.rate,
                    channels=channels,
                    dtype="float32",
                    blocksize=self._device.rate // 20,
                    callback=lambda block, _frames, _time, status, into=pieces: self._take(block, status, into),
                )
                self._stream.start()
            except self._sounddevice.PortAudioError as error:
                errors.append(str(error))
                self._close()
            else:
                self._pieces, self.rate = pieces, self._device.rate
                return Splitter(self._device.rate, channels, self.name, self._wanted)
        raise AudioError(f"{self.name} cannot be opened ({errors[-1]}): is another program using it, and may this one?")

    def _take(self, block: Any, status: Any, into: queue.Queue[Any]) -> None:
        """Queue a block of the sound card; this is its callback, in its thread, and must not wait."""
        if status and status.input_overflow:
            self._lost += 1
        try:
            into.put_nowait(block.copy())
        except queue.Full:
            self._lost += 1

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(self._sounddevice.PortAudioError):
                stream.close(ignore_errors=True)
