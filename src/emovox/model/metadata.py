"""What an ONNX file says of itself, read without opening a session: the texts beside its graph."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

#: Number of the field ``metadata_props`` of ``ModelProto``, and of key and value in each of its entries.
_PROPERTIES, _KEY, _VALUE = 14, 1, 2
#: How a field of a protocol buffer is stored: as a number of any length, 8 bytes, so many bytes, or 4 bytes.
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def properties(file: BinaryIO) -> dict[str, str]:
    """Read the metadata of an ONNX file; the graph is skipped, not read.

    Parameters
    ----------
    file : binary file
        At the beginning of the ONNX file; it must be seekable.

    Returns
    -------
    dict of str to str

    Raises
    ------
    ValueError
        This is no ONNX file.

    Source
    ------
    Protocol Buffers documentation, Encoding; ONNX, onnx.proto, message ModelProto.

    Examples
    --------
    >>> import io
    >>> properties(io.BytesIO(bytes([8, 9, 114, 8, 10, 1]) + b"a" + bytes([18, 3]) + b"one"))
    {'a': 'one'}
    """
    found = {}
    for number, content in _fields(file, _PROPERTIES):
        if number == _PROPERTIES:
            entry = dict(_fields(io.BytesIO(content), _KEY, _VALUE))
            found[entry.get(_KEY, b"").decode("utf-8")] = entry.get(_VALUE, b"").decode("utf-8")
    return found


def _fields(file: BinaryIO, *wanted: int) -> Iterator[tuple[int, bytes]]:
    """Give the wanted fields of a message that are stored as bytes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    while file.tell() < size:
        tag = _number(file)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _number(file)
        elif kind in (_EIGHT, _BYTES, _FOUR):
            length = _number(file) if kind == _BYTES else {_EIGHT: 8, _FOUR: 4}[kind]
            if file.tell() + length > size:
                raise ValueError("it ends in the middle of a field")
            if kind == _BYTES and number in wanted:
                yield number, file.read(length)
            else:
                file.seek(length, os.SEEK_CUR)
        else:
            raise ValueError(f"field {number} is of the unknown kind {kind}")


def _number(file: BinaryIO) -> int:
    """Read a number that is stored in groups of seven bits, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends in the middle of a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number has more than 64 bits")
