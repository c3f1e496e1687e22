"""`emovox serve`, the service, and `emovox keys`, who may use it."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Any

import click

from emovox.errors import MissingExtraError
from emovox.outputs.console import Console, Decorator, Group, all_of, argument, command, option, say
from emovox.outputs.text import Table, shown
from emovox.serve import settings as table
from emovox.serve.settings import Settings, split

if TYPE_CHECKING:
    from emovox.serve.keys import Keys


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


def _place() -> Decorator:
    """Where the keys are: the options of the same names of `emovox serve`."""
    return all_of(
        option("--data", metavar="FOLDER", help="Folder of the database; the default is the user's data folder."),
        option("--database", metavar="URL", help="URL of a PostgreSQL database; the default is SQLite."),
    )


@click.group("keys", cls=Group)
def keys() -> None:
    """Make, list and revoke keys of the service.

    Examples
    --------
    - `emovox keys create phone-app --scopes predict,stream`
    - `emovox keys list`
    - `emovox keys revoke 3f2a9c01b7de`
    """


def _opened(data: str | None, database: str | None) -> Keys:
    require_extra()
    from emovox.serve.database import Database
    from emovox.serve.keys import Keys

    return Keys(Database(Settings.of({"data": data, "database": database})))


@command()
@argument("name", metavar="NAME", help="Whose key it is.")
@option("--scopes", metavar="LIST", default="", help="What it allows, with commas; the default is all.")
@option("--rate", type=int, metavar="N", help="Requests a minute; the default is that of the server.")
@option("--streams", type=int, metavar="N", help="Live streams at a time; the default is that of the server.")
@option("--jobs", type=int, metavar="N", help="Unfinished jobs; the default is that of the server.")
@option("--days", type=float, metavar="N", help="Days until it ends; the default is never.")
@_place()
def create(
    name: str, scopes: str, days: float | None, data: str | None, database: str | None, **limits: int | None
) -> None:
    """Make a key and print it, once: only its digest is stored.

    Examples
    --------
    - `emovox keys create phone-app`
    - `emovox keys create dashboard --scopes metrics --days 30`

    Scopes: predict, stream, jobs, profiles, metrics. Once there is a key, every call of the service needs one.
    """
    key, text = _opened(data, database).create(name, split(scopes), days=days, **limits)
    say(f"key {key.id} for {key.name}: {', '.join(key.scopes)}")
    click.echo(text)


@command("list")
@_place()
def list_keys(data: str | None, database: str | None) -> None:
    """List the keys, without their secrets."""
    table = Table()
    for column in ("id", "name", "scopes", "made", "state"):
        table.add_column(column)
    now = datetime.datetime.now(datetime.UTC).timestamp()
    for one in _opened(data, database).all():
        state = "revoked" if one.revoked is not None else "works" if one.valid(now) else "ended"
        table.add_row(one.id, shown(one.name), " ".join(one.scopes), _day(one.created), state)
    Console().print(table)


@command()
@argument("ids", metavar="ID...", nargs=-1, required=True, help="Keys, by their ids.")
@_place()
def revoke(ids: tuple[str, ...], data: str | None, database: str | None) -> None:
    """Revoke keys: within two seconds no server takes them any more.

    Examples
    --------
    - `emovox keys revoke 3f2a9c01b7de`
    """
    for one in _opened(data, database).revoke(ids):
        say(f"revoked {one}")


def _day(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).date().isoformat()


for _one in (create, list_keys, revoke):
    keys.add_command(_one)
