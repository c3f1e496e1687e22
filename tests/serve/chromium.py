"""Chromium, driven like a person: started without anything of its own that asks other machines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

#: Where Debian and others put it.
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Nothing may be asked of other machines: what is not ours has no address.
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"


@contextmanager
def chromium(folder: Path, *, microphone: Path | None = None, **options: Any) -> Iterator[Any]:
    """Open a browser whose microphone hears a file; give its context, whose profile lies in a folder.

    The test is skipped where there is no browser, or no Playwright to drive it.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    program = os.environ.get("EMOVOX_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium here: install it (Debian's package chromium), or name it in EMOVOX_CHROMIUM")
    hearing = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}"]
    with playwright.sync_playwright() as driver:
        try:
            context = driver.chromium.launch_persistent_context(
                folder,
                executable_path=program,
                args=[*QUIET, ALONE, *(hearing if microphone else [])],
                permissions=["microphone"],
                **options,
            )
        except playwright.Error as error:
            pytest.skip(f"{program} does not start here: {str(error).splitlines()[0]}")
        context.set_default_timeout(60_000)
        yield context
        context.close()


def violations(page: Any) -> list[str]:
    """Let axe-core look at a page; return what stands in the way of people who do not see it or use no mouse."""
    pytest.importorskip("axe_playwright_python")
    script = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(f"{script};0")  # not a script element: the page's policy allows none but its own
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]
