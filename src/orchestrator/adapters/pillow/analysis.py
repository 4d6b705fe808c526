"""What can be told of an image without a model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from PIL import ExifTags, Image, ImageOps

from orchestrator.adapters.pillow.opened import Problem, decoded, opened

TOLD = (
    "Make",
    "Model",
    "Software",
    "Orientation",
    "DateTime",
    "DateTimeOriginal",
    "ExposureTime",
    "FNumber",
    "ISOSpeedRatings",
)
COLOURS = 6
_EXIF, _GPS = 0x8769, 0x8825


def analyse(**given: Any) -> dict[str, Any]:
    """`content` (base64) and `wanted` (names of `PARTS`): the fields of each."""
    try:
        image, content = opened(given)
        told: dict[str, Any] = {}
        for name in given["wanted"]:
            told |= PARTS[name](image, content)
    except Problem as problem:
        return {"problem": str(problem)}
    except MemoryError:
        return {"problem": "the image takes too much memory"}
    return told


def _info(image: Image.Image, content: bytes) -> dict[str, Any]:
    return {
        "width": image.width,
        "height": image.height,
        "format": (image.format or "").lower(),
        "mode": image.mode,
        "frames": getattr(image, "n_frames", 1),
        "has_alpha": image.has_transparency_data,
        "size": len(content),
    }


def _exif(image: Image.Image, _content: bytes) -> dict[str, Any]:
    try:
        exif = image.getexif()
        values = dict(exif) | dict(exif.get_ifd(_EXIF))
        located = bool(exif.get_ifd(_GPS))
    except Exception as error:  # noqa: BLE001 - a broken block is no broken image
        return {"exif": {}, "exif_problem": str(error)[:200]}
    named = {ExifTags.TAGS.get(tag, ""): value for tag, value in values.items()}
    shown = {name: _plain(named[name]) for name in TOLD if name in named}
    return {"exif": shown, "exif_fields": len(values), "has_location": located}


def _plain(value: Any) -> str | int | float:
    if isinstance(value, int):
        return value
    if isinstance(value, (str, bytes, tuple)):
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        return "".join(char for char in text if char.isprintable()).strip()[:200]
    try:
        return float(value)  # a fraction
    except (ValueError, ZeroDivisionError):
        return str(value)[:200]


def _colours(image: Image.Image, _content: bytes) -> dict[str, Any]:
    """The most frequent colours after the image was reduced to a few; transparent pixels do not count."""
    small = decoded(image).convert("RGBA")
    small.thumbnail((128, 128))
    pixels = small.tobytes()
    seen = [pixels[at : at + 3] for at in range(0, len(pixels), 4) if pixels[at + 3] >= 128]
    if not seen:
        return {"colours": []}
    row = Image.frombytes("RGB", (len(seen), 1), b"".join(seen))
    reduced = row.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    palette = reduced.getpalette() or []
    found = []
    for index, count in Counter(reduced.tobytes()).most_common():
        red, green, blue = palette[3 * index : 3 * index + 3]
        found.append({"hex": f"#{red:02x}{green:02x}{blue:02x}", "share": round(count / len(seen), 4)})
    return {"colours": found}


def _hashes(image: Image.Image, content: bytes) -> dict[str, Any]:
    """`average_hash`: 64 bits, which brightness of an 8x8 reduction is over the mean; similar images differ in few."""
    grey = ImageOps.exif_transpose(decoded(image)).convert("L").resize((8, 8), Image.Resampling.LANCZOS)
    values = grey.tobytes()
    mean = sum(values) / len(values)
    bits = "".join("1" if value > mean else "0" for value in values)
    return {"sha256": hashlib.sha256(content).hexdigest(), "average_hash": f"{int(bits, 2):016x}"}


PARTS: dict[str, Callable[[Image.Image, bytes], dict[str, Any]]] = {
    "info": _info,
    "exif": _exif,
    "colours": _colours,
    "hash": _hashes,
}
