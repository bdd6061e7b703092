"""cgt-features: trains a small classifier of your own images, whose features score generated ones.

  cgt-features --data=photos/ --output=photos.keras
  cgt-evaluate --workdir=runs/photos --features=photos.keras

Compare scores of one file only: its features are a scale of their own. Its accuracy on a test
split, or on images kept from the training, is printed and stored in the file.
"""

import dataclasses
from pathlib import Path

from absl import flags

from cgt_tf.cli import common
from cgt_tf.errors import InputError

_DATA = flags.DEFINE_list("data", [], "Data specs; the classes of all of them are told apart.")
_OUTPUT = flags.DEFINE_string("output", None, "File to write, ending in .keras.")
_RESOLUTION = flags.DEFINE_integer(
    "resolution", 32, "Side of the images, in pixels.", lower_bound=8, upper_bound=1024
)
_IMAGES_PER_CLASS = flags.DEFINE_integer(
    "images_per_class", 0, "Trained on, drawn by --seed; 0: all.", lower_bound=0
)
flags.DEFINE_enum(
    "network",
    "small",
    ["small", "residual"],
    "small: 64 features, for letters; residual: 128 features, for photographs, slower.",
)
flags.DEFINE_bool("flip", False, "Mirror images at random; not for letters.")
flags.DEFINE_integer(
    "epochs", 0, "Passes over the images; 0: at least 4, and 1,000 steps.", lower_bound=0
)
flags.DEFINE_integer("batch_size", 128, "Images of one step.", lower_bound=1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 2e-3, "Of Adam; decays to 0.", lower_bound=0.0)
_SEED = flags.DEFINE_integer("seed", 0, "Of weights, draws and shuffling.", lower_bound=0)
_CACHE_DIR = flags.DEFINE_string("cache_dir", "", "As --config.data.cache_dir of cgt-train.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a file at --output.")


def main(argv):
    common.no_arguments(argv)
    common.require(_DATA.value, "--data", "<data spec, or several>")
    common.require(_OUTPUT.value, "--output", "<file ending in .keras>")
    common.check_file(_OUTPUT.value, "--output", ".keras")
    output = Path(_OUTPUT.value)
    if output.exists() and not _OVERWRITE.value:
        raise InputError(f"--output must be a new file, or with --overwrite, got {output}")
    common.check_finite(_LEARNING_RATE.value, "--learning_rate", above=0)

    from cgt_tf.features import classifier, classifier_data

    train, heldout = classifier_data.load(
        _DATA.value,
        resolution=_RESOLUTION.value,
        images_per_class=_IMAGES_PER_CLASS.value,
        seed=_SEED.value,
        cache_dir=_CACHE_DIR.value or None,
    )
    fields = (field.name for field in dataclasses.fields(classifier.Settings))
    settings = classifier.Settings(**{name: flags.FLAGS[name].value for name in fields})
    model = classifier.train_classifier(train, settings)
    report = classifier.report(model, heldout)
    print(report.lines())
    facts = report.facts(train, settings.epochs_of(train))
    classifier.save_classifier(model, facts, output)
    print(f"{output}: {model.count_params()} parameters, {train.num_classes} classes")
    warnings = [f"warning: {text}" for text in (facts.warning(),) if text]
    print("\n".join([*warnings, f"next: cgt-evaluate --workdir=<run> --features={output}"]))


def entry_point():
    common.run(main, "cgt-features", __doc__)


if __name__ == "__main__":
    entry_point()
