"""Signs of a failing run at each evaluation: D's gap, collapse of the classes, no better score."""

from collections.abc import Sequence

# Keys of stats.jsonl: the score that evaluations give, and what is added here.
VARIANCE_RATIO = "variance_ratio"
LOGIT_GAP = "d_gap"


class LogitGap:
    """Mean D(real) - mean D(fake) of the steps since the last evaluation.

    A gap that keeps growing is a discriminator that has memorised its few real images.

    Args:
        records: The lines of `stats.jsonl` so far, so that a resumed run goes on counting.
    """

    def __init__(self, records: list[dict]):
        self._last_step = 0
        self._parts: list[tuple[int, float]] = []
        for record in records:
            if LOGIT_GAP in record:
                self._parts.clear()
            else:
                self.add(record)

    def add(self, record: dict) -> None:
        """Takes in the means of an interval of steps; records without D's logits are left out."""
        if "d_real" not in record:
            return
        steps = record["step"] - self._last_step
        self._last_step = record["step"]
        self._parts.append((steps, record["d_real"] - record["d_fake"]))

    def take(self) -> dict[str, float]:
        """The gap by its key, and starts over; empty where there was no step."""
        total = sum(steps for steps, _ in self._parts)
        if not total:
            return {}
        gap = sum(steps * gap for steps, gap in self._parts) / total
        self._parts.clear()
        return {LOGIT_GAP: gap}


def collapse_warnings(
    scores: dict[str, float], share: float, earlier: Sequence[dict] = ()
) -> list[str]:
    """One line where the generated images of a class vary too little, else nothing.

    Classes that start alike and are still where they started are no collapse: there is no warning
    before a score has improved on the first, unless the first ratio was a healthy one.

    Args:
        scores: Scores of an evaluation, with `VARIANCE_RATIO` where it was asked for: the variance
            of features within a class, generated over real, mean of the classes.
        share: The least ratio that is not warned about; 0: none is.
        earlier: Scores of the evaluations before it, the first one first.
    """
    ratio = scores.get(VARIANCE_RATIO)
    if ratio is None or ratio >= share or not _has_left_start([*earlier, scores], share):
        return []
    return [
        f"collapse: images within a class vary {ratio:.3g} times as much as real ones "
        f"({VARIANCE_RATIO}), less than the alarm's {share:g} (--config.training.collapse_share)"
    ]


def _has_left_start(scores: Sequence[dict], share: float) -> bool:
    """Whether the start varied enough, or a score was better than the first since."""
    if scores[0].get(VARIANCE_RATIO, 0.0) >= share:
        return True
    fids = [record["fid"] for record in scores if "fid" in record]
    if fids:
        return min(fids) < fids[0]
    ratios = [record[VARIANCE_RATIO] for record in scores if VARIANCE_RATIO in record]
    return max(ratios) > ratios[0]


class EarlyStop:
    """Ends a run after `patience` evaluations in a row without a better score than ever before.

    Args:
        patience: At least 1.

    Attributes:
        stale: Evaluations since the best one.
    """

    def __init__(self, patience: int):
        self._patience = patience
        self.stale = 0

    def count(self, improved: bool) -> None:
        self.stale = 0 if improved else self.stale + 1

    @property
    def due(self) -> bool:
        return self.stale >= self._patience

    def message(self, criterion: str, best: float | None) -> str:
        """One line, with the name of the score and its best value; None where there was none."""
        than = "" if best is None else f" than {best:.4g}"
        return (
            f"stopped early: no better {criterion}{than} in {self.stale} evaluations "
            "(--config.training.early_stop)"
        )
