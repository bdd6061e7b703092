"""Latents, and what truncation does to them: 1 draws standard normals, as published FIDs do; t < 1
draws t times a normal cut to [-2, 2], as the BigGAN modules on TF-Hub advise.

Both draws are on the CPU with a named algorithm, so that they are the same whatever devices there
are: the automatic choice differs between kinds of device.
"""

import tensorflow as tf

_PHILOX = tf.random.Algorithm.PHILOX.value
_CHUNK = 100  # Latents of one key in the endless sequence of a seed.


def draw_latents(
    seed: int, start: int, stop: int, dim_z: int, truncation: float = 1.0
) -> tf.Tensor:
    """Latents number `start` to `stop` (excluded) of the endless sequence that `seed` stands for.

    Args:
        seed: Any int64.
        start: First index, >= 0.
        stop: Past the last index.
        dim_z: Width of a latent.
        truncation: In (0, 1], see above.

    Returns:
        float32 [stop - start, dim_z].
    """
    draw = tf.random.stateless_normal if truncation == 1 else tf.random.stateless_truncated_normal
    first = start // _CHUNK
    with tf.device("/CPU:0"):
        chunks = [
            draw([_CHUNK, dim_z], seed=tf.constant([seed, chunk], tf.int64), alg="philox")
            for chunk in range(first, -(-stop // _CHUNK))
        ]
        latents = tf.concat(chunks, axis=0)[start - first * _CHUNK : stop - first * _CHUNK]
        return latents * truncation


def latents_from_seeds(seeds, dim_z: int, truncation=None) -> tf.Tensor:
    """The latent that each seed stands for, whatever other seeds come with it.

    Args:
        seeds: int64 [B], any values.
        dim_z: Width of a latent.
        truncation: float32 scalar, or [B] for each row its own, in (0, 1], see above. None: 1 for
            all rows.

    Returns:
        float32 [B, dim_z].
    """
    seeds = tf.convert_to_tensor(seeds, tf.int64)
    if truncation is None:
        return _normals(seeds, dim_z)
    truncation = tf.convert_to_tensor(truncation, tf.float32)
    return _latents(seeds, dim_z, tf.broadcast_to(truncation, tf.shape(seeds)))


@tf.function(reduce_retracing=True, autograph=False)
def _normals(seeds, dim_z):
    return _row_by_row(lambda seed: _draw("StatelessRandomNormalV2", seed, dim_z), seeds, dim_z)


@tf.function(reduce_retracing=True, autograph=False)
def _latents(seeds, dim_z, truncation):
    def row(given):
        seed, limit = given
        return tf.cond(
            limit < 1.0,
            lambda: limit * _draw("StatelessTruncatedNormalV2", seed, dim_z),
            lambda: _draw("StatelessRandomNormalV2", seed, dim_z),
        )

    return _row_by_row(row, (seeds, truncation), dim_z)


def _row_by_row(function, rows, dim_z):
    # A loop, because TensorFlow draws from one key a call. Philox itself could be computed for all
    # rows at once, but what these operations make of its integers depends on the C library's logf
    # and sincosf, which no TensorFlow operation gives to the last bit.
    with tf.device("/CPU:0"):
        return tf.map_fn(function, rows, fn_output_signature=tf.TensorSpec([dim_z], tf.float32))


def _draw(operation: str, seed, dim_z):
    # What tf.random.stateless_normal does, without its multiplication by 1 and addition of 0.
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=tf.stack([seed, 0]))
    draw = getattr(tf.raw_ops, operation)
    return draw(shape=[dim_z], key=key, counter=counter, alg=_PHILOX)
