"""`emovox serve`: recognition over HTTP and WebSocket."""

from __future__ import annotations

import dataclasses
from typing import Any

from emovox.errors import MissingExtraError
from emovox.outputs.commands import Decorator, all_of, command, option
from emovox.outputs.console import say
from emovox.serve import settings as table
from emovox.serve.settings import Settings


def _options() -> Decorator:
    """Make an option of each setting; what is not written is looked up among the variables."""
    return all_of(
        *(
            option(
                table.option(one.name),
                type=type(one.default),
                metavar={int: "N", float: "N"}.get(type(one.default), "TEXT"),
                section=one.metadata["section"],
                hidden=one.metadata["section"] == table.RARE,
                help=_meaning(one),
            )
            for one in dataclasses.fields(Settings)
        )
    )


def _meaning(one: dataclasses.Field[Any]) -> str:
    text: str = one.metadata["help"].removesuffix(".")
    value = f"{one.default:g}" if isinstance(one.default, float) else str(one.default)
    return text if not value or "default" in text or "; 0 " in text else f"{text}; {value}"


@command()
@_options()
def serve(**given: Any) -> None:
    """Answer over HTTP and WebSocket until Ctrl-C.

    Examples
    --------
    - `emovox serve`
    - `curl -F file=@call.wav http://127.0.0.1:8000/v1/predict`
    - `emovox keys create phone-app && emovox serve --host 0.0.0.0`

    Every option is also a variable: --upload-mb is EMOVOX_UPLOAD_MB. Once there is a key, calls need one. The page
    "Serving" has the rarer limits.
    """
    settings = Settings.of(given)
    require_extra()
    from emovox.serve.server import serve as run

    run(settings, lambda address: say(f"emovox serves at {address} (Ctrl-C ends)"))


def require_extra() -> None:
    """Make sure that the [serve] extra is installed."""
    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("emovox serve", "serve") from error
