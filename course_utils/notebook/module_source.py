"""Finds the definition behind a name in our package, as text: follows `from x import y` with `ast`, imports nothing.

Only modules of `course_utils` are followed; what a third-party package defines is not a solution of ours.
"""

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from course_utils.errors import UserError

PACKAGE = "course_utils"
MAX_HOPS = 8
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class ModuleText:
    """One module as text. `package_root` is the folder that holds `course_utils/`."""

    name: str
    path: Path
    package_root: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed module. Raises UserError with the line if it does not parse."""
        try:
            return ast.parse(self.text)
        except SyntaxError as error:
            where = f"{self.path.name}, line {error.lineno}"
            raise UserError(f"{where}: Python cannot parse it: {error.msg}.", "invalid-notebook") from error

    def segment(self, node: ast.AST) -> str:
        """Source of a node, decorators included, with the common indentation kept as written."""
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        if first == node.end_lineno and not isinstance(node, Definition):
            return ast.get_source_segment(self.text, node)
        return "\n".join(self.text.splitlines()[first - 1 : node.end_lineno])


def find_module(name: str, package_root: Path) -> ModuleText | None:
    """The module `course_utils.a.b` as text, or None when it is not ours or does not exist."""
    if name.split(".")[0] != PACKAGE:
        return None
    base = package_root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return ModuleText(name, path, package_root)
    return None


def _imported_from(module: ModuleText, node: ast.ImportFrom) -> str:
    """Absolute name of the module an import statement reads from, relative imports resolved."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    package = parts if module.path.name == "__init__.py" else parts[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _binding(module: ModuleText, name: str):
    """What the last top-level statement that binds `name` gives: a definition, a value, or (import, original name)."""
    found = None
    for node in module.tree.body:
        if isinstance(node, Definition) and node.name == name:
            found = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                found = node.value
        elif isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    found = (node, alias.name)
    return found


def resolve(module: ModuleText, name: str, hops: int = MAX_HOPS) -> tuple[ModuleText, ast.AST]:
    """Where `name`, seen from `module`, is defined (dots allowed: `attention.masked_mean`); UserError if nowhere."""
    head, _, rest = name.partition(".")
    found = _binding(module, head)
    if found is None or not hops:
        raise UserError(
            f"{module.path.name}: `{head}` is neither defined nor imported at top level.", "invalid-notebook"
        )
    if not isinstance(found, tuple):
        return module, found
    node, original = found
    source = original if isinstance(node, ast.Import) else _imported_from(module, node)
    submodule = find_module(source if isinstance(node, ast.Import) else f"{source}.{original}", module.package_root)
    if rest and submodule:
        return resolve(submodule, rest, hops - 1)
    target = find_module(source, module.package_root)
    if target is None:
        message = f"{module.path.name}: `{name}` comes from `{source}`, which is not a module of {PACKAGE}."
        raise UserError(message, "invalid-notebook")
    return resolve(target, original, hops - 1)
