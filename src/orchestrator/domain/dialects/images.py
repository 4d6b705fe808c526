"""Images in requests: data URLs, bare base64 and addresses."""

from __future__ import annotations

from orchestrator.domain.dialects.conversation import Image
from orchestrator.domain.errors import InvalidRequest, Unsupported

# First characters of the base64 of each format's magic number.
_MAGIC = (("/9j/", "image/jpeg"), ("iVBORw", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))


def from_url(url: object, where: str, detail: str = "") -> Image:
    """An image from OpenAI's `image_url.url`: a data URL in base64, or http(s)."""
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"'{where}' must be a URL", details={"param": where})
    if not url.startswith("data:"):
        return Image(url=url, detail=detail, where=where)
    head, comma, data = url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        raise InvalidRequest(f"'{where}' must be a base64 data URL", details={"param": where})
    media_type = head[: -len(";base64")].partition(";")[0]
    return Image(data=data, media_type=media_type or _sniff(data), detail=detail, where=where)


def from_base64(data: object, where: str) -> Image:
    """An image from Ollama's `images`, which carry no media type."""
    if not isinstance(data, str) or not data:
        raise InvalidRequest(f"'{where}' must be base64 text", details={"param": where})
    if data.startswith("data:"):
        return from_url(data, where)
    return Image(data=data, media_type=_sniff(data), where=where)


def to_url(image: Image) -> str:
    return image.url or f"data:{image.media_type};base64,{image.data}"


def to_base64(image: Image) -> str:
    """For a dialect that takes no addresses: raises `Unsupported` for one."""
    if image.url:
        where = image.where or "image"
        raise Unsupported(
            f"'{where}': a node that speaks ollama cannot fetch images; send it as a base64 data URL",
            details={"param": where},
        )
    return image.data


def _sniff(data: str) -> str:
    return next((media_type for magic, media_type in _MAGIC if data.startswith(magic)), "image/png")
