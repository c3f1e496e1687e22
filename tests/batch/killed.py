"""A run with worker processes, as a program that may be killed: ``python -m tests.batch.killed INPUT OUTPUT``."""

from __future__ import annotations

import sys
from contextlib import closing

from emovox.batch.places import Inputs, place
from emovox.batch.plan import Local, Plan
from emovox.batch.runs import Run
from emovox.batch.summary import Log, Report, finish
from emovox.batch.tasks import PartFormat, Task
from tests.batch import FakeRecipe


def main(source: str, output: str) -> None:
    inputs, task, where = Inputs(source), Task(FakeRecipe()), place(output)
    plan = Plan.of(inputs, task, part_size=3, form=PartFormat.JSONL)
    plan.claim(where)
    with closing(Local(task, 1)) as engine:
        engine.submit(next(iter(inputs)), lambda found: print("begun", *engine.workers.pids(), flush=True))
        Run(plan, inputs, where, engine, Report(plan, Log(where)))()
    finish(plan, where)


if __name__ == "__main__":
    main(*sys.argv[1:])
