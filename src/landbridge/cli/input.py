"""A shell's words become a method's arguments, by the schema that its module tells.

::

    --first 2006  --first=2006      an option takes the next word, whatever it begins with, except --
    --fill  --no-fill               a flag takes none
    --region.west -20               a field of a value
    --years 2006 --years 2007       a list, item by item; or as JSON: --years '[2006, 2007]'
    2006 2010                       values in the order of the signature
    --sst @sst.nc                   from a file: .json .txt .csv .npy .nc (@@ is a plain @)
    --sst -                         from stdin: JSON or text (--sst=- is a plain -)
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..contract import MethodSpec, parse_text
from ..contract.schema import JsonSchema, resolve
from ..errors import InvalidArguments, MissingExtra, Problem, printable
from ..settings import memory_bytes
from .ending import UsageError

__all__ = ["fields_of", "is_flag", "read_arguments"]


def read_arguments(
    spec: MethodSpec, types: Mapping[str, JsonSchema], words: Sequence[str], target: str
) -> dict[str, Any]:
    """Return the arguments that `words` stand for, by parameter.

    Parameters
    ----------
    spec : MethodSpec
        The method that is called.
    types : mapping of str to dict
        Schemas of its module's types.
    words : sequence of str
        What stands behind the address, without the options of ``landbridge call`` itself.
    target : str
        ``institute/module.method``, for messages.

    Raises
    ------
    InvalidArguments
        With all problems at once.
    UsageError
        When a file is no ordinary one, or longer than a call may send.

    Examples
    --------
    >>> from landbridge.contract import ParameterSpec
    >>> spec = MethodSpec("mean", parameters=(ParameterSpec("first", schema={"type": "integer"}),))
    >>> read_arguments(spec, {}, ["2006"], "geomar/ocean.mean")
    {'first': 2006}
    """
    words_read = _Words(spec, types)
    words_read.read(words)
    problems, loaded = words_read.problems, words_read.loaded
    # What came whole from a file is not text any more: the reader of texts must neither see nor miss it.
    heads = {path[0] for path in loaded}
    known = tuple(replace(p, required=False) if p.name in heads else p for p in spec.parameters)
    values: dict[str, Any] = {}
    try:
        values = parse_text(replace(spec, parameters=known), types, words_read.texts, target=target)
    except InvalidArguments as error:
        named = {problem.where for problem in problems}
        problems += [problem for problem in error.problems if problem.where not in named]
    if problems:
        raise InvalidArguments(target, problems)
    for path, value in loaded.items():
        _put(values, path, value)
    return values


def is_flag(schema: JsonSchema, types: Mapping[str, JsonSchema]) -> bool:
    """Return whether an option with this schema needs no value: true or false, and nothing else.

    Examples
    --------
    >>> is_flag({"type": "boolean"}, {}), is_flag({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, {})
    (True, False)
    """
    kinds = [branch.get("type") for branch in _branches(schema, types)]
    return "boolean" in kinds and set(kinds) <= {"boolean", "null"}


def fields_of(schema: JsonSchema, types: Mapping[str, JsonSchema]) -> dict[str, JsonSchema]:
    """Return the schemas of the fields that a value with this schema has, by name."""
    branches = [branch for branch in _branches(schema, types) if branch.get("type") == "object"]
    return {name: field for branch in branches for name, field in branch.get("properties", {}).items()}


def _branches(schema: JsonSchema, types: Mapping[str, JsonSchema], depth: int = 0) -> Iterator[JsonSchema]:
    found = resolve(schema, types)
    if "anyOf" in found and depth < 5:
        for branch in found["anyOf"]:
            yield from _branches(branch, types, depth + 1)
    else:
        yield found


class _Words:
    """Sorts words into texts by option, and values read from files by path."""

    def __init__(self, spec: MethodSpec, types: Mapping[str, JsonSchema]) -> None:
        self.texts: dict[str, str | list[str]] = {}
        self.loaded: dict[tuple[str, ...], Any] = {}
        self.problems: list[Problem] = []
        self._types = types
        self._parameters = {p.name: p for p in spec.parameters}
        self._places = [p for p in spec.parameters if p.kind in ("positional_only", "positional_or_keyword")]
        self._rest = next((p for p in spec.parameters if p.kind == "var_positional"), None)
        self._placed = 0
        self._stdin_taken = False

    def read(self, words: Sequence[str]) -> None:
        ahead = list(reversed(words))
        while ahead:
            word = ahead.pop()
            if word.startswith("--") and len(word) > 2:
                self._option(word[2:], ahead)
            elif len(word) > 1 and word[0] == "-" and not _is_number(word):
                self.problems.append(Problem(printable(word, 100), "is no option: those of methods begin with --"))
            else:
                self._positional(word)

    def _option(self, word: str, ahead: list[str]) -> None:
        name, equals, value = word.partition("=")
        path = self._path(name)
        if equals:
            self._take(path, name, value, may_be_stdin=False)
        elif self._is_flag(path):
            self._add(path, name, "")
        elif not ahead or (ahead[-1].startswith("--") and len(ahead[-1]) > 2):
            self.problems.append(Problem(printable(".".join(path), 200), f"needs a value: --{name} VALUE"))
        else:
            self._take(path, name, ahead.pop(), may_be_stdin=True)

    def _path(self, name: str) -> tuple[str, ...]:
        """Return the option's parameter and fields, spelt as the signature spells them."""
        return tuple(step if step in self._parameters else step.replace("-", "_") for step in name.split("."))

    def _schema(self, path: tuple[str, ...]) -> JsonSchema:
        parameter = self._parameters.get(path[0])
        schema = parameter.schema if parameter is not None else {}
        for step in path[1:]:
            schema = fields_of(schema, self._types).get(step, {})
        return schema

    def _is_flag(self, path: tuple[str, ...]) -> bool:
        if is_flag(self._schema(path), self._types):
            return True
        if path[0] in self._parameters or not path[0].startswith("no_"):
            return False
        return is_flag(self._schema((path[0][3:],)), self._types)

    def _positional(self, word: str) -> None:
        if self._placed < len(self._places):
            name = self._places[self._placed].name
            self._placed += 1
            if name in self.texts or (name,) in self.loaded:
                self.problems.append(Problem(name, f"is given twice: by name, and by place as {_shown(word)}"))
                return
            self._take((name,), name, word, may_be_stdin=True)
        elif self._rest is not None:
            self._take((self._rest.name,), self._rest.name, word, may_be_stdin=True)
        else:
            takes = f"it takes {len(self._places)} at most" if self._places else "it takes none without a name"
            self.problems.append(Problem(_shown(word), f"is one value too many: {takes}"))

    def _take(self, path: tuple[str, ...], name: str, word: str, *, may_be_stdin: bool) -> None:
        where = printable(".".join(path), 200)
        if word == "-" and may_be_stdin:
            if self._stdin_taken:
                self.problems.append(Problem(where, "can not be read from stdin, which another one reads"))
                return
            self._stdin_taken = True
            self._add(path, name, _one_line(sys.stdin.read()))
        elif word.startswith("@@"):
            self._add(path, name, word[1:])
        elif word.startswith("@") and len(word) > 1:
            self._from_file(path, name, where, Path(word[1:]).expanduser())
        else:
            self._add(path, name, word)

    def _from_file(self, path: tuple[str, ...], name: str, where: str, file: Path) -> None:
        try:
            if file.suffix in ("", ".txt"):
                self._add(path, name, _one_line(_text(file)))
                return
            reader = _READERS.get(file.suffix)
            if reader is None:
                raise ValueError(
                    f"a file of type {file.suffix}; those that can be read are {', '.join(_READERS)}, .txt"
                )
            value = reader(file, self._schema(path))
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            self.problems.append(Problem(where, f"can not be read from {_shown(str(file))}: {printable(reason, 300)}"))
            return
        if path in self.loaded or name in self.texts:
            self.problems.append(Problem(where, "is given twice"))
        self.loaded[path] = value

    def _add(self, path: tuple[str, ...], name: str, text: str) -> None:
        # Under one spelling, so that --first-year and --first_year are the same option given twice.
        option = ".".join(path) if path[0] in self._parameters else name
        if path in self.loaded:
            self.problems.append(Problem(printable(".".join(path), 200), "is given twice"))
            return
        before = self.texts.get(option)
        if before is None:
            self.texts[option] = text
        else:
            self.texts[option] = [*(before if isinstance(before, list) else [before]), text]


def _is_number(word: str) -> bool:
    try:
        complex(word)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    return printable(repr(text[:80]), 90)


def _one_line(text: str) -> str:
    """Return what an editor or ``echo`` wrote without the end of its last line."""
    return text.removesuffix("\n").removesuffix("\r")


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    place = values
    for step in path[:-1]:
        inner = place.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        place = inner
    place[path[-1]] = value


def _content(file: Path) -> bytes:
    """Return what a file holds, which must be an ordinary one and not longer than a call may send."""
    # Not blocking: a pipe would have us wait for its other end. Checked on the open file, so that nobody can exchange
    # it between the check and the reading.
    limit = memory_bytes() // 8
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UsageError(
                f"@{file}: this is no ordinary file. Name one, or give the value on stdin, with - in the place of @…"
            )
        with open(handle, "rb", closefd=False) as stream:
            content = stream.read(limit + 1)
    finally:
        os.close(handle)
    if len(content) > limit:
        raise UsageError(f"@{file}: this file is longer than the {limit:,} bytes that are read into memory at once.")
    return content


def _text(file: Path) -> str:
    return io.TextIOWrapper(io.BytesIO(_content(file)), encoding="utf-8").read()


def _read_json(file: Path, schema: JsonSchema) -> Any:
    return json.loads(_text(file))


def _read_npy(file: Path, schema: JsonSchema) -> Any:
    import numpy as np

    return np.load(io.BytesIO(_content(file)), allow_pickle=False)


def _read_nc(file: Path, schema: JsonSchema) -> Any:
    try:
        import xarray as xr
    except ImportError:
        raise MissingExtra(f"Reading {file.name}", "xarray") from None
    _content(file)  # only to check it: the library reads from a path
    dataset = xr.load_dataset(file)
    if schema.get("x-landbridge") != "xarray.DataArray":
        return dataset
    if len(dataset.data_vars) != 1:
        names = ", ".join(map(str, dataset.data_vars))
        raise ValueError(f"one variable is needed, and it holds {len(dataset.data_vars)} ({names})")
    return next(iter(dataset.data_vars.values()))


def _read_csv(file: Path, schema: JsonSchema) -> dict[str, Any]:
    """Return the columns of a table by the names in its first line, numbers as arrays."""
    import numpy as np

    stream = io.StringIO(_content(file).decode("utf-8-sig"), newline="")
    head, *rows = [row for row in csv.reader(stream) if row] or [[]]
    if any(len(row) != len(head) for row in rows) or len(set(head)) < len(head):
        raise ValueError(f"each line must have a value for each of the {len(head)} columns, under different names")
    columns: dict[str, Any] = {}
    for number, name in enumerate(head):
        texts = [row[number].strip() for row in rows]
        columns[name.strip()] = texts
        for kind in (int, float):
            try:
                columns[name.strip()] = np.array([kind(text) for text in texts], dtype=kind)
                break
            except (ValueError, OverflowError):
                continue
    return columns


_READERS: dict[str, Callable[[Path, JsonSchema], Any]] = {
    ".json": _read_json,
    ".npy": _read_npy,
    ".nc": _read_nc,
    ".csv": _read_csv,
}
