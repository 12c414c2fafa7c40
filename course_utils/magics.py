"""The cell magic `%%module name.py`: a cell becomes a module that this kernel and the processes it starts can import.

Processes started by `torchrun` or `launch` cannot see a function defined in a cell; written to a file it stays visible
to the learner and importable to them. The cell is not executed here: importing the module does that.
"""

import ast
import contextlib
import importlib
import importlib.util
import keyword
import os
import re
import sys
from pathlib import Path

from course_utils.atomic import replacing
from course_utils.errors import UserError


def register(ipython) -> None:
    """Make `%%module` known to an IPython shell."""
    ipython.register_magic_function(module_magic, magic_kind="cell", magic_name="module")


def module_magic(line: str, cell: str) -> None:
    """Write the cell to the scratch folder as the module named in `line`, ready to be imported."""
    from course_utils import runtime

    name = module_name(line)
    check_syntax(name, cell)
    folder = Path(runtime.scratch("modules"))
    refuse_shadowing(name, folder)
    # The magic line stays as a comment, so that line numbers in tracebacks are those of the cell.
    write_module(folder / f"{name}.py", f"# %%module {name}.py\n{cell}")
    make_importable(folder)
    forget(name)
    print(f"Module {name} is ready: this notebook and the processes it starts can import it.")


def module_name(line: str) -> str:
    """`train` from `train.py`. Raises UserError for anything that is not one plain module name."""
    words = line.split()
    example = "write `%%module my_training.py` as the first line of the cell"
    if len(words) != 1:
        raise UserError(f"%%module takes one file name, got {line.strip()!r}; {example}")
    name = words[0].removesuffix(".py")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"%%module needs a name made of letters, digits and underscores, got {words[0]!r}; {example}")
    return name


def check_syntax(name: str, cell: str) -> None:
    """Raise UserError with the line of the first syntax error, counted as in the cell."""
    try:
        ast.parse("\n" + cell)
    except SyntaxError as error:
        text = (error.text or "").strip()
        where = f"line {error.lineno} of the cell" + (f" ({text})" if text else "")
        raise UserError(f"{name}.py was not written: {error.msg} in {where}") from None


def refuse_shadowing(name: str, folder: Path) -> None:
    """Raise UserError if the name already means another module: importing would give one or the other by chance."""
    found = None
    with contextlib.suppress(ImportError, ValueError):
        found = importlib.util.find_spec(name)
    if found is None or (found.origin and Path(found.origin).parent == folder):
        return
    if name in sys.stdlib_module_names or found is not None:
        raise UserError(f"a module named {name} exists already ({found.origin}); choose another name for this cell")


def write_module(path: Path, text: str) -> None:
    """Atomic; compiled leftovers go too, because Python trusts them for a file of the same second and size."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def make_importable(folder: Path) -> None:
    """For this kernel through `sys.path`, for its child processes through PYTHONPATH (last: others come first)."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    known = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if str(folder) not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([*known, str(folder)])
    importlib.invalidate_caches()


def forget(name: str) -> None:
    """The next import reads the new file."""
    sys.modules.pop(name, None)
