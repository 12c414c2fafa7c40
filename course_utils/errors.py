"""The two errors a person can meet, so that every command can show them as one clear message instead of a traceback.

Neither is for our own mistakes: invariants are asserted, and bugs keep their traceback.
"""


class OneMessage(Exception):
    """Shown in a notebook as its message alone (IPython calls `_render_traceback_`), as on the command line."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class UserError(OneMessage, ValueError):
    """Something a person typed or wrote is wrong: say the rule, the value found and what to do next.

    `status` is one of the names of docs/architecture.md ("Statuses"), so that a runner can report the error under it.
    """

    def __init__(self, message: str, status: str = "error"):
        super().__init__(message)
        self.status = status


class EnvironmentProblem(OneMessage, RuntimeError):
    """The machine is not as needed (no disk, port taken, missing asset): say what was found and what to do next."""

    def __init__(self, message: str, status: str = "error"):
        super().__init__(message)
        self.status = status
