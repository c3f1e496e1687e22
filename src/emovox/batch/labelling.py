"""Answers to programs in which people correct them, and back into a table that `emovox train` reads.

Label Studio takes a list of tasks with predictions and gives the same list with annotations; Audacity one label track a
recording; ELAN one document a recording.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from emovox.batch.places import Place, is_remote
from emovox.batch.plan import Plan
from emovox.batch.summary import answers
from emovox.errors import InputError
from emovox.outputs.console import csv_line, json_line
from emovox.outputs.formats import Names
from emovox.storage import replacing

#: File of a folder of tracks that says which recording each is of.
INDEX = "recordings.json"
#: Columns of the table that comes back.
COLUMNS = ("file", "start", "end", "label", "speaker", "channel", "answer")
_CONFIG = "label-studio.xml"
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
ElementTree.register_namespace("xsi", _SCHEMA)


class Tool(StrEnum):
    """Programs in which people label sound."""

    LABEL_STUDIO = "label-studio"
    AUDACITY = "audacity"
    ELAN = "elan"


@dataclass(frozen=True)
class Region:
    """A stretch of a recording and its label.

    Attributes
    ----------
    start : float
        In seconds.
    end : float or None
        In seconds; None for the end of the recording.
    label : str
        As a person or the model says.
    channel : int or None
        Which channel, the first is 1; None for all.
    """

    start: float
    end: float | None
    label: str
    channel: int | None = None


@dataclass(frozen=True)
class Labelled:
    """A recording with its labels.

    Attributes
    ----------
    file : str
        Path or URL.
    speaker : str or None
        Who speaks.
    regions : tuple of Region
        In order of time.
    answers : tuple of Region
        What the model said, where that is known.
    whole : bool
        Whether there is one label for the recording as a whole.
    """

    file: str
    speaker: str | None
    regions: tuple[Region, ...]
    answers: tuple[Region, ...] = ()
    whole: bool = False


def export(plan: Plan, place: Place, target: Path, tool: Tool, *, url: str = "") -> int:
    """Write the answers of an output for a labelling tool.

    Parameters
    ----------
    plan : Plan
        Of the output.
    place : Place
        The output; it must hold predictions or timelines.
    target : Path
        A file for Label Studio, its labelling interface (``label-studio.xml``) is written beside it; else a folder.
    tool : Tool
    url : str, optional
        What Label Studio puts before a path to get the recording, such as ``/data/local-files/?d=``.

    Returns
    -------
    int
        How many recordings were written.
    """
    whole = plan.manifest["output"] == "predictions"
    found = _of_output(plan, place, whole=whole)
    if tool is Tool.LABEL_STUDIO:
        with replacing(target.parent / _CONFIG) as part:
            part.write_text(_interface(plan.labels, whole=whole), encoding="utf-8")
        return _to_label_studio(found, target, url, str((plan.manifest["model"] or {}).get("name", "")))
    return _to_folder(found, target, ".eaf" if tool is Tool.ELAN else ".txt", plan.labels)


def _of_output(plan: Plan, place: Place, *, whole: bool) -> Iterator[Labelled]:
    seen: set[str] = set()
    for file, group in groupby(answers(plan, place), key=lambda one: one[0].file):
        if file in seen:
            raise InputError(f"the rows of {file} do not follow each other: sort the manifest by file, and run it anew")
        seen.add(file)
        rows = [one for one, _ in group]
        entire = whole and len(rows) == 1 and not rows[0].start and rows[0].channel is None
        regions = tuple(Region(one.start, one.end, one.label, one.channel) for one in rows)
        yield Labelled(file, rows[0].speaker, regions, regions, entire)


def _interface(labels: Sequence[str], *, whole: bool) -> str:
    """Write the labelling interface of Label Studio."""
    view = ElementTree.Element("View")
    if whole:
        names = ElementTree.SubElement(
            view, "Choices", name="emotion", toName="audio", choice="single", showInLine="true"
        )
    else:
        names = ElementTree.SubElement(view, "Labels", name="emotion", toName="audio")
    for label in labels:
        ElementTree.SubElement(names, "Choice" if whole else "Label", value=label)
    ElementTree.SubElement(view, "Audio", name="audio", value="$audio")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _to_label_studio(found: Iterable[Labelled], target: Path, url: str, model: str) -> int:
    count = 0
    with replacing(target) as part, part.open("w", encoding="utf-8") as file:
        file.write("[")
        for count, one in enumerate(found, 1):
            file.write(("," if count > 1 else "") + "\n" + json_line(_task(one, url, model)))
        file.write("\n]\n")
    return count


def _task(one: Labelled, url: str, model: str) -> dict[str, Any]:
    results = []
    for number, region in enumerate(one.regions):
        value: dict[str, Any] = {"choices": [region.label]}
        if not one.whole:
            value = {"start": region.start, "end": region.end, "labels": [region.label]}
            value |= {"channel": region.channel - 1} if region.channel else {}
        kind = "choices" if one.whole else "labels"
        results.append({"id": str(number), "from_name": "emotion", "to_name": "audio", "type": kind, "value": value})
    audio = url + (quote(one.file) if url else one.file)
    data = {"audio": audio, "file": one.file, "speaker": one.speaker}
    return {"data": data, "predictions": [{"model_version": model, "result": results}]}


def _to_folder(found: Iterable[Labelled], target: Path, ending: str, labels: Sequence[str]) -> int:
    """Write a file a recording, and an index of them."""
    names, index = Names(), dict[str, Any]()
    for one in found:
        name = names(one.file) + ending
        text = _eaf(one, labels) if ending == ".eaf" else _track(one)
        with replacing(target / name) as part:
            part.write_text(text, encoding="utf-8")
        index[name] = {"file": one.file, "speaker": one.speaker, "answers": [vars(region) for region in one.answers]}
    with replacing(target / INDEX) as part:
        part.write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(index)


def _track(one: Labelled) -> str:
    """Write a label track of Audacity."""
    return "".join(f"{region.start:.6f}\t{region.end:.6f}\t{region.label}\n" for region in one.regions)


def _eaf(one: Labelled, labels: Sequence[str]) -> str:
    """Write a document of ELAN: a tier a channel, and the labels as a vocabulary to choose from.

    Source
    ------
    EAF Annotation Format, version 3.0, https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf.
    """
    made = ElementTree.Element(
        "ANNOTATION_DOCUMENT", AUTHOR="emovox", DATE="2020-01-01T00:00:00Z", FORMAT="3.0", VERSION="3.0"
    )
    made.set(f"{{{_SCHEMA}}}noNamespaceSchemaLocation", "http://www.mpi.nl/tools/elan/EAFv3.0.xsd")
    header = ElementTree.SubElement(made, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    address = one.file if is_remote(one.file) else Path(one.file).absolute().as_uri()
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=address, MIME_TYPE="audio/x-wav")
    times = ElementTree.SubElement(made, "TIME_ORDER")
    number = 0
    for channel in sorted({region.channel or 0 for region in one.regions}):
        tier = ElementTree.SubElement(
            made, "TIER", TIER_ID=f"emotion{f' {channel}' if channel else ''}", LINGUISTIC_TYPE_REF="emotion"
        )
        if one.speaker:
            tier.set("PARTICIPANT", one.speaker)
        for region in (region for region in one.regions if (region.channel or 0) == channel):
            number += 1
            slots = f"ts{2 * number - 1}", f"ts{2 * number}"
            for slot, seconds in zip(slots, (region.start, region.end or 0.0), strict=True):
                ElementTree.SubElement(times, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(round(1000 * seconds)))
            outer = ElementTree.SubElement(tier, "ANNOTATION")
            inner = ElementTree.SubElement(
                outer,
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{number}",
                TIME_SLOT_REF1=slots[0],
                TIME_SLOT_REF2=slots[1],
            )
            ElementTree.SubElement(inner, "ANNOTATION_VALUE").text = region.label
    ElementTree.SubElement(
        made,
        "LINGUISTIC_TYPE",
        LINGUISTIC_TYPE_ID="emotion",
        TIME_ALIGNABLE="true",
        GRAPHIC_REFERENCES="false",
        CONTROLLED_VOCABULARY_REF="emotion",
    )
    ElementTree.SubElement(
        made, "LANGUAGE", LANG_ID="und", LANG_DEF="http://cdb.iso.org/lg/CDB-00130975-001", LANG_LABEL="undetermined"
    )
    vocabulary = ElementTree.SubElement(made, "CONTROLLED_VOCABULARY", CV_ID="emotion")
    ElementTree.SubElement(vocabulary, "DESCRIPTION", LANG_REF="und")
    for at, label in enumerate(labels):
        entry = ElementTree.SubElement(vocabulary, "CV_ENTRY_ML", CVE_ID=f"cve{at}")
        ElementTree.SubElement(entry, "CVE_VALUE", DESCRIPTION="", LANG_REF="und").text = label
    ElementTree.indent(made)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(made, encoding="unicode") + "\n"


def read(source: Path, tool: Tool) -> Iterator[Labelled]:
    """Read what people made of it.

    Parameters
    ----------
    source : Path
        What Label Studio exports as JSON; or the folder of tracks with its ``recordings.json``.
    tool : Tool

    Yields
    ------
    Labelled
        Recordings that somebody has looked at: tasks of Label Studio without annotation are left out.

    Raises
    ------
    InputError
        It cannot be read, or is no such file.
    """
    if tool is Tool.LABEL_STUDIO:
        yield from _from_label_studio(source)
        return
    index = _json(source / INDEX)
    if not isinstance(index, dict):
        raise InputError(f"{source / INDEX} is no index of recordings: export the answers again")
    parse: Callable[[str, str], tuple[Region, ...]] = _of_eaf if tool is Tool.ELAN else _of_track
    for name, known in index.items():
        try:
            text = (source / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {source / name} ({error}): put it back, or export again") from error
        said = tuple(Region(**one) for one in known["answers"])
        yield Labelled(known["file"], known["speaker"], parse(text, str(source / name)), said)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): check the path") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): export it again") from error


def _from_label_studio(source: Path) -> Iterator[Labelled]:
    tasks = _json(source)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise InputError(f"{source} is no list of Label Studio's tasks: export as JSON, not JSON-MIN or CSV")
    for task in tasks:
        done = [one for one in task.get("annotations", ()) if not one.get("was_cancelled")]
        if done:
            data = task["data"]
            said = [_regions(one.get("result", ())) for one in task.get("predictions", ()) if isinstance(one, dict)]
            file = data.get("file") or unquote(str(data.get("audio", "")))
            found = _regions(done[-1]["result"])
            yield Labelled(
                file, data.get("speaker"), found, said[-1] if said else (), any(not one.end for one in found)
            )


def _regions(results: Iterable[Mapping[str, Any]]) -> tuple[Region, ...]:
    found = []
    for one in results:
        value = one.get("value", {})
        labels = value.get("labels") or value.get("choices") or ()
        whole = one.get("type") == "choices" and "start" not in value
        channel = value.get("channel")
        for label in labels[:1]:
            start, end = (0.0, None) if whole else (float(value["start"]), float(value["end"]))
            found.append(Region(start, end, label, None if channel is None or whole else int(channel) + 1))
    return tuple(sorted(found, key=lambda region: region.start))


def _of_track(text: str, name: str) -> tuple[Region, ...]:
    """Read a label track of Audacity."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("\\"):  # the second line of a label in frequency
            continue
        try:
            start, end, label = line.split("\t", 2)
            found.append(Region(float(start), float(end), _bare(label)))
        except ValueError:
            raise InputError(f"line {number} of {name} is no label of Audacity: export the track again") from None
    return tuple(found)


def _bare(label: str) -> str:
    """Take an answer's confidence and doubt off a label.

    Examples
    --------
    >>> _bare("don't know (sad) 41%"), _bare(" happy ")
    ('sad', 'happy')
    """
    label = re.sub(r"\s+\d+%$", "", label.strip())
    doubt = re.fullmatch(r"don't know \((.+)\)", label)
    return doubt[1] if doubt else label


def _of_eaf(text: str, name: str) -> tuple[Region, ...]:
    """Read the tiers ``emotion`` of a document of ELAN."""
    try:
        document = ElementTree.fromstring(text)
        slots = (
            one.attrib for one in document.iter("TIME_SLOT") if "TIME_VALUE" in one.attrib
        )  # ELAN leaves some open
        times = {one["TIME_SLOT_ID"]: int(one["TIME_VALUE"]) for one in slots}
        found = []
        for tier in document.iter("TIER"):
            title, _, channel = tier.attrib["TIER_ID"].partition(" ")
            if title != "emotion":
                continue
            for one in tier.iter("ALIGNABLE_ANNOTATION"):
                start, end = (times[one.attrib[f"TIME_SLOT_REF{number}"]] / 1000 for number in (1, 2))
                label = (one.findtext("ANNOTATION_VALUE") or "").strip()
                found.append(Region(start, end, label, int(channel) if channel.isdecimal() else None))
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise InputError(f"{name} is no document of ELAN that can be read ({error!r}): save it again") from error
    return tuple(sorted(found, key=lambda region: region.start))


def write_table(found: Iterable[Labelled], target: Path) -> tuple[int, int]:
    """Write what people say as a manifest for `emovox train`: file, start, end, label, speaker, channel, answer.

    Parameters
    ----------
    found : iterable of Labelled
    target : Path
        A CSV file; paths in it are relative to its folder, as manifests have them.

    Returns
    -------
    tuple of int
        How many rows there are, and in how many of them the model had said something else.
    """
    count = changed = 0
    with replacing(target) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(COLUMNS))
        for one in found:
            for region in (region for region in one.regions if region.label):
                answer = _answer(one, region)
                end = "" if region.end is None else f"{region.end:g}"
                where = [_relative(one.file, target.parent), f"{region.start:g}" if region.start else "", end]
                file.write(csv_line([*where, region.label, one.speaker or "", region.channel or "", answer]))
                count += 1
                changed += bool(answer) and answer != region.label
    return count, changed


def _answer(one: Labelled, region: Region) -> str:
    """Return what the model said of a stretch; nothing where it said nothing of just this one."""
    found = []
    for said in one.answers:
        channels = {region.channel, said.channel} - {None}  # Label Studio numbers the one channel of a mono recording
        same = len(channels) <= 1 and abs(said.start - region.start) < 0.01
        if same and (region.end is None or said.end is None or abs(said.end - region.end) < 0.01):
            found.append(said.label)
    return region.label if region.label in found else (found or [""])[0]  # tracks without channels may have several


def _relative(file: str, folder: Path) -> str:
    if is_remote(file) or urlsplit(file).scheme in ("http", "https") or Path(file).is_absolute():
        return file
    return Path(os.path.relpath(file, folder)).as_posix()
