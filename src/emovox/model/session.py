"""The one place that opens sessions of onnxruntime, on one thread and with its telemetry off."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(content: bytes) -> InferenceSession:
    """Open a session for an ONNX file on one thread of the processor.

    The networks are small: one thread is fastest, and many recordings at once do not fight for cores.  Wheels of
    onnxruntime for Linux from 1.29 on report to their makers and write to the user's cache; speech is nobody else's
    business, so this is switched off before onnxruntime is imported.  A value that the environment variable
    ``ORT_DISABLE_TELEMETRY`` has already stays.

    Parameters
    ----------
    content : bytes
        The file.  Nothing in it is executed but its graph, and a graph given as bytes cannot refer to other files.

    Returns
    -------
    onnxruntime.InferenceSession
        It keeps no state and may be used by many threads.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # 30 ms of import that `emovox --help` need not pay

    onnxruntime.disable_telemetry_events()  # where somebody imported it before us
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
