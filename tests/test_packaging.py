"""What is installed: requirements, and the contents of wheel and sdist."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cgt_tf"
# What is imported under another name than it is installed by.
DISTRIBUTIONS = {"PIL": "pillow", "absl": "absl-py", "google": "protobuf"}
# Imported where somebody asks for it, and installed then.
OF_EXTRAS = {
    "torch": "torch",
    "tensorflow-serving-api": "serving",
    **dict.fromkeys(("onnx", "onnxruntime", "tf2onnx"), "onnx"),
}
# Required for what other packages fail to require.
INDIRECT = {"importlib-resources"}


@pytest.fixture(scope="module")
def setup():
    """The keywords that setup.py gives."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **keywords: given.update(keywords))
        patch.chdir(ROOT)
        runpy.run_path(str(ROOT / "setup.py"))
    return given


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements):
    """Of requirements such as `tensorflow[and-cuda]>=2.18`."""
    return {normalised(re.match(r"[\w.-]+", text)[0]) for text in requirements}


def imported(tree):
    """Distributions of the modules that a module imports, by name in a text as well."""
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            modules += re.findall(r"^tensorflow_\w+(?=\.)", node.value)
    roots = {module.partition(".")[0] for module in modules}
    roots -= {"cgt_tf", *sys.stdlib_module_names}
    found = {DISTRIBUTIONS.get(root, root) for root in roots}
    found = {"tensorflow-serving-api" if n == "tensorflow_serving" else n for n in found}
    return {normalised(name) for name in found}


def imported_by_the_package():
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py"))
    return set().union(*map(imported, trees))


def test_what_is_imported_is_required(setup):
    required = names(setup["install_requires"])
    extras = {name: names(texts) for name, texts in setup["extras_require"].items()}
    missing = imported_by_the_package() - required
    assert missing == set(OF_EXTRAS)
    assert all(name in extras[extra] for name, extra in OF_EXTRAS.items())


def test_what_is_required_is_imported(setup):
    assert names(setup["install_requires"]) - imported_by_the_package() == INDIRECT


def test_imports_are_found_wherever_they_are():
    text = (
        "import os, PIL.Image\ndef f():\n    from google.protobuf import text_format\n"
        "importlib.import_module('tensorflow_gan.python.losses')\nfrom cgt_tf import config\n"
        "from tensorflow_serving.apis import x"
    )
    expected = {"pillow", "protobuf", "tensorflow-gan", "tensorflow-serving-api"}
    assert imported(ast.parse(text)) == expected


def test_no_one_but_users_of_the_hub_is_held_back_by_setuptools(setup):
    assert "setuptools" not in names(setup["install_requires"])
    assert setup["extras_require"]["hub"] == ["setuptools<81"]


def test_versions_of_python_are_named(setup):
    versions = [
        text.rpartition(" ")[2] for text in setup["classifiers"] if ":: Python :: 3." in text
    ]
    assert versions == ["3.10", "3.11", "3.12", "3.13"]
    assert setup["python_requires"] == f">={versions[0]}"
    assert setup["version"] == "0.2.0"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Names of the files in the wheel and in the sdist, without the sdist's own directory."""
    place = tmp_path_factory.mktemp("build")
    source = place / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    for name in ("cgt_tf", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    code = (
        "from setuptools import build_meta\n"
        "build_meta.build_sdist('../sdist'); build_meta.build_wheel('../wheel')"
    )
    for name in ("sdist", "wheel"):
        (place / name).mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (wheel,), (sdist,) = ((place / name).iterdir() for name in ("wheel", "sdist"))
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as source:
        inside = [member.name.partition("/")[2] for member in source.getmembers()]
        return wheel.name, set(archive.namelist()), sdist.name, set(inside)


def files_below(directory, *patterns):
    """Paths relative to the root of the repository."""
    found = {path for pattern in patterns for path in (ROOT / directory).rglob(pattern)}
    found = {p for p in found if p.is_file() and "__pycache__" not in p.parts}
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.mark.slow
def test_the_wheel_holds_code_configs_assets_and_licence(built):
    name, inside, _, _ = built
    assert name == "cgt_tf-0.2.0-py3-none-any.whl"
    configs = files_below("configs", "*.flags", "*.json", "README.md")
    wanted = {f"cgt_tf/{path}" for path in configs} | files_below("cgt_tf", "*")
    assert len(configs) > 40 and wanted - inside == set()
    assert "cgt_tf/py.typed" in inside
    info = {path.partition("/")[2] for path in inside if ".dist-info/" in path}
    assert {"METADATA", "entry_points.txt"} <= info
    assert any(path.endswith("LICENSE") for path in info)
    assert not [path for path in inside if path.startswith(("tests", "tools", "docs"))]


@pytest.mark.slow
def test_the_sdist_holds_what_the_wheel_is_built_from(built):
    _, _, name, inside = built
    assert name == "cgt_tf-0.2.0.tar.gz"
    wanted = {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.in"}
    wanted |= files_below("cgt_tf", "*") | files_below("configs", "*.flags", "*.json", "README.md")
    assert wanted - inside == set()
