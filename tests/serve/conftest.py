"""Fixtures of the tests of the service."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.serve import Postgres, serving


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Serve with a fake recogniser, and without keys."""
    with serving(tmp_path_factory.mktemp("serve"), rate=0) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a data folder."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a PostgreSQL of the tests' own; a test is skipped where there is none."""
    pytest.importorskip("psycopg")
    program = shutil.which("pg_ctl")
    if program is None:
        pytest.skip("no PostgreSQL here: install it (Debian's package postgresql) and put pg_ctl on the path")
    home = Path(program).resolve().parent
    # PostgreSQL does not run as root, and pytest's own folders are for one user alone.
    runuser = shutil.which("runuser", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "runuser"
    prefix = [runuser, "-u", "postgres", "--"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        folder = Path(name)
        if prefix:
            shutil.chown(folder, "postgres")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = f"-F -k {folder} -p {port} -c listen_addresses=127.0.0.1"
        control = [*prefix, str(home / "pg_ctl"), "-D", str(folder / "db"), "-w"]
        make = ["initdb", "-A", "trust", "-U", "emovox", "-D", str(folder / "db"), "--no-sync"]
        run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=120)
        start = partial(run, [*control, "-l", str(folder / "log"), "-o", settings, "start"])
        run([*prefix, str(home / make[0]), *make[1:]])
        found = Postgres(f"postgresql://emovox@127.0.0.1:{port}/postgres")
        found.folder, found.start = folder / "db", start
        try:
            start()
            yield found
        finally:
            run([*control, "-m", "immediate", "stop"], check=False)
