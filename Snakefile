# The study as a graph: suite → experts (one job a task) → notebooks → book.
#
#   snakemake -c2                            the default profile, `desk`
#   snakemake -c2 --config profile=pico      another one of notebooks/profiles.yaml
#
# What must run again is decided by content. Every step has a key, a hash of the library sources
# it imports, its notebook's cells, its parameters, its data and the keys of the steps before it
# (mergelib/cache/keys.py and mergelib/study/graph.py), and the key is a parameter of the rule.
# What the rules declare as inputs are the small files that steps hand to each other; a newer date
# on one counts only if its checksum differs, so that neither a touched file nor a fresh clone
# makes work. profiles/default/ holds the options that this relies on; snakemake reads it by itself.

import logging
import os
import shlex
import sys
from pathlib import Path

from filelock import FileLock, Timeout
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from mergelib.study.graph import plan
from mergelib.study.paths import executed_path, prepared_path, results_folder
from mergelib.study.profiles import StudyError


# The steps report their own progress, so snakemake is told to be quiet; but then it also keeps
# silent about errors, which are let through here.
errors = logging.StreamHandler()
errors.setLevel(logging.ERROR)
errors.addFilter(lambda record: getattr(record, "event", None) in (None, LogEvent.ERROR))
logger.addHandler(errors)

PROFILE = config.get("profile", "desk")
STUDY = f"OMP_NUM_THREADS={{threads}} {shlex.quote(sys.executable)} -m mergelib.study"
try:
    PLAN = plan(PROFILE)
except StudyError as error:
    raise WorkflowError(str(error)) from None


def shown(path):
    """Paths within the study as relative ones: rules, messages and snakemake's records."""
    return os.path.relpath(path) if Path(path).is_relative_to(workflow.basedir) else str(path)


# Snakemake's own lock is a file, which outlives a run that is killed. This one is held by the
# kernel and ends with the process, whatever ends it (`nolock` is set in profiles/default/).
if workflow.is_main_process and not workflow.dryrun:
    Path(".snakemake").mkdir(exist_ok=True)
    LOCK = FileLock(".snakemake/one_run_at_a_time")
    try:
        LOCK.acquire(timeout=0)
    except Timeout:
        raise WorkflowError("another run works in this folder; wait for it or stop it") from None


# A job that waits for its own threads spins; two jobs of several threads each on the same cores
# stand in each other's way. So a job gets as many threads as there are cores for it alone.
CORES = workflow.cores or 1

EXECUTED = shown(executed_path(PROFILE, "{notebook}"))
NUMBERS = shown(results_folder(PROFILE) / "{notebook}.json")
SUITE = shown(prepared_path(PROFILE, "suite"))
EXPERT = shown(prepared_path(PROFILE, "experts", "{task}"))


if PLAN.profile.live:
    MADE = "The book of profile {}: _build/html/index.html"

    rule book:
        input:
            expand(EXECUTED, notebook=PLAN.notebooks),
        output:
            "_build/html/index.html",
        params:
            key=PLAN.book,
        threads: CORES
        shell:
            f"{STUDY} book --profile {PROFILE}"

else:
    MADE = "The numbers of profile {0}: results/{0}"

    rule numbers:
        input:
            expand(EXECUTED, notebook=PLAN.notebooks),


onsuccess:
    print(MADE.format(PROFILE))


rule notebook:
    input:
        suite=SUITE,
        experts=expand(EXPERT, task=PLAN.experts),
        needs=lambda wildcards: [
            NUMBERS.format(notebook=needed)
            for needed in PLAN.profile.chapters[wildcards.notebook].needs
        ],
    output:
        EXECUTED,
        NUMBERS,
    params:
        key=lambda wildcards: PLAN.notebooks[wildcards.notebook],
    wildcard_constraints:
        notebook="|".join(PLAN.notebooks),
    threads: lambda wildcards: PLAN.threads(wildcards.notebook, CORES)
    shell:
        f"{STUDY} run notebooks/{{wildcards.notebook}}.ipynb --profile {PROFILE}"


rule expert:
    input:
        SUITE,
    output:
        EXPERT,
    params:
        key=lambda wildcards: PLAN.experts[wildcards.task],
    threads: max(1, CORES // len(PLAN.experts))
    shell:
        f"{STUDY} prepare --stage experts --task {{wildcards.task}} --profile {PROFILE}"


rule suite:
    output:
        SUITE,
    params:
        key=PLAN.suite,
    threads: CORES
    shell:
        f"{STUDY} prepare --stage suite --profile {PROFILE}"
