"""Readers of the project's files, one per kind. A file that cannot be read is one line: its name, the cause, the fix.

YAML is version 1.2, as DVC reads it, so that what `dvc.lock` records is what a stage was run with: `010` is ten, `no`
and `17:04` are texts. A key that stands twice is refused.
"""

import hashlib
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.scalarstring import SingleQuotedScalarString
from ruamel.yaml.scanner import Scanner, ScannerError

from .errors import UserError

if TYPE_CHECKING:
    import polars as pl
    from pydantic_core import ErrorDetails

DEPTH, VALUES = 50, 1_000_000  # more is no file of ours: an alias that holds itself, or one that multiplies
UNVALUED = ("missing", "extra_forbidden", "json_invalid")  # violations that are about no value
OLD = re.compile(r"y|n|yes|no|on|off|[-+]?[0-9][0-9_]*(:[0-9]+)+(\.[0-9_]*)?|[-+]?0b[01_]+", re.IGNORECASE)
MARKERS = ("<<<<<<< ", ">>>>>>> ")

Kind = TypeVar("Kind", bound=BaseModel)


class ConflictError(UserError):
    """A merge that nobody finished: the content is that of two commits."""


class Record(BaseModel):
    """What a verb or a stage writes as JSON, once; NaN is not JSON, so what cannot be computed is null."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_bytes(path: Path, fix: str) -> bytes:
    """Return the content; raise `UserError` if the file is missing, a folder or unreadable. `fix` ends the line."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} {_cause(error)}: {fix}") from None


def read_text(path: Path, fix: str) -> str:
    """Return UTF-8 text; raise `UserError` if the file cannot be read or is something else."""
    return _decoded(read_bytes(path, fix), str(path), fix)


def read_yaml(path: Path, fix: str = "run this in the project's folder, or restore the file from git") -> Any:
    """Return the content of a YAML file; raise `UserError` naming the file and, if known, the line."""
    return parse_yaml(read_text(path, fix), str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Return the content of YAML text; `name` is what an error calls it."""
    _refuse_conflict(text, name)
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner, yaml.Constructor = _Scanner, _Constructor
    try:
        content = yaml.load(text)
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = _line(error.problem or error)
        if isinstance(error, DuplicateKeyError):  # which also shows both values
            problem = re.sub(r'^found duplicate key "(.*?)" with value.*', r"\1 stands there twice", problem)
        raise UserError(f"{name}{line}: not valid YAML: {problem}") from None
    except (YAMLError, ValueError) as error:
        raise UserError(f"{name} is not valid YAML: {_line(error)}") from None
    _refuse_endless(content, name)
    return content


def dump_yaml(content: Any) -> str:
    """Return YAML text in block style, keys in their order; every reader gets the same texts back.

    What YAML 1.1 would take for a yes, a no or a time of day is quoted: Kubernetes' tools read that version.
    """
    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style, yaml.width = False, 4096
    yaml.dump(_quoted(content), text)
    return text.getvalue()


def read_mapping(path: Path, fix: str) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object; raise `UserError` if it holds anything else."""
    text = read_text(path, fix)
    _refuse_conflict(text, str(path))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not the JSON object that its stage writes: {fix}")
    return content


def read_record(path: Path, kind: type[Kind], what: str, fix: str) -> Kind:
    """Return a JSON file as `kind`; raise `UserError` if it is not `what`, e.g. "a verdict"."""
    text = read_text(path, fix)
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            f"{path} is not {what} as this version writes it ({_line(explain(error, None))}): {fix}"
        ) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; raise `UserError` if it cannot be read."""
    try:
        return tomllib.loads(read_text(path, "restore it from git"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {_line(error)}: restore it from git") from None


def read_parquet(path: Path, fix: str, columns: Iterable[str] | None = None) -> "pl.DataFrame":
    """Return the rows of a parquet file; raise `UserError` if it is damaged or lacks one of `columns`."""
    import polars as pl

    _parquet_schema(path, fix, columns)
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is not a whole parquet file ({_line(error)}): {fix}") from None


def parse_parquet(content: bytes, name: str, fix: str) -> "pl.DataFrame":
    """Return the rows of a parquet file's content; raise `UserError`, which calls it `name`, if it is damaged."""
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{name} is not a whole parquet file ({_line(error)}): {fix}") from None


def scan_parquet(paths: Iterable[Path], fix: str, columns: Iterable[str] | None = None) -> "pl.LazyFrame":
    """Return the rows of parquet files, one after the other; every file's footer is read and checked first."""
    import polars as pl

    paths = list(paths)
    for path in paths:
        _parquet_schema(path, fix, columns)
    return pl.scan_parquet(paths)


@contextmanager
def whole(paths: Iterable[Path], fix: str) -> Iterator[None]:
    """Raise `UserError` naming the file if rows of one of `paths` cannot be read: a footer alone does not tell."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError):
        for path in paths:
            read_parquet(path, fix)
        raise


def read_csv(path: Path, fix: str, *, empty: bool = False) -> "pl.DataFrame":
    """Return the rows of a CSV file; raise `UserError` if it is no CSV, or has no header and may not be `empty`."""
    import polars as pl

    text = read_text(path, fix)
    try:
        return pl.read_csv(text.encode(), raise_if_empty=not empty)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path} is not a whole CSV file ({_line(error)}): {fix}") from None


def md5(path: Path, fix: str = "run `make pipeline`") -> str:
    """Return the hash by which DVC knows a file; that of `dvc.lock` itself identifies a training."""
    return hashlib.md5(read_bytes(path, fix), usedforsecurity=False).hexdigest()


def explain(error: ValidationError, content: object) -> str:
    """Return the first violation as `key: what was expected, not the value`; the key is one of `content`, the input."""
    violations = [(_key(violation, content), violation) for violation in error.errors()]
    key, first = violations[0]
    tried = [
        each for name, each in violations if name == key and (each["type"] in UNVALUED) == (first["type"] in UNVALUED)
    ]
    expected = "; or ".join(dict.fromkeys(_expected(each) for each in tried))
    whole = first["type"] == "value_error" and isinstance(first["input"], dict | list)
    found = "" if whole or first["type"] in UNVALUED else f", not {_value(first['input'])}"
    return f"{key or '(top level)'}: {expected}{found}"


def _expected(violation: "ErrorDetails") -> str:
    """Return pydantic's words without what only its users know."""
    if violation["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "a mapping of keys is expected"
    if violation["type"] == "union_tag_not_found":
        return f"the key {violation['ctx']['discriminator']} is missing"
    return violation["msg"].removeprefix("Value error, ")


class _Scanner(Scanner):
    """Stops at the depth that no file of ours has: reading it on would take minutes, and more stack than there is."""

    def fetch_more_tokens(self) -> Any:
        if self.flow_level + len(self.indents) > DEPTH:
            raise ScannerError(problem=f"nested more than {DEPTH} levels deep", problem_mark=self.reader.get_mark())
        return super().fetch_more_tokens()


class _Constructor(SafeConstructor):
    """Names line and value if a scalar cannot be held: a date that is none, a number without end."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            value = _value(node.value) if isinstance(node, ScalarNode) else "a value"
            raise ConstructorError(problem=f"{value}: {error}", problem_mark=node.start_mark) from None


def _parquet_schema(path: Path, fix: str, columns: Iterable[str] | None) -> None:
    import polars as pl

    try:
        found = pl.read_parquet_schema(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} {_cause(error)}: {fix}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is not a whole parquet file ({_line(error)}): {fix}") from None
    if missing := [name for name in columns or () if name not in found]:
        raise UserError(f"{path} has no column {missing[0]!r}: {fix}")


def _quoted(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {_quoted(key): _quoted(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_quoted(value) for value in content]
    return SingleQuotedScalarString(content) if isinstance(content, str) and OLD.fullmatch(content) else content


def _decoded(content: bytes, name: str, fix: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not a text in UTF-8 (byte {error.start}): {fix}") from None


def _refuse_conflict(text: str, name: str) -> None:
    if any(marker in text for marker in MARKERS):
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith(MARKERS):
                file = name.split(" at ")[0]
                raise ConflictError(
                    f"{name}, line {number}: git's conflict markers: keep one side with `git checkout --ours {file}` "
                    f"(or --theirs), or edit the file"
                )


def _refuse_endless(content: Any, name: str) -> None:
    level, values = [content], 0
    for _ in range(DEPTH):
        level = [value for item in level if isinstance(item, dict | list) for value in _below(item)]
        values += len(level)
        if not level:
            return
        if values > VALUES:
            break
    raise UserError(f"{name} is nested too deeply: at most {DEPTH} levels and {VALUES:,} values")


def _below(item: dict[Any, Any] | list[Any]) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item


def _key(violation: "ErrorDetails", content: object) -> str:
    """Return the dotted key; pydantic's place also names the member of a union that was tried, which is no key."""
    keys: list[str] = []
    *above, last = violation["loc"] or ("",)
    for part in above:
        if _holds(content, part):
            content = content[part]  # type: ignore[index]
            keys.append(_shown(part))
    if violation["type"] == "missing" or _holds(content, last):
        keys.append(_shown(last))
    return ".".join(keys)


def _shown(key: int | str) -> str:
    """Return a key, in quotes if blanks or signs that are not seen are part of it, or if it is empty."""
    text = str(key)
    return text if text and text.isprintable() and not re.search(r"\s", text) else repr(text)


def _holds(content: object, part: int | str) -> bool:
    if isinstance(content, list):
        return isinstance(part, int) and part < len(content)
    return isinstance(content, dict) and part in content


def _cause(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if isinstance(error, IsADirectoryError):
        return "is a folder, where a file is expected"
    return f"cannot be read ({error.strerror or type(error).__name__})"


def _value(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def _line(error: object) -> str:
    return " ".join((str(error) or type(error).__name__).splitlines()[0].split())


# DOC digest: What something was made from, as one hash.


def digest(values: Iterable[str], files: Iterable[Path]) -> str:
    """Return the SHA-256 of texts and of files' content, in this order; raise `UserError` if one is unreadable."""
    parts = list(values)
    for path in files:
        try:
            with path.open("rb") as file:
                parts.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): bring it back, from git or with a verb"
            ) from None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
