"""Command line of the study: `python -m mergelib.study {run,prepare,book,keep}`."""

import argparse
import sys
from pathlib import Path

import yaml

from mergelib.study.book import BookFailed, build_book
from mergelib.study.execute import NotebookFailed, offline_environment, run_notebook
from mergelib.study.measured import keep
from mergelib.study.paths import executed_path, prepared_path, relative
from mergelib.study.prepare import prepare_task
from mergelib.study.profiles import Profile, StudyError, declared_parameters, load_profile
from mergelib.study.progress import say
from mergelib.study.results import write_json
from mergelib.study.suites import declared_suites, suite_of


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mergelib.study", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute one notebook with a profile's parameters")
    run.add_argument("notebook", type=Path)
    run.add_argument("--out", type=Path, help="default: results/<profile>/executed/<notebook>")
    run.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set one parameter, as YAML; wins over the profile's",
    )
    run.set_defaults(do=run_command)

    prepare = commands.add_parser("prepare", help="make the suite and the experts")
    prepare.add_argument("--stage", choices=("suite", "experts"), help="default: both")
    prepare.add_argument("--task", help="one expert (default: all)")
    prepare.set_defaults(do=prepare_command)

    book = commands.add_parser("book", help="build the book from the executed notebooks")
    book.set_defaults(do=book_command)

    keep_ = commands.add_parser("keep", help="keep the profile's numbers in data/measured/")
    keep_.set_defaults(do=keep_command)

    for command in (run, prepare, book, keep_):
        command.add_argument("--profile", default="desk", help="a profile of profiles.yaml")
    return parser.parse_args(arguments)


def run_command(options: argparse.Namespace, profile: Profile) -> None:
    notebook = options.notebook
    if not notebook.is_file():
        raise StudyError(f"no notebook {notebook}")
    if notebook.stem in profile.chapters:
        parameters = dict(profile.chapters[notebook.stem].parameters)
    else:
        declared = declared_parameters(notebook)
        offered = {"profile": profile.name, "suite": profile.suite}
        parameters = {k: v for k, v in offered.items() if k in declared}
    parameters.update({name: yaml.safe_load(value) for name, value in options.p})
    out = options.out or executed_path(profile.name, notebook.stem)
    run_notebook(notebook, out, parameters, hub=profile.hub)


def prepare_command(options: argparse.Namespace, profile: Profile) -> None:
    import os

    declared = suite_of(profile.suite, declared_suites(), profile.name)
    os.environ.update(offline_environment(profile.hub))
    if options.stage != "experts" and options.task is None:
        write_json(prepared_path(profile.name, "suite"), prepare_task(profile, "suite"))
    if options.stage != "suite":
        for task in [options.task] if options.task else declared.tasks:
            made = prepare_task(profile, "experts", task)
            write_json(prepared_path(profile.name, "experts", task), made)


def book_command(options: argparse.Namespace, profile: Profile) -> None:
    say(f"book · open {relative(build_book(profile))}")


def keep_command(options: argparse.Namespace, profile: Profile) -> None:
    say(f"kept in {relative(keep(profile))}")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 a run failed, 2 the request was wrong (one sentence says how)."""
    options = parse(arguments)
    try:
        options.do(options, load_profile(options.profile))
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (NotebookFailed, BookFailed, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
