"""The shape of the package: import ranks, sizes, and what each method must come with.

What ruff has rules for (asserts, prints, broad excepts, relative imports, docstrings, tangled
functions) is in pyproject.toml.
"""

import ast
import re
from pathlib import Path

import pytest

from cgt_tf.methods.registry import METHODS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cgt_tf"

# A package imports itself and what stands before it. The first six are single modules.
RANKS = [
    *("errors", "files", "pictures", "fused", "tfgan", "config", "config_checks"),
    *("data", "layers", "networks", "formats", "runs", "methods"),
    *("training", "evaluation", "export", "cli"),
]
# The package's own names, which are loaded when they are first used.
ANY_RANK = {"__init__"}
KERAS_ALONE = {"layers", "networks"}

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60  # of code: without docstring, comments and blank lines


def rank_of(path):
    """`cgt_tf/layers/spectral.py` -> layers; `cgt_tf/config.py` -> config."""
    return path.split("/")[1].removesuffix(".py")


def imported_modules(tree):
    """Dotted names of everything a module imports, anywhere in it; "module:name" texts included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^(cgt_tf(?:\.\w+)+)(?::\w+)?$", node.value)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from cgt_tf import config` imports cgt_tf.config.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def code_lines(function, lines):
    """How many lines of a function hold code, its signature included."""
    docstring = set()
    if ast.get_docstring(function) is not None:
        docstring = set(range(function.body[0].lineno, function.body[0].end_lineno + 1))
    rows = set(range(function.lineno, function.end_lineno + 1)) - docstring
    texts = (lines[row - 1].strip() for row in rows)
    return sum(1 for text in texts if text and not text.startswith("#"))


# The rules. Each takes a module's path under the root, its text and its tree, and yields what is
# against it.


def a_known_rank(path, text, tree):
    if rank_of(path) not in {*RANKS, *ANY_RANK}:
        yield f"no rank {rank_of(path)}"


def imports_go_downwards(path, text, tree):
    if rank_of(path) not in RANKS:
        return
    for name in imported_modules(tree):
        package, _, module = name.partition(".")
        target = module.partition(".")[0]
        known = package == "cgt_tf" and target in RANKS
        if known and RANKS.index(target) > RANKS.index(rank_of(path)):
            yield name


def networks_are_written_in_keras_alone(path, text, tree):
    if rank_of(path) in KERAS_ALONE:
        roots = {name.partition(".")[0] for name in imported_modules(tree)}
        yield from roots & {"tensorflow", "tf_keras", "torch", "jax"}


def files_are_short(path, text, tree):
    lines = len(text.splitlines())
    if lines > MAX_FILE_LINES:
        yield f"{lines} lines"


def functions_are_short(path, text, tree):
    lines = text.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            count = code_lines(node, lines)
            if count > MAX_FUNCTION_LINES:
                yield f"{node.name} has {count} lines of code"


def methods_are_named_in_their_files_and_the_registry_alone(path, text, tree):
    """By a text in the code, that is; docstrings may explain."""
    directory, _, file = path.rpartition("/")
    if directory == "cgt_tf/methods" and file.removesuffix(".py") in {*METHODS, "registry"}:
        return
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    yield from set(METHODS) & {text for text in texts if isinstance(text, str)}


RULES = [
    a_known_rank,
    imports_go_downwards,
    networks_are_written_in_keras_alone,
    files_are_short,
    functions_are_short,
    methods_are_named_in_their_files_and_the_registry_alone,
]


def offences(rule, path, text):
    return [f"{path}: {found}" for found in rule(path, text, ast.parse(text))]


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps_the_rule(rule):
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    assert len(texts) > 100
    assert [line for path, text in texts.items() for line in offences(rule, path, text)] == []


def function_of(lines):
    """A function of so many lines of code, with others that do not count."""
    return 'def f():\n    """A.\n\n    B.\n    """\n\n    # why\n' + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize(
    "rule, path, text, broken",
    [
        (a_known_rank, "cgt_tf/helpers/x.py", "", True),
        (a_known_rank, "cgt_tf/config.py", "", False),
        *(
            (imports_go_downwards, f"cgt_tf/{rank}/x.py", text, broken)
            for text, rank, broken in [
                ("import cgt_tf.training.loop", "methods", True),
                ("from cgt_tf.training import loop", "methods", True),
                ("from cgt_tf import training", "methods", True),
                ("def f():\n    from cgt_tf.cli import train", "export", True),
                ("READERS = {'run': 'cgt_tf.training.loop:read'}", "methods", True),
                ("importlib.import_module('cgt_tf.training.loop')", "methods", True),
                ("READERS = {'run': 'cgt_tf.networks.gan:read'}", "methods", False),
                ("from cgt_tf.methods import base", "training", False),
                ("from cgt_tf.methods import base", "methods", False),
                ("import tensorflow", "layers", False),
            ]
        ),
        (imports_go_downwards, "cgt_tf/config.py", "from cgt_tf.data import views", True),
        (networks_are_written_in_keras_alone, "cgt_tf/layers/x.py", "import tensorflow", True),
        (networks_are_written_in_keras_alone, "cgt_tf/networks/x.py", "import torch.nn", True),
        (networks_are_written_in_keras_alone, "cgt_tf/layers/x.py", "import keras", False),
        (networks_are_written_in_keras_alone, "cgt_tf/training/x.py", "import tensorflow", False),
        (files_are_short, "cgt_tf/cli/x.py", "x = 1\n" * (MAX_FILE_LINES + 1), True),
        (files_are_short, "cgt_tf/cli/x.py", "x = 1\n" * MAX_FILE_LINES, False),
        (functions_are_short, "cgt_tf/cli/x.py", function_of(MAX_FUNCTION_LINES + 1), True),
        (functions_are_short, "cgt_tf/cli/x.py", function_of(MAX_FUNCTION_LINES), False),
        *(
            (methods_are_named_in_their_files_and_the_registry_alone, path, "x = 'bsa'", broken)
            for path, broken in [
                ("cgt_tf/cli/x.py", True),
                ("cgt_tf/methods/base.py", True),
                ("cgt_tf/methods/bsa.py", False),
                ("cgt_tf/methods/registry.py", False),
            ]
        ),
    ],
)
def test_the_rule_finds_what_is_against_it(rule, path, text, broken):
    assert bool(offences(rule, path, text)) == broken


def test_every_rule_was_seen_to_fail():
    (marks,) = (
        mark.args[1]
        for mark in test_the_rule_finds_what_is_against_it.pytestmark
        if mark.name == "parametrize"
    )
    assert {rule for rule, _, _, broken in marks if broken} == set(RULES)


# The registry of methods is closed: each comes with a config and a row of the README.


def test_each_method_has_a_config():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "configs").rglob("*.flags")]
    lines = {line for text in texts for line in text.splitlines()}
    assert [m for m in METHODS if f"--config.method.name={m}" not in lines] == []


def test_each_method_has_a_row_in_the_readme_with_its_config():
    text, wrong = (ROOT / "README.md").read_text(encoding="utf-8"), []
    for method in METHODS:
        rows = re.findall(rf"(?m)^\|\s*`{method}`\s*\|.*$", text)
        flagfiles = [file for row in rows for file in re.findall(r"`(configs/\S+\.flags)`", row)]
        line = f"--config.method.name={method}"
        named = [line in (ROOT / file).read_text(encoding="utf-8") for file in flagfiles]
        if len(rows) != 1 or named != [True]:
            wrong.append(method)
    assert wrong == []
