"""Traffic signs, painted on a square board: rims, grounds and pictograms."""

from collections.abc import Callable
from functools import partial

import numpy as np

from mergelib.suites.vision_desk.board import Board, Point

RED, BLUE, WHITE, BLACK = (190, 25, 35), (20, 80, 165), (240, 240, 235), (25, 25, 30)
YELLOW, GREY = (245, 195, 25), (150, 150, 150)
Painter = Callable[[Board, str], None]
TRIANGLE = [(0.0, -0.82), (0.86, 0.68), (-0.86, 0.68)]


def regular(n: int, radius: float, turn: float = 0.0) -> list[Point]:
    """Corners of a regular n-gon, the first one straight up when `turn` (degrees) is zero."""
    angles = np.deg2rad(turn - 90 + 360 * np.arange(n) / n)
    return [(radius * np.cos(a), radius * np.sin(a)) for a in angles]


def scaled(points: list[Point], factor: float, centre: Point = (0.0, 0.18)) -> list[Point]:
    """Points drawn towards a centre."""
    cx, cy = centre
    return [(cx + factor * (x - cx), cy + factor * (y - cy)) for x, y in points]


def prohibition(board: Board) -> None:
    board.disc(0, 0, 0.9, RED)
    board.disc(0, 0, 0.68, WHITE)


def mandatory(board: Board) -> None:
    board.disc(0, 0, 0.9, WHITE)
    board.disc(0, 0, 0.86, BLUE)


def warning(board: Board) -> None:
    board.polygon(TRIANGLE, RED)
    board.polygon(scaled(TRIANGLE, 0.7), WHITE)


def arrow(board: Board, start: Point, end: Point, width: float, colour) -> None:
    """A straight arrow whose head ends at `end`."""
    (x0, y0), (x1, y1) = start, end
    length = float(np.hypot(x1 - x0, y1 - y0))
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    nx, ny = -uy, ux
    neck = (x1 - 1.6 * width * ux, y1 - 1.6 * width * uy)
    board.line([start, neck], width, colour)
    wing = 1.35 * width
    board.polygon(
        [
            end,
            (neck[0] + wing * nx, neck[1] + wing * ny),
            (neck[0] - wing * nx, neck[1] - wing * ny),
        ],
        colour,
    )


def speed(board: Board, font: str, limit: str = "30") -> None:
    prohibition(board)
    board.text(0, 0, limit, 0.72 if len(limit) == 2 else 0.54, font, BLACK)


def no_entry(board: Board, font: str) -> None:
    board.disc(0, 0, 0.9, WHITE)
    board.disc(0, 0, 0.86, RED)
    board.rectangle(-0.64, -0.17, 0.64, 0.17, WHITE)


def no_vehicles(board: Board, font: str) -> None:
    prohibition(board)


def no_overtaking(board: Board, font: str) -> None:
    prohibition(board)
    for x, colour in ((-0.29, RED), (0.29, BLACK)):
        board.rectangle(x - 0.23, -0.06, x + 0.23, 0.18, colour)
        board.polygon(
            [(x - 0.18, -0.05), (x - 0.12, -0.26), (x + 0.12, -0.26), (x + 0.18, -0.05)], colour
        )
        board.disc(x - 0.15, 0.2, 0.07, colour)
        board.disc(x + 0.15, 0.2, 0.07, colour)


def no_turn(board: Board, font: str, side: int = -1) -> None:
    prohibition(board)
    board.line([(-0.14 * side, 0.45), (-0.14 * side, -0.1)], 0.15, BLACK)
    arrow(board, (-0.14 * side, -0.1), (0.45 * side, -0.1), 0.15, BLACK)
    board.line([(-0.5, -0.5), (0.5, 0.5)], 0.11, RED)


def stop(board: Board, font: str) -> None:
    board.polygon(regular(8, 0.94, 22.5), WHITE)
    board.polygon(regular(8, 0.88, 22.5), RED)
    board.text(0, 0, "STOP", 0.42, font, WHITE)


def give_way(board: Board, font: str) -> None:
    down = [(x, -y) for x, y in TRIANGLE]
    board.polygon(down, RED)
    board.polygon(scaled(down, 0.62, (0.0, -0.18)), WHITE)


def priority(board: Board, font: str) -> None:
    board.polygon(regular(4, 0.95), WHITE)
    board.polygon(regular(4, 0.62), YELLOW)


def parking_ban(board: Board, font: str, strokes: int = 1) -> None:
    board.disc(0, 0, 0.9, RED)
    board.disc(0, 0, 0.7, BLUE)
    board.line([(-0.52, -0.52), (0.52, 0.52)], 0.18, RED)
    if strokes == 2:
        board.line([(0.52, -0.52), (-0.52, 0.52)], 0.18, RED)


def turn_ahead(board: Board, font: str, side: int = -1) -> None:
    mandatory(board)
    board.line([(-0.22 * side, 0.55), (-0.22 * side, -0.1)], 0.2, WHITE)
    arrow(board, (-0.22 * side, -0.1), (0.62 * side, -0.1), 0.2, WHITE)


def straight_on(board: Board, font: str) -> None:
    mandatory(board)
    arrow(board, (0, 0.6), (0, -0.65), 0.22, WHITE)


def keep(board: Board, font: str, side: int = 1) -> None:
    mandatory(board)
    arrow(board, (-0.42 * side, -0.42), (0.48 * side, 0.48), 0.22, WHITE)


def roundabout(board: Board, font: str) -> None:
    mandatory(board)
    for turn in (0, 120, 240):
        board.arc(0, 0, 0.47, (turn, turn + 62), 0.15, WHITE)
        tip, base = np.deg2rad(turn + 105), np.deg2rad(turn + 68)
        board.polygon(
            [(0.47 * np.cos(tip), 0.47 * np.sin(tip)), (0.7 * np.cos(base), 0.7 * np.sin(base)),
             (0.24 * np.cos(base), 0.24 * np.sin(base))],
            WHITE,
        )  # fmt: skip


def cycle_path(board: Board, font: str) -> None:
    mandatory(board)
    for x in (-0.36, 0.36):
        board.disc(x, 0.2, 0.28, WHITE)
        board.disc(x, 0.2, 0.2, BLUE)
    frame = [(-0.36, 0.2), (-0.14, -0.2), (0.22, -0.2), (0.02, 0.2), (-0.14, -0.2), (-0.18, -0.32)]
    board.line(frame, 0.07, WHITE)
    board.line([(0.36, 0.2), (0.18, -0.36), (0.34, -0.4)], 0.07, WHITE)


def danger(board: Board, font: str) -> None:
    warning(board)
    board.polygon([(-0.1, -0.3), (0.1, -0.3), (0.055, 0.26), (-0.055, 0.26)], BLACK)
    board.disc(0, 0.4, 0.09, BLACK)


def crossroads(board: Board, font: str) -> None:
    warning(board)
    board.line([(-0.24, -0.06), (0.24, 0.42)], 0.14, BLACK)
    board.line([(0.24, -0.06), (-0.24, 0.42)], 0.14, BLACK)


def bend(board: Board, font: str, side: int = -1) -> None:
    warning(board)
    board.line([(-0.2 * side, 0.48), (-0.2 * side, 0.18)], 0.16, BLACK)
    arrow(board, (-0.2 * side, 0.18), (0.24 * side, -0.26), 0.16, BLACK)


def uneven(board: Board, font: str) -> None:
    warning(board)
    board.rectangle(-0.46, 0.34, 0.46, 0.46, BLACK)
    for x in (-0.24, 0.24):
        board.disc(x, 0.34, 0.17, BLACK)


def end_of_limits(board: Board, font: str) -> None:
    board.disc(0, 0, 0.9, BLACK)
    board.disc(0, 0, 0.86, WHITE)
    for shift in (-0.2, -0.07, 0.07, 0.2):
        board.line([(-0.5 + shift, 0.5 + shift), (0.5 + shift, -0.5 + shift)], 0.06, BLACK)


SIGNS: dict[str, Painter] = {
    "speed limit 30": partial(speed, limit="30"),
    "speed limit 50": partial(speed, limit="50"),
    "speed limit 100": partial(speed, limit="100"),
    "no entry": no_entry,
    "no vehicles": no_vehicles,
    "no overtaking": no_overtaking,
    "no left turn": partial(no_turn, side=-1),
    "no right turn": partial(no_turn, side=1),
    "stop": stop,
    "give way": give_way,
    "priority road": priority,
    "no parking": parking_ban,
    "no stopping": partial(parking_ban, strokes=2),
    "turn left ahead": partial(turn_ahead, side=-1),
    "turn right ahead": partial(turn_ahead, side=1),
    "ahead only": straight_on,
    "keep right": partial(keep, side=1),
    "roundabout": roundabout,
    "cycle path": cycle_path,
    "danger": danger,
    "crossroads": crossroads,
    "bend to the left": partial(bend, side=-1),
    "bend to the right": partial(bend, side=1),
    "uneven road": uneven,
    "end of all limits": end_of_limits,
}
