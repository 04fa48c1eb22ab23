"""Time and memory of merging 8 checkpoints of the size of CLIP ViT-B/32's vision tower.

    python benchmarks/static_merging.py            # 8 × 87.5 M floats: 3.2 GB of files, minutes
    python benchmarks/static_merging.py --small    # a quick look

Makes a base and experts of random weights in a temporary folder, then runs, each in a process of
its own: reading the files into memory and writing one of them back without any arithmetic
("floor"), task arithmetic and TIES with mergelib, and both written as loops over dicts of tensors
with kthvalue, as published code has them ("loop"). Files are in the page cache when they are read
(unless memory is short), so reading means copying. Every case runs `--repeats` times in turn and
the fastest run of each is shown. Peak memory is the highest resident size of the process less
what it was after its imports, mapped file pages included.
"""

import json
import math
import sys
import time
from functools import partial
from pathlib import Path

import torch
from harness import in_a_process, machine, made_files, parser, peak_memory, show, turns
from safetensors.torch import load_file, save_file

import mergelib as ml

DENSITY, SCALE = 0.2, 0.3
STAGES = ("read", "merge", "write")


def vision_tower(width: int, layers: int, patch: int, image: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of transformers' CLIPVisionModel."""
    shapes = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "embeddings.position_embedding.weight": ((image // patch) ** 2 + 1, width),
    }
    for norm in ("pre_layrnorm", "post_layernorm"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for layer in range(layers):
        linear = {f"self_attn.{x}_proj": (width, width) for x in "qkv"}
        linear |= {"self_attn.out_proj": (width, width)}
        linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        linear |= {"layer_norm1": (width,), "layer_norm2": (width,)}
        for name, shape in linear.items():
            shapes[f"encoder.layers.{layer}.{name}.weight"] = shape
            shapes[f"encoder.layers.{layer}.{name}.bias"] = shape[:1]
    return {f"vision_model.{name}": shape for name, shape in shapes.items()}


def make_files(folder: Path, shapes: dict[str, tuple[int, ...]], tasks: int) -> None:
    """base.safetensors and task0 … of random weights; an expert differs from it by 1 % or so."""
    buffers = {"vision_model.embeddings.position_ids": torch.arange(50).unsqueeze(0)}
    generator = torch.Generator().manual_seed(0)

    def noise(shape: tuple[int, ...], scale: float) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * scale

    base = {name: noise(shape, 0.02) for name, shape in shapes.items()}
    save_file(base | buffers, folder / "base.safetensors")
    for task in range(tasks):
        expert = {name: weight + noise(weight.shape, 2e-4) for name, weight in base.items()}
        save_file(expert | buffers, folder / f"task{task}.safetensors")


def expert_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("task*.safetensors"))


def floor(folder: Path, clock) -> None:
    contents = []
    for path in [folder / "base.safetensors", *expert_files(folder)]:
        contents.append(bytearray(path.stat().st_size))
        with open(path, "rb", buffering=0) as file:
            file.readinto(contents[-1])
    clock("read")
    clock("merge")
    with open(folder / "floor.out", "wb", buffering=0) as file:
        file.write(contents[0])
    clock("write")


def with_mergelib(merge):
    def case(folder: Path, clock) -> None:
        files = {path.stem: path for path in expert_files(folder)}
        tv = ml.TaskVectors.from_files(folder / "base.safetensors", files)
        clock("read")
        merged = merge(tv)
        clock("merge")
        tv.layout.save(merged, folder / "merged.out")
        clock("write")

    return case


def read_dicts(folder: Path, clock) -> tuple[dict, list[dict]]:
    states = []
    for path in [folder / "base.safetensors", *expert_files(folder)]:
        state = load_file(path)
        # load_file maps the file; a copy is what reading it means.
        states.append({n: t.clone() for n, t in state.items() if t.is_floating_point()})
    clock("read")
    return states[0], states[1:]


def loop_task_arithmetic(folder: Path, clock) -> None:
    base, experts = read_dicts(folder, clock)
    vectors = [{name: state[name] - base[name] for name in base} for state in experts]
    total = {name: sum(vector[name] for vector in vectors) for name in base}
    merged = {name: base[name] + SCALE * total[name] for name in base}
    clock("merge")
    save_file(merged, folder / "loop.out")
    clock("write")


def loop_ties(folder: Path, clock) -> None:
    base, experts = read_dicts(folder, clock)
    names = sorted(base)

    def flat(state: dict) -> torch.Tensor:
        return torch.cat([state[name].reshape(-1) for name in names])

    start = flat(base)
    vectors = torch.stack([flat(state) - start for state in experts])
    experts.clear()
    rank = start.numel() - int(start.numel() * DENSITY) + 1
    # Row by row: kthvalue of the whole matrix would need 20 GB at full size.
    for row in vectors:
        magnitudes = row.abs()
        row *= magnitudes >= magnitudes.kthvalue(rank).values
    signs = torch.sign(vectors.sum(0))
    signs[signs == 0] = torch.sign(signs.sum())
    kept = torch.where(signs > 0, vectors > 0, vectors < 0)
    merged = start + SCALE * (vectors * kept).sum(0)
    parts = merged.split([base[name].numel() for name in names])
    merged = {n: part.view_as(base[n]) for n, part in zip(names, parts, strict=True)}
    clock("merge")
    save_file(merged, folder / "loop.out")
    clock("write")


CASES = {
    "floor": floor,
    "task arithmetic": with_mergelib(lambda tv: ml.merging.task_arithmetic(tv, SCALE)),
    "TIES": with_mergelib(lambda tv: ml.merging.ties(tv, DENSITY, SCALE)),
    "task arithmetic, loop": loop_task_arithmetic,
    "TIES, loop": loop_ties,
}


def run_case(name: str, folder: Path) -> dict[str, float]:
    """Seconds per stage, of processor time, and peak memory in bytes, in this process."""
    at_start = peak_memory()
    cpu_at_start = time.process_time()
    seconds = {}
    last = time.perf_counter()

    def clock(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[stage], last = now - last, now

    CASES[name](folder, clock)
    cpu = time.process_time() - cpu_at_start
    return seconds | {"cpu": cpu, "peak": peak_memory() - at_start}


def duration(result: dict[str, float]) -> float:
    """Seconds of all stages together."""
    return sum(result[stage] for stage in STAGES)


def processor(result: dict[str, float]) -> float:
    """Seconds of processor time."""
    return result["cpu"]


def main() -> None:
    asked = parser(__doc__, CASES)
    asked.add_argument("--small", action="store_true", help="a tower of 2 million weights")
    asked.add_argument("--tasks", type=int, default=8, help="number of experts")
    asked.add_argument("--folder", type=Path, help="where to put the files (default: temporary)")
    asked.add_argument("--repeats", type=int, default=2, help="runs of each case")
    options = asked.parse_args()
    if options.case:
        print(json.dumps(run_case(options.case, options.folder)))
        return

    shapes = vision_tower(192, 4, 16, 112) if options.small else vision_tower(768, 12, 32, 224)
    size = sum(math.prod(shape) for shape in shapes.values())
    numbers = 4 * options.tasks * size
    print(f"K = {options.tasks}, P = {size:,}, K×P = {numbers / 1e9:.2f} GB in float32")
    print(machine() + "\n")
    with made_files(make_files, shapes, options.tasks, folder=options.folder) as folder:
        run = {name: partial(in_a_process, ["--case", name, "--folder", folder]) for name in CASES}
        ended = {name: runs for name, runs in turns(run, options.repeats).items() if all(runs)}
    for name in [name for name in CASES if name not in ended]:
        print(f"{name}: memory was not enough", file=sys.stderr)
    best = {name: min(runs, key=duration) for name, runs in ended.items()}
    floors = [clock(best["floor"]) for clock in (duration, processor)]
    rows = {
        name: [
            *(result[stage] for stage in STAGES),
            duration(result),
            duration(result) / floors[0],
            processor(result),
            processor(result) / floors[1],
            result["peak"] / numbers,
        ]
        for name, result in best.items()
    }
    forms = ("8.2f", "8.2f", "8.2f", "8.2f", "8.1f", "8.2f", "8.1f", "8.2f")
    titles = (*STAGES, "total", "/floor", "cpu", "/floor", "peak")
    show(rows, list(zip(titles, forms, strict=True)), first=24)
    print(
        "\nread, merge, write, total: seconds on the clock; cpu: seconds of processor time, which "
        "other\nprograms disturb less; /floor: as a multiple of reading and writing alone; peak: "
        "of K×P floats"
    )


if __name__ == "__main__":
    main()
