"""A mistake in src/ml is one line that names it and what is expected, from the stage or check that finds it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.attempts import refused

FILES = ["pyproject.toml", "params.yaml", "infra.yaml", "gates.yaml", "dvc.yaml"]
INIT, FEATURES, HISTORY, MODEL, PARAMS = (
    f"src/ml/{name}.py" for name in ("__init__", "features", "history", "model", "params")
)
VALIDATE, BUILD, TRAIN = (
    f"import runpy; runpy.run_module('mergeworthy.stages.{name}', run_name='__main__')"
    for name in ("validate", "features", "train")
)
CHECK = """
from mergeworthy.errors import run
from mergeworthy.testing import check_project
run(lambda: check_project({!r}))
"""
RETURN = "    return rows.with_columns(pl.col(categories).cast(pl.String), pl.col(numbers).cast(pl.Float32))"
FIT = "    network, encoding = fit(data, params.train, compute)\n"
DERIVED = '    return {\n        "minute": minute,'

MISTAKES = {  # command, file, what is replaced, by what, and how the line begins
    "no [tool.mergeworthy]": (
        BUILD,
        "pyproject.toml",
        "[tool.mergeworthy]",
        "[tool.else]",
        'pyproject.toml: [tool.mergeworthy] needs project = "ml:project"',
    ),
    "another module": (
        BUILD,
        "pyproject.toml",
        '"ml:project"',
        '"lm:project"',
        'pyproject.toml: [tool.mergeworthy] project = "lm:project": there is no module lm in src/',
    ),
    "another name": (
        BUILD,
        "pyproject.toml",
        '"ml:project"',
        '"ml:projekt"',
        'pyproject.toml: [tool.mergeworthy] project = "ml:projekt": the module ml has no projekt',
    ),
    "not a project": (
        BUILD,
        "pyproject.toml",
        '"ml:project"',
        '"ml:Params"',
        "ml:Params must be a mergeworthy.Project",
    ),
    "a missing name": (
        BUILD,
        INIT,
        "build_features, derive",
        "build_featuers, derive",
        "src/ml/__init__.py, line 12: ImportError: cannot import name 'build_featuers'",
    ),
    "a missing module of the team": (
        BUILD,
        INIT,
        "from .params",
        "from .parms",
        "src/ml/__init__.py, line 14: ModuleNotFoundError: No module named 'ml.parms'",
    ),
    "a missing library": (
        BUILD,
        INIT,
        "from .params",
        "import no_such_library\nfrom .params",
        'pyproject.toml: [tool.mergeworthy] project = "ml:project": ml imports no_such_library, which is not installed',
    ),
    "a syntax error": (BUILD, FEATURES, "def derive(", "def derive((", "src/ml/features.py, line "),
    "an unknown argument": (
        BUILD,
        INIT,
        "    time=",
        "    times=",
        "src/ml/__init__.py, line 16: TypeError: Project.__init__() got an unexpected keyword argument 'times'",
    ),
    "a task that is a text": (
        BUILD,
        INIT,
        "task=Binary(TARGET, label)",
        "task=TARGET",
        'Project(task=…): expected a task, such as Binary("late", …)',
    ),
    "params that is no class": (
        BUILD,
        INIT,
        "params=Params",
        "params=Params.model_fields",
        "Project(params=…): expected a class derived from pydantic.BaseModel",
    ),
    "tables that are none": (
        VALIDATE,
        INIT,
        "ml.schema:TABLES",
        "ml.schema:AIRPORTS",
        "Project(tables=…): expected at least one table by name",
    ),
    "a table that is no schema": (
        VALIDATE,
        "src/ml/schema.py",
        '"planes": PLANES}',
        '"planes": AIRPORTS}',
        "Project(tables=…): planes must be a pandera.polars.DataFrameSchema, got a value of type list",
    ),
    "params that refuse params.yaml": (BUILD, PARAMS, "history_hours:", "history_hour:", "params.yaml: features."),
    "a validator that fails": (
        BUILD,
        PARAMS,
        "    features: Features\n",
        "    features: Features\n\n    def model_post_init(self, _: object) -> None:\n        [][1]\n\n",
        "src/ml/params.py, line 52, in Params.model_post_init: IndexError: list index out of range",
    ),
    "features that raise": (BUILD, FEATURES, RETURN, "    return rows[undefined]", "src/ml/features.py, line "),
    "features that find no column": (
        BUILD,
        FEATURES,
        RETURN,
        '    return rows.with_columns(pl.col("nowhere") + 1)',
        "src/ml/features.py, line ",
    ),
    "features that fail late": (
        BUILD,
        FEATURES,
        RETURN,
        '    return rows.with_columns(x=pl.col("carrier").str.to_integer())',
        "src/ml/features.py, line ",
    ),
    "features at once": (
        BUILD,
        FEATURES,
        RETURN,
        RETURN + ".collect()",
        "ml.features.build_features must return a polars LazyFrame, got a DataFrame: leave out collect()",
    ),
    "features that return nothing": (
        BUILD,
        FEATURES,
        RETURN,
        "",
        "ml.features.build_features must return a polars LazyFrame, got None",
    ),
    "no label": (
        BUILD,
        FEATURES,
        RETURN,
        RETURN + ".drop(TARGET)",
        "ml.features.build_features must return the label late",
    ),
    "no time": (
        BUILD,
        FEATURES,
        RETURN,
        RETURN + '.drop("sched_dep")',
        "ml.features.build_features must return the column sched_dep, which Project(time=…) names",
    ),
    "no key": (
        CHECK.format("features"),
        FEATURES,
        RETURN,
        RETURN + '.drop("carrier")',
        "ml.features.build_features must return the key of flights (sched_dep, carrier, flight), "
        "and returns no column carrier",
    ),
    "a label of text": (
        BUILD,
        FEATURES,
        RETURN,
        RETURN + ".with_columns(pl.col(TARGET).cast(pl.String))",
        "features of 2013-01: the label late has type String",
    ),
    "not_inputs that are none": (
        BUILD,
        FEATURES,
        '"hour", TARGET}',
        '"our", TARGET}',
        "ml.features.build_features returns no column our, which Project(not_inputs=…) names",
    ),
    "history that is none": (
        BUILD,
        HISTORY,
        '        "planes": aircraft(',
        '        "x": flights,\n        "planes": aircraft(',
        "src/ml/features.py, line 44, in build_features: ValueError: expected a History, got a value of type LazyFrame",
    ),
    "history without its key": (
        BUILD,
        HISTORY,
        '        "planes": aircraft(',
        '        "x": History(["gate"], aircraft(tables["planes"]).table),\n        "planes": aircraft(',
        "src/ml/features.py, line 44, in build_features: ValueError: the table of a History needs "
        "the columns of `by` and `at`, and has no gate",
    ),
    "history that is a list": (
        BUILD,
        INIT,
        "Online(build_history",
        "Online(lambda tables, params: []",
        "ml.<lambda> must return a mapping of names to History, got a value of type list",
    ),
    "history of tables": (
        BUILD,
        INIT,
        "Online(build_history",
        "Online(lambda tables, params: dict(tables)",
        "ml.<lambda>: flights: expected a History, got a value of type LazyFrame",
    ),
    "history that raises": (
        BUILD,
        INIT,
        "Online(build_history",
        "Online(lambda tables, params: tables.nothing",
        "src/ml/__init__.py, line 24, in <lambda>: AttributeError: 'dict' object has no attribute 'nothing'",
    ),
    "train that returns a text": (
        TRAIN,
        MODEL,
        FIT,
        '    return "model.onnx"\n',
        "ml.model.train must return the bytes of an ONNX file, got a value of type str",
    ),
    "train that raises": (
        TRAIN,
        MODEL,
        FIT,
        FIT.replace("params.train", "params.trian"),
        "src/ml/model.py, line 18, in train: AttributeError: 'Params' object has no attribute 'trian'",
    ),
    "train that is not there": (
        TRAIN,
        INIT,
        "ml.model:train",
        "ml.model:fitted",
        "Project(train='ml.model:fitted'): the module ml.model has no fitted",
    ),
    "train without a name": (
        TRAIN,
        INIT,
        "ml.model:train",
        "ml.model",
        "Project(train='ml.model'): expected \"module:name\"",
    ),
    "train that is no function": (
        TRAIN,
        INIT,
        "ml.model:train",
        "ml.model:pl",
        "Project(train='ml.model:pl'): expected a function of (data, params, compute)",
    ),
    "no ONNX": (
        CHECK.format("inputs"),
        MODEL,
        FIT,
        '    return b"not a model"\n',
        "train returns no ONNX model that can be run: ",
    ),
    "an input that is no column": (
        CHECK.format("inputs"),
        MODEL,
        FIT,
        "    from ml.other import model\n\n    return model()\n",
        "the model has the input nowhere, which is no column of the features",
    ),
    "derive with another name": (
        CHECK.format("service"),
        FEATURES,
        DERIVED,
        '    return {\n        **({} if isinstance(now, pl.Expr) else {"minuet": minute}),\n        "minute": minute,',
        "ml.features.derive returns minuet, which is no column of the features",
    ),
    "derive with another shape": (
        CHECK.format("service"),
        FEATURES,
        DERIVED,
        DERIVED.replace(": minute,", ": minute if isinstance(now, pl.Expr) else minute[:, None],"),
        "ml.features.derive: minute must be an array of shape (200,) for 200 rows, got the shape (200, 1)",
    ),
    "derive with a number": (
        CHECK.format("service"),
        FEATURES,
        DERIVED,
        DERIVED.replace(": minute,", ": minute if isinstance(now, pl.Expr) else 3,"),
        "ml.features.derive: minute must be an array of shape (200,) for 200 rows, got a value of type int",
    ),
    "derive that returns a list": (
        CHECK.format("service"),
        FEATURES,
        DERIVED,
        "    if not isinstance(now, pl.Expr):\n        return [minute]\n" + DERIVED,
        "ml.features.derive must return a dict of inputs by name, got a value of type list",
    ),
    "its own delay": (
        CHECK.format("event"),
        FEATURES,
        RETURN,
        RETURN.replace("rows.with", "rows.join(tables['flights'].select(*KEY, x='dep_delay'), on=KEY).with").replace(
            "    return", "    KEY = ['sched_dep', 'carrier', 'flight']\n    return"
        ),
        "ml.features.build_features uses dep_delay of the row that is to be scored: the feature x changes in ",
    ),
    "the future": (
        CHECK.format("future"),
        FEATURES,
        RETURN,
        RETURN.replace("rows.with", 'rows.with_columns(x=pl.col("distance").shift(-1)).with'),
        "ml.features.build_features looks into the future: the feature x changes in ",
    ),
    "tomorrow's weather": (
        CHECK.format("future"),
        HISTORY,
        "hours=lag_hours, microseconds=-1",
        "hours=lag_hours - 12, microseconds=-1",
        "ml.features.build_features looks into the future: the feature ",
    ),
    "another label": (
        CHECK.format("features"),
        FEATURES,
        "rows.with_columns(label(params).alias(TARGET)",
        "rows.with_columns((pl.col('arr_delay') > 0).alias(TARGET)",
        "ml.features.build_features: late is not what ml.features.label says in ",
    ),
    "a parameter that dvc.yaml does not list": (
        BUILD,
        FEATURES,
        "params.features.late_minutes",
        "params.features.late_minutes + params.train.epochs",
        "dvc.yaml: stages.features.params: the stage reads train of params.yaml, which is not listed: list it, or",
    ),
    "a parameter that the training reads": (
        TRAIN,
        "src/ml/model.py",
        "params.train, compute",
        "params.train if params.features.history_days else None, compute",
        "dvc.yaml: stages.train.params: the stage reads features of params.yaml, which is not listed: list it, or",
    ),
    "a parameter that a test of the team shows": (
        CHECK.format("future"),
        HISTORY,
        "settings, flights = params.features",
        "settings, flights = params.train and params.features",
        "dvc.yaml: stages.features.params: the stage reads train of params.yaml, which is not listed: list it, or",
    ),
    "a parameter that dvc.yaml lists no more": (
        BUILD,
        "dvc.yaml",
        "      - features\n      - engine",
        "      - features.late_minutes\n      - features.history_hours\n      - engine",
        "dvc.yaml: stages.features.params: the stage reads features.weather_lag_hours of params.yaml",
    ),
    "a stage without a file": (
        CHECK.format("stages"),
        "dvc.yaml",
        "      - src/ml/model.py\n",
        "",
        "dvc.yaml: the stage train uses src/ml/model.py: add it to its deps",
    ),
    "a new file of no stage": (
        CHECK.format("stages"),
        HISTORY,
        "from .params",
        "from .other import model\nfrom .params",
        "dvc.yaml: the stage validate uses src/ml/other.py: add it to its deps",
    ),
}
OTHER = '''"""An ONNX model with an input that is not a column."""

import onnx
from onnx import TensorProto, helper


def model() -> bytes:
    """Return a model with one input."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1]) for name in ("nowhere", "score")]
    graph = helper.make_graph([helper.make_node("Identity", ["nowhere"], ["score"])], "g", ends[:1], ends[1:])
    onnx_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(onnx_model.SerializeToString())
'''


@pytest.fixture
def team(tmp_path: Path, flights: dict[str, dict[str, pl.DataFrame]]) -> Path:
    """Return a copy of the sample project, with a few rows of two months."""
    for name in FILES:
        (tmp_path / name).write_text(re.sub(r"\{\{.*?\}\}", "o", Path(name).read_text()))  # as it is generated
    shutil.copytree("src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "src/ml/other.py").write_text(OTHER)
    for month in ("2013-01", "2013-02"):
        (tmp_path / "data" / month).mkdir(parents=True)
        for name, table in flights[month].items():
            table.head(1_500).write_parquet(tmp_path / "data" / month / f"{name}.parquet")
    return tmp_path


def execute(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    path = [each for each in sys.path if each and not (Path(each) / "ml").is_dir()]
    environment = {name: value for name, value in os.environ.items() if name not in ("TRACEBACK", "GITHUB_ACTIONS")}
    environment["PYTHONPATH"] = os.pathsep.join(path)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.attempts("mistake in src/ml")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(team: Path, mistake: str) -> None:
    code, file, old, new, line = MISTAKES[mistake]
    if code == TRAIN:
        features = execute(team, BUILD)
        assert features.returncode == 0, features.stderr
    # given
    before = (team / file).read_text()
    assert old in before
    (team / file).write_text(before.replace(old, new, 1))
    # when
    result = execute(team, code)
    # then
    assert result.returncode == 1, result.stdout + result.stderr
    message = result.stderr.strip()
    if code not in (BUILD, VALIDATE, TRAIN):  # pytest shows the sentence of a check, and no frame of the engine
        message = re.sub(r"(?s).*\nAssertionError: ", "error: ", message)
    assert refused(message).startswith(f"error: {line}")


def test_the_sample_without_a_mistake_passes(team: Path) -> None:
    for code in (BUILD, CHECK.format("features"), CHECK.format("future"), CHECK.format("stages")):
        result = execute(team, code)
        assert result.returncode == 0, result.stderr
