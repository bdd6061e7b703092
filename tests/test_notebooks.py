"""The notebooks: well formed, with names that exist; their code runs."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

import cgt_tf
from cgt_tf.api import make_config
from cgt_tf.knobs import flattened

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def cells_of(path, kind="code"):
    """Texts of a notebook's cells of a kind."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def missing_names(tree):
    """Attributes of `cgt_tf`, and names imported from it, that are not there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "cgt_tf":
            if not hasattr(importlib.import_module("cgt_tf"), node.attr):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "cgt_tf":
            module = importlib.import_module(node.module)
            yield from (alias.name for alias in node.names if not hasattr(module, alias.name))


def run_cells(cells, steps):
    """Runs code cells in order, the last expression of each included, as a kernel would."""
    names = {"__name__": "__main__"}
    for cell in cells:
        changed = f"STEPS = {steps}" if cell.startswith("STEPS = ") else cell
        exec(compile(changed, "<cell>", "exec"), names)
    return names


def texts_of(output):
    """What an output says in words."""
    yield "".join(output.get("text", ""))
    yield "".join(output.get("data", {}).get("text/plain", ""))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_whole_and_was_run(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert {"cells", "metadata", "nbformat", "nbformat_minor"} <= notebook.keys()
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # In order, in one kernel, without an error.
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result"}
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_names_no_place_of_a_machine(path):
    assert path.stat().st_size < 250_000
    notebook = json.loads(path.read_text(encoding="utf-8"))
    said = [
        text for cell in notebook["cells"] for o in cell.get("outputs", ()) for text in texts_of(o)
    ]
    assert len(said) > 5
    assert [text for text in said if re.search(r"(?<![\w.])(~|/\w+|[A-Z]:\\)[/\\]", text)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_names_in_a_notebook_exist(path):
    trees = [ast.parse(cell) for cell in cells_of(path)]
    assert [name for tree in trees for name in missing_names(tree)] == []


def test_names_that_are_missing_are_found():
    text = "import cgt_tf\ncgt_tf.Run('x')\ncgt_tf.train()\nfrom cgt_tf.api import Run, Walk"
    assert sorted(missing_names(ast.parse(text))) == ["Walk", "train"]


def configs(cells, monkeypatch):
    """The validated configs of the transfers that cells ask for, none of which is made."""
    made = []

    def transfer(workdir, preset=None, **values):
        made.append(make_config(preset, flattened(values)))

    monkeypatch.setattr(cgt_tf, "transfer", transfer, raising=False)
    run_cells([cell for cell in cells if "STEPS" in cell], steps=5)
    return made


def test_knobs_of_the_transfer_notebook_exist(monkeypatch):
    cells = cells_of(ROOT / "docs/notebooks/transfer.ipynb")
    cells = [cell.replace("run = ", "import cgt_tf\nrun = ") for cell in cells]
    (config,) = configs(cells, monkeypatch)
    assert config.training.steps == 5 and config.data.classes == ("Σ", "Ж", "Я", "Ш")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_somewhere(path):
    from test_docs import dead_links

    page = path.relative_to(ROOT).as_posix()
    assert [link for text in cells_of(path, "markdown") for link in dead_links(page, text)] == []


@pytest.mark.slow
def test_the_transfer_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CGT_TF_CACHE", str(tmp_path / "cache"))
    cells = cells_of(ROOT / "docs/notebooks/transfer.ipynb")
    assert "STEPS = 300" in cells
    names = run_cells(cells, steps=2)
    assert names["run"].classes == ("Σ", "Ж", "Я", "Ш")
    assert names["images"].shape == (1, 4, 32, 32, 3)
    assert names["scores"].num_fake == 1000 and len(names["names"]) == 84
    assert names["pictures"].shape == (3, 32, 32, 3)
