"""The house rules that no linter knows, each a plain function from sources to complaints.

A complaint is one readable line: where, what, and what the rule asks for. :mod:`test_house` runs
the rules over the tree and proves on small bad samples that each of them can fail.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from statistics import median

FILE_LINES = 400
FUNCTION_LINES = 40
FUNCTION_MEDIAN = 6
PARAMETERS = 6

VAGUE_NAMES = {
    "base",
    "common",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "util",
    "utils",
}

FORBIDDEN = {
    r"/(?:wo" r"rk|ro" r"ot|ho" r"me)/\w": "a path of one machine",
    r"(?i)\b(?:pypi\.o" r"rg|pythonho" r"sted|registry\.npm" r"js)": "a package index's address",
    r"(?i)\b(?:iss" r"ue|tick" r"et) #?\d": "a number that only a tracker understands",
    r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b": "a wish: do it, or write a decision",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Sources = Mapping[str, str]  # path relative to the root → text


def long_files(sources: Sources) -> Iterator[str]:
    """Complain about files over the ceiling."""
    for path, text in sources.items():
        if (lines := text.count("\n")) > FILE_LINES:
            yield f"{path}: {lines} lines, at most {FILE_LINES}: give a second role its own file"


def vague_names(paths: Iterable[str]) -> Iterator[str]:
    """Complain about modules and folders named for no role."""
    for path in paths:
        words = re.split(r"[/._]", path.removesuffix(".py"))
        if vague := VAGUE_NAMES.intersection(words):
            yield f"{path}: {vague.pop()!r} says nothing: name the file for its role, with a noun"


def functions(text: str) -> Iterator[Function]:
    """Yield every function and method of a module, nested ones too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(text: str) -> set[int]:
    """Return the numbers of the lines that hold code: no comment, no blank."""
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def function_length(function: Function, lines: set[int]) -> int:
    """Count the code lines of a function's body; its docstring is no code."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) else function.body
    if not body:
        return 0
    span = range(body[0].lineno, (function.end_lineno or body[-1].lineno) + 1)
    return len(lines.intersection(span))


def long_functions(sources: Sources) -> Iterator[str]:
    """Complain about functions over the ceiling."""
    for path, text in sources.items():
        lines = code_lines(text)
        for function in functions(text):
            if (length := function_length(function, lines)) > FUNCTION_LINES:
                yield (
                    f"{path}:{function.lineno}: {function.name} has {length} code lines, "
                    f"at most {FUNCTION_LINES}: name a part of it"
                )


def high_median(sources: Sources) -> Iterator[str]:
    """Complain when functions have grown as a whole."""
    lengths: list[int] = []
    for text in sources.values():
        lines = code_lines(text)
        lengths += (function_length(function, lines) for function in functions(text))
    if lengths and (middle := median(lengths)) > FUNCTION_MEDIAN:
        yield f"the median function has {middle:g} code lines, at most {FUNCTION_MEDIAN}"


def many_parameters(sources: Sources) -> Iterator[str]:
    """Complain about functions with too many parameters, ``self`` and ``cls`` left out."""
    for path, text in sources.items():
        for function in functions(text):
            arguments = function.args
            names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
            count = len(names) + len(arguments.kwonlyargs) - (names[:1] in (["self"], ["cls"]))
            if count > PARAMETERS:
                yield (
                    f"{path}:{function.lineno}: {function.name} takes {count} parameters, "
                    f"at most {PARAMETERS}: some of them are a value with a name"
                )


def missing_docstrings(sources: Sources) -> Iterator[str]:
    """Complain about modules, public classes and public functions that do not say what for."""
    for path, text in sources.items():
        module = ast.parse(text)
        if not ast.get_docstring(module):
            yield f"{path}: the module does not say why it exists"
        for node in module.body:
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if not named or node.name.startswith("_") or is_overload(node):
                continue
            if not ast.get_docstring(node):
                yield f"{path}:{node.lineno}: {node.name} has no docstring"


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Tell a signature for the type checker from a definition."""
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


def module_name(path: str) -> str:
    """Turn ``src/trunkline/log/port.py`` into ``trunkline.log.port``."""
    name = path.removeprefix("src/").removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def imports(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name or None) of every import, typing-only and local ones too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def knots(sources: Sources) -> Iterator[str]:
    """Complain about import cycles, those a type checker alone can see included."""
    names = {module_name(path): text for path, text in sources.items()}
    graph: dict[str, set[str]] = defaultdict(set)
    for name, text in names.items():
        for module, attribute in imports(text):
            target = f"{module}.{attribute}"
            graph[name].update({target if target in names else module} & names.keys() - {name})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "import cycle: " + " → ".join(reversed(error.args[1]))


def named_engines(sources: Sources, engines: Mapping[str, str], allowed: set[str]) -> Iterator[str]:
    """Complain about rooms that name a concrete engine.

    Args:
        sources: Modules.
        engines: Engine modules and the class in each.
        allowed: Second segments of the names of modules that may: ``app``, ``testing``.
    """
    for path, text in sources.items():
        name = module_name(path)
        inside = any(name == engine or name.startswith(engine + ".") for engine in engines)
        if inside or name.split(".")[1:2] in [[room] for room in allowed]:
            continue
        for module, attribute in imports(text):
            if module in engines or f"{module}.{attribute}" in engines:
                yield f"{path}: imports {module}: take a Log, or let app open it by its URL"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Name) and node.id in engines.values():
                yield f"{path}:{node.lineno}: names {node.id}: take a Log instead"


def homeless_rooms(paths: Iterable[str], layers: Iterable[str]) -> Iterator[str]:
    """Complain about rooms that no floor of the ``floors`` contract lists."""
    listed = set(re.findall(r"trunkline\.(\w+)", " ".join(layers)))
    rooms = {path.split("/")[2].removesuffix(".py") for path in paths} - {"__init__", "__main__"}
    for room in sorted(rooms - listed):
        yield f"trunkline.{room} stands on no floor: add it to the layers in pyproject.toml"


def forbidden_words(sources: Sources) -> Iterator[str]:
    """Complain about what no file of the project should say."""
    for path, text in sources.items():
        for pattern, what in FORBIDDEN.items():
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: {match[0]!r} is {what}"


def requirement_names(lines: Iterable[str]) -> set[str]:
    """Return the names of requirements with what they demand, spaces and comments removed."""
    bare = (re.sub(r"\s|#.*", "", line) for line in lines)
    return {line for line in bare if line}


def loose_pins(sources: Sources) -> Iterator[str]:
    """Complain about requirements without a hash, and about addresses."""
    for path, text in sources.items():
        for pin in text.replace("\\\n", " ").splitlines():
            if pin and not pin.startswith("#") and ("==" not in pin or "--hash=sha256:" not in pin):
                yield f"{path}: {pin.split()[0]} is not pinned by version and hash"
        if found := re.search(r"\w+://\S*|--\w*-?(?:index-url|find-links|trusted-host)", text):
            yield f"{path}: names an address: {found[0]}"
