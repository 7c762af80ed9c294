"""The layers of the package: which part may import which, where heavy packages are allowed, how long code may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tlnlp"

# The parts of the package that each part may import, besides itself and errors.
ALLOWED = {
    "errors": set(),
    "storage": set(),
    "config": {"storage"},
    "runs": {"config", "storage"},
    "data": {"storage"},
    "model": {"config", "data", "storage"},
    "registry": {"model", "runs", "storage"},
    "warehouse": {"storage"},
    "evaluate": {"config", "data", "model", "registry", "runs", "storage"},
    "train": {"config", "data", "evaluate", "model", "registry", "runs", "storage"},
    "score": {"config", "data", "model", "registry", "runs", "storage", "warehouse"},
    "labelling": {"config", "data", "evaluate", "model", "registry", "runs", "storage", "warehouse"},
    "report": {"data", "model", "registry", "storage"},
    "explore": {
        "config",
        "data",
        "evaluate",
        "labelling",
        "model",
        "registry",
        "report",
        "runs",
        "storage",
        "warehouse",
    },
    "demo": {"config", "data", "evaluate", "model", "registry", "runs", "score", "storage", "train", "warehouse"},
    "cli": {
        "config",
        "data",
        "demo",
        "evaluate",
        "explore",
        "labelling",
        "registry",
        "report",
        "runs",
        "score",
        "storage",
        "train",
        "warehouse",
    },
    "api": {"config", "data", "evaluate", "model", "registry", "runs", "train"},
    "__main__": {"cli"},
}
# Heavy packages, and the only parts that may import them.
HEAVY = {
    "torch": {"model", "train"},
    "transformers": {"model"},
    "tokenizers": {"model"},
    "onnx": {"model"},
    "onnxruntime": {"model"},
    "ray": {"train"},
    "pyspark": {"score"},
    "pandas": {"api", "score"},
    "pyiceberg": {"warehouse", "score"},
    "duckdb": {"warehouse"},
    "obstore": {"storage"},
    "boto3": {"storage"},
    "pydantic": {"config"},
    "click": {"cli"},
    "sklearn": {"evaluate", "model", "train"},
    "scipy": {"evaluate", "labelling", "model", "score", "train"},
    "pyarrow": {"api", "data", "explore", "storage", "warehouse"},
    "matplotlib": {"report"},
    "jinja2": {"explore", "report"},
    "starlette": {"explore"},
    "uvicorn": {"explore"},
}


def modules() -> Iterator[Path]:
    """Yield every file of the package."""
    return PACKAGE.rglob("*.py")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Yield the name of every module that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [alias.name for alias in node.names]
            yield from ([f"tlnlp.{name}" for name in names] if node.module == "tlnlp" else [node.module or ""])


@pytest.mark.parametrize("path", sorted(modules()), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_part_imports_only_what_it_may(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        # For type checkers alone; at run time the API is imported when it is first used.
        assert {name.partition(".")[0] for name in imported(path)} <= {"importlib", "typing", "tlnlp"}
        return
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top == "tlnlp":
            other = rest.split(".")[0]
            allowed = ALLOWED[part] | {part, "errors", "__version__"}
            assert other in allowed, f"{path.name} imports {name}; {part} may import {sorted(allowed)}"
        elif top in HEAVY:
            assert part in HEAVY[top], f"{path.name} imports {top}, which belongs in {sorted(HEAVY[top])}"


def test_only_train_distributed_imports_ray() -> None:
    distributed = PACKAGE / "train" / "distributed"
    for path in modules():
        if distributed not in path.parents:
            names = list(imported(path))
            assert not [name for name in names if name.partition(".")[0] == "ray"], path
            allowed = path == PACKAGE / "train" / "finetune.py"
            assert allowed or not [name for name in names if name.startswith("tlnlp.train.distributed")], path


def test_one_function_imports_onnxruntime_which_it_silences_first() -> None:
    users = [path for path in modules() if "onnxruntime" in {name.partition(".")[0] for name in imported(path)}]
    assert users == [PACKAGE / "model" / "engines" / "onnx_fp32.py"]
    tree = ast.parse(users[0].read_text(encoding="utf-8"))
    (inside,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and "onnxruntime" in node.name]
    assert [ast.unparse(node) for node in inside.body if "ORT_DISABLE_TELEMETRY" in ast.unparse(node)]
    assert not [node for node in tree.body if isinstance(node, ast.Import) and "onnxruntime" in ast.unparse(node)]


def test_imports_have_no_cycle_and_few_levels() -> None:
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules()}
    needs = {name: {other for other in imported_modules(path) if other in paths} for name, path in paths.items()}
    levels = dict[str, int]()

    def level(name: str, above: tuple[str, ...] = ()) -> int:
        assert name not in above, f"a cycle of imports: {[*above[above.index(name) :], name]}"
        if name not in levels:
            levels[name] = 1 + max(
                (level(other, (*above, name)) for other in needs[name] if same(other, name)), default=0
            )
        return levels[name]

    def same(other: str, name: str) -> bool:
        """Return whether two modules are in the same part of the package."""
        return other.split(".")[1] == name.split(".")[1]

    assert max(level(name) for name in paths if name.startswith("tlnlp.train.")) <= 9
    assert max(level(name) for name in paths) <= 9


def imported_modules(path: Path) -> Iterator[str]:
    """Yield every module that a file may import from: ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_jobs_are_short_and_import_only_their_stage() -> None:
    for path in sorted((ROOT / "jobs").glob("*.py")):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60
        parts = {name.split(".")[1] for name in imported(path) if name.startswith("tlnlp.")}
        assert parts <= {"config", "cli", {"finetune": "train", "promote": "evaluate", "score": "score"}[path.stem]}, (
            path
        )


def test_files_are_not_too_long() -> None:
    long = {
        str(path.relative_to(ROOT)): count for path in modules() if (count := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_functions_are_not_too_long() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno > 55
    ]
    assert not long


def test_conftests_of_rooms_only_name_their_fixtures() -> None:
    """mypy takes one module of a name, so it leaves these out (``exclude`` in pyproject.toml)."""
    conftests = sorted((ROOT / "tests").glob("*/conftest.py"))
    assert conftests
    for path in conftests:
        docstring, *others = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr)
        assert [type(node) for node in others] == [ast.ImportFrom, ast.Assign], path


IMPORT_ALL = """
import importlib, os, pathlib, socket, sys, threading
def refuse(*args, **kwargs): raise AssertionError("importing opened a socket")
before, folder = dict(os.environ), set(os.listdir("."))
socket.socket.connect = refuse
for name in sys.argv[1:]:
    importlib.import_module(name)
changed = {k for k in os.environ if os.environ[k] != before.get(k)} | (before.keys() - os.environ.keys())
# Libraries may set variables of their own; tlnlp may set none.
assert not {k for k in changed if k.startswith(("RAY_USAGE", "HF_HUB", "TOKENIZERS_PAR", "PYSPARK", "SPARK"))}, changed
assert set(os.listdir(".")) == folder, "importing wrote files"
assert "pyspark" not in sys.modules or not __import__("pyspark").SparkContext._active_spark_context
"""


def test_importing_does_no_work(tmp_path: Path) -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in modules()]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *sorted(names)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "tlnlp.cli.commands",
            {"torch", "ray", "pyspark", "transformers", "sklearn", "duckdb", "matplotlib", "jinja2"},
        ),
        ("tlnlp", {"numpy", "pydantic", "torch", "ray", "pyspark", "onnxruntime"}),
        ("tlnlp.api", {"torch", "ray", "pyspark", "transformers", "duckdb"}),
        ("tlnlp.score.udf", {"torch", "ray", "transformers", "pyiceberg", "duckdb"}),
        ("tlnlp.score.job", {"torch", "ray", "transformers", "sklearn", "onnxruntime"}),
        ("tlnlp.score.explain", {"torch", "ray", "pyspark", "transformers", "pyiceberg", "duckdb"}),
        ("tlnlp.train.finetune", {"pyspark", "pyiceberg", "duckdb"}),
        ("tlnlp.report.version", {"torch", "ray", "pyspark", "transformers", "sklearn", "matplotlib.pyplot"}),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert not absent & set(loaded.stdout.split())


def test_no_pickle_no_remote_code_no_shell() -> None:
    banned = ("import pickle", "torch.load(", "trust_remote_code=True", "joblib.load", "shell=True")
    for path in [*modules(), *(ROOT / "jobs").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in banned if word in text], path
