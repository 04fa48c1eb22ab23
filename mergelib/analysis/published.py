"""Numbers that others published, as `data/published/` keeps them; data/README.md says whence."""

import pandas as pd

from mergelib.cache.storage import ROOT
from mergelib.methods import entries

FOLDER = ROOT / "data" / "published"


def published(name: str) -> pd.DataFrame:
    """The table `data/published/<name>.csv`, blank where a text is. FileNotFoundError names those
    there are."""
    path = FOLDER / f"{name}.csv"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.csv")))
        raise FileNotFoundError(f"no published table {name!r} (known: {known})")
    return pd.read_csv(path, keep_default_na=False)


def published_curves() -> dict[str, pd.DataFrame]:
    """Method → curve (step, accuracy in [0, 1]) of runs on the papers' eight tasks, CLIP ViT-B/32.

    A key is the registry's name and, as its variant, what has a coefficient of its own
    ("adamerging, task-wise"); the two stages of Concrete AdaMerging are joined, the steps counted
    on. `data/README.md` says where the numbers come from.
    """
    table = published("adaptation_curves")
    names = {method.title: name for name, method in entries.items()}
    curves = {}
    for (method, by), rows in table.groupby(["method", "by"], sort=False):
        shift, parts = 0, []
        for _, stage in rows.groupby("stage", sort=False):
            parts.append(stage.assign(step=stage["step"] + shift))
            shift = int(parts[-1]["step"].max())
        joined = pd.concat(parts, ignore_index=True)
        curve = joined.assign(accuracy=joined["mean_accuracy"] / 100)[["stage", "step", "accuracy"]]
        plus = " ++" if method.endswith("++") else ""
        key = names[method.removesuffix("++")]
        curves[f"{key}, {by}-wise{plus}" if by else key] = curve
    return curves


def published_kept() -> dict[str, pd.DataFrame]:
    """Model → accuracy in [0, 1] of E-WEMoE by the share `kept` of its task vectors, rising, on
    the papers' eight tasks, with routers of two layers.

    `data/README.md` says where the numbers come from.
    """
    table = published("ewemoe_kept")
    table = table[table["router"] == "two layers"]
    return {
        model: rows.assign(accuracy=rows["mean_accuracy"] / 100)
        .sort_values("kept", ignore_index=True)
        .loc[:, ["kept", "accuracy"]]
        for model, rows in table.groupby("model", sort=False)
    }
