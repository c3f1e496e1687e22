"""Microphones through PortAudio: finding one, listening to it, and waiting for it to come back when it is unplugged."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from emovox.audio import Converter
from emovox.errors import AudioError, InputError, MissingExtraError, did_you_mean
from emovox.live.sources import Notice, Piece
from emovox.types import RATE

#: Pieces of 50 ms that may wait to be heard: two minutes.
_WAITING = 2400


@dataclass(frozen=True)
class Device:
    """A device that records.

    Attributes
    ----------
    index : int
        Its number, as PortAudio counts.
    name : str
        Its name.
    channels : int
        Channels it can record.
    rate : int
        Its usual sampling rate in Hz.
    default : bool
        Whether the system uses it where none is named.
    """

    index: int
    name: str
    channels: int
    rate: int
    default: bool


def load() -> Any:
    """Import sounddevice, or say how to install what is missing.

    Raises
    ------
    MissingExtraError
        sounddevice is not installed.
    InputError
        The system has no PortAudio.
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
    """List the devices that record.

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
    """Choose a device.

    Parameters
    ----------
    wanted : str or None
        A number, or a part of a name in any case; None is the system's own choice.
    devices : list of Device
        Those that there are.

    Raises
    ------
    InputError
        There is none, or several have that in their name.

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
    """A microphone.

    Parameters
    ----------
    wanted : str, optional
        Which one, see :func:`find`.
    sounddevice : module, optional
        From :func:`load`.
    patience : float, default 15
        Seconds to wait for a device that is gone.
    silence : float, default 3
        Seconds without any samples, after which a device counts as gone.

    Raises
    ------
    MissingExtraError, InputError, AudioError
        There is no such device, or no way to it.
    """

    def __init__(
        self, wanted: str | None = None, sounddevice: Any = None, *, patience: float = 15.0, silence: float = 3.0
    ) -> None:
        self._sounddevice = load() if sounddevice is None else sounddevice
        self._device = find(wanted, available(self._sounddevice))
        self._patience, self._silence = patience, silence
        self.name, self.rate = self._device.name, self._device.rate
        self._stopped = threading.Event()
        self._lost = 0
        self._pieces: queue.Queue[Any] = queue.Queue(_WAITING)
        self._stream: Any = None
        self._converter = self._open()

    def stop(self) -> None:
        """End soon."""
        self._stopped.set()

    def read(self) -> Iterator[Piece]:
        """Yield the sound as it comes, until it is stopped.

        Yields
        ------
        ndarray of float32, shape (n_samples,), or Notice
            The time that a device was gone for is filled with silence, so that times stay those of the clock.

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
                    yield self._converter.push(np.nan_to_num(block, posinf=0.0, neginf=0.0))
                last = time.monotonic()
                if self._lost > told:
                    told = self._lost
                    yield Notice("some sound was lost: this computer does not keep up, close other programs")
        finally:
            self._close()

    def _gone(self, last: float) -> bool:
        return not self._stream.active or time.monotonic() - last > self._silence

    def _return(self, last: float) -> Iterator[Piece]:
        """Wait for a device that is gone."""
        yield self._converter.finish()
        yield Notice(f"{self.name} is gone: waiting {self._patience:g} s for it to come back")
        self._close()
        begun = time.monotonic()
        while not self._stopped.is_set():
            try:
                self._look_again()
                self._converter = self._open()
            except (AudioError, InputError) as error:
                if time.monotonic() - begun > self._patience:
                    raise AudioError(
                        f"{self.name} was lost and did not come back: plug it in and start again"
                    ) from error
                self._stopped.wait(min(1.0, self._patience / 10))
            else:
                yield np.zeros(round((time.monotonic() - last) * RATE), dtype=np.float32)
                yield Notice(f"{self.name} is back")
                return

    def _look_again(self) -> None:
        """Let PortAudio list the devices anew, which it does only when it starts."""
        with suppress(self._sounddevice.PortAudioError):
            self._sounddevice._terminate()
        try:
            self._sounddevice._initialize()
        except self._sounddevice.PortAudioError as error:
            raise AudioError(f"the system's sound does not answer ({error})") from error
        devices = available(self._sounddevice)
        self._device = find(self.name, [one for one in devices if one.name == self.name])

    def _open(self) -> Converter:
        """Begin to record at the device's own rate, in mono where it can."""
        errors = []
        for channels in dict.fromkeys((1, self._device.channels)):
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
                return Converter(self._device.rate, channels, self.name)
        raise AudioError(f"{self.name} cannot be opened ({errors[-1]}): is another program using it, and may this one?")

    def _take(self, block: Any, status: Any, into: queue.Queue[Any]) -> None:
        """Keep what the sound card gives; this runs in its thread and must not wait."""
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
