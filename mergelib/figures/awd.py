"""Adaptive weight disentanglement: its geometry, its solvers, and where its δ lies."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Arc, Circle

from mergelib.figures.axes import legend_above
from mergelib.figures.style import BLACK, GREY, LINES, WIDTH, method_style

ELEVATION = 24  # degrees, of the eye over the three task vectors


def right_angle_figure(flat, flat_delta, solid, solid_delta):
    """Two task vectors in a plane (left) and three in space (right), seen from θ0 and from δ.

    `flat` is (2, 2) and `solid` (3, 3), a task vector a row; `flat_delta` (2,) and `solid_delta`
    (3,) are the points δ. In the plane, the points from which τ₁ and τ₂ are seen at right angles
    are the circle with the diameter τ₁τ₂ (Thales). The angles are computed from the points.
    Raises ValueError for other shapes. Returns the figure.
    """
    given = [np.asarray(x, dtype=float) for x in (flat, flat_delta, solid, solid_delta)]
    for name, x, shape in zip(
        ("flat", "flat_delta", "solid", "solid_delta"),
        given,
        ((2, 2), (2,), (3, 3), (3,)),
        strict=True,
    ):
        if x.shape != shape:
            raise ValueError(f"{name} must be of shape {shape}, not {x.shape}")
    # Placed by hand: the automatic layout cannot measure axes in space.
    figure = plt.figure(figsize=(WIDTH, 3.4), layout="none")
    _plane(figure.add_axes((0, 0.02, 0.48, 0.86)), *given[:2])
    _space(figure.add_axes((0.52, 0.02, 0.46, 0.86), projection="3d"), *given[2:])
    return figure


def objective_curve(
    trajectories: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    exact: tuple[float, float],
):
    """The objective against seconds: descents as lines, the exact solver as one point.

    `trajectories` maps a label to (seconds, objective), both (n,); `exact` is one such pair of
    numbers. The time axis is logarithmic: what was reached at time 0 is not shown. Returns the
    figure.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.0))
    shades = np.linspace(0.1, 0.6, len(trajectories))
    for k, (label, (seconds, objective)) in enumerate(trajectories.items()):
        seconds, objective = np.asarray(seconds), np.asarray(objective)
        look = {"color": str(shades[k]), "linestyle": LINES[k % len(LINES)]}
        axis.plot(seconds[seconds > 0], objective[seconds > 0], label=label, **look)
    style = method_style("awd_task_arithmetic")
    axis.axhline(exact[1], color=style["color"], linewidth=0.8, linestyle=":")
    axis.plot(*exact, linestyle="", label="exact", **style | {"markersize": 9})
    axis.annotate(f"{_duration(exact[0])}", exact, (0, 8), textcoords="offset points", ha="center")
    axis.set(xscale="log", xlabel="time (s)", ylabel="mean |cos| + α‖δ‖")
    axis.margins(y=0.12)
    legend_above(axis, 4)
    return figure


def redundant_by_depth(names: Sequence[str], share: Mapping[str, Sequence[float]]):
    """‖δ‖ as a share of the mean ‖τ‖ in each of n groups of layers, one line a granularity.

    `names` are the groups in order of depth; `share` maps a label to (n,) shares. Returns the
    figure.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.0))
    style = method_style("awd_task_arithmetic")
    for k, (label, values) in enumerate(share.items()):
        look = {**style, "linestyle": LINES[k % len(LINES)], "markersize": 4}
        fill = style["color"] if k == 0 else "white"
        axis.plot(100 * np.asarray(values), label=label, markerfacecolor=fill, **look)
    axis.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axis.set(ylabel="‖δ‖ (% of the mean ‖τ‖)", ylim=(0, None))
    axis.legend(title="δ of each")
    return figure


def _plane(axis, points: np.ndarray, delta: np.ndarray) -> None:
    green = method_style("awd_task_arithmetic")["color"]
    centre, radius = points.mean(axis=0), np.linalg.norm(points[0] - points[1]) / 2
    axis.add_patch(Circle(centre, radius, fill=False, color=GREY, linewidth=0.8, linestyle=":"))
    for k, point in enumerate(points):
        _arrow(axis, np.zeros(2), point, BLACK)
        _arrow(axis, delta, point, green, linestyle="--")
        outward = 10 * (point - delta) / np.linalg.norm(point - delta)
        _label(axis, point, f"τ{_index(k)}", outward, BLACK)
    if np.linalg.norm(delta) > 0:
        _arrow(axis, np.zeros(2), delta, green)
    size = np.linalg.norm(points, axis=1).max()
    # At θ0 the label keeps clear of δ, which lies near the bisector.
    for corner, colour, share, at in ((np.zeros(2), BLACK, 0.42, 0.74), (delta, green, 0.3, 0.5)):
        rays = points - corner
        start, end = np.sort(np.degrees(np.arctan2(rays[:, 1], rays[:, 0])))
        if end - start > 180:
            start, end = end, start + 360
        arc = Arc(corner, share * size, share * size, theta1=start, theta2=end, color=colour)
        axis.add_patch(arc)
        middle = np.radians(start + at * (end - start))
        ray = np.array([np.cos(middle), np.sin(middle)])
        where = corner + 0.5 * share * size * ray
        _label(axis, where, f"{_angle(*rays):.0f}°", 17 * ray, colour)
    aside = np.array([points[:, 1].mean(), -points[:, 0].mean()])
    aside = 11 * aside / max(np.linalg.norm(aside), 1e-12)
    _label(axis, np.zeros(2), "θ₀", -np.array([7, 7]), BLACK)
    _label(axis, delta, "δ", aside, green)
    axis.update_datalim(np.vstack([np.zeros((1, 2)), points]))
    axis.margins(0.08)
    before, after = (_angle(*(points - corner)) for corner in (np.zeros(2), delta))
    axis.set_title(f"two: angle {before:.0f}° from θ₀,\n{after:.0f}° from δ")
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_axis_off()


def _space(axis, points: np.ndarray, delta: np.ndarray) -> None:
    green, zero = method_style("awd_task_arithmetic")["color"], np.zeros(3)
    for k, point in enumerate(points):
        axis.plot(*np.stack([zero, point], 1), color=BLACK, marker="")
        axis.plot(*np.stack([delta, point], 1), color=green, linestyle="--", marker="")
        axis.scatter(*point, color=BLACK, s=16)
        axis.text(*(1.1 * point), f"τ{_index(k)}", ha="center", va="center")
    axis.plot(*np.stack([zero, delta], 1), color=green, marker="")
    axis.scatter(*delta, color=green, s=24)
    axis.scatter(*zero, color=BLACK, s=16)
    drop = 0.12 * np.linalg.norm(points, axis=1).max()
    axis.text(0, 0, -drop, "θ₀", ha="center", va="center")
    axis.text(*(delta - [0, 0, drop]), "δ", ha="center", va="center", color=green)
    pairs = ((0, 1), (0, 2), (1, 2))
    seen = [[_angle(points[i] - o, points[j] - o) for i, j in pairs] for o in (zero, delta)]
    before, after = (", ".join(f"{a:.0f}°" for a in angles) for angles in seen)
    axis.set_title(f"three: angles {before} from θ₀,\n{after} from δ")
    axis.set_box_aspect(np.ptp(np.vstack([points, zero[None]]), axis=0) + 1e-9, zoom=1.1)
    axis.set(xticklabels=[], yticklabels=[], zticklabels=[])
    axis.view_init(elev=ELEVATION, azim=_azimuth(np.vstack([points, delta])))


def _azimuth(rays: np.ndarray) -> int:
    """The direction (degrees) from which no two of the (n, 3) rays cover each other.

    Seen from there, the smallest of the areas that two rays span is as large as it gets: neither
    is the angle between them small nor one of them seen end on.
    """
    units = rays / np.linalg.norm(rays, axis=1, keepdims=True).clip(1e-300)

    def clearance(azimuth: int) -> float:
        e, a = np.radians(ELEVATION), np.radians(azimuth)
        right = np.array([-np.sin(a), np.cos(a), 0])
        up = np.array([-np.sin(e) * np.cos(a), -np.sin(e) * np.sin(a), np.cos(e)])
        x, y = units @ right, units @ up
        areas = np.abs(np.outer(x, y) - np.outer(y, x))
        return float(areas[np.triu_indices(len(units), 1)].min())

    return max(range(-180, 180, 5), key=clearance)


def _arrow(axis, start, end, colour, linestyle="-") -> None:
    look = {"arrowstyle": "-|>", "color": colour, "lw": 1.4, "linestyle": linestyle}
    axis.annotate("", end, start, arrowprops=look | {"shrinkA": 0, "shrinkB": 0})


def _label(axis, where, text, offset, colour) -> None:
    look = {"textcoords": "offset points", "color": colour, "ha": "center", "va": "center"}
    axis.annotate(text, where, tuple(offset), **look)


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """The angle between two vectors in degrees."""
    cosine = a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _index(k: int) -> str:
    return "₁₂₃"[k]


def _duration(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 1 else f"{1000 * seconds:.2g} ms"
