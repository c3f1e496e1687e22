"""The page's files: served as they are, small, and asking nobody else."""

from __future__ import annotations

import gzip
import re

import pytest
from starlette.testclient import TestClient

from emovox.serve.server import SAMPLES, assets

SCRIPTS = [one for one in assets() if one.name.endswith(".js")]


def test_the_page_is_at_the_root_and_its_files_beside_it(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    names = re.findall(r'(?:href|src)="([^"#]+)"', page.text)
    assert {"main.js", "style.css", "icon.svg"} <= set(names)
    for name in {*names, *SAMPLES}:
        assert client.get(f"/{name}").status_code == 200, name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.name)
def test_every_module_that_a_script_imports_is_there(script: object, client: TestClient) -> None:
    text = script.data.decode()  # type: ignore[attr-defined]
    for name in re.findall(r'(?:from|import\() ?"\./([^"]+)"|new URL\("\./([^"]+)"', text):
        assert client.get("/" + (name[0] or name[1])).status_code == 200, name


def test_a_copy_that_is_still_good_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/main.js")
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = client.get("/main.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"]), known
    assert client.get("/main.js", headers={"If-None-Match": '"other"'}).status_code == 200


def test_what_is_compressed_has_another_tag(client: TestClient) -> None:
    packed = client.get("/main.js")
    for wanted in ("identity", "br, gzip;q=0"):
        plain = client.get("/main.js", headers={"Accept-Encoding": wanted, "If-None-Match": packed.headers["etag"]})
        assert (plain.status_code, plain.text, "content-encoding" in plain.headers) == (200, packed.text, False), wanted
    assert packed.headers["content-encoding"] == "gzip"


def test_parts_of_files_are_not_sent(client: TestClient) -> None:
    sample = next(iter(SAMPLES))
    whole = client.get(f"/{sample}", headers={"Range": "bytes=0-9"})
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "none")
    assert whole.headers["content-length"] == client.head(f"/{sample}").headers["content-length"] > "10"


def test_nothing_else_is_served(client: TestClient) -> None:
    for path in ("/page_routes.py", "/../app.py", "/samples", "/samples/", "/main.js/", "/nothing"):
        assert client.get(path).status_code == 404, path


def test_the_scripts_are_small() -> None:
    assert sum(len(gzip.compress(one.data)) for one in SCRIPTS) < 60_000


def test_the_page_asks_nobody_else_and_has_no_inline_code() -> None:
    for one in assets():
        if one.type.startswith("text/") or one.name.endswith(".svg"):
            text = one.data.decode().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://\w", text), one.name
            assert "innerHTML" not in text, one.name
    page = next(one for one in assets() if one.name == "index.html").data.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_what_the_page_has_to_know(client: TestClient) -> None:
    about = client.get("/about.json").json()
    assert about["labels"]
    assert {"channels", "threshold", "speaker", "mode"} <= set(about["options"])
    assert "Not intended" in [part["title"] for part in about["card"]]
    assert about["limits"]["bytes"] > 0
