"""Pictures of games as pixels, for videos."""

import base64
import io
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from understudy.games.pictures import PALETTE, Frame, Scene, Shape

FINER = 3
"""Times as many pixels are painted along each side as are shown, so that edges are smooth."""


def paint(scene: Scene, frame: Frame, scale: int, dark: bool = False) -> Image.Image:
    """Return a moment of a game in RGB, with `scale` pixels per unit.

    >>> from understudy.games.pictures import disc
    >>> scene = Scene(width=2, height=1, background=(), keys=(), seconds=0.15)
    >>> image = paint(scene, Frame((disc(0.5, 0.5, 0.4, "blue"),)), 10)
    >>> image.size, image.getpixel((5, 5)), image.getpixel((15, 5))
    ((20, 10), (0, 114, 178), (255, 255, 255))
    """
    fine = scale * FINER
    size = round(scene.width * scale), round(scene.height * scale)
    image = Image.new("RGB", (size[0] * FINER, size[1] * FINER), _colour("paper", dark) if dark else "#ffffff")
    draw = ImageDraw.Draw(image)
    for shape in (*scene.background, *frame.shapes):
        _paint(image, draw, shape, fine, _colour(shape.colour, dark))
    return image.resize(size, Image.Resampling.BOX)


def _paint(image: Image.Image, draw: Any, shape: Shape, scale: int, colour: str) -> None:
    at = [number * scale for number in shape.at]
    match shape.kind:
        case "box":
            x, y, width, height, radius = at
            draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), radius, colour)
        case "disc":
            x, y, radius = at
            draw.ellipse((x - radius, y - radius, x + radius - 1, y + radius - 1), colour)
        case "area":
            draw.polygon(at, colour)
        case "line":
            draw.line(at[1:], colour, round(at[0]), joint="curve")
        case "words":
            x, y, height = at
            draw.text((x, y), shape.text, colour, _font(max(1, round(height))), anchor="mm")
        case "image":
            x, y, width, height = map(round, at)
            given = Image.open(io.BytesIO(base64.b64decode(shape.text))).convert("RGB")
            image.paste(given.resize((width, height), Image.Resampling.NEAREST), (x, y))


def _colour(name: str, dark: bool) -> str:
    return PALETTE[name][dark] if name else "#000000"


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
