"""Runs the pico study as other processors would, and derives the baseline from the runs.

    python tests/study/imitate.py [--write]

Processor and number of threads decide which kernels torch and oneDNN choose, and in which order
they add up; environment variables imitate others. Training amplifies the last digit, and a λ that
is chosen on 80 inputs may be another one. What the runs differ by says how far a number may lie
from the baseline on a machine that is none of these: `MARGIN` times as far, and never less than it
might before. With --write baseline.json gets the values of the first run, and these tolerances.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mergelib.cache.storage import ROOT
from mergelib.study.profiles import load_profile
from mergelib.study.results import write_json

BASELINE = Path(__file__).parent / "baseline.json"
IMITATED = {
    "as it is, one thread": {"OMP_NUM_THREADS": "1"},
    "as it is, two threads": {"OMP_NUM_THREADS": "2"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"},
    "no vectors": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
                   "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OMP_NUM_THREADS": "1"},
    "no vectors, two threads": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
                                "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OMP_NUM_THREADS": "2"},
}  # fmt: skip
MARGIN = 2.5


def run(folder: Path, environment: dict[str, str]) -> dict[str, dict]:
    """The numbers of all chapters of a pico run with these variables, nothing cached."""
    seen = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    seen |= {"MERGELIB_RESULTS": str(folder / "results"), "MERGELIB_CACHE": str(folder / "cache")}
    numbers = {}
    for name, chapter in load_profile("pico").chapters.items():
        command = [sys.executable, "-m", "mergelib.study", "run", str(chapter.path)]
        command += ["--profile", "pico", "--out", str(folder / f"{name}.ipynb")]
        subprocess.run(command, env=seen, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        numbers[name] = json.loads((folder / "results" / "pico" / f"{name}.json").read_text())
    return numbers


def tolerance(values: list[float], known: float) -> float:
    """How far a number may lie from the first of these, to two digits; never less than it was."""
    apart = max(abs(v - values[0]) for v in values)
    return max(known, float(f"{MARGIN * apart:.2g}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write baseline.json")
    options = parser.parse_args()
    runs = {}
    for name, environment in IMITATED.items():
        with tempfile.TemporaryDirectory() as folder:
            runs[name] = run(Path(folder), environment)
        print(f"{name}: done", flush=True)
    baseline = json.loads(BASELINE.read_text())
    for chapter, entries in baseline.items():
        for key, entry in entries.items():
            values = [numbers[chapter][key] for numbers in runs.values()]
            within = tolerance(values, entry["within"])
            print(f"{chapter} {key}: {', '.join(f'{v:.4g}' for v in values)} ± {within:g}")
            entry |= {"value": round(values[0], 4), "within": within}
    if options.write:
        write_json(BASELINE, baseline)


if __name__ == "__main__":
    main()
