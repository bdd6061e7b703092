"""Runs a feature network over many images: in batches, under a strategy, with progress."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.features.replicas import rounded_up, share_rows
from cgt_tf.progress import Progress


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """What a feature network says of n images.

    Attributes:
        features: float32 [n, d].
        logits: float32 [n, k], k = 0 where the network is no classifier.
    """

    features: np.ndarray
    logits: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: np.ndarray | slice) -> "Outputs":
        return Outputs(self.features[rows], self.logits[rows])


class Extractor:
    """A feature network, compiled for one batch size under one strategy.

    Args:
        net: The feature network, loaded in the strategy's scope.
        batch_size: Images of one call over all replicas; rounded up to a multiple of them. The
            last batch is filled up, so that the network is traced once.
        strategy: Each replica takes its share of a batch; None: one device.

    Raises:
        InputError: a batch size below 1.
    """

    def __init__(
        self,
        net: FeatureNet,
        batch_size: int = 100,
        strategy: tf.distribute.Strategy | None = None,
    ):
        if batch_size < 1:
            raise InputError(f"expected a batch size of at least 1, got {batch_size}")
        self.net = net
        self.batch_size = rounded_up(batch_size, strategy)
        self._outputs = share_rows(strategy, net.outputs)

    def __call__(
        self,
        images: np.ndarray | Iterable[np.ndarray],
        title: str = "features",
        total: int | None = None,
    ) -> Outputs:
        """Features and logits of images, in their order.

        Args:
            images: uint8 [n, H, W, 3], or an iterable of such batches of any sizes, which is read
                as it is needed.
            title: What the progress says is being done.
            total: N, where it is known beforehand.

        Raises:
            InputError: no images, or images of another kind.
        """
        if isinstance(images, np.ndarray):
            images, total = [images], len(images)
        outputs = list(self.stream(images, title, total))
        if not outputs:
            raise InputError("expected images uint8 [n, H, W, 3], got no batch at all")
        return Outputs(
            np.concatenate([part.features for part in outputs]),
            np.concatenate([part.logits for part in outputs]),
        )

    def stream(
        self, images: Iterable[np.ndarray], title: str = "features", total: int | None = None
    ) -> Iterator[Outputs]:
        """The same, a batch at a time."""
        with Progress(title, total) as progress:
            for batch in self._pieces(images):
                padding = [(0, self.batch_size - len(batch)), (0, 0), (0, 0), (0, 0)]
                outputs = self._outputs(tf.constant(np.pad(batch, padding)))
                features, logits = (part.numpy()[: len(batch)] for part in outputs[:2])
                yield Outputs(features, logits)
                progress.add(len(batch))

    def _pieces(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            batch = check_images(batch)
            for start in range(0, len(batch), self.batch_size):
                yield batch[start : start + self.batch_size]


def check_images(images: np.ndarray) -> np.ndarray:
    """Returns `images` if they are uint8 [n >= 1, H, W, 3]; raises InputError otherwise."""
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(
            f"expected images uint8 [n, H, W, 3], got {array.dtype} {list(array.shape)}"
        )
    return array
