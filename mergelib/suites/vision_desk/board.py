"""A drawing board in unit coordinates, drawn large and reduced so that edges come out smooth."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mergelib.suites.vision_desk import fonts
from mergelib.suites.vision_desk.colours import Colour

Point = tuple[float, float]
FINE = 3


class Board:
    """A transparent canvas of `width` × `height` pixels.

    x runs from -1 (left) to 1 (right); y runs downwards, and one unit of y is as long as one of
    x, so that a square board spans [-1, 1] in both.
    """

    def __init__(self, width: int, height: int, ground: Colour | None = None) -> None:
        fill = (128, 128, 128, 0) if ground is None else (*ground, 255)
        self.image = Image.new("RGBA", (width * FINE, height * FINE), fill)
        self.draw = ImageDraw.Draw(self.image)
        self.unit = width * FINE / 2
        self.middle = (width * FINE / 2, height * FINE / 2)

    def place(self, points: Sequence[Point]) -> list[Point]:
        """Unit coordinates in pixels of the fine canvas."""
        return [(self.middle[0] + x * self.unit, self.middle[1] + y * self.unit) for x, y in points]

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.draw.polygon(self.place(points), fill=(*colour, 255))

    def rectangle(
        self, left: float, top: float, right: float, bottom: float, colour: Colour
    ) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        corners = self.place([(x - radius, y - radius), (x + radius, y + radius)])
        self.draw.ellipse([*corners[0], *corners[1]], fill=(*colour, 255))

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A stroke with round joints and ends."""
        self.draw.line(self.place(points), fill=(*colour, 255), width=round(width * self.unit))
        for x, y in points:
            self.disc(x, y, width / 2, colour)

    def arc(
        self, x: float, y: float, radius: float, degrees: Point, width: float, colour: Colour
    ) -> None:
        """Part of a circle, from degrees[0] to degrees[1], clockwise from the right."""
        angles = np.deg2rad(np.linspace(*degrees, 24))
        points = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
        self.line(points, width, colour)

    def star(self, x: float, y: float, radius: float, turn: float, colour: Colour) -> None:
        """A five-pointed star, one point up when `turn` (degrees) is zero."""
        angles = np.deg2rad(turn - 90 + 36 * np.arange(10))
        reach = np.where(np.arange(10) % 2 == 0, radius, 0.382 * radius)
        points = zip(x + reach * np.cos(angles), y + reach * np.sin(angles), strict=True)
        self.polygon(list(points), colour)

    def text(
        self, x: float, y: float, words: str, height: float, font: str, colour: Colour
    ) -> None:
        """Words whose capitals are about `height` tall, centred at (x, y)."""
        face = fonts.font(font, round(height * self.unit / 0.72))
        self.draw.text(self.place([(x, y + height / 2)])[0], words, (*colour, 255), face, "ms")

    def pixels(self) -> np.ndarray:
        """(height, width, 4) uint8."""
        return np.asarray(self.image.reduce(FINE))
