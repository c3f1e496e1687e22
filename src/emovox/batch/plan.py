"""What a run is: inputs, task and versions, with a fingerprint; and which parts of its output are there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from typing import Any

import numpy as np

from emovox.batch.entries import Entry, Inputs
from emovox.batch.places import Place
from emovox.batch.tables import PartFormat, decode, default_format
from emovox.batch.tasks import Facts, Failed, Task, Values
from emovox.errors import InputError
from emovox.outputs.text import json_line, readable
from emovox.version import __version__

#: Version of the layout of outputs.
LAYOUT = 1
#: Recordings in a part, unless the user says otherwise.
PART_SIZE = 256
#: Files and folders of an output.
MANIFEST, PARTS, FAILURES, FAILED, SUMMARY, PAGE, LOGS = (
    "manifest.json",
    "parts",
    "failures",
    "failed.jsonl",
    "summary.json",
    "report.html",
    "logs",
)
#: Packages whose version may change a number, where they are installed.
_PACKAGES = ("numpy", "onnxruntime", "soundfile", "soxr", "av", "pyarrow")
_PACKAGES_OF_WORDS = ("faster-whisper", "ctranslate2", "vaderSentiment", "transformers")


@dataclass(frozen=True)
class Census:
    """What is known of the inputs once they have been gone through.

    Attributes
    ----------
    count : int
        Number of recordings.
    digest : str
        SHA-256 of all entries, in order.
    columns : mapping of str to str
        Columns that are carried along, with their types.
    """

    count: int
    digest: str
    columns: Mapping[str, str]


def census(inputs: Iterable[Entry]) -> Census:
    """Go through the inputs once, in memory that hardly grows with them (8 bytes each).

    Raises
    ------
    InputError
        There is none, or two have the same id.

    Examples
    --------
    >>> census(Inputs("examples")).count
    4
    """
    digest, hashes, kinds = hashlib.sha256(), array("Q"), dict[str, set[type]]()
    for entry in inputs:
        more = dict(entry.more)
        line = (entry.id, entry.file, entry.start, entry.end, entry.channel, entry.speaker, entry.setting, more)
        digest.update(json.dumps(line, default=str).encode())
        hashes.append(
            int.from_bytes(hashlib.blake2b(entry.id.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        )
        for name, value in more.items():
            kinds.setdefault(name, set()).add(type(value))
    if not hashes:
        raise InputError("there is no recording in the input: name a folder, pattern or manifest that has some")
    _require_unique(hashes, inputs)
    return Census(len(hashes), digest.hexdigest(), {name: _type(kind) for name, kind in kinds.items()})


def _require_unique(hashes: array[int], inputs: Iterable[Entry]) -> None:
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.uint64), return_counts=True)
    if twice := set(values[counts > 1].tolist()):
        first = twice.pop()
        at = [number for number, value in enumerate(hashes) if value == first][:2]
        name = next(islice(inputs, at[0], None)).id
        raise InputError(
            f"two recordings have the id {readable(name)!r}, the {at[0] + 1}. and the {at[1] + 1}.: "
            "leave one out, or add a column 'id' to the manifest"
        )


def _type(kinds: set[type]) -> str:
    """Choose the type of a carried column by those of its values."""
    kinds = kinds - {type(None)}
    if kinds <= {str}:
        return "string"
    if kinds <= {bool}:
        return "bool"
    if kinds <= {int}:
        return "int"
    return "double" if kinds <= {int, float} else "json"


@dataclass(frozen=True)
class Plan:
    """What a run is.

    Attributes
    ----------
    manifest : mapping of str to object
        What ``manifest.json`` holds, the fingerprint apart.

    """

    manifest: Mapping[str, Any]

    @classmethod
    def of(cls, inputs: Inputs, task: Task, *, part_size: int = PART_SIZE, form: PartFormat | None = None) -> Plan:
        """Plan a run: look at the model, and go through the inputs once.

        Raises
        ------
        InputError
            There is no recording, an id is there twice, or the size of a part is less than 1.
        ModelError, FeatureError
            The task cannot be done.
        """
        if part_size < 1:
            raise InputError(f"--part {part_size}: expected 1 recording or more")
        facts = task.facts()
        found = census(inputs)
        columns = task.columns(facts)
        carried = {f"manifest_{name}" if name in columns else name: kind for name, kind in found.columns.items()}
        return cls(
            {
                "layout": LAYOUT,
                "output": task.output.value,
                "input": {
                    "source": readable(inputs.source),
                    "limit": inputs.limit,
                    "recordings": found.count,
                    "sha256": found.digest,
                    "carried": dict(zip(carried, found.columns, strict=True)),
                },
                "parts": {"format": (form or default_format()).value, "size": part_size},
                "model": _model(facts),
                "options": _plain(task.options()),
                "versions": _versions(task),
                "columns": {**columns, **carried},
            }
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that changes the output, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    @property
    def recordings(self) -> int:
        """Number of recordings."""
        return int(self.manifest["input"]["recordings"])

    @property
    def part_size(self) -> int:
        """Recordings in a part."""
        return int(self.manifest["parts"]["size"])

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.recordings // self.part_size)

    @property
    def form(self) -> PartFormat:
        """How parts are written."""
        return PartFormat(self.manifest["parts"]["format"])

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the parts with their types."""
        return dict(self.manifest["columns"])

    @property
    def labels(self) -> list[str]:
        """Labels of the model; none where the output has none."""
        return list((self.manifest["model"] or {}).get("labels", ()))

    def size_of(self, part: int) -> int:
        """Return how many recordings a part has."""
        return min(self.part_size, self.recordings - part * self.part_size)

    def carried(self, entry: Entry) -> Values:
        """Return the values of an entry that are carried along, in the order of the columns."""
        names: Mapping[str, str] = self.manifest["input"]["carried"]
        return tuple(entry.more.get(name) for name in names.values())

    def part_name(self, part: int) -> str:
        """Return the name of a part's file, in the folder of parts."""
        return f"part-{part:06d}.{self.form.value}"

    def claim(self, place: Place) -> None:
        """Write the manifest, unless it is there already; see :meth:`check`."""
        if not self.check(place):
            content = {"fingerprint": self.fingerprint, **self.manifest}
            place.write(MANIFEST, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    def check(self, place: Place) -> bool:
        """Tell whether the manifest is there, and make sure that it is that of the same run.

        Raises
        ------
        InputError
            The output is of another run: what differs.
        """
        there = stored(place)
        if there is not None and there.fingerprint != self.fingerprint:
            found = "; ".join(islice(differences(there.manifest, self.manifest), 5))
            raise InputError(f"{place.name} holds another run ({found}): give another output, or remove this one")
        return there is not None

    def done(self, place: Place) -> set[int]:
        """Return the numbers of the parts that are there."""
        return _numbers(place.names(PARTS), f".{self.form.value}")

    def failing(self, place: Place) -> set[int]:
        """Return the numbers of the parts that are there and have failures."""
        return _numbers(place.names(FAILURES), ".jsonl") & self.done(place)

    def rows(self, place: Place, part: int, wanted: Iterable[str] = ()) -> Iterator[Values]:
        """Read the rows of a part."""
        content = place.read(f"{PARTS}/{self.part_name(part)}")
        if content is None:
            raise InputError(f"{place.name} has lost {self.part_name(part)}: run the same command again")
        return decode(content, self.columns, self.form, list(wanted))

    def failures(self, place: Place, part: int) -> list[tuple[str, Failed]]:
        """Read the failures of a part, with the ids of their recordings."""
        content = place.read(f"{FAILURES}/part-{part:06d}.jsonl") or b""
        found = [json.loads(line) for line in content.decode().splitlines()]
        return [(one["id"], Failed(one["code"], one["message"], one["channel"])) for one in found]


def failure_line(name: str, failed: Failed) -> str:
    r"""Write a failure as a line of JSON.

    Examples
    --------
    >>> failure_line("a.wav", Failed("no_speech", "nobody speaks"))
    '{"id": "a.wav", "code": "no_speech", "message": "nobody speaks", "channel": null}\n'
    """
    line = {"id": name, "code": failed.code, "message": failed.message, "channel": failed.channel}
    return json_line(line) + "\n"


def stored(place: Place) -> Plan | None:
    """Read the plan of an output; None where there is none.

    Raises
    ------
    InputError
        It is damaged, or of another version of emovox.
    """
    content = place.read(MANIFEST)
    if content is None:
        return None
    try:
        found: dict[str, Any] = json.loads(content)
        fingerprint, plan = found.pop("fingerprint"), Plan(found)
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{place.name}/{MANIFEST} is damaged ({error!r}): give another output") from error
    if found.get("layout") != LAYOUT:
        raise InputError(
            f"{place.name} has layout {found.get('layout')}, and this emovox knows {LAYOUT}: use its version"
        )
    if plan.fingerprint != fingerprint:
        raise InputError(f"{place.name}/{MANIFEST} was changed by hand: restore it, or give another output")
    return plan


def require(place: Place) -> Plan:
    """Read the plan of an output that must be there.

    Raises
    ------
    InputError
        There is none.
    """
    plan = stored(place)
    if plan is None:
        raise InputError(f"{place.name} is no output of emovox batch (it has no {MANIFEST}): check the path")
    return plan


def differences(then: Any, now: Any, path: str = "") -> Iterator[str]:
    """Say what differs between two values of JSON.

    Examples
    --------
    >>> list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}))
    ['a.c: 2 then, 3 now']
    """
    if isinstance(then, dict) and isinstance(now, dict):
        for name in {**then, **now}:
            yield from differences(then.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif then != now:
        shown = [text if len(text) <= 60 else f"{text[:57]}..." for text in map(json_line, (then, now))]
        yield f"{path}: {shown[0]} then, {shown[1]} now"


def _numbers(names: Iterable[str], ending: str) -> set[int]:
    stems = (name.removeprefix("part-").removesuffix(ending) for name in names if name.endswith(ending))
    return {int(stem) for stem in stems if stem.isdecimal()}


def _model(facts: Facts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {"name": facts.card.name, "sha256": facts.sha256, "labels": list(facts.card.labels)}


def _plain(options: Any) -> Any:
    return json.loads(json.dumps(options, default=dataclasses.asdict))


def _versions(task: Task) -> dict[str, str]:
    names = _PACKAGES + (_PACKAGES_OF_WORDS if task.recipe.spoken else ())
    found = {"emovox": __version__}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
