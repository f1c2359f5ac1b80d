"""The changes of a single token that a file can have, in Python and in the C of the kernels."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tokenize import NAME, NUMBER, OP, STRING, TokenInfo
from typing import Any

Change = tuple[int, int, str, str]
"""From where to where in a text, what kind of change, and what stands there then."""

BINARY = {
    "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"), "==": ("!=",), "!=": ("==",),
    "+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",), "//": ("*",), "%": ("//",), "**": ("*",), "&": ("|",),
    "+=": ("-=",), "-=": ("+=",), "*=": ("/=",), "/=": ("*=",), "&&": ("||",), "||": ("&&",), "<<": (">>",),
    ">>": ("<<",),
}  # fmt: skip
NAMES = {
    "and": "or", "any": "all", "min": "max", "amin": "amax", "minimum": "maximum", "True": "False", "floor": "ceil",
    "break": "continue", "zeros_like": "ones_like", "smaller": "larger", "vm_min": "vm_max",
}  # fmt: skip
NAMES |= {new: old for old, new in NAMES.items()}
_KEYWORDS = {"return", "if", "else", "in", "and", "or", "not", "lambda", "yield", "elif", "while", "is"}
_PASSED_OVER = ("@", "assert", "from", "import", "raise")
"""What begins a statement in which no change is a fault: decorators, imports, what is asserted, what an error says."""
_C = re.compile(r"(?<=\s)(?:<<|>>|[<>=!]=|&&|\|\||[-+*/]=?|[<>&%])(?=\s)|\b\w+\b(?!\s*\.\w)")
_C_NUMBER = re.compile(r"(?:\d+\.\d+|\d+)(?:e-?\d+)?[fuL]*")
_C_LEFT_OUT = re.compile(
    r"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*|\"[^\"\n]*\"|0x[\w.]+(?:p-?\w+)?|\w*\d+_t\b", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Mutant:
    """A file with one token changed."""

    path: str
    """Of the file, from the root of the repository."""
    line: int
    column: int
    kind: str
    start: int
    end: int
    old: str
    new: str
    text: str
    """The line as it is."""

    def applied(self, source: str) -> str:
        """The file's text with the change."""
        return source[: self.start] + self.new + source[self.end :]

    def as_dict(self) -> dict[str, Any]:
        """The stored form; where it stands in the text changes with all that is above it."""
        return {key: value for key, value in asdict(self).items() if key not in ("start", "end")}

    @property
    def name(self) -> str:
        """What it is known by as long as its line stays as it is."""
        before = self.text.lstrip()
        return f"{self.path}: {before} [{self.kind} {self.old} -> {self.new}]"


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """Every change of one token that is tried in a file."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".h":
        changes: Iterator[Change] = _in_c(source, 0)
    else:
        changes = _in_python(source, templates=path.parent.name == "c")
    lines = source.splitlines()
    found = []
    for start, end, kind, new in changes:
        line = source.count("\n", 0, start) + 1
        old = source[start:end]
        place = (str(path.relative_to(root)), line, start - source.rfind("\n", 0, start) - 1)
        found.append(Mutant(*place, kind, start, end, old, new, lines[line - 1]))
    return found


def _in_python(source: str, *, templates: bool) -> Iterator[Change]:
    """``templates`` is whether strings are C, which then is changed, too."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for statement in _statements(source):
        if statement[0].string in _PASSED_OVER:
            continue
        for index, token in enumerate(statement):
            at, end = (starts[row - 1] + column for row, column in (token.start, token.end))
            if [t.string for t in statement[max(index - 2, 0) : index]] == ["strict", "="]:
                continue  # of zip: it asserts what holds
            if token.type == STRING:
                if templates and index:
                    yield from _in_c(token.string, at)
                continue
            for kind, new in _replacements(statement, index):
                yield at, end, kind, new


def _statements(source: str) -> Iterator[list[TokenInfo]]:
    """The tokens of each logical line."""
    spaces = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)
    statement: list[TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if statement:
                yield statement
            statement = []
        elif token.type not in spaces:
            statement.append(token)


def _replacements(statement: Sequence[TokenInfo], index: int) -> Iterator[tuple[str, str]]:
    token = statement[index]
    before = statement[index - 1] if index else None
    after = statement[index + 1] if index + 1 < len(statement) else None
    change: Callable[[TokenInfo, TokenInfo | None, TokenInfo | None], Iterator[tuple[str, str]]] | None
    change = {OP: _of_operator, NAME: _of_name, NUMBER: _of_number}.get(token.type)
    if change is not None:
        yield from change(token, before, after)


def _of_operator(token: TokenInfo, before: TokenInfo | None, after: TokenInfo | None) -> Iterator[tuple[str, str]]:
    if before is None or after is None or STRING in (before.type, after.type):
        return
    operand = before.type == NUMBER or before.string in (")", "]", "}")
    operand |= before.type == NAME and before.string not in _KEYWORDS
    if operand:
        yield from (("operator", new) for new in BINARY.get(token.string, ()))
    elif token.string == "-":
        yield "sign", ""


def _of_name(token: TokenInfo, before: TokenInfo | None, after: TokenInfo | None) -> Iterator[tuple[str, str]]:
    name, last = token.string, before.string if before else ""
    following = after.string if after else ""
    if name in NAMES and last != "def" and following not in ("=", ":"):
        yield "name", NAMES[name]
    elif name == "not" or (name == "if" and before is not None):
        yield "negation", "" if name == "not" else "if not"
    elif name == "is" and following != "not":
        yield "negation", "is not"


def _of_number(token: TokenInfo, before: TokenInfo | None, after: TokenInfo | None) -> Iterator[tuple[str, str]]:
    del before, after
    yield from (("number", new) for new in _numbers(token.string))


def _numbers(text: str) -> Iterator[str]:
    """One more, one less, ten times as much, two digits the other way round."""
    body = text.rstrip("fuL")
    tail = text[len(body) :]
    if body.isdigit():
        value = int(body)
        yield from (f"{other}{tail}" for other in (value + 1, value - 1) if other >= 0)
        if value > 1:
            yield f"{value * 10}{tail}"
        return
    try:
        value_ = float(body)
    except ValueError:
        return
    yield f"{value_ * 10:.12g}{tail}" if value_ else f"1.0{tail}"
    digits = body.partition("e")[0]
    if len(digits) > 4 and digits[-1] != digits[-2] and "." not in digits[-2:]:
        yield f"{digits[:-2]}{digits[-1]}{digits[-2]}{body[len(digits) :]}{tail}"


def _in_c(text: str, offset: int) -> Iterator[Change]:
    """Changes in C, in a template of it too; what follows a dot or is a type's name is none of its numbers."""
    left_out = [found.span() for found in _C_LEFT_OUT.finditer(text)]
    for found in re.finditer(rf"(?<![\w.]){_C_NUMBER.pattern}(?![\w.])|{_C.pattern}", text):
        if any(start <= found.start() < end for start, end in left_out):
            continue
        token, place = found.group(), (offset + found.start(), offset + found.end())
        if token[0].isdigit():
            yield from ((*place, "C number", new) for new in _numbers(token))
        elif token in BINARY:
            yield from ((*place, "C operator", new) for new in BINARY[token])
        elif token in NAMES:
            yield (*place, "C name", NAMES[token])
