"""The one place that opens sessions of onnxruntime, on one thread and with its telemetry off."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

import emovox

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(content: bytes) -> InferenceSession:
    """Open a session for an ONNX file on one thread of the processor.

    The networks are small: one thread is fastest, and many recordings at once do not fight for cores.  Wheels of
    onnxruntime for Linux from 1.29 on report to their makers and write to the user's cache, unless the environment
    variable ``ORT_DISABLE_TELEMETRY`` is set before onnxruntime is imported: ``import emovox`` sets it.  Where another
    library imported onnxruntime before that, a warning in the log ``emovox`` says so once.

    Parameters
    ----------
    content : bytes
        The file.  Nothing in it is executed but its graph, and a graph given as bytes cannot refer to other files.

    Returns
    -------
    onnxruntime.InferenceSession
        It keeps no state and may be used by many threads.
    """
    import onnxruntime  # 30 ms of import that `emovox --help` need not pay

    _warn_if_imported_before()
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@cache
def _warn_if_imported_before() -> None:
    """Say once that telemetry may have begun before emovox could switch it off."""
    if "onnxruntime" in emovox.IMPORTED_BEFORE:
        logging.getLogger("emovox").warning(
            "onnxruntime was imported before emovox, with its telemetry on: import emovox first, or set "
            "ORT_DISABLE_TELEMETRY=1 in the environment"
        )
