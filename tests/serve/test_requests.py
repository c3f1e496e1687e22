"""Whatever is asked, no failure of ours goes out, and every answer is as the description says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from emovox.errors import ModelError
from emovox.serve.pool import Bench
from emovox.serve.server import create_app
from emovox.serve.service import Service
from emovox.serve.settings import Settings
from tests import size
from tests.serve import Inline

#: Random bytes are no recording, which is told with a 422: that positive data is taken cannot be asked of this service.
UNFIT = {"positive_data_acceptance"}


def no_words(bench: Bench, language: str | None) -> Any:
    """Stand for a recogniser of words that is not there: nothing is fetched from anywhere."""
    raise ModelError("there is none")


@asynccontextmanager
async def unmoved(_: object) -> AsyncIterator[None]:
    """Stand for the start and the stop of the service, which schemathesis would have for each request."""
    yield


def requests(folder: Path, each: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Send generated requests to every operation, check the answers against the description; return their number."""
    import schemathesis  # here, so that only the worker that needs it pays for its import
    from schemathesis.checks import CHECKS, load_all_checks, not_a_server_error

    monkeypatch.setattr(Bench, "transcriber", no_words)
    monkeypatch.setenv("EMOVOX_PROFILES", str(folder / "profiles"))
    load_all_checks()
    service = Service(Settings(data=str(folder), rate=0, jobs=10**6, storage_mb=10**6), Inline())
    app = create_app(service)
    app.router.lifespan_context = unmoved
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "localhost"})
    checks = [check for name, check in CHECKS._items.items() if name not in UNFIT]
    assert not_a_server_error in checks
    count = 0
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if operation.path.endswith("/events"):
            continue  # it ends when the job does, and nobody works here

        @settings(max_examples=each, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            nonlocal count
            count += 1
            case.call_and_validate(checks=checks, headers={"Host": "localhost"})

        send()
    service.database.close()
    return count


def test_generated_requests(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert requests(folder, 2, monkeypatch) >= 30


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_thousands_of_generated_requests(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send as many to each of the 18 operations that take anything."""
    each = size(200, 1150)
    assert requests(folder, each, monkeypatch) >= 18 * each
