"""Parameters: what a notebook's `parameters` cell offers, and the values a profile or `-p` gives, checked before a run.

papermill only warns about an unknown name and guesses types; here both are errors that name the nearest parameter.
"""

import ast
import difflib
from collections.abc import Mapping
from pathlib import Path

import nbformat
import yaml

from course_utils.errors import UserError
from course_utils.notebook.layout import Layout

PROFILES = ("default", "smoke", "gpu")


def parameters_of(nb: nbformat.NotebookNode) -> dict:
    """Names and default values of the cell tagged `parameters`, in order; empty without such a cell.

    Raises UserError (status `parameters-not-literal`) naming the line that is more than `name = literal`.
    """
    cells = [cell for cell in nb.cells if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])]
    if not cells:
        return {}
    if len(cells) > 1:
        raise _not_literal(f"{len(cells)} cells are tagged `parameters`; values can be injected after one only")
    try:
        statements = ast.parse(cells[0].source).body
    except SyntaxError as error:
        raise _not_literal(f"line {error.lineno} of the parameters cell is not Python: {error.msg}") from error
    values: dict = {}
    for node in statements:
        name, value = _assignment(node)
        if name in values:
            raise _not_literal(f"line {node.lineno} assigns `{name}` a second time")
        values[name] = value
    return values


def _not_literal(message: str) -> UserError:
    return UserError(
        f"{message}. The parameters cell holds lines like `num_epochs = 3` only.", "parameters-not-literal"
    )


def _assignment(node: ast.stmt) -> tuple[str, object]:
    """Name and value of one `name = literal`, annotated or not."""
    line = ast.unparse(node).splitlines()[0]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    if not isinstance(node, ast.Assign | ast.AnnAssign) or len(targets) != 1 or not isinstance(targets[0], ast.Name):
        raise _not_literal(f"`{line}` is not an assignment to one name")
    try:
        return targets[0].id, ast.literal_eval(node.value)
    except (ValueError, TypeError):
        names = {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)} if node.value else set()
        why = f"is computed from {', '.join(f'`{name}`' for name in sorted(names))}" if names else "is an expression"
        message = f"`{line}` {why}: injected values arrive after this cell has run, so it would keep the old value"
        raise _not_literal(f"{message}. Move it to the next cell") from None


def load_profile(name: str, layout: Layout | None = None) -> dict[str, dict]:
    """Parameter values by lesson slug from `notebooks/profiles/NAME.yaml`; `default` changes nothing.

    Raises UserError (`bad-parameter`) for an unknown profile or lesson, malformed YAML (with its line) or structure.
    """
    if name not in PROFILES:
        raise _bad(f"there is no profile {name!r}{_suggestion(name, PROFILES)}")
    if name == "default":
        return {}
    layout = layout or Layout.here()
    path = layout.notebooks / "profiles" / f"{name}.yaml"
    data = _read_yaml(path, layout.show(path))
    known = sorted({source.stem for source in layout.sources()} | {nb.stem for nb in layout.notebooks.glob("*.ipynb")})
    for slug, values in data.items():
        if slug not in known:
            raise _bad(f"{layout.show(path)}: there is no lesson {slug!r}{_suggestion(str(slug), known)}")
        if values is not None and not (isinstance(values, dict) and all(isinstance(key, str) for key in values)):
            raise _bad(f"{layout.show(path)}: {slug} should hold `name: value` lines, not {values!r}.")
    return {slug: values or {} for slug, values in data.items()}


def _read_yaml(path: Path, shown: str) -> dict:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise _bad(f"{shown} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise _bad(f"{shown} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise _bad(f"{shown}{line}: the YAML does not parse: {getattr(error, 'problem', error)}.") from error
    if data is not None and not isinstance(data, dict):
        raise _bad(f"{shown}: expected one entry per lesson (`05_slug:` and values below it), got {data!r}.")
    return data or {}


class _StrictLoader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but a repeated key is an error and `1e-3` is a number."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _construct_text(loader: yaml.SafeLoader, node: yaml.ScalarNode):
    text = loader.construct_scalar(node)
    try:
        return float(text) if node.style is None and "e" in text.lower() and text[:1] in "+-.0123456789" else text
    except ValueError:
        return text


_StrictLoader.add_constructor("tag:yaml.org,2002:str", _construct_text)


def resolve_parameters(
    nb: nbformat.NotebookNode,
    slug: str | None,
    profile: str | Mapping[str, dict] = "default",
    overrides: Mapping[str, object] | None = None,
) -> dict:
    """Values to inject: those of the profile (a name, or what `load_profile` gave), then `overrides`.

    Text in `overrides` (from `-p name=value`) is read as the type of the parameter's default. Raises UserError
    (`bad-parameter`) for an unknown name or a wrong type, before anything runs.
    """
    defaults = parameters_of(nb)
    table = load_profile(profile) if isinstance(profile, str) else profile
    values = {}
    for name, value in table.get(slug or "", {}).items():
        values[name] = _typed(slug, defaults, name, value, "in the profile")
    for name, value in (overrides or {}).items():
        _known(slug, defaults, name)
        value = _from_text(value, defaults[name]) if isinstance(value, str) else value
        values[name] = _typed(slug, defaults, name, value, "given with -p")
    return values


def _known(slug: str | None, defaults: dict, name: str) -> None:
    if name not in defaults:
        offered = f" Parameters: {', '.join(defaults)}." if defaults else " The notebook has no parameters."
        raise _bad(f"{slug or 'this notebook'} has no parameter {name!r}{_suggestion(name, defaults)}{offered}")


def _typed(slug: str | None, defaults: dict, name: str, value, where: str):
    """The value, an int made a float where the default is one. Raises UserError for another type."""
    _known(slug, defaults, name)
    default = defaults[name]
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, tuple | set) and isinstance(value, list):
        return type(default)(value)
    if default is not None and type(value) is not type(default):
        expected, got = type(default).__name__, type(value).__name__
        raise _bad(
            f"{slug or 'this notebook'}: parameter `{name}` is {expected} (default {default!r}); "
            f"the value {value!r} {where} is {got}."
        )
    return value


def _from_text(text: str, default):
    """What a person typed after `-p name=`, read as the default's type; the text itself if it does not fit."""
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return float(text) if isinstance(default, float) else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _bad(message: str) -> UserError:
    return UserError(message, status="bad-parameter")


def _suggestion(word: str, known) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
