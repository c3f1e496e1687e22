"""The recogniser for browsers, web/, by its own tests: it answers as the one here does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests import ROOT

WEB = ROOT / "web"


@pytest.mark.long
def test_the_browser_answers_as_python_does() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    if not (WEB / "node_modules").is_dir():
        pytest.skip("web/node_modules is missing: run npm ci in web/")
    environment = {**os.environ, "EMOVOX_PYTHON": sys.executable, "EMOVOX_CLIPS": "2"}
    done = subprocess.run([npm, "test"], cwd=WEB, env=environment, capture_output=True, encoding="utf-8", timeout=3600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
