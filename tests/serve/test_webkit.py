"""The page and the site in WebKit, the engine of Safari, by WebDriver: Debian's webkit2gtk-driver and xvfb."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import EXAMPLES, ROOT
from tests.serve.test_page import site

BUILT = ROOT / "web" / "site-dist"
#: What WebDriver calls a reference to an element.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class WebKit:
    """A session of WebKit's MiniBrowser, whose microphone is a mock that beeps."""

    def __init__(self, driver: str, browser: Path) -> None:
        self._address = driver
        options = {"binary": str(browser), "args": ["--automation", "--enable-mock-capture-devices=true"]}
        session = self._ask("/session", {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}})
        self._address += f"/session/{session['sessionId']}"

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(self._address + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["value"]

    def open(self, address: str) -> None:
        """Go to a page."""
        self._ask("/url", {"url": address})

    def run(self, script: str) -> Any:
        """Run a script in the page; return what it returns."""
        return self._ask("/execute/sync", {"script": script, "args": []})

    def until(self, script: str, seconds: float = 240) -> Any:
        """Wait until a script returns something that is true."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"{script}: {self.run('return document.body.innerText')}"
            time.sleep(0.3)
        return found

    def choose(self, selector: str, path: Path) -> None:
        """Give a file to an input."""
        found = self._ask("/element", {"using": "css selector", "value": selector})
        self._ask(f"/element/{found[ELEMENT]}/value", {"text": str(path)})

    def close(self) -> None:
        """End the browser."""
        urllib.request.urlopen(urllib.request.Request(self._address, method="DELETE"), timeout=60).close()


@pytest.fixture
def webkit(tmp_path: Path) -> Iterator[WebKit]:
    """Start WebKit on a screen of its own; a test is skipped where there is none."""
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browser = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)
    if driver is None or screen is None or browser is None:
        pytest.skip("no WebKit here: install Debian's packages webkit2gtk-driver and xvfb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reading, writing = os.pipe()
    command = [screen, "-displayfd", str(writing), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    showing = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as told:
        display = f":{told.readline().strip()}"
    # WebKit's own sandbox needs rights that tests have nowhere.
    own = {"DISPLAY": display, "HOME": str(tmp_path), "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
    driving = subprocess.Popen([driver, f"--port={port}"], env={**os.environ, **own}, stderr=subprocess.DEVNULL)
    try:
        found = _opened(lambda: WebKit(f"http://127.0.0.1:{port}", browser))
        yield found
        found.close()
    finally:
        for one in (driving, showing):
            one.terminate()
            one.wait()


def _opened(opening: Callable[[], WebKit]) -> WebKit:
    for _ in range(100):
        try:
            return opening()
        except urllib.error.HTTPError as error:
            pytest.skip(f"WebKit does not start here: {error.read().decode()[:200]}")
        except urllib.error.URLError:  # the driver does not listen yet
            time.sleep(0.2)
    pytest.skip("WebKit does not start here: its driver does not listen")


@pytest.fixture(params=["service", "site"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Serve the page: once with a service behind it, once with the model in the browser."""
    if request.param == "service":
        with site(tmp_path / "data") as found:
            yield found
        return
    if not BUILT.is_dir():
        pytest.skip("the site is not built: npm run site in web/")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=BUILT)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.long
def test_webkit_judges_a_file_and_hears_a_microphone(webkit: WebKit, place: str) -> None:
    webkit.open(place)
    webkit.until("return document.querySelector('.welcome') !== null")
    webkit.choose("#files", EXAMPLES / "loud.wav")
    webkit.until("return document.querySelector('.segments') !== null")
    webkit.open(f"{place}#/record")
    webkit.until("return document.querySelector('.record button.main') !== null")
    webkit.run("document.querySelector('.record button.main').click()")
    webkit.until("return document.querySelector('.clock').textContent > '0:02.0'")
    level = webkit.run("return document.querySelector('[role=meter]').getAttribute('aria-valuenow')")
    assert -60 < float(level) <= 0  # the mock beeps
    webkit.run("document.querySelector('.record .danger').click()")
    webkit.until("return document.querySelectorAll('.recordings li').length === 2")
    ended = ".recordings [data-state=done], .recordings [data-state=failed]"  # beeps are no speech
    webkit.until(f"return document.querySelectorAll('{ended}').length === 2")
