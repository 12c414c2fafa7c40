"""The `course` command: finds the module of a subcommand, runs it, and shows a person's errors as one line.

Each command lives in the module that does the work and offers `add_arguments(parser)` and `main(args) -> exit code`;
modules are imported only when their command is called, so that `course --help` is instant.
"""

import argparse
import difflib
import importlib
import sys

from course_utils.errors import EnvironmentProblem, UserError

COMMANDS = {
    "doctor": ("course_utils.doctor", "check that this machine is ready for the course"),
    "fetch": ("course_utils.fetch", "prepare embedded models, or download what a profile or data set needs"),
    "lab": ("course_utils.lab", "check this machine, then open the course in JupyterLab at lesson 00"),
    "progress": ("course_utils.exercises.progress", "show which exercises are solved and which is next"),
    "run": ("course_utils.notebook.runner", "execute notebooks and record times, memory, claims and exercises"),
    "check": ("course_utils.notebook.check", "prove with nbval that committed outputs are what today's code prints"),
    "build": ("course_utils.notebook.build", "turn sources into learner and solved notebooks"),
    "lint": ("course_utils.notebook.lint", "check notebooks against the style budgets and the rules for outputs"),
    "test": ("course_utils.notebook.suite", "unit tests, build check, lint and every notebook in both forms"),
}
USAGE_ERROR = 2
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors suggest the nearest command."""

    command = ""  # the word called as a command, right or wrong

    def error(self, message: str):
        near = difflib.get_close_matches(self.command, COMMANDS, n=1)
        if near and self.command not in COMMANDS:
            message = f"unknown command {self.command!r}; did you mean `course {near[0]}`?"
        listed = "the commands" if self.prog == "course" else "its arguments"
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n        `{self.prog} --help` lists {listed}.\n")


def make_parser(argv: list[str]) -> argparse.ArgumentParser:
    """A parser with every command listed, and the arguments of the one called."""
    parser = Parser(prog="course", description="Commands of the workbook.")
    parser.command = "".join(argv[:1])
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module_name, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if argv[:1] == [name]:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(main=module.main)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 fine, 1 something failed, 2 bad input, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = make_parser(argv).parse_args(argv)
        return args.main(args)
    except (UserError, EnvironmentProblem) as problem:
        print(f"course {argv[0]}: {problem}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(f"\ncourse {argv[0]}: interrupted; results so far are kept.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
