"""ONNX files: sessions on one thread without telemetry, checksums, what a file says of itself, variants of it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import emovox
from emovox.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Number of the field ``metadata_props`` of ``ModelProto``, and of key and value in each of its entries.
_PROPERTIES, _KEY, _VALUE = 14, 1, 2
#: Of ``graph`` in ``ModelProto``; of ``initializer`` and ``output`` in it; of ``name`` in ``ValueInfoProto``.
_GRAPH, _INITIALIZER, _OUTPUT, _NAME = 7, 5, 12, 1
#: Of ``dims``, ``data_type`` and ``raw_data`` in ``TensorProto``, and the bytes of a number by the type of data.
_DIMENSION, _DATA_TYPE, _RAW = 1, 2, 9
_ITEM_SIZES = {1: 4, 2: 1, 3: 1, 10: 2, 11: 8}
#: How a field of a protocol buffer is stored: as a number of any length, 8 bytes, so many bytes, or 4 bytes.
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
#: The package, and the checksums of its ONNX files, as the command ``sha256sum`` writes and checks them.
_PACKAGE, _SUMS = Path(emovox.__file__).parent, "SHA256SUMS"
#: The last entry of the metadata of a sealed file, but for its value: the checksum of all that precedes the entry.
_SEALED_BY = b"emovox.sha256"
_SEAL = bytes([_PROPERTIES << 3 | _BYTES, 2 + len(_SEALED_BY) + 2 + 64, _KEY << 3 | _BYTES, len(_SEALED_BY)])
_SEAL += _SEALED_BY + bytes([_VALUE << 3 | _BYTES, 64])


def open_session(content: bytes | Path, source: str = "the model") -> InferenceSession:
    """Open a session for an ONNX file on one thread of the processor, if the file is as it was written.

    The networks are small: one thread is fastest, and many recordings at once do not fight for cores.  Wheels of
    onnxruntime for Linux from 1.29 on report to their makers and write to the user's cache, unless the environment
    variable ``ORT_DISABLE_TELEMETRY`` is set before onnxruntime is imported: ``import emovox`` sets it.  Where another
    library imported onnxruntime before that, a warning in the log ``emovox`` says so once.

    Parameters
    ----------
    content : bytes or Path
        The file, or the path of one that comes with emovox, which opens in two thirds of the time.  Nothing in it is
        executed but its graph.  A graph given as bytes cannot refer to other files: any other file is given so.
    source : str, optional
        What messages call it.

    Returns
    -------
    onnxruntime.InferenceSession
        It keeps no state and may be used by many threads.

    Raises
    ------
    ModelError
        A checksum of the file is known, that of the package's own or of one that is :func:`sealed`, and is not the
        file's.
    """
    _require_whole(content, source)
    import onnxruntime  # 30 ms of import that `emovox --help` need not pay

    _warn_if_imported_before()
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # A plan of memory is kept for each length of sound that ever came, 14 kB each, and saves no time that shows.
    options.enable_mem_pattern = False
    given = str(content) if isinstance(content, Path) else content
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def open_model(content: bytes | Path, source: str) -> tuple[InferenceSession, dict[str, str]]:
    """Open a session as :func:`open_session`, and read the metadata of the file, see :func:`properties`."""
    session = open_session(content, source)
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
        return session, properties(file)


def sealed(content: bytes) -> bytes:
    """Put the SHA-256 of an ONNX file at its end, as one more entry of its metadata.

    Examples
    --------
    >>> seal = sealed(b"")
    >>> properties(io.BytesIO(seal))["emovox.sha256"][:8]
    'e3b0c442'
    """
    return content + _SEAL + _sha256(content)


def with_outputs(content: bytes, names: Iterable[str]) -> bytes:
    r"""Return an ONNX file whose graph also gives out inner tensors, by name.

    Files that stand one after the other are one file, in which the graphs are merged: that is how protocol buffers are
    read, so that outputs are added without reading the graph.

    Examples
    --------
    >>> with_outputs(b"", ["a"])
    b':\x05b\x03\n\x01a'
    """
    outputs = b"".join(_field(_OUTPUT, _field(_NAME, name.encode())) for name in names)
    return content + _field(_GRAPH, outputs)


def _field(number: int, content: bytes) -> bytes:
    """Write a field that is stored as bytes."""
    size, rest = bytearray(), len(content)
    while rest > 0x7F:
        size.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([number << 3 | _BYTES, *size, rest]) + content


def shuffled(content: bytes, seed: int) -> bytes:
    """Return an ONNX file with the numbers of each matrix of weights in another order: a model that knows nothing.

    Biases, and what else is no matrix, stay.  An explanation that looks the same for such a model does not explain the
    model.

    Parameters
    ----------
    content : bytes
        The file; a seal is left out.
    seed : int
        Of the order.

    Source
    ------
    Adebayo et al. 2018, Sanity checks for saliency maps, NeurIPS (the model parameter randomisation test).
    """
    import numpy as np

    end = len(content) - len(_SEAL) - 64
    whole = bytearray(content[:end] if content[max(end, 0) : -64] == _SEAL else content)
    random = np.random.default_rng(seed)
    for graph in _spans(whole, (0, len(whole)), _GRAPH):
        for tensor in _spans(whole, graph, _INITIALIZER):
            dimensions = sum(1 for _ in _spans(whole, tensor, _DIMENSION))
            for start, stop in _spans(whole, tensor, _RAW):
                size = _ITEM_SIZES.get(next(_spans(whole, tensor, _DATA_TYPE))[0], 0)
                if dimensions > 1 and size:
                    weights = np.frombuffer(whole, f"V{size}", (stop - start) // size, start)
                    weights[:] = weights[random.permutation(len(weights))]
    return bytes(whole)


def _spans(content: bytearray, span: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
    """Give where the wanted fields of a message lie: of bytes the beginning and the end, of a number its value."""
    at, end = span
    while at < end:
        tag, at = _number_at(content, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _number_at(content, at)
            found = value, value
        else:
            size, at = _number_at(content, at) if kind == _BYTES else ({_EIGHT: 8, _FOUR: 4}[kind], at)
            found = at, at + size
            at += size
        if number == wanted:
            yield found


def _number_at(content: bytearray, at: int) -> tuple[int, int]:
    """Read a number that is stored in groups of seven bits; return it, and where it ends."""
    value = shift = 0
    while content[at] > 0x7F:
        value |= (content[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return value | content[at] << shift, at + 1


def _require_whole(content: bytes | Path, source: str) -> None:
    """Refuse a file whose checksum is known and another one."""
    if isinstance(content, Path):
        expected = _sums().get(content.relative_to(_PACKAGE).as_posix())
        whole, remedy = expected in (None, _sha256(content.read_bytes())), "install emovox again"
    else:
        end = len(content) - len(_SEAL) - 64
        is_sealed = content[max(end, 0) : -64] == _SEAL
        whole, remedy = not is_sealed or _sha256(memoryview(content)[:end]) == content[-64:], "get the file again"
    if not whole:
        raise ModelError(f"{source} is damaged: its content is not what its checksum (SHA-256) says; {remedy}")


@cache
def _sums() -> dict[str, bytes]:
    """Read the checksums of the package's own files by path inside the package."""
    lines = (_PACKAGE / _SUMS).read_text(encoding="ascii").splitlines()
    return {name: digest.encode() for digest, name in (line.split("  ") for line in lines)}


def _sha256(content: bytes | memoryview) -> bytes:
    import hashlib  # 5 ms that `emovox --help` need not pay

    return hashlib.sha256(content).hexdigest().encode()


@cache
def _warn_if_imported_before() -> None:
    """Say once that telemetry may have begun before emovox could switch it off."""
    if "onnxruntime" in emovox.IMPORTED_BEFORE:
        import logging  # 4 ms that nobody else needs

        logging.getLogger("emovox").warning(
            "onnxruntime was imported before emovox, with its telemetry on: import emovox first, or set "
            "ORT_DISABLE_TELEMETRY=1 in the environment"
        )


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
