"""The images of a training, as its config names them."""

from cgt_tf.config import Config
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.sources import load_train_and_heldout


def load_data(config: Config, resolution: int) -> tuple[ImageSet, ImageSet | None]:
    """The few-shot training images and the held-out ones of a config.

    Args:
        config: Its `data` and, for the draw of the images, its `seed`.
        resolution: Side that images are brought to, in pixels.

    Returns:
        Both sets; None where nothing is held out.

    Raises:
        InputError: images that are not there, or too few.
    """
    data = config.data
    sets = load_train_and_heldout(
        data.train,
        resolution=resolution,
        classes=data.classes,
        images_per_class=data.images_per_class,
        seed=config.seed if data.draw_seed < 0 else data.draw_seed,
        cache_dir=data.cache_dir or None,
        heldout_spec=data.heldout,
        memory_gb=data.memory_gb,
    )
    if not data.unlabelled:
        return sets
    train, heldout = sets
    return train.without_labels(), heldout and heldout.without_labels()
