"""cgt-features: trains a small classifier of your own images, whose features score generated ones.

  cgt-features --data=photos/ --output=photos.keras
  cgt-evaluate --workdir=runs/photos --features=photos.keras

For data that no pretrained network suits. Its features are a scale of their own: compare scores of
one file only. Held-out accuracy is measured on a test split, else on images that are kept from the
training; it is printed and kept in the file with the names of the classes, and shown with scores.
"""

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
_NETWORK = flags.DEFINE_enum(
    "network",
    "small",
    ["small", "residual"],
    "small: 64 features, for letters; residual: 128 features, for photographs, slower.",
)
_FLIP = flags.DEFINE_bool("flip", False, "Mirror images at random; not for letters.")
_EPOCHS = flags.DEFINE_integer(
    "epochs", 0, "Passes over the images; 0: at least 4, and 1,000 steps.", lower_bound=0
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images of one step.", lower_bound=1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 2e-3, "Of Adam; decays to 0.", lower_bound=0.0)
_SEED = flags.DEFINE_integer("seed", 0, "Of weights, draws and shuffling.", lower_bound=0)
_CACHE_DIR = flags.DEFINE_string("cache_dir", "", "As --config.data.cache_dir of cgt-train.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a file at --output.")


def main(argv):
    common.no_arguments(argv)
    common.require(_DATA.value, "--data", "<data spec, or several>")
    common.require(_OUTPUT.value, "--output", "<file ending in .keras>")
    output = Path(_OUTPUT.value)
    if output.suffix != ".keras" or not output.absolute().parent.is_dir():
        raise InputError(f"--output must end in .keras, in an existing directory, got {output}")
    if output.exists() and not _OVERWRITE.value:
        raise InputError(f"--output must be a new file, or with --overwrite, got {output}")
    common.check_output(output, "--output")
    common.check_finite(_LEARNING_RATE.value, "--learning_rate", above=0)

    from cgt_tf.features import classifier

    train, heldout = _load(classifier)
    settings = classifier.Settings(
        network=_NETWORK.value,
        epochs=_EPOCHS.value,
        batch_size=_BATCH_SIZE.value,
        learning_rate=_LEARNING_RATE.value,
        flip=_FLIP.value,
        seed=_SEED.value,
    )
    model = classifier.train_classifier(train, settings)
    report = classifier.report(model, heldout)
    print(report.lines())
    facts = report.facts(train, settings.epochs_of(train))
    classifier.save_classifier(model, facts, output)
    print(f"{output}: {model.count_params()} parameters, {train.num_classes} classes")
    if facts.warning():
        print(f"warning: {facts.warning()}")
    print(f"next: cgt-evaluate --workdir=<run> --features={output}")


def _load(classifier):
    """Training and held-out images of all specs, labelled across them."""
    from cgt_tf.data.sources import load_train_and_heldout

    pairs = []
    for spec in _DATA.value:
        train, heldout = load_train_and_heldout(
            spec,
            resolution=_RESOLUTION.value,
            images_per_class=_IMAGES_PER_CLASS.value,
            seed=_SEED.value,
            cache_dir=_CACHE_DIR.value or None,
        )
        pairs.append((train, heldout) if heldout else classifier.hold_out(train, _SEED.value))
    return tuple(classifier.join(list(sets)) for sets in zip(*pairs, strict=True))


def entry_point():
    common.run(main, "cgt-features", __doc__)


if __name__ == "__main__":
    entry_point()
