"""`emovox batch`: very many recordings, resumable, on all cores, a cluster or an array of machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from emovox.batch.labelling import Tool, export, read, write_table
from emovox.batch.places import Entry, Inputs, Place, place
from emovox.batch.plan import FAILED, PART_SIZE, Cluster, Engine, Local, Plan, require
from emovox.batch.runs import Allowance, Run, Shard, TooManyFailuresError
from emovox.batch.summary import Log, Merged, Report, Telling, clock, events, finish, form_of
from emovox.batch.summary import merge as merged
from emovox.batch.tasks import Outcome, Output, PartFormat, Recognition, Task
from emovox.cli.commands import model_option, recognition_options, setting_option, threshold_option, timeline_options
from emovox.cli.predict import speaker_choice, timeline_choice
from emovox.errors import InputError
from emovox.features import sets
from emovox.model import profiles
from emovox.model.profiles import AUTO, Profile, Subject, voices
from emovox.outputs.commands import Choice, Group, all_of, argument, command, option
from emovox.outputs.console import json_line, say
from emovox.recognition.timeline import TimelineOptions
from emovox.recognition.workers import PATIENCE


class Batch(Group):
    """Commands about outputs; without the name of one it is `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` first where it is left out."""
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("batch", cls=Batch)
def batch() -> None:
    """Analyse very many recordings; the same command resumes an interrupted run.

    Examples
    --------
    - `emovox batch calls/ out/`
    - `emovox batch calls.csv out/ --output timeline --jobs 8`
    - `emovox batch status out/`
    - `emovox batch merge out/ emotions.csv`

    `emovox batch INPUT OUTPUT` is short for `emovox batch run INPUT OUTPUT`; its --help lists the options.
    """


_machines = all_of(
    option(
        "--jobs", "-j", type=int, metavar="N", section="Machines", help="Number of processes; default one per core."
    ),
    option(
        "--shard", metavar="I/N", section="Machines", help="Process every N-th part from the I-th: one of N machines."
    ),
    option(
        "--on", metavar="ADDRESS", section="Machines", help="Dask scheduler, such as tcp://host:8786: [cluster] extra."
    ),
    option(
        "--patience",
        type=click.FloatRange(min=1),
        metavar="SECONDS",
        default=PATIENCE,
        section="Machines",
        help="Time without progress after which a recording counts as hanging.",
    ),
)
_what = all_of(
    option(
        "--output",
        "kind",
        type=Choice(Output),
        metavar="KIND",
        help="predictions (default), timeline, features or embeddings.",
    ),
    model_option,
    threshold_option,
    setting_option,
    option("--profiles", is_flag=True, help="The manifest's columns speaker and setting name stored profiles."),
    option("--no-gate", is_flag=True, help="Judge any sound, speech or not."),
    option("--channels", metavar="mix|each|1|2", default="mix", help="Mix (default), each separately, or one."),
    option("--set", "-s", "features", metavar="NAME", help="Feature set of --output features; prosodic."),
)
_words = all_of(
    recognition_options,
    option("--text-model", metavar="MODEL", section="Words", help="Classifier of the words: a folder or hub id."),
    option("--fuse/--no-fuse", default=None, section="Words", help="Fuse words and voice; default by the model."),
    option("--rules", is_flag=True, section="Words", help="Apply the decision rules."),
)
_how_far = all_of(
    option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N recordings."),
    option("--dry-run", is_flag=True, help="Check everything and print what would be done."),
    option("--retry-failed", is_flag=True, help="Retry recordings that failed before."),
    option("--max-errors", metavar="N|P%", help="Stop if more recordings fail, in number or percent."),
    option("--part", type=click.IntRange(min=1), metavar="N", default=PART_SIZE, help="Recordings per part."),
    option(
        "--format", "-f", "form", type=Choice(PartFormat), metavar="FORMAT", help="Format of parts: parquet or jsonl."
    ),
    option(
        "--progress",
        type=Choice(Telling),
        metavar="KIND",
        default=Telling.AUTO.value,
        help="bar, lines, json or none; by default a bar on a terminal, else lines.",
    ),
    option("--quiet", "-q", is_flag=True, help="The same as --progress none."),
)


@command()
@argument("source", metavar="INPUT", help="Folder, quoted pattern, manifest, tar archive or URL.")
@argument("output", metavar="OUTPUT", help="Folder or URL.")
@_what
@_how_far
@_machines
@timeline_options
@_words
def run(source: str, output: str, **given: Any) -> None:
    """Analyse very many recordings; the same command resumes an interrupted run.

    Examples
    --------
    - `emovox batch run calls/ out/`
    - `emovox batch run calls.csv s3://results/calls --output timeline --max-errors 5%`
    - `emovox batch run calls.csv out/ --shard 3/8`

    Parts of the output are written whole or not at all. Exit codes: 0 done, 3 done with failures, 2 bad usage or
    input, 1 stopped by --max-errors.
    """
    inputs, where = Inputs(source, given["limit"]), place(output)
    shard = Shard.of(given["shard"]) if given["shard"] else Shard()
    allowance = Allowance.of(given["max_errors"]) if given["max_errors"] else None
    task = _task(given, inputs)
    plan = Plan.of(inputs, task, part_size=given["part"], form=given["form"])
    if given["dry_run"]:
        plan.check(where)
        _say_plan(plan, where, shard)
        return
    plan.claim(where)
    todo = _todo(plan, where, shard, retry_failed=given["retry_failed"])
    report = Report(plan, Log(where), Telling.NONE if given["quiet"] else given["progress"], todo=todo)
    ended = "failed"
    try:
        if todo:
            with _engine(task, given) as engine:
                Run(
                    plan,
                    inputs,
                    where,
                    engine,
                    report,
                    shard=shard,
                    allowance=allowance,
                    retry_failed=given["retry_failed"],
                )()
        ended = "done"
    except TooManyFailuresError as error:
        say(f"emovox: {error}")
        ended = "too many failures"
        raise click.exceptions.Exit(1) from None
    except KeyboardInterrupt:
        ended = "interrupted"
        raise
    finally:
        report.end(ended)
    _conclude(plan, where, shard)


def _known(inputs: Inputs) -> tuple[Profile, ...]:
    """Read the profiles that recordings name, and those of the settings that the speakers belong to."""
    names: set[tuple[Subject, str]] = {("speaker", one.speaker) for one in inputs if one.speaker}
    names |= {("setting", one.setting) for one in inputs if one.setting}
    found = [profiles.read(profiles.known(name, kind)) for kind, name in sorted(names)]
    belong = {one.setting for one in found if one.setting}
    found += [profiles.read(profiles.known(name, "setting")) for name in sorted(belong)]
    return tuple({(one.kind, one.name): one for one in found}.values())


def _task(given: Mapping[str, Any], inputs: Inputs) -> Task:
    """Make the task of what was written on the command line."""
    output = given["kind"] or Output.PREDICTIONS
    for name in ("setting", "profiles"):
        if given[name] and output not in (Output.PREDICTIONS, Output.TIMELINE):
            raise InputError(f"--{name} is about answers, and has no meaning for --output {output}: leave it out")
    setting = given["setting"]
    spoken = bool(given["text"] or given["asr"])
    for name in ("language", "text_model"):
        if given[name] and not spoken:
            raise InputError(f"--{name.replace('_', '-')} is about words: add --text")
    if spoken and output not in (Output.PREDICTIONS, Output.TIMELINE):
        raise InputError(f"--text has no meaning for --output {output}: leave it out")
    if given["features"] and output is not Output.FEATURES:
        raise InputError("--set is about features: add --output features")
    cut = _cut(given)
    allowed = {Output.TIMELINE: cut.keys(), Output.FEATURES: {"window"}}.get(output, set[str]())
    if other := next((name for name in cut if name not in allowed), None):
        raise InputError(f"--{'smooth' if other == 'smoothing' else other} is about timelines: add --output timeline")
    recipe = Recognition(
        given["model"],
        given["threshold"],
        not given["no_gate"],
        spoken,
        given["asr"],
        given["language"],
        given["text_model"],
        given["fuse"],
        given["rules"],
        setting if setting in (None, AUTO) else profiles.find(setting, "setting"),
        _known(inputs) if given["profiles"] else (),
    )
    features = given["features"] or Task.features
    if output is Output.FEATURES:
        return Task(
            recipe,
            output,
            given["channels"],
            features=features,
            window=cut.get("window", Task.window),
            extensions=() if features in sets.available() else ("emovox.lab",),
        )
    timeline = timeline_choice(True, **{**_NO_CUT, **cut}) if output is Output.TIMELINE else None
    return Task(recipe, output, given["channels"], timeline or TimelineOptions())


def _cut(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is written about timelines."""
    cut = {name: given[name] for name in ("mode", "window", "hop", "merge") if given[name] is not None}
    cut |= {"smoothing": given["smooth"]} if given["smooth"] is not None else {}
    if given["speakers"] is not None:
        cut["speakers"], turns = speaker_choice(given["speakers"])
        if turns:
            raise InputError(f"--speakers {given['speakers']}: in a batch, auto or how many there are in each one")
        cut["enrolled"] = voices()
    return cut


_NO_CUT = dict.fromkeys(("speakers", "enrolled", "mode", "window", "hop", "smoothing", "merge"))


@contextmanager
def _engine(task: Task, given: Mapping[str, Any]) -> Iterator[Engine[Entry, Outcome]]:
    """Start who does the work, and end it at once where something goes wrong."""
    if given["on"] and given["jobs"]:
        raise InputError("--jobs is about this machine: with --on the cluster says how many")
    engine: Engine[Entry, Outcome] = (
        Cluster(task, given["on"], given["patience"]) if given["on"] else Local(task, given["jobs"], given["patience"])
    )
    try:
        yield engine
    except BaseException:
        engine.close(wait=False)
        raise
    engine.close()


def _todo(plan: Plan, where: Place, shard: Shard, *, retry_failed: bool) -> int:
    """Count the recordings that this process has to do."""
    done, failing = plan.done(where), plan.failing(where) if retry_failed else set[int]()
    again = sum(len({name for name, _ in plan.failures(where, part)}) for part in failing if shard.has(part))
    return again + sum(plan.size_of(part) for part in range(plan.parts) if shard.has(part) and part not in done)


def _say_plan(plan: Plan, where: Place, shard: Shard) -> None:
    """Say what would be done."""
    todo, parts = _todo(plan, where, shard, retry_failed=False), plan.parts
    click.echo(
        f"{plan.manifest['output']} of {plan.recordings} recordings, "
        f"{parts} parts of {plan.part_size} ({plan.form.value})"
    )
    if plan.manifest["model"]:
        click.echo(f"model {plan.manifest['model']['name']} ({plan.manifest['model']['sha256'][:12]})")
    click.echo(
        f"{todo} recordings are to be done here" + (f", shard {shard.number} of {shard.of_all}" * (shard.of_all > 1))
    )
    click.echo(f"fingerprint {plan.fingerprint}")


def _conclude(plan: Plan, where: Place, shard: Shard) -> None:
    """Finish the output where it is whole, and say what there is."""
    summary = finish(plan, where)
    if summary is None:
        left = plan.parts - len(plan.done(where))
        say(f"this shard is done; {left} parts of the others are missing in {where.name}")
        return
    total = summary["total"]
    say(f"{plan.recordings} recordings, {total['hours']:.2f} hours of sound, in {where.name}")
    if summary["failed"]:
        say(
            f"emovox: {summary['failed']} recordings failed, see {where.name}/{FAILED}; --retry-failed tries them again"
        )
    if summary["partly"]:
        say(f"emovox: {summary['partly']} recordings could not be read whole: unread in their rows says which part")
    if summary["failed"] or summary["partly"]:
        raise click.exceptions.Exit(3)


@command()
@argument("output", metavar="OUTPUT", help="Folder or URL.")
@option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(output: str, as_json: bool) -> None:
    """Show the progress of a run.

    Examples
    --------
    - `emovox batch status out/`
    """
    where = place(output)
    plan = require(where)
    done = plan.done(where)
    recordings = sum(plan.size_of(part) for part in done)
    failed = sum(len({name for name, _ in plan.failures(where, part)}) for part in plan.failing(where))
    found: dict[str, Any] = {
        "output": plan.manifest["output"],
        "recordings": plan.recordings,
        "done": recordings,
        "failed": failed,
        "parts": plan.parts,
        "parts_done": len(done),
        "rate": sum(last["rate"] or 0.0 for last in _running(where)) if recordings < plan.recordings else 0.0,
    }
    if as_json:
        click.echo(json_line(found))
        return
    click.echo(f"{recordings} of {plan.recordings} recordings are done, {failed} of them failed")
    click.echo(f"{len(done)} of {plan.parts} parts are there")
    if found["rate"]:
        click.echo(f"{found['rate']:.1f} a second, {clock((plan.recordings - recordings) / found['rate'])} left")


def _running(where: Place) -> list[dict[str, Any]]:
    """Return the last word of each process that has not said that it ended."""
    last = {event["log"]: event for event in events(where, ("part", "waiting", "end"))}
    return [event for event in last.values() if event["event"] != "end"]


@command()
@argument("output", metavar="OUTPUT", help="Folder or URL.")
@argument("target", metavar="TARGET", help="File; a folder for formats with one file per recording.")
@option(
    "--format", "-f", "form", type=Choice(Merged), metavar="FORMAT", help="By default from the extension of TARGET."
)
def merge(output: str, target: str, form: Merged | None) -> None:
    """Merge all parts into one table, or one track per recording.

    Examples
    --------
    - `emovox batch merge out/ emotions.csv`
    - `emovox batch merge out/ tracks/ --format textgrid`

    Formats: csv, jsonl, parquet and rttm are one file; textgrid, vtt, srt and audacity one a recording.
    """
    where = place(output)
    plan, form = require(where), form_of(target, form)
    rows = merged(plan, where, Path(target), form)
    say(f"wrote {rows} rows to {target}")
    _say_missing(plan, where)


def _say_missing(plan: Plan, where: Place) -> None:
    if left := plan.parts - len(plan.done(where)):
        say(f"{left} of {plan.parts} parts are missing: the run is not at its end")


_tool = option("--tool", "-t", type=Choice(Tool), metavar="TOOL", required=True, help="label-studio, audacity or elan.")


@command("export")
@argument("output", metavar="OUTPUT", help="Folder or URL with predictions or timelines.")
@argument("target", metavar="TARGET", help="JSON file for Label Studio, else a folder.")
@_tool
@option("--url", metavar="PREFIX", default="", help="Prefix of paths in Label Studio, such as /data/local-files/?d=.")
def export_(output: str, target: str, tool: Tool, url: str) -> None:
    """Export answers to an annotation program.

    Examples
    --------
    - `emovox batch export out/ tasks.json --tool label-studio`
    - `emovox batch export out/ tracks/ --tool elan`
    """
    where = place(output)
    plan = require(where)
    say(f"wrote {export(plan, where, Path(target), tool, url=url)} recordings to {target}")
    _say_missing(plan, where)


@command("import")
@argument("source", metavar="SOURCE", help="JSON export of Label Studio, or the folder of tracks.")
@argument("target", metavar="TABLE", help="CSV file to write.")
@_tool
def import_(source: str, target: str, tool: Tool) -> None:
    """Import corrected answers as a manifest for `emovox train`.

    Examples
    --------
    - `emovox batch import corrected.json corrected.csv --tool label-studio`
    - `emovox train default --corpus mine=corrected.csv`
    """
    found = list(read(Path(source), tool))
    rows, changed = write_table(found, Path(target))
    if any((region.channel or 1) > 1 for one in found for region in one.regions):
        say("some labels are of one channel, and training mixes channels: cut these recordings into one file a channel")
    say(f"wrote {rows} labels to {target}, {changed} of them other than the model's")


for one in (run, status, merge, export_, import_):
    batch.add_command(one)
