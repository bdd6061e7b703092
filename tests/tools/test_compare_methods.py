"""The queue of a comparison, with a training command that only writes what a run leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from cgt_tf.errors import InputError

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import comparison_plan  # noqa: E402
import comparison_queue  # noqa: E402
from comparison_plan import Plan  # noqa: E402

# Notes its arguments, hangs where a file says so, then writes the FID that `fids.json` has for it.
FAKE = """
import json, os, pathlib, sys, time
root = pathlib.Path(__file__).parent
workdir = pathlib.Path(sys.argv[-1].removeprefix("--workdir="))
name = "/".join(workdir.parts[-3:])
(root / "pid.txt").write_text(str(os.getpid()))
with (root / "calls.txt").open("a") as calls:
    calls.write(" ".join([name, *sys.argv[1:-1]]) + "\\n")
(workdir / "checkpoints").mkdir(parents=True, exist_ok=True)
(workdir / "config.json").write_text("{}")
while (root / "hang").exists() and (root / "hang").read_text() == name:
    time.sleep(0.01)
fid = json.loads((root / "fids.json").read_text()).get(name, 50.0)
records = [{"step": 0, "fid": 999.0}, {"step": 5, "loss": 1.0}]
if fid is not None:
    records.append({"step": 10, "fid": fid})
(workdir / "stats.jsonl").write_text("".join(json.dumps(r) + "\\n" for r in records))
if fid is None:
    print("cgt-train: stopped: loss is nan at step 7")
    sys.exit(1)
if fid < 0:
    print("cgt-train: error: expected a source, got none")
    sys.exit(2)
"""
SEARCHED = [f"search/a_x{factor}/seed_0" for factor in ("0.316", "1", "3.16")]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "fake.py").write_text(FAKE)
    (tmp_path / "fids.json").write_text("{}")
    (tmp_path / "a.flags").write_text("--config.method.name=bsa_adv\n--config.seed=3\n")
    lines = ["--config.generator.learning_rate=0.1", f"--flagfile={tmp_path}/a.flags"]
    (tmp_path / "b.flags").write_text("\n".join(lines))
    return tmp_path


def set_fids(place, **fids):
    """By what comes after `a_x` in the name of a searched run."""
    values = {f"search/a_{name}/seed_0": fid for name, fid in fids.items()}
    (place / "fids.json").write_text(json.dumps(values))


def plan_of(place, **changes):
    values = {
        "arguments": ["--all"],
        "draws": {"0": ["x", "y"], "1": ["y", "z"], "2": ["z", "x"]},
        "search": {"table": "search", "draw": "0", "arguments": ["--short"]},
        "methods": {
            "a": {"flagfile": f"{place}/a.flags", "search_arguments": ["--shorter"]},
            "b": {"flagfile": f"{place}/b.flags", "scaled": []},
        },
        "tables": [
            {
                "table": "ten",
                "draws": ["1", "2"],
                "arguments": ["--ten"],
                "runs": ["a", {"name": "other", "method": "b", "arguments": ["--other"]}],
            },
            {"table": "all", "seeds": ["4"], "runs": ["b"]},
        ],
    }
    return {**values, **changes}


def work_off(place, plan, **options):
    command = [sys.executable, "-S", "-E", str(place / "fake.py")]
    runs = Plan(**plan).runs(place / "kept")
    comparison_queue.work_off(runs, place / "runs", place / "kept", command, **options)


def calls(place):
    lines = (place / "calls.txt").read_text().splitlines() if (place / "calls.txt").exists() else []
    return {line.split()[0]: line.split()[1:] for line in lines}


def kept(place):
    return sorted(
        p.parent.relative_to(place / "kept").as_posix()
        for p in place.glob("kept/*/*/*/stats.jsonl")
    )


def test_runs_are_trained_in_order_with_their_flags_and_kept(place):
    work_off(place, plan_of(place))
    made = calls(place)
    tables = [
        "ten/a/seed_1",
        "ten/other/seed_1",
        "ten/a/seed_2",
        "ten/other/seed_2",
        "all/b/seed_4",
    ]
    assert list(made) == [*SEARCHED, *tables]
    flagfile = f"--flagfile={place}/a.flags"
    # Half a decade below and above the defaults of G, 1e-4, and of D, 4e-4.
    rates = ["--config.generator.learning_rate=", "--config.discriminator.learning_rate="]
    search = [flagfile, "--all", "--short", "--shorter", "--config.seed=0"]
    search.append("--config.data.classes=x,y")
    low, high = ("3.162e-05", "0.0001265"), ("0.0003162", "0.001265")
    assert made[SEARCHED[0]] == [*search, rates[0] + low[0], rates[1] + low[1]]
    assert made[SEARCHED[1]] == search
    assert made[SEARCHED[2]] == [*search, rates[0] + high[0], rates[1] + high[1]]
    # All scores are equal, so the method stays at its own learning rates.
    ten = ["--all", "--ten", "--config.seed=1", "--config.data.classes=y,z"]
    assert made["ten/a/seed_1"] == [flagfile, *ten]
    other = [f"--flagfile={place}/b.flags", "--all", "--ten", "--other", *ten[2:]]
    assert made["ten/other/seed_1"] == other
    assert made["all/b/seed_4"] == [f"--flagfile={place}/b.flags", "--all", "--config.seed=4"]
    assert kept(place) == sorted(made)
    for name in made:
        files = {path.name for path in (place / "kept" / name).iterdir()}
        assert files == {"config.json", "stats.jsonl"}


@pytest.mark.parametrize(
    ("fids", "more", "factor"),
    [
        ({"x0.316": 30, "x1": 20, "x3.16": 25}, [], None),
        ({"x0.316": 30, "x1": 20, "x3.16": 10}, ["x10"], "x3.16"),
        ({"x0.316": 30, "x1": 20, "x3.16": 10, "x10": 5}, ["x10"], "x10"),
        ({"x0.316": 9, "x1": 20, "x3.16": 10, "x0.1": 8}, ["x0.1"], "x0.1"),
        ({"x0.316": 30, "x1": 40, "x3.16": None}, ["x0.1"], "x0.316"),
        ({"x0.316": 20, "x1": 20, "x3.16": 20}, [], None),
    ],
)
def test_the_search_finds_the_step_sizes_of_the_tables(place, fids, more, factor):
    """Widened once where the best is at an end; what diverged is the worst."""
    set_fids(place, **fids)
    work_off(place, plan_of(place, tables=[{"table": "t", "seeds": ["0"], "runs": ["a"]}]))
    made = calls(place)
    searched = [name for name in made if name.startswith("search/")]
    assert searched == [*SEARCHED, *(f"search/a_{name}/seed_0" for name in more)]
    rates = {None: [], "x0.1": ["1e-05", "4e-05"], "x0.316": ["3.162e-05", "0.0001265"]}
    rates |= {"x3.16": ["0.0003162", "0.001265"], "x10": ["0.001", "0.004"]}
    found = [a.split("=")[1] for a in made["t/a/seed_0"] if "learning_rate" in a]
    assert found == rates[factor]


def test_what_is_kept_is_not_run_again_and_decides_the_rest(place):
    """As on another machine, which has the repository alone."""
    set_fids(place, **{"x3.16": 10, "x10": 20})
    work_off(place, plan_of(place))
    first = calls(place)
    (place / "calls.txt").unlink()
    (place / "fids.json").write_text("{}")
    (place / "runs").rename(place / "elsewhere")
    for path in place.glob("kept/ten/a/seed_2/*"):
        path.unlink()
    (place / "kept/ten/a/seed_2").rmdir()
    work_off(place, plan_of(place))
    assert calls(place) == {"ten/a/seed_2": first["ten/a/seed_2"]}


def test_a_list_ends_where_the_search_must_decide(place):
    runs = list(Plan(**plan_of(place)).runs(place / "kept"))
    assert [run.path.as_posix() for run in runs] == SEARCHED
    assert Plan(**plan_of(place)).best_step("a", place / "kept") is None


def test_a_run_that_diverged_is_kept_as_such_and_a_failed_one_stops_the_queue(place):
    (place / "fids.json").write_text(json.dumps({"ten/a/seed_1": None, "ten/a/seed_2": -1}))
    with pytest.raises(InputError, match=r"exit status 2: .* expected a source, got none \(all in"):
        work_off(place, plan_of(place), keep_checkpoints=False)
    assert kept(place)[-2:] == ["ten/a/seed_1", "ten/other/seed_1"]
    text = (place / "kept/ten/a/seed_1" / comparison_plan.DIVERGED).read_text()
    assert text == "loss is nan at step 7\n"
    assert not (place / "runs/ten/other/seed_1/checkpoints").exists()
    assert (place / "runs/ten/a/seed_2/checkpoints").exists()


def git(place, *arguments):
    command = ["git", "-C", str(place), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(place, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")
    git(place, "init", "-q")
    (place / "staged.txt").write_text("somebody else's work")
    git(place, "add", "staged.txt")
    (place / "kept").mkdir()
    return place


def test_each_run_is_committed_alone(repository):
    work_off(repository, plan_of(repository), commit=True)
    subjects = git(repository, "log", "--reverse", "--format=%s").splitlines()
    assert subjects == [f"Comparison: statistics of {name}" for name in calls(repository)]
    changed = git(repository, "show", "--format=", "--name-only").split()
    assert changed == [f"kept/all/b/seed_4/{name}" for name in ("config.json", "stats.jsonl")]
    assert git(repository, "diff", "--cached", "--name-only").split() == ["staged.txt"]


def test_what_was_kept_and_not_committed_is_committed_later(repository):
    small = [{"table": "t", "seeds": ["0", "1"], "runs": ["b"]}]
    plan = plan_of(repository, search=None, tables=small)
    work_off(repository, plan)
    (repository / "calls.txt").unlink()
    work_off(repository, plan, commit=True)
    subjects = git(repository, "log", "--reverse", "--format=%s").splitlines()
    assert subjects == [f"Comparison: statistics of t/b/seed_{n}" for n in (0, 1)]
    assert calls(repository) == {}


def test_a_refused_commit_is_tried_again_and_told_at_the_end(repository, capfd):
    lock = repository / ".git" / "index.lock"
    lock.touch()
    plan = plan_of(repository, search=None, tables=[{"table": "t", "seeds": ["0"], "runs": ["b"]}])
    with pytest.raises(InputError, match="git refused 1 of them"):
        work_off(repository, plan, commit=True)
    assert "t/b/seed_0: not committed: " in capfd.readouterr().err
    lock.unlink()
    work_off(repository, plan, commit=True)
    assert (
        git(repository, "log", "--format=%s").split("\n")[0]
        == "Comparison: statistics of t/b/seed_0"
    )


def queue(place):
    """The command itself, in a session of its own."""
    (place / "plan.json").write_text(json.dumps(plan_of(place)))
    command = [sys.executable, str(TOOLS / "compare_methods.py"), f"--queue={place}/plan.json"]
    command += [f"--output={place}/runs", f"--keep={place}/kept", "--commit"]
    command += [f"--train={sys.executable},-S,-E,{place}/fake.py"]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", ["SIGTERM", "SIGKILL"])
def test_a_queue_that_was_killed_goes_on(repository, kind):
    hanging = "ten/other/seed_1"
    (repository / "hang").write_text(hanging)
    killed = queue(repository)
    deadline = time.monotonic() + 60
    while hanging not in calls(repository) and time.monotonic() < deadline:
        time.sleep(0.02)
    if kind == "SIGTERM":
        killed.terminate()
    else:
        os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait(timeout=30)
    if kind == "SIGTERM":  # It ended the training, too.
        with pytest.raises(ProcessLookupError):
            os.kill(int((repository / "pid.txt").read_text()), 0)
    before = [*SEARCHED, "ten/a/seed_1"]
    assert kept(repository) == sorted(before)
    (repository / "kept/ten/other/.seed_1.new").mkdir(parents=True)  # As if killed while copying.
    (repository / "hang").unlink()
    (repository / "calls.txt").unlink()
    again = queue(repository)
    assert again.wait(timeout=60) == 0, again.stderr.read()
    rest = [hanging, "ten/a/seed_2", "ten/other/seed_2", "all/b/seed_4"]
    assert list(calls(repository)) == rest
    assert kept(repository) == sorted([*before, *rest])
    assert len(git(repository, "log", "--format=%s").splitlines()) == len([*before, *rest])


def test_flagfiles_are_run_with_each_seed(place):
    command = [sys.executable, str(TOOLS / "compare_methods.py"), f"--flagfiles={place}/a.flags"]
    command += [f"--output={place}/runs/t", f"--keep={place}/kept/t", "--seeds=0,7"]
    command += [f"--train={sys.executable},-S,-E,{place}/fake.py", "--suffix=_fast", "--", "--x=1"]
    subprocess.run(command, check=True, capture_output=True)
    start = [f"--flagfile={place}/a.flags", "--x=1"]
    assert calls(place) == {f"t/a_fast/seed_{n}": [*start, f"--config.seed={n}"] for n in (0, 7)}
    assert kept(place) == ["t/a_fast/seed_0", "t/a_fast/seed_7"]
    ended = subprocess.run(command[:2], capture_output=True, text=True)
    assert ended.returncode == 2 and "expected --queue=<plan> alone" in ended.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tables": [{"table": "t", "seeds": ["0"], "runs": ["c"]}]}, "one of a, b, got 'c'"),
        ({"tables": [{"table": "t", "draws": ["9"], "runs": []}]}, "one of 0, 1, 2, got '9'"),
        ({"tables": [{"table": "t", "runs": []}]}, "draws or seeds of the table 't'"),
        ({"tables": [{"table": "t", "seeds": [], "runs": [], "x": 1}]}, "keys .* of a table"),
        ({"methods": {"a": {}}}, "keys .* of a method, flagfile among them"),
        ({"search": {"table": "s", "draw": "9"}}, "one of 0, 1, 2, got '9'"),
    ],
)
def test_wrong_plans_are_input_errors(place, changes, message):
    with pytest.raises(InputError, match=message):
        Plan(**plan_of(place, **changes))


def test_own_values_are_those_of_nested_flagfiles_else_defaults(place):
    name = f"{place}/b.flags"
    assert comparison_plan.own_value(name, "generator.learning_rate") == 0.1
    assert comparison_plan.own_value(name, "discriminator.learning_rate") == 4e-4
    (place / "c.flags").write_text("--config.method.name=bsa\n")
    assert comparison_plan.own_value(f"{place}/c.flags", "bsa.class_learning_rate") == 1e-3


def test_a_plan_may_be_like_another(place):
    """It takes what it leaves out, and searches what its own tables use."""
    (place / "first.json").write_text(json.dumps(plan_of(place)))
    more = {"like": "first.json", "tables": [{"table": "b", "seeds": ["7"], "runs": ["b"]}]}
    (place / "second.json").write_text(json.dumps(more))
    runs = list(Plan.read(place / "second.json").runs(place / "kept"))
    assert [run.path.as_posix() for run in runs] == ["b/b/seed_7"]
    assert runs[0].arguments == (f"--flagfile={place}/b.flags", "--all", "--config.seed=7")
    (place / "second.json").write_text(json.dumps({**more, "like": "third.json"}))
    with pytest.raises(InputError, match=r"expected a plan in JSON, got .*third\.json"):
        Plan.read(place / "second.json")


def test_sheets_show_a_tables_first_draw(place):
    plan = place / "plan.json"
    plan.write_text(json.dumps(plan_of(place)))
    command = [sys.executable, str(TOOLS / "compare_methods.py"), f"--queue={plan}", "--sheet=8"]
    command += [f"--output={place}/runs", f"--keep={place}/kept"]
    command += [f"--train={sys.executable},-S,-E,{place}/fake.py"]
    lacking = subprocess.run(command, capture_output=True, text=True)
    assert lacking.returncode == 2
    assert "expected samples of step 8 of all runs, got no" in lacking.stderr
    colours = {
        "ten/a/seed_1": (200, 0, 0),
        "ten/other/seed_1": (0, 200, 0),
        "all/b/seed_4": (0, 0, 200),
    }
    for run, colour in colours.items():
        samples = place / "runs" / run / "samples"
        samples.mkdir()
        Image.new("RGB", (256, 320), colour).save(samples / "step_000008.png")
    subprocess.run(command, check=True, capture_output=True)
    pictures = {path.name: Image.open(path) for path in (place / "kept").glob("*.png")}
    assert set(pictures) == {"samples_ten_8.png", "samples_all_8.png"}
    ten = pictures["samples_ten_8.png"]
    assert ten.getpixel((100, 100)) == (200, 0, 0) and ten.getpixel((500, 100)) == (0, 200, 0)
