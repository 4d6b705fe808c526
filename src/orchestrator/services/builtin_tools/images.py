"""Images: what can be told of one, and others made of it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from orchestrator.domain.tool import SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.material import (
    OUTPUT,
    OUTPUT_RESULT,
    Material,
    base64_of,
    file_name_of,
    source,
)
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    Schema,
    choice,
    described,
    fields,
    needs,
    offered,
    results,
)

FROM = ("path", "image")
FORMATS = ("png", "jpeg", "webp", "gif", "bmp", "tiff")
ACTIONS = ("resize", "crop", "rotate", "convert", "thumbnail", "grayscale", "optimise", "optimize")
PARTS = ("info", "exif", "colours", "hash")
MOST_SIDE = 16_384  # pixels
TIMEOUT = 120.0
_SIDE: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_SIDE}
_ANALYSIS = results(
    {
        "analysis_type": TEXT,
        "width": COUNT,
        "height": COUNT,
        "format": TEXT,
        "mode": TEXT,
        "frames": COUNT,
        "has_alpha": FLAG,
        "size": COUNT,
        "exif": {"type": "object"},
        "exif_fields": COUNT,
        "has_location": FLAG,
        "colours": {"type": "array", "items": results({"hex": TEXT, "share": NUMBER})},
        "sha256": TEXT,
        "average_hash": TEXT,
    },
    ("analysis_type",),
)
_MADE = results(
    {
        "action": TEXT,
        "width": COUNT,
        "height": COUNT,
        "format": TEXT,
        "mode": TEXT,
        "size": COUNT,
        "original": results({"width": COUNT, "height": COUNT, "size": COUNT}),
        **OUTPUT_RESULT,
    },
    ("action", "width", "height", "format", "size"),
)


def analysis_offer() -> Tool:
    return offered(
        "image-analysis",
        "images",
        "Tells size, format and mode of an image (info), a summary of its EXIF data, its dominant colours, its SHA-256 "
        "and a hash of how it looks. Does not recognise what it shows. Give one of path, image, artifact_id, content.",
        SideEffect.READ,
        fields({**source(*FROM), "analysis_type": choice(("all", *PARTS), "Which part.", default="all")}),
        _ANALYSIS,
        TIMEOUT,
    )


def processing_offer() -> Tool:
    takes = {
        "action": choice(ACTIONS, "What to do. crop takes left, top, width, height; rotate takes degrees."),
        **source(*FROM),
        "width": described(_SIDE, "Pixels."),
        "height": described(_SIDE, "Pixels."),
        "keep_aspect": described(FLAG, "resize: fit into width and height, never stretch.", default=True),
        "left": described(COUNT, "crop: pixels from the left.", default=0),
        "top": described(COUNT, "crop: pixels from the top.", default=0),
        "degrees": described(NUMBER, "rotate: clockwise.", default=90, minimum=-360, maximum=360),
        "format": choice(FORMATS, "Of the result; else that of the image."),
        "quality": {"type": "integer", "minimum": 1, "maximum": 95, "default": 80, "description": "jpeg and webp."},
        "background": {
            "type": "string",
            "pattern": "^#[0-9A-Fa-f]{6}$",
            "default": "#ffffff",
            "description": "Behind what is transparent or empty.",
        },
        **OUTPUT,
    }
    return offered(
        "image-processing",
        "images",
        "Makes an image of another: resize, crop, rotate, convert, thumbnail, grayscale, optimise. Give one of path, "
        "image, artifact_id, content. Of an animation the first frame is used; EXIF data is not carried over.",
        SideEffect.WRITE,
        fields(takes, ("action",), allOf=[needs("convert", "format")]),
        _MADE,
        TIMEOUT,
    )


class ImageAnalysis:
    """`BuiltinTool`. `function` answers as `adapters.pillow.analysis.analyse`."""

    def __init__(self, material: Material, apart: Apart, function: str) -> None:
        self.tool = analysis_offer()
        self._material = material
        self._apart = apart
        self._function = function

    async def run(self, order: CallOrder) -> CallOutcome:
        kind = order.arguments.get("analysis_type", "all")
        content = await self._material.content(order, FROM)
        wanted = PARTS if kind == "all" else (kind,)
        told = await self._apart.call(self._function, content=await base64_of(content), wanted=wanted)
        return CallOutcome({"analysis_type": kind} | told)


class ImageProcessing:
    """`BuiltinTool`. `function` answers as `adapters.pillow.processing.process`."""

    def __init__(self, material: Material, apart: Apart, function: str) -> None:
        self.tool = processing_offer()
        self._material = material
        self._apart = apart
        self._function = function

    async def run(self, order: CallOrder) -> CallOutcome:
        content = await self._material.content(order, FROM)
        asked = dict(order.arguments) | {"content": await base64_of(content)}
        if asked["action"] == "optimize":
            asked["action"] = "optimise"
        told: dict[str, Any] = await self._apart.call(self._function, **asked)
        made = await asyncio.to_thread(base64.b64decode, told.pop("content"))
        name = file_name_of(order.arguments, f"image.{told['format']}")
        where, files = await self._material.kept(order, name, f"image/{told['format']}", made)
        return CallOutcome({"action": asked["action"]} | told | where, files)
