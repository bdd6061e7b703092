"""The shape of the package: who imports whom, sizes, and what each method must come with.

What ruff has rules for (asserts, prints, broad excepts, relative imports, docstrings, tangled
functions) is in pyproject.toml.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

from cgt_tf.methods.registry import METHODS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cgt_tf"

# What each package imports, besides itself; all of it stands above in this table. The run directory
# is below the methods and the training, which write and read it.
ARROWS = {
    "version": "",
    "errors": "",
    "files": "errors",
    "pictures": "errors",
    "progress": "",
    "latents": "",
    "flagfiles": "errors",
    "knobs": "errors",
    "fused": "",
    "hub": "errors",
    "tfgan": "errors hub",
    "metrics": "errors",
    "evaluation": "metrics",
    "config": "errors metrics",
    "config_checks": "errors metrics config",
    "data": "errors files progress config",
    "layers": "errors fused",
    "networks": "errors layers",
    "formats": "errors files hub layers networks",
    "runs": "errors files metrics config data networks formats",
    "methods": "errors files pictures progress tfgan config config_checks data layers networks "
    "runs",
    "drawing": "errors files pictures latents data layers networks runs methods",
    "training": "errors pictures progress knobs metrics config data layers networks formats runs "
    "methods",
    "features": "errors files progress hub config data",
    "export": "errors files latents data networks formats runs methods drawing",
    "scoring": "errors files pictures latents metrics config data networks runs methods training "
    "features export",
    "report": "errors files runs drawing",
    "api": "errors flagfiles knobs config runs methods drawing training export scoring",
    "cli": "version errors files flagfiles knobs metrics config data formats runs methods training "
    "features export scoring report drawing",
}
# The package's own names, which are loaded when they are first used.
ANYTHING = {"__init__"}
KERAS_ALONE = {"layers", "networks"}

# What may be longer than a command: code of the command line itself, which uses nothing else.
MACHINERY = {"version", "errors", "files", "flagfiles", "knobs", "config", "methods", "cli"}

MAX_COMMAND_LINES = 79
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60  # of code: without docstring, comments and blank lines


def package_of(path):
    """`cgt_tf/layers/spectral.py` -> layers; `cgt_tf/config.py` -> config."""
    return path.split("/")[1].removesuffix(".py")


def imported_modules(tree):
    """Dotted names of everything a module imports, anywhere in it.

    Texts that name a module, "module:name" and the beginnings of f-strings included, are imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^(cgt_tf\.[\w.]*)(?::\w+)?$", node.value)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from cgt_tf import config` imports cgt_tf.config.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_packages(tree):
    """Parts of this package that a module imports; "" where it imports the whole."""
    for name in imported_modules(tree):
        package, _, module = name.partition(".")
        if package == "cgt_tf":
            yield module.partition(".")[0]


def is_command(tree):
    """Whether a console script runs it."""
    return any(
        isinstance(node, ast.FunctionDef) and node.name == "entry_point" for node in tree.body
    )


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


def a_known_package(path, text, tree):
    if package_of(path) not in {*ARROWS, *ANYTHING}:
        yield f"no arrows of {package_of(path)}"


def imports_follow_the_arrows(path, text, tree):
    if package_of(path) in ARROWS:
        allowed = {package_of(path), *ARROWS[package_of(path)].split()}
        yield from sorted(set(imported_packages(tree)) - allowed)


def commands_are_short(path, text, tree):
    lines = len(text.splitlines())
    if package_of(path) == "cli" and is_command(tree) and lines > MAX_COMMAND_LINES:
        yield f"{lines} lines"


def beside_commands_there_is_machinery_alone(path, text, tree):
    """A module of cli/ that is no command reads the command line; all else belongs below."""
    if package_of(path) == "cli" and not is_command(tree):
        yield from sorted(set(imported_packages(tree)) - MACHINERY)


def metrics_are_written_in_numpy_alone(path, text, tree):
    if package_of(path) == "metrics":
        roots = {name.partition(".")[0] for name in imported_modules(tree)}
        yield from sorted(roots - {"cgt_tf", "numpy"} - set(sys.stdlib_module_names))


def networks_are_written_in_keras_alone(path, text, tree):
    if package_of(path) in KERAS_ALONE:
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
    a_known_package,
    imports_follow_the_arrows,
    commands_are_short,
    beside_commands_there_is_machinery_alone,
    metrics_are_written_in_numpy_alone,
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


def test_the_arrows_run_one_way():
    """Each package imports what stands above it in the table, so there is no circle."""
    order = list(ARROWS)
    assert [
        f"{package} -> {target}"
        for package, targets in ARROWS.items()
        for target in targets.split()
        if target not in order[: order.index(package)]
    ] == []


def test_there_is_an_import_for_every_arrow():
    declared = {(package, target) for package in ARROWS for target in ARROWS[package].split()}
    used = {
        (package_of(path.relative_to(ROOT).as_posix()), target)
        for path in PACKAGE.rglob("*.py")
        for target in imported_packages(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert declared - used == set()


def test_each_console_script_is_a_command():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    (names,) = re.findall(r"(?ms)^_COMMANDS = (\(.*?^\))$", setup)
    paths = sorted((PACKAGE / "cli").glob("*.py"))
    commands = {path.stem for path in paths if is_command(ast.parse(path.read_text()))}
    assert commands == set(ast.literal_eval(names))


def function_of(lines):
    """A function of so many lines of code, with others that do not count."""
    return 'def f():\n    """A.\n\n    B.\n    """\n\n    # why\n' + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize(
    "rule, path, text, broken",
    [
        (a_known_package, "cgt_tf/helpers/x.py", "", True),
        (a_known_package, "cgt_tf/config.py", "", False),
        *(
            (imports_follow_the_arrows, f"cgt_tf/{package}/x.py", text, broken)
            for text, package, broken in [
                ("import cgt_tf.training.loop", "methods", True),
                ("from cgt_tf.training import loop", "methods", True),
                ("from cgt_tf import training", "methods", True),
                ("def f():\n    from cgt_tf.cli import train", "export", True),
                ("READERS = {'run': 'cgt_tf.training.loop:read'}", "methods", True),
                ("importlib.import_module('cgt_tf.training.loop')", "methods", True),
                ("importlib.import_module(f'cgt_tf.training.{name}')", "methods", True),
                ("importlib.import_module(f'cgt_tf.{name}')", "methods", True),
                ("importlib.import_module(f'cgt_tf.methods.{name}')", "methods", False),
                ("READERS = {'run': 'cgt_tf.networks.gan:read'}", "methods", False),
                ("from cgt_tf.methods import base", "training", False),
                ("from cgt_tf.methods import base", "methods", False),
                ("import tensorflow", "layers", False),
                # Downwards, too, only what the table says.
                ("from cgt_tf.methods import base", "evaluation", True),
                ("from cgt_tf.data import views", "networks", True),
                ("from cgt_tf.export import card", "training", True),
                ("from cgt_tf import data, config", "layers", True),
                # The package itself hands on everything.
                ("import cgt_tf", "methods", True),
                ("from cgt_tf import load_source", "training", True),
            ]
        ),
        (imports_follow_the_arrows, "cgt_tf/config.py", "from cgt_tf.data import views", True),
        *(
            (commands_are_short, path, text, broken)
            for path, text, broken in [
                ("cgt_tf/cli/x.py", "def entry_point(): ...\n" + "x = 1\n" * 79, True),
                ("cgt_tf/cli/x.py", "def entry_point(): ...\n" + "x = 1\n" * 78, False),
                ("cgt_tf/cli/x.py", "x = 1\n" * 90, False),
            ]
        ),
        *(
            (beside_commands_there_is_machinery_alone, "cgt_tf/cli/x.py", text, broken)
            for text, broken in [
                ("from cgt_tf.training import session", True),
                ("def f():\n    import cgt_tf.data.sources", True),
                ("from cgt_tf.methods import registry", False),
                ("from cgt_tf.training import session\ndef entry_point(): ...", False),
            ]
        ),
        (networks_are_written_in_keras_alone, "cgt_tf/layers/x.py", "import tensorflow", True),
        (networks_are_written_in_keras_alone, "cgt_tf/networks/x.py", "import torch.nn", True),
        (networks_are_written_in_keras_alone, "cgt_tf/layers/x.py", "import keras", False),
        (networks_are_written_in_keras_alone, "cgt_tf/training/x.py", "import tensorflow", False),
        (metrics_are_written_in_numpy_alone, "cgt_tf/metrics/x.py", "import tensorflow", True),
        (metrics_are_written_in_numpy_alone, "cgt_tf/metrics/x.py", "import math, numpy", False),
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
