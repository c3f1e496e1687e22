"""Fixtures of the tests of the service."""

from __future__ import annotations

import os
import shutil
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
    if prefix and (not shutil.which(runuser) or subprocess.run([*prefix, "true"], check=False).returncode):
        pytest.skip("PostgreSQL does not run as root, and nobody here can become the user postgres")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if prefix:
            shutil.chown(folder, "postgres")
        settings = f"-F -k {folder} -c listen_addresses=''"  # a socket in its folder: no port is taken
        control = [*prefix, str(home / "pg_ctl"), "-D", str(folder / "db"), "-w", "-t", "300"]
        make = ["initdb", "-A", "trust", "-U", "emovox", "-D", str(folder / "db"), "--no-sync"]
        run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=400)
        start = partial(run, [*control, "-l", str(folder / "log"), "-o", settings, "start"])
        run([*prefix, str(home / make[0]), *make[1:]])
        found = Postgres(f"postgresql://emovox@/postgres?host={folder}")
        found.folder, found.start = folder / "db", start
        try:
            start()
            yield found
        finally:
            run([*control, "-m", "immediate", "stop"], check=False)
