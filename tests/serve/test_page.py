"""The page in a browser: what it computes is what Python computes, and a person gets through it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn

from emovox.outputs import formats
from emovox.outputs.formats import Format
from emovox.recognition.timeline import Timeline
from emovox.serve.server import create_app
from emovox.serve.service import Service
from emovox.serve.settings import Settings
from emovox.testing import synthetic_voice
from emovox.types import RATE, Prediction
from tests import EXAMPLES, ROOT
from tests.cli import emovox_command
from tests.serve import Inline
from tests.serve.chromium import chromium, violations
from tests.serve.test_processes import Server

LABELS = ("neutral", "happy", "sad", "bored")
CONVERSATION = ROOT / "src" / "emovox" / "serve" / "page" / "samples" / "conversation.flac"
FORMATS = [form for form in Format if form is not Format.TABLE]


@contextmanager
def site(folder: Path, **settings: Any) -> Iterator[str]:
    """Serve over HTTP in a thread, with a fake recogniser; give the address."""
    service = Service(Settings(data=str(folder), rate=0, **settings), Inline())
    config = uvicorn.Config(create_app(service), port=0, ws="websockets-sansio", log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with site(tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.fixture
def page(address: str, tmp_path: Path) -> Iterator[Any]:
    """Open the page in a browser that has never seen it; nothing may be asked of others, and nothing may fail."""
    with chromium(tmp_path / "profile") as context:
        found = context.pages[0]
        asked, failed = [], []
        found.on("request", lambda request: asked.append(request.url))
        found.on("pageerror", lambda error: failed.append(str(error)))
        found.goto(address)
        found.wait_for_selector(".welcome")
        yield found
        assert not failed
        assert {url for url in asked if not url.startswith((address, "blob:", "data:"))} == set()


def timelines() -> list[Timeline]:
    """Make timelines with everything that is hard to write: ties of rounding, control characters, formulas, gaps."""
    random = np.random.default_rng(1)
    names = ('=1+1, "x"\x1b\u202e.wav', "a/b/日 é.x.wav", "call.wav", "Call.wav")
    found = []
    for name in names:
        predictions, start = [], 0.0
        for place in range(12):
            start += float(random.integers(0, 3000)) / 16000
            end = start + (place % 3 + 1) * 0.0625 + 123.0
            shares = random.dirichlet(np.full(4, 0.5))
            if place == 5:
                shares = np.array([0.03125, 0.40625, 0.5, 0.0625])
            label = LABELS[int(shares.argmax())]
            abstained = bool(shares.max() < 0.7)
            values = dict(zip(LABELS, map(float, shares), strict=True))
            said = {"transcript": '<b> & "so"\n on', "speaker": "anna & bo"} if name == "call.wav" else {}
            predictions.append(
                Prediction(name, start, end, label, values, float(shares.max()), abstained, "demo", **said)  # type: ignore[arg-type]
            )
            start = end
        found.append(Timeline(name, start + 0.5, tuple(predictions)))
    return found


def test_the_page_writes_and_sums_as_python_does(page: Any) -> None:
    every = timelines()
    plain = [json.loads(json.dumps(one.to_dict())) for one in every]
    for form in FORMATS:
        for given, sent in [([one], [p]) for one, p in zip(every, plain, strict=True)] + (
            [] if form.holds_one else [(every, plain)]
        ):
            predictions = [one for timeline in given for one in timeline]
            expected = "".join(formats.pieces(form, predictions, LABELS, duration=given[0].duration))
            script = "async ([form, results]) => (await import('/export.js')).write(form, results)"
            written = page.evaluate(script, [form.value, sent])
            if form is Format.JSON:
                assert json.loads(written) == json.loads(expected)
            else:
                assert written == expected, form
    for one, sent in zip(every, plain, strict=True):
        found = page.evaluate("async (result) => (await import('/result.js')).summary(result.predictions)", sent)
        expected_summary = one.summary().to_dict()
        assert {row["label"]: row["share"] for row in found["share"]} == pytest.approx(expected_summary["share"])
        assert found["transitions"] == expected_summary["transitions"]
        assert found["abstained"] == pytest.approx(expected_summary["abstained"])
        assert [row["start"] for row in found["strongest"]] == [
            row["start"] for row in expected_summary["strongest"].values()
        ]


def saved(page: Any, button: str, folder: Path) -> Path:
    """Press what gives a file, and return it."""
    with page.expect_download() as coming:
        page.click(button)
    path: Path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    return path


def test_a_recording_is_added_seen_and_taken_home_without_a_mouse(page: Any, address: str, tmp_path: Path) -> None:
    assert violations(page) == []
    page.set_input_files("#files", EXAMPLES / "plain.wav")
    page.wait_for_selector(".segments")
    page.focus(".stage")
    page.keyboard.press("ArrowRight")
    assert re.match(r"1 of \d+: 0:0", page.get_attribute(".stage", "aria-valuetext"))
    page.keyboard.press("+")
    assert page.is_visible(".overview")
    assert violations(page) == []
    page.focus(".result .right")
    page.keyboard.press("Enter")
    assert violations(page) == []
    table = list(csv.DictReader(io.StringIO(saved(page, "[data-format=csv]", tmp_path).read_text())))
    assert len(table) == page.locator(".segments tbody tr").count() > 0
    page.reload()  # all of it is still there, and nothing is judged again
    page.wait_for_selector(".segments")
    assert page.locator(".recordings li").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click(".recordings .act")
    page.wait_for_selector(".recordings li", state="detached")
    until = time.monotonic() + 20  # the server is asked when it is gone from the page
    while page.request.get(f"{address}v1/jobs").json()["jobs"] and time.monotonic() < until:
        time.sleep(0.1)
    assert page.request.get(f"{address}v1/jobs").json()["jobs"] == []


@pytest.mark.long
def test_what_goes_wrong_is_told_where_it_went_wrong(page: Any, tmp_path: Path) -> None:
    broken = tmp_path / "<img src=x onerror=alert(1)>.wav"
    broken.write_bytes(b"no sound at all")
    page.set_input_files("#files", broken)
    page.wait_for_selector(".result .bad")
    assert "not a recording" in page.inner_text(".result .bad")
    assert violations(page) == []
    for place in ("about", "profiles", "record"):
        page.goto(page.url.split("#")[0] + f"#/{place}")
        page.wait_for_selector(f"body[data-view={place}] h1")
        assert violations(page) == [], place


@pytest.mark.long
def test_a_voice_is_known_after_three_steps_and_can_be_forgotten(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/profiles")
    page.click("text=Add a voice")
    page.keyboard.type("no name")
    page.keyboard.press("Enter")
    assert "Letters" in page.inner_text("dialog [role=alert]")
    page.fill("dialog input", "anna")
    page.keyboard.press("Enter")
    page.set_input_files("dialog input[type=file]", [EXAMPLES / "plain.wav", EXAMPLES / "slow.wav"])
    page.check("dialog input[type=checkbox]")
    assert violations(page) == []
    page.click("dialog .actions button.main")
    assert "all of it neutral" in page.inner_text("dialog")
    assert page.is_disabled("dialog .actions button.main")  # nobody has agreed yet
    page.check("dialog input[type=checkbox]")
    assert violations(page) == []
    page.click("dialog .actions button.main")
    page.wait_for_selector(".profiles strong")
    assert page.inner_text(".profiles strong") == "anna"
    assert "of neutral speech" in page.inner_text(".profiles li")
    assert page.locator("[name=speaker] option").all_text_contents() == ["Unknown", "anna"]
    page.click("[aria-label='Delete anna']")
    page.wait_for_selector(".profiles strong", state="detached")
    assert page.locator("[name=speaker]").count() == 0


@pytest.mark.long
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_screen_in_light_and_in_dark(width: int, address: str, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", viewport={"width": width, "height": 740}, color_scheme="dark") as context:
        page = context.pages[0]
        page.goto(address)
        page.wait_for_selector(".welcome")
        page.click(".options summary")
        page.select_option("[name=channels]", "each")
        page.set_input_files("#files", CONVERSATION)
        page.wait_for_selector(".segments")
        assert page.locator(".segments tbody tr td:nth-child(2)").first.inner_text() == "channel 1"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == []


@pytest.mark.long
def test_a_hundred_recordings_at_once(page: Any, tmp_path: Path) -> None:
    files = []
    for number in range(100):
        files.append(tmp_path / f"{number:03d}.wav")
        soundfile.write(files[-1], synthetic_voice(1.0, pitch=80 + number, seed=number), RATE)
    page.set_input_files("#files", files)
    page.wait_for_selector(".recordings [data-state=done] >> nth=99", timeout=600_000)
    page.fill("input[type=search]", "04")
    assert page.locator(".recordings li").count() == 11  # 040 to 049, and 004
    page.click("[aria-label='Download all']")
    with zipfile.ZipFile(saved(page, "[data-format=vtt]", tmp_path)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 11
        assert "004.vtt" in archive.namelist()


@pytest.mark.long
def test_a_server_with_keys_asks_for_one(tmp_path: Path) -> None:
    with site(tmp_path / "data") as address, chromium(tmp_path / "profile") as context:
        made = emovox_command("keys", "create", "page", "--data", tmp_path / "data")
        key = next(word for word in made.stdout.split() if len(word) > 20)
        page = context.pages[0]
        page.goto(address)
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        assert violations(page) == []
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.click("text=A lively sentence")
        page.wait_for_selector(".segments")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a true server with the model that ships."""
    folder = tmp_path_factory.mktemp("server")
    found = Server(folder / "data", folder / "log", "--workers", "2", "--job-workers", "2").ready()
    yield found
    found.kill()


def told(folder: Path, *files: Path) -> dict[str, list[dict[str, Any]]]:
    """Ask the command line about recordings: predictions by the name of the file."""
    out = folder / "told"
    done = emovox_command("predict", *files, "--timeline", "--format", "json", "--out", f"{out}/")
    assert done.returncode == 0, done.stderr
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*.json")}


def same(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Make sure that two timelines say the same, whatever their file is called."""
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        assert (one["start"], one["end"], one["label"]) == (other["start"], other["end"], other["label"])
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.long
def test_what_is_recorded_is_what_the_command_line_says_of_the_sound(server: Server, tmp_path: Path) -> None:
    samples, rate = soundfile.read(EXAMPLES / "loud.wav")
    heard = tmp_path / "heard.wav"
    soundfile.write(heard, np.concatenate([np.zeros(rate), samples, np.zeros(rate)]), rate, subtype="PCM_16")
    with chromium(tmp_path / "profile", microphone=heard) as context:
        page = context.pages[0]
        page.goto(f"{server.address}/#/record")
        page.click(".record button.main")
        while page.inner_text(".clock") < "0:07.0":
            page.wait_for_timeout(100)
        assert float(page.get_attribute("[role=meter]", "aria-valuenow")) >= -60
        page.click("text=Stop and keep")
        page.wait_for_selector(".segments")
        page.click(".result .right")
        mine = json.loads(saved(page, "[data-format=json]", tmp_path).read_text(encoding="utf-8"))
        page.click(".result .right")
        sound = saved(page, "text=The sound itself", tmp_path)
    assert len(mine) > 0
    same(mine, next(iter(told(tmp_path, sound).values())))


@pytest.mark.long
def test_twenty_recordings_one_cancelled_and_the_page_opened_again(
    server: Server, corpora: Path, tmp_path: Path
) -> None:
    clips = sorted((corpora / "ravdess" / "Actor_01").glob("*"))[:20]
    assert len(clips) == 20
    with chromium(tmp_path / "profile") as context:
        page = context.pages[0]
        page.goto(server.address)
        page.wait_for_selector(".welcome")
        page.set_input_files("#files", clips)
        page.wait_for_selector(".recordings li >> nth=19")
        last = page.locator(f".recordings li:has-text('{clips[-1].name}')")
        last.locator(".act").click()
        page.wait_for_selector(".recordings [data-state=cancelled]")
        page.wait_for_selector(".recordings [data-state=done]")
        page.reload()
        page.wait_for_selector(".recordings [data-state=done] >> nth=18", timeout=600_000)
        assert page.locator(".recordings [data-state=done]").count() == 19
        assert page.locator(".recordings [data-state=cancelled]").count() == 1
        page.click("[aria-label='Download all']")
        archive = saved(page, "[data-format=json]", tmp_path)
    theirs = told(tmp_path, *clips[:-1])
    with zipfile.ZipFile(archive) as file:
        assert {Path(name).stem for name in file.namelist()} == set(theirs)
        for name in file.namelist():
            same(json.loads(file.read(name)), theirs[Path(name).stem])
