"""The layers in docs/architecture.md are what the imports are."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

# At its first use, inside a function, for store.git: the document says so.
UP = {("store", "integrations/git/commits")}
NAMES_WIDTH = 51


@cache
def modules() -> dict[str, Path]:
    """Each module's file by its name, such as ``engine/fs``."""
    package = ROOT / "filestore"
    return {
        path.relative_to(package).with_suffix("").as_posix(): path
        for path in sorted(package.rglob("*.py"))
    }


@cache
def places() -> dict[str, int]:
    """The row of each name in the document; those ending in a slash are whole packages."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("```text\n")[1].split("```")[0]
    found: dict[str, int] = {}
    package = ""
    for row, line in enumerate(table.splitlines()):
        names = line[:NAMES_WIDTH].split()
        if not line.startswith(" "):
            package = ""
            if names[0].endswith("/") and len(names) > 1:
                package = names.pop(0)
        for name in names:
            place = package + name
            assert place not in found, f"{place} is there twice"
            found[place] = row
    return found


def row_of(module: str) -> int | None:
    if module in places():
        return places()[module]
    parts = module.split("/")
    for end in range(len(parts), 0, -1):
        row = places().get("/".join(parts[:end]) + "/")
        if row is not None:
            return row
    return None


def imports(module: str) -> Iterator[str]:
    """What of filestore a module imports, but for its annotations alone."""
    pending: list[ast.AST] = [ast.parse(modules()[module].read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        pending += ast.iter_child_nodes(node)
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first == "filestore":
                yield from _modules(rest)


def _modules(path: list[str]) -> Iterator[str]:
    """The module that is imported, or whose name is."""
    for names in (path, [*path, "__init__"], path[:-1], [*path[:-1], "__init__"]):
        if "/".join(names) in modules():
            yield "/".join(names)
            return


def test_every_module_has_its_place_and_every_place_its_module() -> None:
    assert [name for name in modules() if row_of(name) is None and [*imports(name)]] == []
    known = {*modules(), *(name.removesuffix("__init__") for name in modules())}
    assert [name for name in places() if name not in known] == []


def test_imports_point_down() -> None:
    up = {
        (module, imported)
        for module in modules()
        for imported in imports(module)
        if (row_of(imported) or 0) > (row_of(module) or 0)
    }
    assert up - UP == set()
    assert UP - up == set(), "no longer so: take it from the list"
