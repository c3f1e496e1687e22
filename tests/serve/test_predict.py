"""One recording over HTTP: the same as on the command line, in every format, and every error in one shape."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from starlette.testclient import TestClient

from emovox import EmotionRecognizer, TimelineOptions
from emovox.cli.predict import predict
from emovox.outputs.formats import Format
from emovox.serve.contract import TYPES
from emovox.testing import FakeRecognizer
from tests import EXAMPLES, ROOT
from tests.serve import refused, serving, wav

CLIP = EXAMPLES / "plain.wav"


def command_line(*arguments: str) -> str:
    """Return what ``emovox predict`` prints about the clip, which it calls as the service does."""
    done = CliRunner().invoke(predict, [str(CLIP), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.replace(str(CLIP), CLIP.name)


def events(text: str) -> list[tuple[str, Any]]:
    """Read a stream of events."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [(one["event"], json.loads(one["data"])) for one in blocks]


def test_answers_are_those_of_the_command_line(folder: Path) -> None:
    with serving(folder, EmotionRecognizer) as client:
        asked = [
            ({}, []),
            ({"timeline": True}, ["--timeline"]),
            ({"timeline": True, "mode": "interval", "hop": 0.5, "merge": 1}, "-t --mode interval --hop 0.5 --merge 1"),
            ({"channels": "each", "threshold": 0.999, "gate": False}, "--channels each --threshold 0.999 --no-gate"),
        ]
        for options, arguments in asked:
            given = arguments.split() if isinstance(arguments, str) else arguments
            file = {"file": (CLIP.name, CLIP.read_bytes())}
            found = client.post("/v1/predict", files=file, data={"options": json.dumps(options)})
            assert found.status_code == 200, found.text
            assert found.json()["predictions"] == json.loads(command_line("--format", "json", *given))
            assert found.json()["request_id"] == found.headers["x-request-id"]
        raw = client.post(
            f"/v1/predict?name={CLIP.name}", content=CLIP.read_bytes(), headers={"Content-Type": "audio/wav"}
        )
        assert raw.json()["predictions"] == json.loads(command_line("--format", "json"))
        for form, names in TYPES.items():
            if form is not Format.JSON:
                sent = {"Content-Type": "audio/x", "Accept": f"{names[0]}, */*;q=0.1"}
                one = client.post(
                    f"/v1/predict?timeline=true&name={CLIP.name}", content=CLIP.read_bytes(), headers=sent
                )
                assert one.headers["content-type"].startswith(names[0])
                assert one.text == command_line("--timeline", "--format", form.value)


def test_events_are_the_segments_of_the_timeline(client: TestClient) -> None:
    both = CLIP.read_bytes()
    sent = {"Content-Type": "audio/wav"}
    options = "timeline=true&mode=interval&hop=0.5&window=0.5&summary=true"
    whole = client.post(f"/v1/predict?{options}", content=both, headers=sent).json()
    found = events(
        client.post(f"/v1/predict?{options}", content=both, headers=sent | {"Accept": "text/event-stream"}).text
    )
    assert [data for name, data in found if name == "segment"] == whole["predictions"]
    assert found[-1][0] == "result"
    assert found[-1][1] | {"request_id": ""} == whole | {"request_id": ""}
    assert any(name == "progress" for name, _ in found)
    assert whole["summary"]["segments"] == len(whole["predictions"])


def test_raw_pcm_is_what_its_file_is(client: TestClient) -> None:
    samples = np.random.default_rng(1).integers(-9000, 9000, (12000, 2)).astype("<i2")
    file = io.BytesIO()
    soundfile.write(file, samples, 24000, format="WAV", subtype="PCM_16")
    want = client.post("/v1/predict?name=a", content=file.getvalue(), headers={"Content-Type": "audio/wav"}).json()
    one = client.post(
        "/v1/predict?name=a&encoding=s16le&rate=24000&pcm_channels=2",
        content=samples.tobytes() + b"\x01",
        headers={"Content-Type": "application/octet-stream"},
    ).json()
    two = client.post(
        "/v1/predict?name=a",
        content=samples.tobytes(),
        headers={"Content-Type": "audio/pcm;encoding=s16le;rate=24000;channels=2"},
    ).json()
    assert one["predictions"] == two["predictions"] == want["predictions"]


def test_large_uploads_go_through_a_file_that_is_gone_afterwards(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emovox.serve.settings.SPOOL", 1000)
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    with serving(folder) as client:
        found = client.post("/v1/predict", files={"file": ("big.wav", wav(2.0))})
        assert found.status_code == 200
        bad = refused(client.post("/v1/predict", files={"file": ("big.wav", b"x" * 5000)}), 422, "audio_unreadable")
        assert bad["detail"].startswith("big.wav is not a recording")
        events = client.post(
            "/v1/predict", files={"file": ("a.wav", wav(2.0))}, headers={"Accept": "text/event-stream"}
        )
        assert "event: result" in events.text
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "code", "call"),
    [
        (400, "bad_request", {"files": {"other": ("a.wav", b"x")}}),
        (400, "bad_request", {"data": {"options": "{}"}, "files": {}}),
        (400, "bad_request", {"files": {"file": ("a", b"x")}, "data": {"options": "{not json"}}),
        (400, "bad_request", {"files": {"file": ("a", b"x")}, "data": {"options": "[1]"}}),
        (400, "bad_request", {"content": b"--x--", "headers": {"Content-Type": "multipart/form-data"}}),
        (415, "unsupported_media_type", {"content": b"{}", "headers": {"Content-Type": "application/json"}}),
        (415, "unsupported_media_type", {"content": b"x", "headers": {"Content-Type": ""}}),
        (422, "audio_unreadable", {"files": {"file": ("a.wav", b"")}}),
        (422, "audio_unreadable", {"files": {"file": ("a.wav", b"#EXTM3U\nfile:///etc/passwd\n")}}),
        (422, "options_invalid", {"files": {"file": ("a", b"x")}, "data": {"options": '{"window": 99}'}}),
        (422, "options_invalid", {"files": {"file": ("a", b"x")}, "data": {"options": '{"windo": 1}'}}),
        (422, "options_invalid", {"files": {"file": ("a", b"x")}, "data": {"options": r'{"name": "a\u0000"}'}}),
        (422, "options_invalid", {"files": {"file": ("a", b"x")}, "data": {"options": '{"model": "../../x"}'}}),
        (422, "options_invalid", {"files": {"file": ("a", b"x")}, "data": {"options": '{"rate": 8000}'}}),
        (404, "not_found", {"files": {"file": ("a", b"x")}, "data": {"options": '{"speaker": "nobody"}'}}),
        (422, "profile_unusable", {"files": {"file": ("a", b"x")}, "data": {"options": '{"speaker": "../x"}'}}),
        (406, "not_acceptable", {"files": {"file": ("a", b"x")}, "headers": {"Accept": "image/png"}}),
    ],
)
def test_what_is_wrong_is_told_in_one_shape(client: TestClient, status: int, code: str, call: dict[str, Any]) -> None:
    if "content" not in call and not call.get("files"):
        call = {**call, "files": {"nothing": ("", b"")}}
    refused(client.post("/v1/predict", **call), status, code)


def test_other_methods_and_paths(client: TestClient) -> None:
    answer = client.get("/v1/predict")
    assert answer.headers["allow"] == "POST"
    refused(answer, 405, "method_not_allowed")
    refused(client.get("/v1/predict/"), 404, "not_found")
    assert "/openapi.json" in refused(client.get("/docs"), 404, "not_found")["detail"]


def test_what_is_not_there_is_not_made_up(client: TestClient) -> None:
    form, files = {"options": json.dumps({"channels": "7"})}, {"file": ("a.wav", wav())}
    answer = client.post("/v1/predict", files=files, data=form)
    assert refused(answer, 422, "audio_unreadable")["detail"] == "a.wav has one channel: there is no channel 7"
    answer = client.post("/v1/predict", files=files, data={"options": '{"foo": 1}'})
    assert refused(answer, 422, "options_invalid")["detail"] == "foo: there is no such option"
    sent = {"Content-Type": "audio/wav", "Content-Encoding": "gzip"}
    refused(client.post("/v1/predict", content=wav(), headers=sent), 415, "unsupported_media_type")


def test_nobody_speaks_and_too_long(folder: Path) -> None:
    with serving(folder, lambda model, **options: FakeRecognizer(**options | {"gate": None}), seconds=3) as client:
        sent = {"Content-Type": "audio/wav"}
        refused(client.post("/v1/predict", content=wav(1.0), headers=sent), 422, "no_speech")
        refused(client.post("/v1/predict?timeline=1", content=wav(1.0), headers=sent), 422, "no_speech")
        refused(client.post("/v1/predict", content=wav(3.5), headers=sent), 413, "audio_too_long")


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x\\a.wav", "a\x1b[31m.wav", "é.wav", '"><script>.wav'])
def test_whatever_a_recording_is_called_it_is_only_a_name(client: TestClient, name: str) -> None:
    found = client.post("/v1/predict", files={"file": (name, wav())})
    assert found.status_code == 200
    assert "/" not in found.json()["file"]
    assert "\\x" not in found.json()["file"].replace("\\x1b", "")


@pytest.mark.long
def test_speakers_are_told_apart_as_by_the_library(client: TestClient) -> None:
    sound = ROOT / "src" / "emovox" / "serve" / "page" / "samples" / "conversation.flac"
    form = {"options": json.dumps({"speakers": 2})}
    found = client.post("/v1/predict", files={"file": ("a.flac", sound.read_bytes())}, data=form).json()["predictions"]
    expected = FakeRecognizer().timeline(sound, TimelineOptions(speakers=2), name="a.flac")
    assert [(one["start"], one["label"], one["speaker"]) for one in found] == [
        (one.start, one.label, one.speaker) for one in expected
    ]
    assert len({one["speaker"] for one in found}) == 2


def test_speakers_that_cannot_be_told_apart_are_refused(client: TestClient) -> None:
    for wrong in ({"speakers": "auto", "mode": "interval"}, {"speakers": 0}, {"speakers": 51}, {"speakers": "anna"}):
        form = {"options": json.dumps(wrong)}
        refused(client.post("/v1/predict", files={"file": wav()}, data=form), 422, "options_invalid")
