"""National flags, painted on boards of 3 : 2."""

from collections.abc import Callable
from functools import partial

from mergelib.suites.vision_desk.board import Board
from mergelib.suites.vision_desk.colours import Colour

WIDTH, HEIGHT = 120, 80
HALF = HEIGHT / WIDTH
WHITE, BLACK, RED, BLUE = (245, 245, 245), (20, 20, 20), (205, 20, 40), (0, 50, 150)
GREEN, YELLOW, ORANGE, SKY = (0, 130, 65), (252, 205, 15), (250, 125, 30), (30, 110, 190)
Painter = Callable[[Board], None]


def bands(board: Board, colours: tuple[Colour, ...], shares: tuple[float, ...] = ()) -> None:
    """Horizontal bands from the top, equally high unless shares are given."""
    shares = shares or (1.0,) * len(colours)
    top = -HALF
    for colour, share in zip(colours, shares, strict=True):
        bottom = top + 2 * HALF * share / sum(shares)
        board.rectangle(-1, top, 1, bottom, colour)
        top = bottom


def pales(board: Board, colours: tuple[Colour, ...]) -> None:
    """Vertical bands of equal width from the hoist."""
    for i, colour in enumerate(colours):
        left = -1 + 2 * i / len(colours)
        board.rectangle(left, -HALF, left + 2 / len(colours), HALF, colour)


def nordic(board: Board, ground: Colour, cross: Colour, inner: Colour | None = None) -> None:
    """A cross shifted to the hoist, maybe with a second one in it."""
    board.rectangle(-1, -HALF, 1, HALF, ground)
    for colour, half in ((cross, 0.14 if inner else 0.11), (inner, 0.07)):
        if colour is not None:
            board.rectangle(-1, -half, 1, half, colour)
            board.rectangle(-0.28 - half, -HALF, -0.28 + half, HALF, colour)


def disc(board: Board, ground: Colour, colour: Colour, x: float = 0.0) -> None:
    board.rectangle(-1, -HALF, 1, HALF, ground)
    board.disc(x, 0, 0.4, colour)


def swiss(board: Board) -> None:
    board.rectangle(-1, -HALF, 1, HALF, RED)
    board.rectangle(-0.42, -0.13, 0.42, 0.13, WHITE)
    board.rectangle(-0.13, -0.42, 0.13, 0.42, WHITE)


def crescent(board: Board) -> None:
    board.rectangle(-1, -HALF, 1, HALF, RED)
    board.disc(-0.28, 0, 0.34, WHITE)
    board.disc(-0.2, 0, 0.27, RED)
    board.star(0.16, 0, 0.18, -18, WHITE)


def czech(board: Board) -> None:
    bands(board, (WHITE, RED))
    board.polygon([(-1, -HALF), (0, 0), (-1, HALF)], BLUE)


def sudan(board: Board) -> None:
    bands(board, (RED, WHITE, BLACK))
    board.polygon([(-1, -HALF), (-0.35, 0), (-1, HALF)], GREEN)


def bahamas(board: Board) -> None:
    bands(board, (SKY, YELLOW, SKY))
    board.polygon([(-1, -HALF), (-0.2, 0), (-1, HALF)], BLACK)


def greek(board: Board) -> None:
    stripe = 2 * HALF / 9
    for i in range(9):
        colour = SKY if i % 2 == 0 else WHITE
        board.rectangle(-1, -HALF + i * stripe, 1, -HALF + (i + 1) * stripe, colour)
    side = 5 * stripe
    board.rectangle(-1, -HALF, -1 + side, -HALF + side, SKY)
    board.rectangle(-1, -HALF + 2 * stripe, -1 + side, -HALF + 3 * stripe, WHITE)
    board.rectangle(-1 + 2 * stripe, -HALF, -1 + 3 * stripe, -HALF + side, WHITE)


def chile(board: Board) -> None:
    bands(board, (WHITE, RED))
    board.rectangle(-1, -HALF, -1 + HALF, 0, BLUE)
    board.star(-1 + HALF / 2, -HALF / 2, 0.19, 0, WHITE)


def american(board: Board) -> None:
    stripe = 2 * HALF / 13
    for i in range(13):
        colour = RED if i % 2 == 0 else WHITE
        board.rectangle(-1, -HALF + i * stripe, 1, -HALF + (i + 1) * stripe, colour)
    board.rectangle(-1, -HALF, -0.2, -HALF + 7 * stripe, BLUE)
    for row in range(9):
        for column in range(6 if row % 2 == 0 else 5):
            x = -0.93 + 0.133 * column + (0.0665 if row % 2 else 0)
            board.star(x, -HALF + 0.072 + 0.0718 * row, 0.04, 0, WHITE)


def vietnamese(board: Board) -> None:
    board.rectangle(-1, -HALF, 1, HALF, RED)
    board.star(0, 0, 0.4, 0, YELLOW)


def laotian(board: Board) -> None:
    bands(board, (RED, BLUE, RED), (1, 2, 1))
    board.disc(0, 0, 0.27, WHITE)


def jamaican(board: Board) -> None:
    board.rectangle(-1, -HALF, 1, HALF, GREEN)
    board.polygon([(-1, -HALF), (0, 0), (-1, HALF)], BLACK)
    board.polygon([(1, -HALF), (0, 0), (1, HALF)], BLACK)
    board.line([(-1.1, -HALF * 1.1), (1.1, HALF * 1.1)], 0.15, YELLOW)
    board.line([(-1.1, HALF * 1.1), (1.1, -HALF * 1.1)], 0.15, YELLOW)


FLAGS: dict[str, Painter] = {
    "France": partial(pales, colours=((0, 35, 149), WHITE, (237, 41, 57))),
    "Italy": partial(pales, colours=((0, 140, 69), WHITE, (205, 33, 42))),
    "Ireland": partial(pales, colours=((22, 155, 98), WHITE, (255, 136, 62))),
    "Belgium": partial(pales, colours=(BLACK, (250, 224, 66), (237, 41, 57))),
    "Peru": partial(pales, colours=((217, 16, 35), WHITE, (217, 16, 35))),
    "Nigeria": partial(pales, colours=((0, 135, 81), WHITE, (0, 135, 81))),
    "Germany": partial(bands, colours=(BLACK, (221, 0, 0), (255, 206, 0))),
    "Netherlands": partial(bands, colours=((174, 28, 40), WHITE, (33, 70, 139))),
    "Russia": partial(bands, colours=(WHITE, (0, 57, 166), (213, 43, 30))),
    "Hungary": partial(bands, colours=((206, 41, 57), WHITE, (71, 112, 80))),
    "Bulgaria": partial(bands, colours=(WHITE, (0, 150, 110), (214, 38, 18))),
    "Estonia": partial(bands, colours=((0, 114, 206), BLACK, WHITE)),
    "Lithuania": partial(bands, colours=((253, 185, 19), (0, 106, 68), (193, 39, 45))),
    "Armenia": partial(bands, colours=((217, 0, 18), (0, 51, 160), (242, 168, 0))),
    "Colombia": partial(
        bands, colours=((252, 209, 22), (0, 56, 147), (206, 17, 38)), shares=(2, 1, 1)
    ),
    "Austria": partial(bands, colours=((237, 41, 57), WHITE, (237, 41, 57))),
    "Poland": partial(bands, colours=(WHITE, (220, 20, 60))),
    "Ukraine": partial(bands, colours=((0, 87, 183), (255, 215, 0))),
    "Thailand": partial(
        bands,
        colours=((165, 25, 49), WHITE, (45, 42, 74), WHITE, (165, 25, 49)),
        shares=(1, 1, 2, 1, 1),
    ),
    "Sweden": partial(nordic, ground=(0, 106, 167), cross=(254, 204, 0)),
    "Denmark": partial(nordic, ground=(200, 16, 46), cross=WHITE),
    "Finland": partial(nordic, ground=WHITE, cross=(0, 47, 108)),
    "Norway": partial(nordic, ground=(186, 12, 47), cross=WHITE, inner=(0, 32, 91)),
    "Iceland": partial(nordic, ground=(2, 82, 156), cross=WHITE, inner=(220, 30, 53)),
    "Switzerland": swiss,
    "Japan": partial(disc, ground=WHITE, colour=(188, 0, 45)),
    "Bangladesh": partial(disc, ground=(0, 106, 78), colour=(244, 42, 65), x=-0.1),
    "Turkey": crescent,
    "Czechia": czech,
    "Sudan": sudan,
    "the Bahamas": bahamas,
    "Greece": greek,
    "Chile": chile,
    "the United States": american,
    "Vietnam": vietnamese,
    "Laos": laotian,
    "Jamaica": jamaican,
}
