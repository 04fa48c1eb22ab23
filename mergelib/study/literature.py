"""Numbers that others published, as `data/published/` keeps them; data/README.md says whence."""

from mergelib.storage import ROOT


def published(name: str):
    """The table `data/published/<name>.csv`. Raises FileNotFoundError listing the known ones."""
    import pandas as pd

    folder = ROOT / "data" / "published"
    path = folder / f"{name}.csv"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.csv")))
        raise FileNotFoundError(f"no published table {name!r} (known: {known})")
    return pd.read_csv(path)
