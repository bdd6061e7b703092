"""Times the Frechet distance against other ways to compute it, and measures memory of the metrics.

    python tools/benchmark_metrics.py                      # needs scipy, which the package does not
    python tools/benchmark_metrics.py --memory=50000x50000 --metrics=fid,kid

The first compares 500 x 2048 with 5,000 x 2048 features, each way from the same float32 features to
the number. It fails unless the package's way is at least 3 times as fast as eigenvalues of the full
covariances (in both forms), 5 times as fast as scipy.linalg.sqrtm, and equal to each of them within
1e-6 relative. The ways take turns, so that other load on the machine meets all of them; the least
time of each counts.
The second computes each metric in a process of its own and prints its peak resident memory.
"""

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

from cgt_tf.errors import InputError
from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.gaussian import GaussianStatistics
from cgt_tf.metrics.kid import kernel_distance
from cgt_tf.metrics.kmmd import kernel_mmd
from cgt_tf.metrics.neighbours import nearest_neighbours
from cgt_tf.metrics.prdc import prdc

FLAGS = flags.FLAGS
flags.DEFINE_integer("real", 5000, "Real samples.", lower_bound=2)
flags.DEFINE_integer("fake", 500, "Generated samples.", lower_bound=2)
flags.DEFINE_integer("width", 2048, "Features.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of the features.", lower_bound=0)
flags.DEFINE_integer("repeats", 3, "Runs of each way; scipy's has one less.", lower_bound=2)
flags.DEFINE_string("memory", None, "Counts of real x generated samples to measure memory with.")
flags.DEFINE_list("metrics", ["fid", "kmmd", "kid", "prdc"], "Whose memory to measure.")

METRICS = {
    "none": lambda real, fake: 0.0,
    "fid": frechet_distance,
    "kmmd": kernel_mmd,
    "kid": kernel_distance,
    "prdc": lambda real, fake: prdc(real, fake)["density"],
    "neighbours": lambda real, fake: float(nearest_neighbours(real, fake, 5).distances.mean()),
}
_TOLERANCE = 1e-6
_WANTED_RATIOS = {
    "eigenvalues of full covariances": 3.0,
    "the same, cut to the lower rank": 3.0,
    "scipy.linalg.sqrtm": 5.0,
}


def features(count: int, width: int, seed: int, shift: float) -> np.ndarray:
    """Float32 [count, width], not negative, with correlated columns of decaying variance.

    As pooled activations after a ReLU have. The mixing is the same for each seed.
    """
    mixing = np.random.default_rng(12345).standard_normal((width, width), np.float32)
    mixing *= (np.arange(1, width + 1, dtype=np.float32) ** -0.5)[:, None]
    generator = np.random.default_rng(seed)
    result = np.empty((count, width), np.float32)
    for start in range(0, count, 2048):
        rows = result[start : start + 2048]
        np.matmul(generator.standard_normal(rows.shape, np.float32), mixing, out=rows)
        rows += shift
        np.maximum(rows, 0.0, out=rows)
    return result


def mean_and_covariance(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(axis=0, dtype=np.float64), np.cov(rows, rowvar=False, dtype=np.float64)


def by_eigenvalues(real: np.ndarray, fake: np.ndarray) -> float:
    """tr sqrt(C1 C2) by the eigenvalues of sqrt(C1) C2 sqrt(C1), all d x d."""
    (real_mean, real_covariance), (fake_mean, fake_covariance) = map(
        mean_and_covariance, (real, fake)
    )
    values, vectors = np.linalg.eigh(real_covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ fake_covariance @ root)
    # All but the first n - 1 are zeros up to rounding, which the root would magnify.
    kept = np.maximum(eigenvalues[-min(len(fake) - 1, len(values)) :], 0.0)
    spread = np.trace(real_covariance) + np.trace(fake_covariance) - 2.0 * np.sqrt(kept).sum()
    return float(np.sum((real_mean - fake_mean) ** 2) + spread)


def by_low_rank_eigenvalues(real: np.ndarray, fake: np.ndarray) -> float:
    """As `by_eigenvalues`, but with the factor of the generated covariance cut to its rank."""
    real_statistics, fake_statistics = (
        GaussianStatistics(*mean_and_covariance(rows), len(rows)) for rows in (real, fake)
    )
    return real_statistics.distance(fake_statistics)


def by_sqrtm(real: np.ndarray, fake: np.ndarray) -> float:
    """As most projects compute it."""
    from scipy.linalg import sqrtm

    (real_mean, real_covariance), (fake_mean, fake_covariance) = map(
        mean_and_covariance, (real, fake)
    )
    root = sqrtm(real_covariance @ fake_covariance)
    spread = np.trace(real_covariance + fake_covariance - 2.0 * root.real)
    return float(np.sum((real_mean - fake_mean) ** 2) + spread)


def benchmark() -> bool:
    """Prints times and differences; False if one of them misses its bound."""
    try:
        import scipy
    except ModuleNotFoundError as error:
        raise InputError(
            "expected scipy to compare with, which is not installed: pip install scipy"
        ) from error
    print(f"scipy {scipy.__version__}; times in seconds, least of {FLAGS.repeats} runs")
    real = features(FLAGS.real, FLAGS.width, FLAGS.seed, 1.0)
    fake = features(FLAGS.fake, FLAGS.width, FLAGS.seed + 1, 1.1)
    reference = GaussianStatistics.from_features(real)
    ways: dict[str, Callable[[], float]] = {
        "frechet_distance": lambda: frechet_distance(real, fake),
        "with kept reference statistics": lambda: reference.distance(
            GaussianStatistics.from_features(fake)
        ),
        "eigenvalues of full covariances": lambda: by_eigenvalues(real, fake),
        "the same, cut to the lower rank": lambda: by_low_rank_eigenvalues(real, fake),
        "scipy.linalg.sqrtm": lambda: by_sqrtm(real, fake),
    }
    values, seconds = {}, dict.fromkeys(ways, np.inf)
    for repeat in range(FLAGS.repeats):
        for name, way in ways.items():
            if name == "scipy.linalg.sqrtm" and repeat == FLAGS.repeats - 1:
                continue
            start = time.perf_counter()
            values[name] = way()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    ours, fine = values["frechet_distance"], True
    print(f"FID of {FLAGS.fake} x {FLAGS.width} against {FLAGS.real} x {FLAGS.width} = {ours:.9g}")
    for name in ways:
        ratio = seconds[name] / seconds["frechet_distance"]
        difference = abs(values[name] / ours - 1.0)
        misses = ratio < _WANTED_RATIOS.get(name, 0.0) or not difference <= _TOLERANCE
        fine = fine and not misses
        print(
            f"{name:<36} {seconds[name]:8.3f} s {ratio:8.2f} x, relative difference "
            f"{difference:.1e}{', MISSES its bound' if misses else ''}"
        )
    return fine


def measure_memory(counts: str) -> None:
    """Prints the peak memory and the time of each metric, in a process of its own."""
    unknown = [name for name in FLAGS.metrics if name not in METRICS]
    if unknown or [part.isdigit() for part in counts.split("x")] != [True, True]:
        raise InputError(
            f"expected --memory=<real>x<generated> and metrics out of {list(METRICS)}, got "
            f"{counts!r} and {FLAGS.metrics}"
        )
    for name in FLAGS.metrics:
        command = [sys.executable, __file__, "one", name, counts, str(FLAGS.width), str(FLAGS.seed)]
        subprocess.run(command, check=True)


def measure_one(name: str, counts: str, width: str, seed: str) -> None:
    numbers = [int(count) for count in counts.split("x")]
    real, fake = (
        features(count, int(width), int(seed) + position, 1.0 + 0.1 * position)
        for position, count in enumerate(numbers)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    value = METRICS[name](real, fake)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{name:<10} of {counts} x {width} float32: peak {peak / 2**20:.2f} GiB resident "
        f"({before / 2**20:.2f} before), {seconds:.1f} s, value {value:.6g}",
        flush=True,
    )


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1:]}")
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, seed {FLAGS.seed}",
        flush=True,
    )
    try:
        if FLAGS.memory:
            measure_memory(FLAGS.memory)
        elif not benchmark():
            sys.exit(1)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        measure_one(*sys.argv[2:])
    else:
        app.run(main)
