"""The project's files: where they are, their readers, one per format, one writer, and hashes.

A file that cannot be read is a `UserError` of one line: its name, the cause, and how to fix it (the parameter `fix`).

YAML is version 1.2, as DVC reads it, so that a stage runs with the values that `dvc.lock` records: `010` is ten, `no`
and `17:04` are texts. A duplicate key is refused.
"""

import hashlib
import io
import json
import os
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

DATA = Path("data")
FEATURES = Path("features")
MODELS = Path("models")
MODEL = MODELS / "model.onnx"
DRIFT_REFERENCE = MODELS / "drift.json"
ONLINE = MODELS / "online"
REPORTS = Path("reports")
CONTRACT = REPORTS / "contract.json"
METRICS = REPORTS / "metrics.json"
TRAINING = REPORTS / "training.csv"
PREDICTIONS = REPORTS / "predictions.parquet"
PLOTS = REPORTS / "plots"
CHAMPION = REPORTS / "champion.parquet"
VERDICT = REPORTS / "verdict.json"
REPORT = REPORTS / "report.md"
DRIFT = REPORTS / "drift.json"
DVC_YAML = Path("dvc.yaml")
LOCK = Path("dvc.lock")
DATA_DVC = Path("data.dvc")

# Names that file managers, editors, office programs and file systems create; .dvcignore has the same list for DVC.
IGNORED = re.compile(
    r"[.~].*|.*~|#.*#|.*\.(tmp|part|partial|crdownload|crc|swp|bak|orig)|.*:Zone\.Identifier|Icon\r|Thumbs\.db|ehthumbs\.db"
    r"|desktop\.ini|__MACOSX|__pycache__|CVS|lost\+found|@eaDir|#recycle|\$RECYCLE\.BIN"
    "|System Volume Information",
    re.DOTALL,
)


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of this name was left by a program, and is not data."""
    return IGNORED.fullmatch(name) is not None


if TYPE_CHECKING:
    import polars as pl
    from pydantic_core import ErrorDetails

MAX_DEPTH, MAX_VALUES = 50, 1_000_000  # no file of ours has more; an alias that holds itself, or multiplies, has
WITHOUT_VALUE = ("missing", "extra_forbidden", "json_invalid")  # types of violations that concern no value
# What YAML 1.1 reads as a boolean, a sexagesimal or a binary number.
YAML_1_1 = re.compile(r"y|n|yes|no|on|off|[-+]?[0-9][0-9_]*(:[0-9]+)+(\.[0-9_]*)?|[-+]?0b[01_]+", re.IGNORECASE)
CONFLICT_MARKERS = ("<<<<<<< ", ">>>>>>> ")

Kind = TypeVar("Kind", bound=BaseModel)


class ConflictError(UserError):
    """A file has the conflict markers of an unfinished merge."""


class Record(BaseModel):
    """Base of what a verb or a stage writes as JSON; NaN is not JSON, so a value that cannot be computed is null."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def write_atomic(path: Path, content: str | bytes, *, shared: bool = False) -> None:
    """Write a file, its folder too, so that a kill at any moment leaves the old file or the new one, never a part.

    `shared` says that several processes may write it at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part" if shared else f"{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_bytes(path: Path, fix: str) -> bytes:
    """Return the content; raise `UserError`, which ends with `fix`, if the file is missing, a folder or unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} {_cause(error)}: {fix}") from None


def read_text(path: Path, fix: str) -> str:
    """Return the content as text; raise `UserError` if the file cannot be read or is not UTF-8."""
    return _decoded(read_bytes(path, fix), str(path), fix)


def read_yaml(path: Path, fix: str = "run this in the project's folder, or restore the file from git") -> Any:
    """Return the content of a YAML file; raise `UserError` naming the file and, if known, the line."""
    return parse_yaml(read_text(path, fix), str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Return the content of YAML text; raise `UserError` that calls it `name` if it is invalid."""
    _refuse_conflict(text, name)
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner, yaml.Constructor = _Scanner, _Constructor
    try:
        content = yaml.load(text)
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = _first_line(error.problem or error)
        if isinstance(error, DuplicateKeyError):  # its message shows both values, which may be secret
            problem = re.sub(r'^found duplicate key "(.*?)" with value.*', r"\1 stands there twice", problem)
        raise UserError(f"{name}{line}: not valid YAML: {problem}") from None
    except (YAMLError, ValueError) as error:
        raise UserError(f"{name} is not valid YAML: {_first_line(error)}") from None
    _refuse_large(content, name)
    return content


def dump_yaml(content: Any) -> str:
    """Return YAML text in block style, keys in their order.

    A text that YAML 1.1 would read as a boolean or a number is quoted: Kubernetes' tools read that version.
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
    """Return a JSON file as `kind`; raise `UserError` if it is not; `what` names the kind, e.g. "a verdict"."""
    text = read_text(path, fix)
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            f"{path} is not {what} as this version writes it ({_first_line(explain(error, None))}): {fix}"
        ) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; raise `UserError` if it cannot be read."""
    try:
        return tomllib.loads(read_text(path, "restore it from git"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {_first_line(error)}: restore it from git") from None


def read_parquet(path: Path, fix: str, columns: Iterable[str] | None = None) -> "pl.DataFrame":
    """Return the rows of a parquet file; raise `UserError` if it is damaged or lacks one of `columns`."""
    import polars as pl

    _parquet_schema(path, fix, columns)
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is not a whole parquet file ({_first_line(error)}): {fix}") from None


def parse_parquet(content: bytes, name: str, fix: str) -> "pl.DataFrame":
    """Return the rows in the content of a parquet file; raise `UserError` that calls it `name` if it is damaged."""
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{name} is not a whole parquet file ({_first_line(error)}): {fix}") from None


def scan_parquet(paths: Iterable[Path], fix: str, columns: Iterable[str] | None = None) -> "pl.LazyFrame":
    """Return the rows of parquet files, one after the other; raise `UserError` if the footer of one cannot be read."""
    import polars as pl

    paths = list(paths)
    for path in paths:
        _parquet_schema(path, fix, columns)
    return pl.scan_parquet(paths)


@contextmanager
def whole(paths: Iterable[Path], fix: str) -> Iterator[None]:
    """Raise `UserError` naming the file if the rows of one of `paths` cannot be read, although its footer could."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError):
        for path in paths:
            read_parquet(path, fix)
        raise


def read_csv(path: Path, fix: str, *, empty: bool = False) -> "pl.DataFrame":
    """Return the rows of a CSV file; raise `UserError` if it is not CSV, or if it has no header and is not `empty`."""
    import polars as pl

    text = read_text(path, fix)
    try:
        return pl.read_csv(text.encode(), raise_if_empty=not empty)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path} is not a whole CSV file ({_first_line(error)}): {fix}") from None


def md5(path: Path, fix: str = "run `make pipeline`") -> str:
    """Return the MD5 of a file, as DVC computes it; the MD5 of `dvc.lock` identifies a training."""
    return md5_of(read_bytes(path, fix))


def md5_of(content: bytes) -> str:
    """Return the MD5 of bytes, by which DVC names them."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def digest(values: Iterable[str], files: Iterable[Path]) -> str:
    """Return one SHA-256 of texts and of the content of files; raise `UserError` if a file cannot be read."""
    parts = list(values)
    for path in files:
        try:
            with path.open("rb") as file:
                parts.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): restore it from git, or run `make pipeline`"
            ) from None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def explain(error: ValidationError, content: object) -> str:
    """Return the first violation as `key: expected, not value`; `content` is the input, whose keys are shown."""
    violations = [(_key(violation, content), violation) for violation in error.errors()]
    key, first = violations[0]
    without_value = first["type"] in WITHOUT_VALUE
    alternatives = [
        each for name, each in violations if name == key and (each["type"] in WITHOUT_VALUE) == without_value
    ]
    expected = "; or ".join(dict.fromkeys(_expected(each) for each in alternatives))
    is_mapping = first["type"] == "value_error" and isinstance(first["input"], dict | list)
    value = "" if is_mapping or without_value else f", not {_value(first['input'])}"
    return f"{key or '(top level)'}: {expected}{value}"


def _expected(violation: "ErrorDetails") -> str:
    """Return pydantic's message without its own terms."""
    if violation["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "a mapping of keys is expected"
    if violation["type"] == "union_tag_not_found":
        return f"the key {violation['ctx']['discriminator']} is missing"
    return violation["msg"].removeprefix("Value error, ")


class _Scanner(Scanner):
    """Refuses deep nesting, which would take minutes to read and overflow the stack."""

    def fetch_more_tokens(self) -> Any:
        if self.flow_level + len(self.indents) > MAX_DEPTH:
            raise ScannerError(problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=self.reader.get_mark())
        return super().fetch_more_tokens()


class _Constructor(SafeConstructor):
    """Names line and value of a scalar that cannot be constructed, such as an impossible date."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            value = _value(node.value) if isinstance(node, ScalarNode) else "a value"
            raise ConstructorError(problem=f"{value}: {error}", problem_mark=node.start_mark) from None


def _parquet_schema(path: Path, fix: str, columns: Iterable[str] | None) -> None:
    import polars as pl

    try:
        schema = pl.read_parquet_schema(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} {_cause(error)}: {fix}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is not a whole parquet file ({_first_line(error)}): {fix}") from None
    if missing := [name for name in columns or () if name not in schema]:
        raise UserError(f"{path} has no column {missing[0]!r}: {fix}")


def _quoted(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {_quoted(key): _quoted(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_quoted(value) for value in content]
    if isinstance(content, str):
        return SingleQuotedScalarString(content) if YAML_1_1.fullmatch(content) else str(content)
    return content


def _decoded(content: bytes, name: str, fix: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (byte {error.start}): {fix}") from None


def _refuse_conflict(text: str, name: str) -> None:
    if any(marker in text for marker in CONFLICT_MARKERS):
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith(CONFLICT_MARKERS):
                file = name.split(" at ")[0]
                raise ConflictError(
                    f"{name}, line {number}: git's conflict markers: keep one side with `git checkout --ours {file}` "
                    f"(or --theirs), or edit the file"
                )


def _refuse_large(content: Any, name: str) -> None:
    """Raise `UserError` if the content is nested too deeply, or endlessly by an alias, or has too many values."""
    level, values = [content], 0
    for _ in range(MAX_DEPTH):
        level = [
            value
            for item in level
            if isinstance(item, dict | list)
            for value in (item.values() if isinstance(item, dict) else item)
        ]
        values += len(level)
        if not level:
            return
        if values > MAX_VALUES:
            break
    raise UserError(f"{name} is nested too deeply: at most {MAX_DEPTH} levels and {MAX_VALUES:,} values are read")


def _key(violation: "ErrorDetails", content: object) -> str:
    """Return the dotted key; pydantic's `loc` also names the members of unions, which are no keys of `content`."""
    keys: list[str] = []
    *above, last = violation["loc"] or ("",)
    for part in above:
        if _has_key(content, part):
            content = content[part]  # type: ignore[index]
            keys.append(_shown(part))
    if violation["type"] == "missing" or _has_key(content, last):
        keys.append(_shown(last))
    return ".".join(keys)


def _shown(key: int | str) -> str:
    """Return a key, in quotes if it is empty or has blanks or invisible characters."""
    text = str(key)
    return text if text and text.isprintable() and not re.search(r"\s", text) else repr(text)


def _has_key(content: object, part: int | str) -> bool:
    if isinstance(content, list):
        return isinstance(part, int) and part < len(content)
    return isinstance(content, dict) and part in content


def _cause(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if isinstance(error, IsADirectoryError):
        return "is a folder, but a file is expected"
    return f"cannot be read ({error.strerror or type(error).__name__})"


def _value(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def _first_line(error: object) -> str:
    return " ".join((str(error) or type(error).__name__).splitlines()[0].split())
