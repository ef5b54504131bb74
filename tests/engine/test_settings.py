"""Settings that cannot be meant are refused in one line that names file, line or key, and the value."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml as read_as_dvc
from tests.attempts import refused, works

from mergeworthy import config as settings
from mergeworthy import files
from mergeworthy.errors import UserError

NAMES = {"params.yaml": settings.params, "gates.yaml": settings.gates, "infra.yaml": settings.infra}
NAMES |= {"sweep.yaml": settings.sweep}
CLUSTER = "cluster: {image: i, volume: v, resources: {cpu: %s}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(re.sub(r"\{\{.*?\}\}", "o", Path(name).read_text()))  # as it is generated
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.attempts("settings")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("floors: {auc: {min: 0.6}}\nfloors: {}\n", "gates.yaml, line 2: not valid YAML: floors stands there twice"),
        ("floors:\n  auc: {min: 0.7, min: 0.1}\n", "gates.yaml, line 2: not valid YAML: min stands there twice"),
        ("floors: [", "gates.yaml, line 1: not valid YAML: "),
        ("\x00", "gates.yaml is not valid YAML: "),
        ("- a list", "gates.yaml: (top level): "),
        ("", "gates.yaml: (top level): "),
        ("image:\n  until: 2026-02-30\n", "gates.yaml, line 2: not valid YAML: '2026-02-30': "),
        ("a: 2026-01-01 25:00:00\n", "gates.yaml, line 1: not valid YAML: '2026-01-01 25:00:00': "),
        (f"a: {'9' * 5000}\n", "gates.yaml, line 1: not valid YAML: '999"),
        ("[" * 100_000, "gates.yaml, line 1: not valid YAML: nested more than "),
        ("- " * 10_000, "gates.yaml, line 1: not valid YAML: nested more than "),
        ("a: &a [*a]\n", "gates.yaml is nested too deeply"),
        ("".join(f"k{n}: &k{n} [{f'*k{n - 1},' * 9 * bool(n)} 1]\n" for n in range(9)), "gates.yaml is nested too "),
        ("a: !!python/object/apply:os.system [ls]\n", "gates.yaml, line 1: not valid YAML: "),
        ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> main\n", "gates.yaml, line 2: git's conflict markers: "),
    ],
)
def test_gates_that_cannot_be_read_are_refused(folder: Path, text: str, told: str) -> None:
    (folder / "gates.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        settings.gates()
    assert refused(error.value).startswith(told)
    assert len(str(error.value)) < 300


@pytest.mark.attempts("settings")
@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("epochs", "010", 10),
        ("epochs", "0o12", 10),
        ("epochs", "1_0", 10),
        ("epochs", "10.0", None),
        ("epochs", '"10"', None),
        ("epochs", "yes", None),
        ("epochs", "true", None),
        ("epochs", "~", None),
        ("batch_rows", "17:04", None),
        ("dropout", "no", None),
        ("dropout", "false", None),
        ("dropout", "1e-1", 0.1),
        ("dropout", "0", 0.0),
        ("dropout", ".nan", None),
        ("learning_rate", "2013-01-01", None),
    ],
)
def test_what_dvc_records_is_what_trains_or_the_file_is_refused(
    folder: Path, key: str, written: str, value: float | None
) -> None:
    # given a value as somebody writes it
    params = folder / "params.yaml"
    params.write_text(re.sub(rf"^  {key}: .*$", f"  {key}: {written}", params.read_text(), flags=re.M))
    # when / then
    recorded = read_as_dvc(params.read_text(), str(params))["train"][key]
    if value is None:
        with pytest.raises(UserError, match=rf"^params\.yaml: train\.{key}: .*, not .+$") as error:
            settings.params()
        refused(error.value)
    else:
        assert getattr(settings.params().train, key) == recorded == value
        works(recorded)


FILES = "kind: files\n  url: 'a/{partition}/{table}.csv'\n"


@pytest.mark.attempts("settings")
@pytest.mark.parametrize(
    ("name", "edit", "told"),
    [
        ("params.yaml", lambda text: text.replace("epochs", "epoch"), "params.yaml: train.epoch"),
        (
            "gates.yaml",
            lambda text: text.replace("level: 0.002", "level: 0.001"),
            "gates.yaml: drift.distance: a level of 0.001 takes at least 1000 draws",
        ),
        (
            "gates.yaml",
            lambda text: text.replace("{min: 0.65}", "{min: high}"),
            "gates.yaml: floors.auc.min: Input should be a valid number, not 'high'",
        ),
        (
            "gates.yaml",
            lambda text: text.replace("confidence: 0.95", "confidence: 0.05"),
            "gates.yaml: champion.confidence: Input should be greater than or equal to 0.5, not 0.05",
        ),
        ("gates.yaml", lambda text: text.replace("auc: {min", "acu: {min"), "gates.yaml: floors.acu: no such metric"),
        (
            "infra.yaml",
            lambda text: text.replace("kind: flights", "kind: files\n  url: 3"),
            "infra.yaml: source.url: Input should be a valid string, not 3",
        ),
        (
            "infra.yaml",
            lambda text: text.replace("kind: flights", "kind: files\n  address: x\n  url: '{partition}/{table}.csv'"),
            "infra.yaml: source.address: Extra inputs",
        ),
        (
            "infra.yaml",
            lambda text: text.replace("kind: flights", "kind: file"),
            "infra.yaml: source: Input tag",
        ),
        (
            "infra.yaml",
            lambda text: text.replace("kind: flights", "sort: flights"),
            "infra.yaml: source: the key 'kind' is",
        ),
        ("infra.yaml", lambda _: "# nothing\n", "infra.yaml: (top level): a mapping of keys is expected, not None"),
        ("infra.yaml", lambda text: text + "ray: here\n", "infra.yaml: ray: a mapping of keys is expected, not 'here'"),
        ("infra.yaml", lambda text: text + "'ray ': {}\n", "infra.yaml: 'ray ': Extra inputs"),
        ("infra.yaml", lambda text: text + "'': {}\n", "infra.yaml: '': Extra inputs"),
        (
            "infra.yaml",
            lambda text: text.replace("kind: flights", FILES + "  options: {anon: no}"),
            "infra.yaml: source.options: anon: 'no' is a text in YAML 1.2: write true or false",
        ),
        (
            "infra.yaml",
            lambda text: text.replace("kind: flights", FILES + "  csv: {nulls: [NA, -999]}"),
            "infra.yaml: source.csv.nulls.1: Input should be a valid string, not -999",
        ),
        (
            "infra.yaml",
            lambda text: text.replace("kind: flights", FILES + "  csv: {encoding: unicode_escape}"),
            "infra.yaml: source.csv.encoding: must be an encoding that Python knows",
        ),
        ("infra.yaml", lambda text: text + "compute: {threads: 1}\n", "infra.yaml, line "),
        (
            "infra.yaml",
            lambda text: text + CLUSTER % "[4]",
            "infra.yaml: cluster.resources.cpu: Input should be",
        ),
        ("infra.yaml", lambda text: text + CLUSTER % "yes please\n  x: 1", "infra.yaml, line "),
        ("sweep.yaml", lambda text: text.replace("high: 0.01,", ""), "sweep.yaml: search.train.learning_rate.high: "),
        (
            "sweep.yaml",
            lambda text: text.replace("low: 0.0005", "low: tiny"),
            "sweep.yaml: search.train.learning_rate.low: Input should be a valid number, not 'tiny'",
        ),
    ],
)
def test_a_mistake_is_named_by_the_keys_that_stand_in_the_file(
    folder: Path, name: str, edit: Callable[[str], str], told: str
) -> None:
    before = (folder / name).read_text()
    (folder / name).write_text(edit(before))
    assert (folder / name).read_text() != before
    with pytest.raises(UserError) as error:
        NAMES[name]()
    assert refused(error.value).startswith(told)


ENDLESS = [
    ("floors", "auc: {min: 0.65}", "auc: {min: -.inf}"),
    ("champion.margins.auc", "auc: 0.01", "auc: .inf"),
    ("champion.margins.auc", "auc: 0.01", "auc: 1e999"),
    ("champion.minutes", "minutes: 30", "minutes: .inf"),
    ("cost.model_mb", "model_mb: 5", "model_mb: .inf"),
    ("cost.latency_p95_ms", "latency_p95_ms: 20", "latency_p95_ms: 1e999"),
    ("image.parity", "parity: 0.00001", "parity: .inf"),
    ("image.parity", "parity: 0.00001", "parity: .nan"),
    ("image.size_mb", "size_mb: 400", "size_mb: -1"),
    ("image.ready_s", "ready_s: 3.5", "ready_s: .INF"),
    ("slices.margin", "margin: 0.03", "margin: .inf"),
    ("slices.minimum_rows", "minimum_rows: 500", "minimum_rows: 99999999999"),
    ("plausibility.jump.auc", "jump: {auc: 0.05}", "jump: {auc: .inf}"),
    ("drift.maximum_age", "maximum_age: 120", "maximum_age: .inf"),
    ("drift.performance.margins.auc", "auc: 0.02, log_loss: 0.03}", "auc: .inf, log_loss: 0.03}"),
]


@pytest.mark.attempts("settings")
@pytest.mark.parametrize(("key", "before", "after"), ENDLESS, ids=[after for _, _, after in ENDLESS])
def test_a_limit_without_end_is_refused(folder: Path, key: str, before: str, after: str) -> None:
    text = (folder / "gates.yaml").read_text()
    assert before in text
    (folder / "gates.yaml").write_text(text.replace(before, after))
    with pytest.raises(UserError) as error:
        settings.gates()
    assert refused(error.value).startswith(f"gates.yaml: {key}")


@pytest.mark.attempts("settings")
def test_fractions_and_nested_options_are_taken(folder: Path) -> None:
    options = {"anon": False, "client_kwargs": {"region_name": "eu-west-1", "verify": True}, "retries": 3, "gap": 0.5}
    infra: dict[str, Any] = yaml.safe_load((folder / "infra.yaml").read_text())
    infra["source"] = {"kind": "files", "url": "s3://b/{partition}/{table}.parquet", "options": options}
    infra["serving"]["log"]["options"] = options
    infra["cluster"] = {"image": "i", "volume": "v", "resources": {"cpu": 0.5, "memory": "16Gi", "nvidia.com/gpu": 1}}
    (folder / "infra.yaml").write_text(yaml.safe_dump(infra))
    read = settings.infra()
    assert read.source.options == read.serving.log.options == options  # type: ignore[union-attr]
    assert read.cluster
    assert read.cluster.resources == {"cpu": 0.5, "memory": "16Gi", "nvidia.com/gpu": 1}
    works()


def test_what_is_written_is_read_back_by_every_reader() -> None:
    texts = [
        "010",
        "17:04",
        "1:02:03",
        "no",
        "On",
        "y",
        "true",
        "~",
        "",
        "1e5",
        "123e4567",
        "0o17",
        "0b1",
        "2013-06-30",
    ]
    content = {"b": {"no": "yes", "2013": 8}, "a": [*texts, 0.5, None, True, 3, "é\n", "- x", "a: b #c", "x" * 300]}
    text = files.dump_yaml(content)
    assert files.parse_yaml(text, "x") == read_as_dvc(text, "x") == yaml.safe_load(text) == content
    assert list(files.parse_yaml(text, "x")) == ["b", "a"]
