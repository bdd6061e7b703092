"""Every flagfile and run of a plan is valid; the data of the paper's setups, on tiny datasets.

The tiny TFDS datasets have the names, versions, features and labels of the published ones, and a
hundredth of their images per class.
"""

import ast
import copy
import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cgt_tf.data.few_shot import load_data
from cgt_tf.data.glyph_classes import TARGET_CLASSES
from cgt_tf.methods.registry import config_from_dict
from cgt_tf.methods.scratch import spec_from_config
from cgt_tf.networks.spec import biggan_spec

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from comparison_plan import Plan  # noqa: E402

FLAGFILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/**/*.flags"))
COMPLETE = [name for name in FLAGFILES if not name.startswith("configs/base/")]
PUBLISHED = [name for name in COMPLETE if name.split("/")[1] == "paper"]
PLANS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/**/*.json"))
PAPER = "configs/base/paper.flags"
# Knobs that a run chooses: its stages and what they start from, D's source, another start's count.
LEFT_OPEN = {
    *("cgan_transfer.stages", "cgan_transfer.propagate_steps", "cgan_transfer.start"),
    *("cgan_transfer.start_checkpoint", "cgan_transfer.nearest_classes", "discriminator.source"),
}
SCALE = 100  # Images per class of a published setup for one image here.
GRID = [(classes, images) for classes in (20, 10) for images in (600, 300, 100)]

_CIFAR100_NAMES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain
    plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
    television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = _CIFAR100_NAMES.split()
PLACES = ("alley", "arch", "art_gallery", "auditorium", "ballroom")
SPLITS = ("train", "test", "validation")
TRAIN, TEST, VALIDATION = range(3)

# Flags are defined once in a process, hence a fork for each command line; importing is what costs.
_PARSER = """
import json, sys
from absl import flags
from cgt_tf import config as configs
from cgt_tf import flagfiles
from cgt_tf.cli import config_flag
from cgt_tf.errors import InputError
from cgt_tf.methods import registry

def parse(arguments):
    for name in list(flags.FLAGS):
        if name.split(".")[0] == "config":
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
    sys.argv = ["cgt-train", *arguments]
    try:
        config = config_flag.define_run_config()
        argv = flagfiles.expand(sys.argv)
        config_flag.check_foreign_knobs(argv)
        flags.FLAGS(argv)
        registry.validate(config.value)
    except (InputError, flags.Error) as error:
        return {"error": str(error)}
    return {"config": configs.to_dict(config.value)}

results = [parse(arguments) for arguments in json.load(sys.stdin)]
assert not {"tensorflow", "keras"} & set(sys.modules)
json.dump(results, sys.stdout)
"""


def head_of(name):
    """Text of the comment at the head of a flagfile."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    first = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").strip() for line in lines[:first])


def arguments_of(name):
    """Those of the command that a flagfile's head gives, or, of a preset, the flagfile alone."""
    flag = f"--flagfile={name}"
    text = re.sub(r"<[^>]*>", "placeholder", head_of(name).replace("\\\n", " "))
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("cgt-train ")]
    arguments = next((command[1:] for command in commands if flag in command), [flag])
    return [argument for argument in arguments if not argument.startswith("--workdir=")]


_COMMANDS = {
    **{name: arguments_of(name) for name in FLAGFILES},
    "cifar with the code's preset": [
        "--flagfile=configs/paper/cifar100_10x100.flags",
        "--flagfile=configs/base/code_cifar.flags",
    ],
    "places with the code's preset": [
        "--flagfile=configs/paper/imagenet_places365_5x500_pth.flags",
        "--flagfile=configs/base/code_imagenet.flags",
    ],
}
_WRONG = {
    "a misspelt flag": ("--config.data.trian=x", "Unknown command line flag 'config.data.trian'"),
    "a value of another type": ("--config.training.steps=many", "--config.training.steps=many"),
    "a value out of range": ("--config.training.steps=0", "must be at least 1, got 0"),
    "a knob of another method": (
        "--config.bsa.emd=1",
        "--config.bsa.emd is a knob of the method bsa",
    ),
    "a method's value out of range": (
        "--config.cgan_transfer.l1_scores=-1",
        "--config.cgan_transfer.l1_scores must be at least 0, got -1.0",
    ),
    "a missing flagfile": ("--flagfile=configs/none.flags", "configs/none.flags"),
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Name of a plan -> its runs, where the lowest learning rates were found to be the best."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name in PLANS:
            kept, found[name] = tmp_path_factory.mktemp("kept"), []
            for run in Plan.read(Path(name)).runs(kept):
                found[name].append(run)
                (kept / run.path).mkdir(parents=True)
                factor = re.search(r"_x([\d.]+)$", run.name)
                record = {"step": 1, "fid": float(factor[1]) if factor else 1.0}
                (kept / run.path / "stats.jsonl").write_text(json.dumps(record))
    return found


def flags_of(run):
    """What decides whether a run is valid: its flagfile and the names of its other flags."""
    return " ".join([run.arguments[0], *sorted({a.split("=")[0] for a in run.arguments[1:]})])


@pytest.fixture(scope="module")
def parsed(tmp_path_factory, planned):
    """Name of a command line -> `{"config": dict}` or `{"error": text}`."""
    commands = dict(_COMMANDS)
    for runs in planned.values():
        commands |= {flags_of(run): list(run.arguments) for run in runs}
    for name, (line, _) in _WRONG.items():
        # One level down, so that the lines of nested flagfiles are known to be read.
        directory = tmp_path_factory.mktemp("flags")
        (directory / "inner.flags").write_text(f"{line}\n")
        (directory / "outer.flags").write_text(f"--flagfile={directory / 'inner.flags'}\n")
        commands[name] = [f"--flagfile={directory / 'outer.flags'}"]
    done = subprocess.run(
        [sys.executable, "-c", _PARSER],
        input=json.dumps(list(commands.values())),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads(done.stdout), strict=True))


@pytest.fixture
def config_of(parsed):
    """Name of a flagfile or command line -> its config, for the test to change."""

    def config_of(name):
        assert "error" not in parsed[name], parsed[name]["error"]
        return config_from_dict(copy.deepcopy(parsed[name]["config"]))

    return config_of


def test_flagfiles_are_valid(parsed):
    assert len(FLAGFILES) > 45
    assert {name: parsed[name] for name in FLAGFILES if "error" in parsed[name]} == {}


@pytest.mark.parametrize("name", _WRONG)
def test_wrong_flagfile_is_not_valid(parsed, name):
    assert _WRONG[name][1] in parsed[name]["error"]


def has_its_command(name, head):
    """Whether a flagfile's head shows the whole command that runs it."""
    command = rf"(?m)^cgt-train --flagfile={re.escape(name)}(?=\s)"
    return bool(re.search(command, head)) and "--workdir=" in head


def says_what_to_expect(head):
    text = " ".join(head.split()).lower()
    return "published" in text and "expected hours" in text


def test_flagfiles_start_with_their_commands():
    assert [name for name in COMPLETE if not has_its_command(name, head_of(name))] == []


def test_flagfiles_of_published_setups_say_what_to_expect():
    assert len(PUBLISHED) >= 11
    assert [name for name in PUBLISHED if not says_what_to_expect(head_of(name))] == []


def test_the_rules_of_heads_find_what_is_against_them():
    name = "configs/a.flags"
    assert has_its_command(name, f"A.\ncgt-train --flagfile={name} --workdir=runs/a")
    for head in ("A.", f"cgt-train --flagfile={name}", f"cgt-train --flagfile={name}s --workdir=a"):
        assert not has_its_command(name, head)
    assert says_what_to_expect("Published FID: 1. Expected\nhours: 2.")
    assert not says_what_to_expect("Published FID: 1.")
    assert not says_what_to_expect("Expected hours: 2.")


@pytest.mark.parametrize("name", PLANS)
def test_runs_of_a_plan_are_valid_and_say_what_they_are(config_of, planned, name):
    assert len({run.path for run in planned[name]}) == len(planned[name])
    for key in {flags_of(run): run for run in planned[name]}:
        config_of(key)


def test_comparison_on_cifar100(config_of, planned):
    """As planned: one search on one draw, against training images; three other draws; all 20."""
    new = config_of("configs/paper/cifar100_20x600.flags").data.classes
    plan = Plan.read(ROOT / "configs/cifar100/comparison.json")
    for seed, draw in plan.draws.items():
        order = np.random.RandomState(int(seed)).permutation(20)[:10]
        assert draw == [new[index] for index in order]
    counts = {}
    for run in planned["configs/cifar100/controls.json"]:
        assert config_of(flags_of(run)).evaluation.protocol in ("run", "fid2k_train"), run.path
    for run in planned["configs/cifar100/comparison.json"]:
        config, seed = config_of(flags_of(run)), int(run.seed)
        data, training = config.data, config.training
        assert (training.batch_size, training.accumulation, training.d_steps) == (32, 1, 1)
        assert (config.evaluation.every, training.ema_decay) == (50, 0.98)
        searched = run.table == "cifar100_search"
        assert config.evaluation.protocol == ("fid2k_train" if searched else "run"), run.path
        assert config.evaluation.num_samples == 2000 and training.ema_rampup
        steps = training.steps
        if config.method.name == "minegan":
            steps += config.minegan.mine_steps
        assert steps == (250 if searched else 600), run.path
        assert data.images_per_class == (25 if run.table == "cifar100_10x25" else 100)
        assert len(data.classes) == (20 if run.table == "cifar100_20x100" else 10)
        counts.setdefault(run.table, set()).add(seed)
    assert counts == {
        "cifar100_search": {0},
        "cifar100_10x100": {1, 2, 3},
        "cifar100_10x25": {1, 2, 3},
        "cifar100_20x100": {0},
    }


def test_presets_of_the_code_can_be_added(config_of):
    cifar = config_of("cifar with the code's preset")
    assert cifar.data.images_per_class == 100 and len(cifar.data.classes) == 10
    assert cifar.cgan_transfer.score_bias and cifar.cgan_transfer.scores_init == "random"
    training = cifar.training
    assert (training.batch_size, training.accumulation, training.d_steps) == (50, 4, 1)
    assert training.generator_accumulation == 1
    places = config_of("places with the code's preset")
    assert places.data.classes == PLACES and places.source == "pth:G.pth"
    transfer = places.cgan_transfer
    assert transfer.spectral_norm and transfer.residual_init == "orthogonal"


def test_the_papers_preset_writes_out_all_that_the_paper_or_its_scripts_fix(config_of):
    """Of all knobs of the optimizers and of the method, so that no default decides."""
    text = (ROOT / PAPER).read_text(encoding="utf-8")
    written = set(re.findall(r"(?m)^--config\.([\w.]+)=", text))
    config = config_of(PAPER)
    for group in ("cgan_transfer", "generator", "discriminator"):
        knobs = {f"{group}.{field.name}" for field in dataclasses.fields(getattr(config, group))}
        assert knobs - written <= LEFT_OPEN
    training, evaluation = config.training, config.evaluation
    assert training.ema_decay == 0 and "training.ema_decay" in written
    assert training.batch_size * training.accumulation == 2048 and training.d_steps == 1
    assert (config.generator.learning_rate, config.discriminator.learning_rate) == (1e-4, 4e-4)
    assert not (config.data.flip or config.augmentation.policy)
    assert (evaluation.every, evaluation.protocol) == (100, "paper")
    for name in ("cifar100_20x600", "imagenet_places365_5x500_pth"):
        assert config_of(f"configs/paper/{name}.flags").training.ema_decay == 0


def test_class_split_of_cifar100(config_of):
    drawn = [CIFAR100[index] for index in np.random.RandomState(0).permutation(100)[:20]]
    for classes, images in GRID:
        data = config_of(f"configs/paper/cifar100_{classes}x{images}.flags").data
        assert list(data.classes) == drawn[:classes]
    source = config_of("configs/paper/cifar100_source.flags").data.classes
    assert list(source) == [name for name in CIFAR100 if name not in drawn]


@pytest.mark.parametrize(
    "name, resolution, classes",
    [
        ("cifar100_source", 32, 80),
        ("cifar100_20x600", 32, 20),
        ("imagenet_places365_5x500", 128, 5),
    ],
)
def test_from_scratch_it_is_the_published_network(config_of, name, resolution, classes):
    model = config_of(f"configs/paper/{name}.flags").model
    assert spec_from_config(model, classes) == biggan_spec(resolution, classes)


def prepare(data_dir, name, counts, class_names=None):
    """Prepares images of one colour (label, index, split) as the version of a TFDS dataset.

    Args:
        counts: split -> label -> number of images.
        class_names: feature -> names, of labels that the dataset reads from its download.
    """
    published = tfds.builder(name, data_dir=str(data_dir))
    features = published.info.features
    for feature, names in (class_names or {}).items():
        features[feature].names = names
    others = {"id": "", "filename": "", "coarse_label": 0}
    others = {key: value for key, value in others.items() if key in features}

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = published.version
        url_infos = {}  # noqa: RUF012 (nothing is downloaded)

        def _info(self):
            keys = published.info.supervised_keys
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=keys)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in counts}

        def _generate_examples(self, split):
            for label, number in counts[split].items():
                for index in range(number):
                    colour = (label % 256, index, SPLITS.index(split))
                    image = np.full(features["image"].shape, colour, np.uint8)
                    yield f"{label}_{index}", {**others, "image": image, "label": label}

    Tiny.name = name
    download_config = tfds.download.DownloadConfig(try_download_gcs=False)
    Tiny(data_dir=str(data_dir)).download_and_prepare(download_config=download_config)


@pytest.fixture(scope="module")
def tiny_datasets(tmp_path_factory):
    """TFDS directory with the two datasets of the paper's setups."""
    directory = tmp_path_factory.mktemp("tfds")
    names = {"label": CIFAR100, "coarse_label": [f"coarse_{index}" for index in range(20)]}
    counts = {"train": dict.fromkeys(range(100), 5), "test": dict.fromkeys(range(100), 1)}
    prepare(directory, "cifar100", counts, names)
    builder = tfds.builder("places365_small", data_dir=str(directory))
    named = [builder.info.features["label"].str2int(name) for name in PLACES]
    counts = {
        "train": {**dict.fromkeys(named, 7), 0: 2, 364: 2},
        "test": {-1: 4},  # The labels of the test split are not public.
        "validation": {**dict.fromkeys(named, 1), 0: 1},
    }
    prepare(directory, "places365_small", counts)
    return directory


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def directories(tiny_datasets, cache, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny_datasets))
    monkeypatch.setenv("CGT_TF_CACHE", str(cache))


@pytest.fixture(scope="module")
def loaded():
    """Name of a flagfile -> training and held-out images."""
    return {}


@pytest.fixture
def load_scaled(config_of, directories, loaded):
    """Loads the data of a flagfile, once, with a hundredth of its images per class."""

    def load_scaled(name, resolution, **changes):
        config = config_of(name)
        config.data.images_per_class //= SCALE
        for field, value in changes.items():
            setattr(config.data, field, value)
        if name not in loaded:
            loaded[name] = load_data(config, resolution)
        return loaded[name]

    return load_scaled


def origins(images):
    """(label, index, split) of each image of a tiny dataset, from its colour."""
    pixels = images.images
    assert (pixels == pixels[:, :1, :1]).all()
    return [tuple(row) for row in pixels[:, 0, 0].tolist()]


def splits_of(images):
    return {split for _, _, split in origins(images)}


def check_labels(images, known):
    names = [known[label] for label, _, _ in origins(images)]
    assert names == [images.class_names[label] for label in images.labels]


@pytest.mark.parametrize("classes, images", GRID)
def test_cifar100_grid(config_of, load_scaled, classes, images):
    name = f"configs/paper/cifar100_{classes}x{images}.flags"
    assert config_of(name).data.images_per_class == images
    train, heldout = load_scaled(name, 32)
    assert train.images.shape == (classes * images // SCALE, 32, 32, 3)
    assert train.class_names == config_of(name).data.classes
    assert set(train.counts.values()) == {images // SCALE}
    check_labels(train, CIFAR100)
    assert len(set(origins(train))) == len(train)
    assert splits_of(train) == ({TRAIN, TEST} if images == 600 else {TRAIN})
    if images < 600:
        assert splits_of(heldout) == {TEST} and set(heldout.counts.values()) == {1}


@pytest.mark.parametrize("classes", [20, 10])
def test_nothing_is_held_out_where_both_splits_are_trained_on(load_scaled, classes):
    _, heldout = load_scaled(f"configs/paper/cifar100_{classes}x600.flags", 32)
    assert heldout is None


def test_cifar100_draws_are_nested_and_follow_the_seed(config_of, load_scaled):
    few, _ = load_scaled("configs/paper/cifar100_10x100.flags", 32)
    more, _ = load_scaled("configs/paper/cifar100_20x300.flags", 32)
    assert set(origins(few)) < set(origins(more))
    config = config_of("configs/paper/cifar100_10x100.flags")
    config.data.images_per_class, config.seed = 1, 1
    assert set(origins(load_data(config, 32)[0])) != set(origins(few))


def test_cifar100_source(config_of, directories):
    config = config_of("configs/paper/cifar100_source.flags")
    train, heldout = load_data(config, config.model.resolution)
    assert train.images.shape == (80 * 5, 32, 32, 3) and set(train.counts.values()) == {5}
    assert heldout.images.shape == (80, 32, 32, 3) and heldout.class_names == train.class_names
    check_labels(train, CIFAR100)


def test_places365(config_of, load_scaled):
    name = "configs/paper/imagenet_places365_5x500.flags"
    config = config_of(name)
    assert config.data.images_per_class == 500
    assert config.training.batch_size * config.training.accumulation == 2048
    # A fresh discriminator sees each image some tens of times before the transfer, and augmented.
    seen = config.discriminator.warmup_steps * 2048 / (5 * 500)
    assert 10 < seen < 50 and config.augmentation.policy
    for variant in ("pth", "fine_tune"):
        other = config_of(name.replace(".flags", f"_{variant}.flags"))
        assert (other.data, other.training) == (config.data, config.training)
        assert not (other.discriminator.warmup_steps or other.augmentation.policy)
    train, heldout = load_scaled(name, 128)
    assert train.images.shape == (25, 128, 128, 3)
    assert train.counts == dict.fromkeys(PLACES, 5)
    check_labels(train, tfds.builder("places365_small").info.features["label"].names)
    assert splits_of(heldout) == {VALIDATION} and heldout.counts == dict.fromkeys(PLACES, 1)


def write_folders(root, counts, size):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", size, (index, 0, 0)).save(root / name / f"{index}.png")
    return str(root)


def test_animalface(load_scaled, tmp_path):
    counts = {f"animal_{index:02d}": 1 + index % 3 for index in range(20)}
    folders = write_folders(tmp_path / "animalface", counts, (150, 140))
    name = "configs/paper/animalface_20x100.flags"
    train, heldout = load_scaled(name, 128, train=folders)
    assert train.images.shape == (39, 128, 128, 3) and train.counts == counts
    assert heldout is None


def test_table_1_on_glyphs(planned):
    """All six columns."""
    found = {}
    for run in planned["configs/table1/glyphs.json"]:
        given = dict(argument.split("=", 1) for argument in run.arguments)
        chosen = given.get("--config.data.classes")
        names = ast.literal_eval(chosen) if chosen else TARGET_CLASSES
        assert set(names) <= set(TARGET_CLASSES)
        found[run.name] = (len(names), int(given["--config.data.images_per_class"]))
    assert found == {f"{classes}x{images}": (classes, images) for classes, images in GRID}


def test_photos_few_shot(config_of, directories, tmp_path):
    config = config_of("configs/quickstart/photos_few_shot.flags")
    config.data.train = write_folders(tmp_path / "photos", {"a": 75, "b": 76}, (40, 36))
    train, heldout = load_data(config, 32)
    assert train.counts == {"a": 25, "b": 25} and heldout.counts == {"a": 50, "b": 51}
    config.data.train = write_folders(tmp_path / "few", {"a": 24, "b": 25}, (40, 36))
    with pytest.raises(ValueError, match="expected at least 25 images of class 'a'"):
        load_data(config, 32)
