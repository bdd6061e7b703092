"""Parts of a source make the images of their classes; and which source a run picks is printed."""

import re

import numpy as np
import pytest
from in_process import run_tool
from keras import ops
from PIL import Image

from cgt_tf.formats.native import read_model, save_model
from cgt_tf.methods.registry import create_config
from cgt_tf.networks.gan import Gan, create_gan, create_generator
from cgt_tf.networks.spec import GanSpec
from cgt_tf.runs.run_dir import RunDir

FIELDS = {"resolution": 8, "num_classes": 5, "dim_z": 8, "g_widths": (8, 8)}
FIELDS |= {"d_widths": (8, 8), "d_halvings": 1}
FORMS = {"shared": {"shared_dim": 6, "hierarchical": True}, "table": {}}
NAMES = list("abcde")
Z = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def images(generator, labels, z=Z):
    return ops.convert_to_numpy(generator(z[: len(labels)], np.array(labels))[0])


@pytest.mark.parametrize("form", FORMS)
def test_a_part_is_the_source_with_fewer_classes(form, tmp_path):
    source = create_gan(GanSpec(**FIELDS, **FORMS[form]), NAMES)
    save_model(source, tmp_path / "source", {"made": "here"})
    output = tmp_path / "parts"
    done = run_tool("split_source", f"--source=model:{tmp_path}/source", f"--output={output}")
    assert re.findall(r"(\d) classes, ([a-e ]+)$", done.stdout, re.M) == [
        ("3", "a b c"),
        ("2", "d e"),
    ]
    expected = images(source.generator, range(5), z=np.repeat(Z[:1], 5, axis=0))
    for i, labels in enumerate(([0, 1, 2], [3, 4])):
        part = read_model(output / f"part_{i}")
        assert part.class_names == [NAMES[label] for label in labels]
        found = images(part.generator, range(len(labels)), z=np.repeat(Z[:1], 5, axis=0))
        np.testing.assert_allclose(found, expected[labels], atol=1e-5)
        _, theirs = source.discriminator(found, np.array(labels))
        _, ours = part.discriminator(found, np.arange(len(labels)))
        np.testing.assert_allclose(ours["unconditional"], theirs["unconditional"], rtol=1e-4)
        ratio = ours["projection"] / theirs["projection"]
        np.testing.assert_allclose(ratio, np.full(len(labels), ratio[0]), rtol=1e-3)
        assert part.provenance["part"] == [i, 2] and part.provenance["of"] == {"made": "here"}


def test_more_parts_than_classes(tmp_path):
    save_model(create_gan(GanSpec(**FIELDS), NAMES), tmp_path / "source", {})
    arguments = f"--source=model:{tmp_path}/source", "--parts=6", f"--output={tmp_path}/parts"
    done = run_tool("split_source", *arguments, check=False)
    assert done.returncode == 2 and not (tmp_path / "parts").exists()
    assert "at most the source's 5 classes, got 6" in done.stderr


def write_images(directory, colours):
    for name, colour in colours.items():
        (directory / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (8, 8), colour).save(directory / name / f"{i}.png")


def test_the_report_of_what_is_picked(tmp_path):
    """Reddish new classes are near the first source's, whatever is picked."""
    reds = {"a": (255, 0, 0), "b": (220, 0, 0)}
    blues = {"c": (0, 0, 255), "d": (0, 0, 220)}
    write_images(tmp_path / "old", {**reds, **blues})
    write_images(tmp_path / "new", {"x": (240, 0, 0), "y": (0, 0, 240)})
    handles = []
    for i, names in enumerate((reds, blues)):
        gan = create_gan(GanSpec(**{**FIELDS, "num_classes": 2}), list(names))
        save_model(gan, tmp_path / str(i), {})
        handles.append(f"model:{tmp_path}/{i}")
    config = create_config("minegan", {"sources": tuple(handles), "selector": "frequency"})
    config.data.train = str(tmp_path / "new")
    spec = GanSpec(
        **{**FIELDS, "num_classes": 2},
        **{"wrapper": "selected", "table_classes": 2, "miner_softmax": True},
        **{"members": 2, "member_classes": (2, 2), "selector": "frequency"},
    )
    generator = create_generator(spec)
    generator.selector.counts.assign([[1.0, 0.0], [3.0, 1.0]])
    record = RunDir(tmp_path / "run")
    record.open(config, ("x", "y"))
    save_model(Gan(spec, generator, None, ["x", "y"]), record.snapshot_path(1), {})
    record.complete_checkpoint(1)
    make_mean_colours(tmp_path / "colours.keras")
    done = run_tool(
        *("selected_sources", f"--workdir={record.path}", "--checkpoint=1", "--relatives=2"),
        *(f"--old_images={tmp_path}/old", f"--features={tmp_path}/colours.keras"),
    )
    first, second, last = done.stdout.splitlines()
    assert re.fullmatch(r"x: picked 1.00 0.00; relatives by source 2 0: [ab]\(0\) [ab]\(0\)", first)
    found = re.fullmatch(
        r"y: picked (0\.\d\d) 0\.\d\d; relatives by source 0 2: [cd]\(1\) [cd]\(1\)", second
    )
    assert abs(float(found[1]) - 0.75) < 0.08
    assert last.startswith("in 1 of 2 classes the source that is picked most")
    assert "one and the same source for all would, at best, in 1;" in last


def make_mean_colours(path):
    import keras

    inputs = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D(name="features")(inputs)
    keras.Model(inputs, features).save(path)
