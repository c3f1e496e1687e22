"""Speakers and models over HTTP; transcriptions as OpenAI's clients ask for them; descriptions for programs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from emovox import EmotionRecognizer, Transcript, Waveform, Word
from emovox.errors import ModelError
from emovox.model import profiles
from emovox.serve.guard import PROTOCOL, Keys
from emovox.serve.jobs import Database
from emovox.serve.pool import Bench
from emovox.serve.settings import Settings
from tests import CLASSIC, EXAMPLES
from tests.serve import refused, serving, wav

CLIPS = [EXAMPLES / "plain.wav", EXAMPLES / "slow.wav"]


def test_a_speaker_is_the_profile_of_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOVOX_PROFILES", str(tmp_path / "profiles"))
    recognizer = EmotionRecognizer()
    want = recognizer.enroll("anna", [str(clip) for clip in CLIPS])
    files = [("file", (clip.name, clip.read_bytes())) for clip in CLIPS]
    with serving(folder, EmotionRecognizer) as client:
        made = client.post("/v1/speakers", files=files, data={"options": json.dumps({"name": "anna"})})
        assert made.status_code == 201, made.text
        assert made.json()["clips"] == 2
        assert "embedding" not in made.json()
        assert profiles.find("anna") == want
        refused(client.post("/v1/speakers", files=files, data={"name": "anna"}), 409, "exists")
        assert [one["name"] for one in client.get("/v1/speakers").json()["speakers"]] == ["anna"]
        found = client.post("/v1/predict?speaker=anna", files={"file": ("plain.wav", CLIPS[0].read_bytes())}).json()
        own = EmotionRecognizer(recognizer._model, speaker=want).predict(str(CLIPS[0]), name="plain.wav")
        assert found["predictions"] == [json.loads(json.dumps(own.to_dict()))]
        known = client.post("/v1/speakers", files=files, data={"name": "anna", "neutral": "true", "replace": "true"})
        assert known.json()["neutral"] is True
        assert profiles.find("anna") == dataclasses.replace(want, neutral=True)
        (tmp_path / "profiles" / "ben.json").write_text("{")
        rows = client.get("/v1/speakers").json()["speakers"]
        assert rows[1] == {"name": "ben", "problem": "profile_unusable"}
        problem = refused(client.get("/v1/speakers/ben"), 422, "profile_unusable")
        assert str(tmp_path) not in problem["detail"]
        assert client.delete("/v1/speakers/anna").status_code == 204
        refused(client.delete("/v1/speakers/anna"), 404, "not_found")
        refused(client.get("/v1/speakers/..%2f..%2fx"), 404, "not_found")


def test_a_setting_is_the_profile_of_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOVOX_PROFILES", str(tmp_path / "profiles"))
    recognizer = EmotionRecognizer()
    clips = sorted(EXAMPLES.glob("*.wav"))
    want = recognizer.adapt("office", [str(clip) for clip in clips])
    files = [("file", (clip.name, clip.read_bytes())) for clip in clips]
    file = {"file": ("plain.wav", CLIPS[0].read_bytes())}
    with serving(folder, EmotionRecognizer) as client:
        noise = ("file", ("noise.wav", wav()))
        made = client.post("/v1/settings", files=[*files, noise], data={"name": "office"})
        assert made.status_code == 201, made.text
        assert made.json()["clips"] == len(clips)
        assert [one.partition(" ")[0] for one in made.json()["left_out"]] == ["noise.wav"]
        assert profiles.find("office", "setting") == want
        refused(client.post("/v1/settings", files=files, data={"name": "office"}), 409, "exists")
        refused(client.post("/v1/settings", files=files, data={"name": "auto"}), 422, "profile_unusable")
        assert client.get("/v1/settings/office").json()["model"] == want.model
        assert [one["name"] for one in client.get("/v1/settings").json()["settings"]] == ["office"]
        assert client.get("/v1/speakers").json()["speakers"] == []

        def own(**known: Any) -> list[dict[str, Any]]:
            found = EmotionRecognizer(recognizer._model, **known).predict(str(CLIPS[0]), name="plain.wav")
            return [json.loads(json.dumps(found.to_dict()))]

        found = client.post("/v1/predict?setting=office", files=file).json()
        assert found["predictions"] == own(setting=want)
        assert found["predictions"][0]["setting"]["name"] == "office"
        data = {"options": json.dumps({"name": "anna", "setting": "office"})}
        assert client.post("/v1/speakers", files=files[:2], data=data).json()["setting"] == "office"
        found = client.post("/v1/predict?speaker=anna", files=file).json()
        assert found["predictions"] == own(setting=want, speaker="anna")
        assert client.delete("/v1/settings/office").status_code == 204
        problem = refused(client.post("/v1/predict?speaker=anna", files=file), 404, "not_found")
        assert "office" in problem["detail"]
        refused(client.get("/v1/settings/office"), 404, "not_found")
        refused(client.delete("/v1/settings/.."), 404, "not_found")


def test_each_key_has_profiles_of_its_own(folder: Path) -> None:
    keys = Keys(Database(Settings(data=str(folder))))
    key, mine = keys.create("anna")
    _, theirs = keys.create("ben")
    numbers = {"count": 1, "mean": (0.5,), "variance": (0.0,)}
    profile = profiles.Profile("speaker", "carl", "demo", "0" * 64, clips=1, seconds=2.0, **numbers)  # type: ignore[arg-type]
    profiles.save(profile, folder / "profiles" / key.id / "carl.json")
    with serving(folder) as client:
        found = [client.get("/v1/speakers", headers={"X-API-Key": one}).json()["speakers"] for one in (mine, theirs)]
    assert [[one["name"] for one in rows] for rows in found] == [["carl"], []]


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 65, "a b"])
def test_impossible_names_of_speakers(client: TestClient, name: str) -> None:
    answer = client.post("/v1/speakers", files={"file": ("a.wav", wav())}, data={"options": json.dumps({"name": name})})
    assert answer.status_code == 422
    refused(answer, 422, answer.json()["code"])


def test_names_in_any_script_have_an_address(client: TestClient) -> None:
    form = {"files": {"file": ("a.wav", wav())}, "data": {"options": json.dumps({"name": "田中"})}}
    answer = client.post("/v1/speakers", **form)  # type: ignore[arg-type]
    assert answer.status_code == 201
    assert client.get(answer.headers["Location"]).json()["name"] == "田中"


def test_a_model_of_ones_own_that_takes_no_baseline(folder: Path) -> None:
    with serving(folder, lambda model, **options: EmotionRecognizer(CLASSIC, **options)) as client:
        files = {"file": ("plain.wav", CLIPS[0].read_bytes())}
        assert client.post("/v1/predict", files=files).status_code == 200
        refused(client.post("/v1/speakers", files=files, data={"name": "anna"}), 422, "model_unsuitable")


def test_models_and_their_cards(client: TestClient) -> None:
    rows = client.get("/v1/models").json()["data"]
    assert {row["id"] for row in rows} == {"default", "intensity"}
    assert [row["id"] for row in rows if row["default"]] == ["default"]
    card = client.get("/v1/models/default").json()["card"]
    assert card == json.loads(json.dumps(card))
    assert card["labels"] == next(row["labels"] for row in rows if row["id"] == "default")
    refused(client.get("/v1/models/nothing"), 404, "not_found")


class Said:
    """A recogniser of words that hears the same two words in everything."""

    name = "said"

    def transcribe(self, waveform: Waveform) -> Transcript:
        """Hear two words."""
        words = (Word("Oh", 0.5, 0.7, 0.5), Word("no.", 0.8, 1.0, 1.0))
        return Transcript("Oh no.", words, "en", 0.75)


def test_transcriptions_carry_emotions(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "transcriber", lambda bench, language: Said())
    form: dict[str, Any] = {"files": {"file": ("plain.wav", CLIPS[0].read_bytes())}}

    def post(**fields: Any) -> Any:
        return client.post("/v1/audio/transcriptions", **form, data={"model": "whisper-1", **fields})

    whole = post(response_format="verbose_json", temperature="0").json()
    assert whole["text"] == "Oh no."
    (segment,) = whole["segments"]
    assert segment["text"] == "Oh no."
    assert segment["confidence"] == segment["probabilities"][segment["emotion"]]
    assert segment["avg_logprob"] == pytest.approx(-0.34657, abs=1e-4)
    assert [one["word"] for one in whole["words"]] == ["Oh", "no."]
    assert post().json() == {"text": "Oh no.", "segments": whole["segments"]}
    assert post(response_format="text").text == "Oh no.\n"
    assert post(response_format="srt").text.startswith("1\n00:00:00,")
    assert post(response_format="vtt").text.startswith("WEBVTT\n\n00:00:00.")
    refused(post(response_format="xml"), 422, "options_invalid")
    refused(post(stream="true"), 422, "options_invalid")


def test_words_that_cannot_be_had_are_told_without_a_path(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(bench: Bench, language: str | None) -> Any:
        raise ModelError("there is no model at /home/secret")

    monkeypatch.setattr(Bench, "transcriber", fail)
    answer = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav())})
    assert "secret" not in refused(answer, 422, "words_unavailable")["detail"]


def test_descriptions_hold_together(client: TestClient) -> None:
    for path in ("/openapi.json", "/asyncapi.json"):
        document = client.get(path).json()
        text = json.dumps(document)

        def resolve(ref: str, document: Any = document) -> Any:
            for step in ref.removeprefix("#/").split("/"):
                document = document[step.replace("~1", "/")]
            return document

        places = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
        assert places
        for place in places:
            assert resolve(place)
    paths = client.get("/openapi.json").json()
    assert paths["openapi"] == "3.1.0"
    routes = {(method.upper(), path) for path, methods in paths["paths"].items() for method in methods}
    page = (EXAMPLES.parent / "docs" / "serve.md").read_text(encoding="utf-8")
    for _, path in routes:
        shown = path.replace("{job}", "ID").replace("{number}", "N").replace("{name}", "NAME")
        assert shown in page, shown
    assert PROTOCOL in page
