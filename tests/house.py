"""Counts that show how well the house is kept: ``python tests/house.py [CHECKOUT]``.

It reads a checkout's production code (runtime, convert, benchmarks) and prints how many modules lie
at each package's root, which files name a kind of model outside the kinds, which modules import
each other in a circle, which share a name, and what is too long. It runs on older checkouts as
well, so that a redesign can be measured before and after; `test_house` holds today's numbers.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = {
    "mobileface": "runtime/mobileface",
    "mobileface_convert": "convert/mobileface_convert",
    "mobileface_eval": "benchmarks/mobileface_eval",
}
LONGEST_FUNCTION = 60
LONGEST_FILE = 400

KINDS = re.compile(
    r"\bspec\.(hog|yolo|landmarks|pose|embedding|attributes)\b(?!\.toml)"
    r"|\b(Hog|Yolo|Landmark|Pose|Embedding|Attribute)Spec\b"
)
"""How code names a kind: by an attribute of a spec, or by the class of its section."""

OWN = re.compile(r"/(kinds|tasks|makers|frontends|heads)/|/(spec|sections|yolo_head)\.py$")
"""Where a kind may be named: where it is defined, run and made."""

REPEATABLE = {"__init__", "__main__", "base", "main"}
"""Names of modules that mean the same in every folder."""


@dataclass
class House:
    """What was counted in one checkout.

    Attributes:
        at_root: Modules at the root of each package, without ``__init__``.
        naming_kinds: Files that name a kind of model outside the kinds.
        circles: Groups of modules that import each other, directly or through others.
        same_names: Names of modules that several modules of one package have.
        long_functions: Functions over 60 lines.
        long_files: Files over 400 lines.
    """

    at_root: dict[str, list[str]] = field(default_factory=dict)
    naming_kinds: list[str] = field(default_factory=list)
    circles: list[list[str]] = field(default_factory=list)
    same_names: dict[str, list[str]] = field(default_factory=dict)
    long_functions: list[str] = field(default_factory=list)
    long_files: list[str] = field(default_factory=list)


def count(root: Path) -> House:
    """Counts one checkout."""
    house = House()
    imports: dict[str, set[str]] = {}
    for package, folder in PACKAGES.items():
        base = root / folder
        house.at_root[package] = sorted(
            path.stem for path in base.glob("*.py") if path.stem != "__init__"
        )
        names = defaultdict(list)
        for path in sorted(base.rglob("*.py")):
            module = ".".join((package, *path.relative_to(base).with_suffix("").parts))
            names[path.stem].append(module)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            imports[module.removesuffix(".__init__")] = set(_imported(tree, module))
        for name, modules in names.items():
            if len(modules) > 1 and name not in REPEATABLE:
                house.same_names[f"{package}: {name}"] = modules
    house.circles = _circles(imports)
    for path in _production(root):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(root).as_posix()
        if KINDS.search(text) and not OWN.search(f"/{where}"):
            house.naming_kinds.append(where)
    for path in (*_production(root), *sorted((root / "tests").rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(root).as_posix()
        lines = len(text.splitlines())
        if lines > LONGEST_FILE:
            house.long_files.append(f"{where}: {lines}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    house.long_functions.append(f"{where}: {node.name}, {length} lines")
    return house


def _production(root: Path) -> Iterator[Path]:
    for folder in ("runtime", "convert", "benchmarks", "examples"):
        yield from sorted((root / folder).rglob("*.py"))


def _imported(tree: ast.AST, module: str) -> Iterator[str]:
    """The modules that a module imports anywhere in it, except for annotations alone."""
    package = module.split(".")[:-1]
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for body in node.body
        for inner in ast.walk(body)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in skipped:
            continue
        base = package[: len(package) - node.level + 1] if node.level else []
        target = ".".join([*base, *([node.module] if node.module else [])])
        for name in node.names:
            yield f"{target}.{name.name}"
        yield target


def _circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected groups of more than one module (Tarjan, 1972).

    A package's ``__init__`` is left out: to import anything of a package imports it.
    """
    edges = {
        module: sorted(
            target
            for target in targets & set(imports)
            if target != module and not module.startswith(f"{target}.")
        )
        for module, targets in imports.items()
    }
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for target in edges[module]:
            if target not in order:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], order[target])
        if low[module] == order[module]:
            group = []
            while not group or group[-1] != module:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for module in edges:
        if module not in order:
            visit(module)
    return found


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    house = count(root)
    for package, modules in house.at_root.items():
        print(f"{package}: {len(modules)} modules at its root: {', '.join(modules)}")
    for title, rows in (
        ("files that name a kind of model outside the kinds", house.naming_kinds),
        ("import circles", [", ".join(group) for group in house.circles]),
        ("names of several modules", [*house.same_names]),
        (f"functions over {LONGEST_FUNCTION} lines", house.long_functions),
        (f"files over {LONGEST_FILE} lines", house.long_files),
    ):
        print(f"{title}: {len(rows)}", *rows, sep="\n    ")


if __name__ == "__main__":
    main()
