"""Learning curves that the papers' authors published, from data/published/."""

from pathlib import Path

import pandas as pd

from mergelib.storage import ROOT

CURVES = ROOT / "data" / "published" / "adaptation_curves.csv"


def published_curves(path: Path = CURVES) -> dict[str, pd.DataFrame]:
    """Label → curve (step, accuracy in [0, 1]) of runs on the papers' eight tasks, CLIP ViT-B/32.

    A label is the method and, in brackets, what shares a coefficient; the two stages of Concrete
    AdaMerging are joined, the steps counted on. `data/README.md` says where the numbers come from.
    Raises FileNotFoundError if the file is missing.
    """
    table = pd.read_csv(path, keep_default_na=False)
    curves = {}
    for (method, by), rows in table.groupby(["method", "by"], sort=False):
        shift, parts = 0, []
        for _, stage in rows.groupby("stage", sort=False):
            parts.append(stage.assign(step=stage["step"] + shift))
            shift = int(parts[-1]["step"].max())
        joined = pd.concat(parts, ignore_index=True)
        curve = joined.assign(accuracy=joined["mean_accuracy"] / 100)[["stage", "step", "accuracy"]]
        curves[f"{method} ({by})" if by else method] = curve
    return curves
