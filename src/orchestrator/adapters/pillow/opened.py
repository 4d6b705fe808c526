"""An image out of bytes that anybody may have sent."""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any

from PIL import Image

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")  # none of those that call other programs
MOST_PIXELS = 50_000_000
TOO_LARGE = "the image takes too much memory"


class Problem(Exception):
    """What is wrong with the arguments."""


def opened(given: dict[str, Any]) -> tuple[Image.Image, bytes]:
    """The first frame, not yet decoded, and the bytes. Raises Problem."""
    content = base64.b64decode(given["content"])
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Problem(f"the image has more than {MOST_PIXELS:,} pixels") from None
    except MemoryError:
        raise Problem(TOO_LARGE) from None
    except Exception:  # noqa: BLE001 - decoders raise what they like
        raise Problem(f"this is not an image in one of the formats {', '.join(FORMATS)}") from None
    check_pixels(*image.size)
    return image, content


def decoded(image: Image.Image) -> Image.Image:
    """Raises Problem for an image that is damaged."""
    try:
        image.load()
    except MemoryError:
        raise Problem(TOO_LARGE) from None
    except Exception as error:  # noqa: BLE001 - decoders raise what they like
        raise Problem(f"the image is damaged: {str(error)[:200]}") from None
    return image


def check_pixels(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise Problem("an image needs at least one pixel")
    if width * height > MOST_PIXELS:
        raise Problem(f"{width:,} x {height:,} are more than {MOST_PIXELS:,} pixels")
