"""The one shape of every error: problem details of RFC 9457 with a stable code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emovox.errors import (
    AudioError,
    EmovoxError,
    InputError,
    MissingExtraError,
    ModelError,
    NoSpeechError,
    ProfileError,
    TranscriptError,
)
from emovox.outputs.text import shown

#: Media type of an error.
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of error.

    Attributes
    ----------
    status : int
        HTTP status.
    title : str
        What it is, in a few words; the same for every error of the kind.
    """

    status: int
    title: str


#: Every code that the service answers with.  A code is stable: programs may rely on it, on the wording they may not.
KINDS = {
    "bad_request": Kind(400, "The request cannot be understood"),
    "host_unknown": Kind(400, "This server is not called by that name"),
    "key_missing": Kind(401, "A key is needed"),
    "key_invalid": Kind(401, "There is no such key, or it is revoked or expired"),
    "scope_missing": Kind(403, "The key does not allow this"),
    "origin_forbidden": Kind(403, "That web page may not call"),
    "not_found": Kind(404, "There is nothing here"),
    "method_not_allowed": Kind(405, "There is no such method here"),
    "not_acceptable": Kind(406, "There is no such format"),
    "upload_too_slow": Kind(408, "The upload has stalled"),
    "exists": Kind(409, "There is one of that name already"),
    "idempotency_conflict": Kind(409, "The Idempotency-Key belongs to another request"),
    "not_finished": Kind(409, "The job is not finished"),
    "already_finished": Kind(409, "The job is finished already"),
    "upload_too_large": Kind(413, "The upload is too large"),
    "audio_too_long": Kind(413, "The recording is too long"),
    "unsupported_media_type": Kind(415, "That kind of content is not read here"),
    "options_invalid": Kind(422, "An option is not possible"),
    "audio_unreadable": Kind(422, "The recording cannot be read"),
    "no_speech": Kind(422, "Nobody speaks in the recording"),
    "model_unsuitable": Kind(422, "The model cannot do that"),
    "profile_unusable": Kind(422, "The profile cannot be used"),
    "words_unavailable": Kind(422, "The words cannot be recognised"),
    "worker_died": Kind(422, "Reading the recording ended the process that read it"),
    "timed_out": Kind(422, "The recording took too long to judge"),
    "rate_limited": Kind(429, "Too many requests"),
    "too_many_streams": Kind(429, "Too many live streams"),
    "too_many_jobs": Kind(429, "Too many unfinished jobs"),
    "head_too_large": Kind(431, "The head of the request is too large"),
    "internal_error": Kind(500, "A failure of the server"),
    "server_busy": Kind(503, "The server is busy"),
    "storage_full": Kind(507, "There is no room for more recordings"),
}

#: Codes of HTTP statuses that the framework answers with by itself.
BY_STATUS = {
    401: "key_missing",
    403: "scope_missing",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "upload_too_large",
    415: "unsupported_media_type",
    422: "options_invalid",
    503: "server_busy",
}

#: Codes of the library's exceptions, the particular before the general.
BY_EXCEPTION: tuple[tuple[type[EmovoxError], str], ...] = (
    (NoSpeechError, "no_speech"),
    (AudioError, "audio_unreadable"),
    (ModelError, "model_unsuitable"),
    (ProfileError, "profile_unusable"),
    (TranscriptError, "words_unavailable"),
    (MissingExtraError, "unsupported_media_type"),
    (InputError, "options_invalid"),
)


class Problem(Exception):  # noqa: N818 (RFC 9457's own word)
    """An error that a client is told.

    Parameters
    ----------
    code : str
        One of :data:`KINDS`.
    detail : str, optional
        One line: the value, what was expected, what to do.
    retry_after : float, optional
        Seconds after which trying again makes sense.
    errors : sequence of mapping, optional
        Single mistakes: ``pointer`` says where, ``detail`` what.
    headers : mapping of str to str, optional
        Further headers of the answer.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retry_after: float | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code, self.kind = code, KINDS[code]
        self.detail = shown(detail)
        self.retry_after, self.errors = retry_after, tuple(errors)
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after + 0.5)))
        if self.kind.status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.code, self.detail, self.retry_after, self.errors)

    @classmethod
    def of(cls, error: EmovoxError) -> Problem:
        """Make a problem of an exception of the library, whose message is written for users.

        Examples
        --------
        >>> Problem.of(NoSpeechError("a.wav holds no speech")).code
        'no_speech'
        """
        code = next((code for kind, code in BY_EXCEPTION if isinstance(error, kind)), "internal_error")
        return cls(code, str(error) if code != "internal_error" else "")

    def to_dict(self, request_id: str) -> dict[str, Any]:
        """Return the answer's body.

        Examples
        --------
        >>> Problem("not_found").to_dict("r-1")["status"]
        404
        """
        found: dict[str, Any] = {
            "type": f"urn:emovox:problem:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.code,
            "detail": self.detail or self.kind.title,
            "request_id": request_id,
        }
        return found | ({"errors": [dict(one) for one in self.errors]} if self.errors else {})

    def body(self, request_id: str) -> bytes:
        """Return the answer's body as it is sent."""
        return json.dumps(self.to_dict(request_id)).encode()


def _again(code: str, detail: str, retry_after: float | None, errors: tuple[Mapping[str, str], ...]) -> Problem:
    return Problem(code, detail, retry_after=retry_after, errors=errors)


def place_of(error: BaseException) -> str:
    """Say where an exception was raised, in our own terms: a function and a line, no path and no value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
