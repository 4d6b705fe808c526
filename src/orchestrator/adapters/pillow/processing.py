"""Images made out of images. What the camera wrote beside the pixels is not carried over, but its turn is applied."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageColor, ImageOps

from orchestrator.adapters.pillow.opened import Problem, check_pixels, decoded, opened

SAVED = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF"}
_OPAQUE = ("JPEG", "BMP")
_KEPT = ("icc_profile", "transparency")  # without which colours would change
MOST_BYTES = 32 << 20
Given = dict[str, Any]


def process(**given: Any) -> dict[str, Any]:
    """`content` (base64), `action` (one of `WAYS`) and its fields: `content`, `format`, `width`, `height`, `mode`."""
    try:
        image, content = opened(given)
        kind = given.get("format") or _same(image)
        turned = ImageOps.exif_transpose(decoded(image))
        made = WAYS[given["action"]](turned, given)
        saved = _saved(made, SAVED[kind], given)
    except Problem as problem:
        return {"problem": str(problem)}
    except MemoryError:
        return {"problem": "the image takes too much memory"}
    return {
        "content": base64.b64encode(saved).decode(),
        "format": kind,
        "width": made.width,
        "height": made.height,
        "mode": made.mode,
        "size": len(saved),
        "original": {"width": image.width, "height": image.height, "size": len(content)},
    }


def _same(image: Image.Image) -> str:
    return next((kind for kind, name in SAVED.items() if name == image.format), "png")


def _wanted_size(image: Image.Image, given: Given) -> tuple[int, int]:
    """With one side the other follows; with both and `keep_aspect` the image fits into them."""
    width, height = given.get("width"), given.get("height")
    if width is None and height is None:
        raise Problem("give width, height or both")
    if width is None or height is None or given.get("keep_aspect", True):
        scale = min(side / own for side, own in ((width, image.width), (height, image.height)) if side is not None)
        width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    check_pixels(width, height)
    return width, height


def _smooth(image: Image.Image) -> Image.Image:
    """In a mode whose pixels can be mixed."""
    if image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _resize(image: Image.Image, given: Given) -> Image.Image:
    return _smooth(image).resize(_wanted_size(image, given), Image.Resampling.LANCZOS)


def _thumbnail(image: Image.Image, given: Given) -> Image.Image:
    """Never larger than before."""
    small = _smooth(image).copy()
    small.thumbnail((given.get("width", 256), given.get("height", 256)), Image.Resampling.LANCZOS)
    return small


def _crop(image: Image.Image, given: Given) -> Image.Image:
    left, top = given.get("left", 0), given.get("top", 0)
    right = left + given["width"] if "width" in given else image.width
    bottom = top + given["height"] if "height" in given else image.height
    if not (left < right <= image.width and top < bottom <= image.height):
        raise Problem(f"the part does not lie in the image of {image.width} x {image.height} pixels")
    return image.crop((left, top, right, bottom))


def _rotate(image: Image.Image, given: Given) -> Image.Image:
    """Clockwise; the whole image stays visible."""
    degrees = given.get("degrees", 90) % 360
    right = {
        0: None,
        90: Image.Transpose.ROTATE_270,
        180: Image.Transpose.ROTATE_180,
        270: Image.Transpose.ROTATE_90,
    }
    if degrees in right:
        method = right[degrees]
        return image.copy() if method is None else image.transpose(method)
    check_pixels(*_turned_size(image, degrees))
    mixed = _smooth(image)
    if mixed.mode == "CMYK":
        mixed = mixed.convert("RGB")
    ground = "#00000000" if mixed.has_transparency_data else given.get("background", "#ffffff")
    fill = ImageColor.getcolor(ground, mixed.mode)
    return mixed.rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)


def _turned_size(image: Image.Image, degrees: float) -> tuple[int, int]:
    """Of the smallest upright rectangle around the turned image."""
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    width, height = image.size
    return math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine)


def _grayscale(image: Image.Image, _given: Given) -> Image.Image:
    return _smooth(image).convert("LA" if image.has_transparency_data else "L")


def _unchanged(image: Image.Image, _given: Given) -> Image.Image:
    return image


WAYS: dict[str, Callable[[Image.Image, Given], Image.Image]] = {
    "resize": _resize,
    "crop": _crop,
    "rotate": _rotate,
    "convert": _unchanged,
    "thumbnail": _thumbnail,
    "grayscale": _grayscale,
    "optimise": _unchanged,
}


def _saved(image: Image.Image, kind: str, given: Given) -> bytes:
    options: dict[str, Any] = {}
    if kind in _OPAQUE:
        image = _opaque(image, given)
    if kind in ("JPEG", "WEBP"):
        options["quality"] = given.get("quality", 80)
    if kind in ("PNG", "JPEG", "GIF"):
        options["optimize"] = True
    if kind in ("PNG", "WEBP", "GIF") and image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGB")
    sink = io.BytesIO()
    clean = image.copy()
    clean.info = {name: image.info[name] for name in _KEPT if name in image.info}
    try:
        clean.save(sink, kind, **options)
    except (OSError, ValueError) as error:
        raise Problem(f"this image cannot be written as {kind}: {str(error)[:200]}") from None
    if sink.tell() > MOST_BYTES:
        raise Problem(f"the result has {sink.tell():,} bytes, more than {MOST_BYTES:,}")
    return sink.getvalue()


def _opaque(image: Image.Image, given: Given) -> Image.Image:
    """Put on a background, in a mode that the format knows."""
    if image.has_transparency_data:
        above = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, given.get("background", "#ffffff"))
        return Image.alpha_composite(ground, above).convert("RGB")
    return image if image.mode in ("L", "RGB") else _smooth(image).convert("RGB")
