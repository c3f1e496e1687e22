"""Downloads from a server on this machine that does all that servers do wrong; nothing comes from anywhere else."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from emovox.cli.commands import app
from emovox.errors import CorpusError, EmovoxError, InputError
from emovox.lab.corpora import cards, index, obtaining, unpacking
from emovox.lab.corpora.cards import Card, Remote, card
from emovox.lab.corpora.registry import load
from emovox.lab.corpora.transfer import Patience, fetch
from emovox.lab.corpora.unpacking import unpack
from emovox.lab.extraction.verification import verify
from tests.lab.corpora import SAVEE, sound

CONTENT = np.random.default_rng(0).bytes(200_000)


class Server:
    """A remote that answers each request as it is told to, in turn, and then well."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.answers: list[str] = []
        self.requests: list[str] = []
        self.etag = '"one"'
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"of": self}))
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/corpus.zip"

    def remote(self, **known: Any) -> Remote:
        sums: dict[str, Any] = {"md5": hashlib.md5(self.content).hexdigest(), "bytes": len(self.content)}
        return Remote(url=self.url, file="corpus.zip", **(sums | known))

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    of: Server

    def do_GET(self) -> None:
        server = self.of
        server.requests.append(self.headers.get("Range", ""))
        answer = server.answers.pop(0) if server.answers else "well"
        if answer.isdigit():
            self._head(int(answer), {"Retry-After": "7"} if answer == "503" else {})
        elif answer == "elsewhere":
            self._head(302, {"Location": f"{server.url}?moved"})
        elif answer == "page":
            self._head(200, {"Content-Type": "text/html"}, b"<html>log in</html>")
        else:
            self._file(answer)

    def _file(self, answer: str) -> None:
        server, wanted = self.of, self.headers.get("Range", "")
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if answer == "no range" or self.headers.get("If-Range", server.etag) != server.etag:
            begin, wanted = 0, ""
        total = len(server.content)
        if begin >= total and wanted:
            self._head(416, {"Content-Range": f"bytes */{total}"})
            return
        shown = begin + 1 if answer == "another part" else begin
        part = {"Content-Range": f"bytes {shown}-{total - 1}/{total}"} if wanted else {}
        body = server.content[begin:]
        self._head(206 if wanted else 200, part | {"Content-Length": str(len(body)), "ETag": server.etag})
        self.wfile.write(body[: len(body) // 2] if answer == "break" else body)

    def _head(self, code: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def get(waits: list[float], tmp_path: Path) -> Callable[[Remote], Path]:
    return lambda remote: fetch(
        remote, tmp_path / "corpus.zip", patience=Patience(tries=3, timeout=5), sleep=waits.append
    )


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ([], [""]),
        (["break"], ["", "bytes=100000-"]),
        (
            ["break", "break", "break", "break"],
            ["", "bytes=100000-", "bytes=150000-", "bytes=175000-", "bytes=187500-"],
        ),
        (["503", "429"], ["", "", ""]),
        (["elsewhere"], ["", ""]),
        (["break", "no range"], ["", "bytes=100000-"]),
        (["break", "another part"], ["", "bytes=100000-", ""]),
        (["break", "503"], ["", "bytes=100000-", "bytes=100000-"]),
    ],
)
def test_the_file_arrives_whole(
    server: Server, get: Callable[[Remote], Path], tmp_path: Path, answers: list[str], asked: list[str]
) -> None:
    server.answers = answers
    assert get(server.remote()).read_bytes() == CONTENT
    assert server.requests == asked
    assert left(tmp_path) == {"corpus.zip"}


def test_waits_as_long_as_the_server_asks(server: Server, get: Callable[[Remote], Path], waits: list[float]) -> None:
    server.answers = ["503", "500"]
    get(server.remote())
    assert waits == [7.0, 2.0]


def test_a_file_that_is_there_is_not_fetched_again(server: Server, get: Callable[[Remote], Path]) -> None:
    get(server.remote())
    get(server.remote())
    assert len(server.requests) == 1
    get(server.remote()).write_bytes(b"damaged")
    assert get(server.remote()).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["404"], "answers 404: download it by hand"),
        (["403"], "answers 403"),
        (["page"], "answers with a page, not with a file"),
        (["503"] * 3, r"cannot download http.* \(it answers 503\): what is there is kept, try again later"),
        (["503"] * 3, "try again later"),
    ],
)
def test_what_the_server_refuses_is_told(
    server: Server, get: Callable[[Remote], Path], tmp_path: Path, answers: list[str], message: str
) -> None:
    server.answers = answers
    with pytest.raises(CorpusError, match=message) as caught:
        get(server.remote())
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == set()


def test_a_later_call_goes_on(server: Server, get: Callable[[Remote], Path], tmp_path: Path) -> None:
    server.answers = ["break", "503", "503"]
    with pytest.raises(CorpusError, match="what is there is kept"):
        get(server.remote())
    assert "corpus.zip.part" in left(tmp_path)
    assert get(server.remote()).read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=100000-"


@pytest.mark.parametrize("known", [{}, {"md5": "", "bytes": 0}])
def test_a_file_that_changed_meanwhile_is_not_mixed(
    server: Server, get: Callable[[Remote], Path], known: dict[str, Any]
) -> None:
    server.answers = ["break", "503", "503"]
    with pytest.raises(CorpusError):
        get(server.remote(**known))
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert get(server.remote(**known)).read_bytes() == CONTENT[::-1]


def test_without_any_mark_of_the_version_it_begins_again(server: Server, get: Callable[[Remote], Path]) -> None:
    server.etag = ""
    server.answers = ["break"]
    assert get(server.remote(md5="", bytes=0)).read_bytes() == CONTENT
    assert server.requests == ["", ""]


@pytest.mark.parametrize("known", [{"md5": "0" * 32}, {"sha256": "0" * 64}, {"bytes": 199_999, "md5": ""}])
def test_wrong_sums_leave_nothing_behind(
    server: Server, get: Callable[[Remote], Path], tmp_path: Path, known: dict[str, Any]
) -> None:
    with pytest.raises(CorpusError, match="is not what it should be"):
        get(server.remote(**known))
    assert left(tmp_path) == set()


def test_a_part_that_is_too_long_is_begun_again(server: Server, get: Callable[[Remote], Path], tmp_path: Path) -> None:
    (tmp_path / "corpus.zip.part").write_bytes(bytes(300_000))
    assert get(server.remote()).read_bytes() == CONTENT


def test_a_full_disk_is_seen_before(
    server: Server, get: Callable[[Remote], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(CorpusError, match=r"0.00 GB are needed in .* and 0.00 GB are free: make room there"):
        get(server.remote())
    assert left(tmp_path) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up_is_told_and_what_is_there_stays(
    server: Server, get: Callable[[Remote], Path], tmp_path: Path
) -> None:
    (tmp_path / "corpus.zip.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"No space left on device.*what is there is kept") as caught:
        get(server.remote())
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC


# --- archives


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archives_are_unpacked(tmp_path: Path, pack: Callable[..., Path]) -> None:
    files = {"a/b.wav": b"1" * 10, "c\u00e9.txt": b"2"}
    unpack(pack(tmp_path / "x.zip", files), tmp_path / "out")
    assert {
        str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in (tmp_path / "out").rglob("*.*")
    } == files


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../evil.wav", "/evil.wav", "a/../../evil.wav", "C:/evil.wav", "..\\evil.wav"])
def test_nothing_is_written_outside(tmp_path: Path, pack: Callable[..., Path], name: str) -> None:
    folder = tmp_path / "in" / "out"
    with pytest.raises(CorpusError, match="leads out of its folder"):
        unpack(pack(tmp_path / "x.zip", {"fine.wav": b"1", name: b"2"}), folder)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "x.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(CorpusError, match="link or a device"):
        unpack(tarred(tmp_path / "x.tar.gz", {"a.wav": b""}, kind), tmp_path / "out")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a.wav")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(CorpusError, match="holds a link"):
        unpack(tmp_path / "x.zip", tmp_path / "out")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_bombs_are_refused(tmp_path: Path, pack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "ALLOWED", 0)
    with pytest.raises(CorpusError, match="more than 100 times its size"):
        unpack(pack(tmp_path / "x.zip", {"a.wav": bytes(1_000_000)}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_damaged_archives_leave_no_half_file(tmp_path: Path, pack: Callable[..., Path]) -> None:
    archive = pack(tmp_path / "x.zip", {"a.wav": CONTENT})
    content = bytearray(archive.read_bytes())
    content[5000:5100] = bytes(100)
    archive.write_bytes(content)
    with pytest.raises(CorpusError, match="is damaged"):
        unpack(archive, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    archive.write_bytes(b"no archive")
    with pytest.raises(CorpusError, match="neither a ZIP nor a tar archive"):
        unpack(archive, tmp_path / "out")


# --- whole corpora


@pytest.fixture
def small(server: Server, tmp_path: Path) -> Card:
    """SAVEE, had it eight recordings and an open address."""
    files = {name: sound(seed=number) for number, name in enumerate(SAVEE)}
    server.content = zipped(tmp_path / "made.zip", files).read_bytes()
    (tmp_path / "made.zip").unlink()
    return card("savee").model_copy(update={"access": "direct", "remotes": (server.remote(),)})


def test_a_licence_is_accepted_once_and_in_its_words(small: Card, tmp_path: Path) -> None:
    for licence in (None, "whatever"):
        with pytest.raises(CorpusError, match="research only, after registration"):
            obtaining.download(small, tmp_path / "savee", licence)
    assert not (tmp_path / "savee").exists()
    corpus = obtaining.download(small, tmp_path / "savee", "research only, after registration")
    assert len(corpus.table) == 8
    assert not (tmp_path / "savee" / obtaining.ARCHIVES).exists()
    obtaining.download(small, tmp_path / "again")
    changed = small.model_copy(update={"licence": "other words"})
    with pytest.raises(CorpusError, match="--accept 'other words'"):
        obtaining.download(changed, tmp_path / "third")


def test_damage_is_found_and_repaired(small: Card, tmp_path: Path, server: Server) -> None:
    root = tmp_path / "savee"
    corpus = obtaining.download(small, root, small.licence, keep=True)
    rows = index.of_copy(root, small)
    assert verify(corpus, small, rows, 1).whole
    (root / SAVEE[0]).unlink()
    (root / SAVEE[1]).write_bytes(sound(0.1))
    (root / SAVEE[2]).write_bytes((root / SAVEE[2]).read_bytes()[:-1] + b"x")
    (root / SAVEE[3]).write_bytes(b"no sound")
    soundfile.write(root / SAVEE[4], np.zeros(4800), 16000)
    tmp = root / "AudioData" / "KL" / "zz.wav"
    tmp.write_bytes(sound())
    verdict = verify(load("savee", root), small, rows, 1)
    assert verdict.missing == ("dc a01",)
    assert {key: why.split(":")[0].split(",")[0] for key, why in verdict.damaged.items()}.keys() == {
        "dc a02",
        "dc sa01",
        "dc sa02",
        "kl a01",
    }
    assert "bytes" in verdict.damaged["dc a02"]
    assert "SHA-256" in verdict.damaged["dc sa01"]
    assert "digital silence" in verdict.damaged["kl a01"]
    asked = len(server.requests)
    back = obtaining.repair(small, load("savee", root), {*verdict.missing, *verdict.damaged})
    assert sorted(back) == ["dc a01", "dc a02", "dc sa01", "dc sa02", "kl a01"]
    assert len(server.requests) == asked, "the archive was kept"
    assert verify(load("savee", root), small, rows, 1).whole


def test_durations_find_what_was_cut_in_another_format(tmp_path: Path) -> None:
    root = tmp_path / "copy"
    for number, name in enumerate(SAVEE):
        path = (root / name).with_suffix(".flac")
        path.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(io.BytesIO(sound(0.3 if number else 0.15, number)))
        soundfile.write(path, samples, rate)
    rows = {index_key: index.Row(0.3) for index_key in index.keys(load("savee", root), card("savee"))}
    verdict = verify(load("savee", root), card("savee"), rows | {"je n01": index.Row(0.3)}, 1)
    assert verdict.damaged == {"dc a01": "0.15 s long, 0.30 s were expected"}
    assert verdict.missing == ("je n01",)
    assert verdict.compared == {"names": 8, "durations": 8, "checksums": 0}


def test_interrupted_anywhere_the_same_command_ends_well(small: Card, tmp_path: Path, server: Server) -> None:
    root = tmp_path / "savee"

    def broken(remote: Remote, target: Path, progress: Any) -> Path:
        return fetch(remote, target, progress, Patience(tries=1, wait=0))

    server.answers = ["break", "503"]
    with pytest.raises(CorpusError):
        obtaining.download(small, root, small.licence, get=broken)
    with pytest.raises(EmovoxError):
        load("savee", root)
    assert len(obtaining.download(small, root).table) == 8
    assert not [path for path in root.rglob("*") if path.name.endswith((".part", ".version"))]


def test_archives_in_archives(server: Server, tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"DC/a01.wav": sound()}).read_bytes()
    server.content = tarred(tmp_path / "outer.tar.gz", {"raw/inner.zip": inner}).read_bytes()
    nested = card("savee").model_copy(update={"remotes": (server.remote(),)})
    corpus = obtaining.download(nested, tmp_path / "savee", nested.licence)
    assert corpus.table.index.get_level_values("file").tolist() == ["raw/DC/a01.wav"]
    assert not (tmp_path / "savee" / "raw" / "inner.zip").exists()


def test_commands(small: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**cards.cards(), "savee": small}
    monkeypatch.setattr(cards, "cards", lambda: known)
    root, run = tmp_path / "mine", CliRunner()
    done = run.invoke(app, ["data", "download", "savee", "--to", str(root), "--accept", small.licence, "--keep"])
    assert done.exit_code == 0, done.output
    assert f"savee: 8 clips in {root}" in done.output
    whole = run.invoke(app, ["data", "verify", str(root), "-j1", "--json"])
    assert whole.exit_code == 0
    assert json.loads(whole.output)["compared"] == {"names": 8, "durations": 0, "checksums": 8}
    assert run.invoke(app, ["data", "verify", str(root), "-j1", "--record"]).exit_code == 0
    assert index.of_copy(root, small)["dc a01"].seconds == pytest.approx(0.3)
    (root / SAVEE[0]).unlink()
    broken = run.invoke(app, ["data", "verify", str(root), "-j1"])
    assert broken.exit_code == 1
    assert "1 missing: dc a01" in broken.output
    repaired = run.invoke(app, ["data", "repair", str(root), "-j1"])
    assert repaired.exit_code == 0, repaired.output
    assert "1 recordings brought back; whole" in repaired.output


def test_corpora_behind_a_form_tell_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="savee cannot be downloaded by emovox: register at the address"):
        obtaining.download(card("savee"), tmp_path / "savee", card("savee").licence)
    assert list(tmp_path.iterdir()) == []
