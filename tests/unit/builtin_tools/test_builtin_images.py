"""The tools `image-analysis` and `image-processing`."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import pytest
from builtin_calls import Caller, Keep
from PIL import Image

from orchestrator.adapters.pillow.analysis import analyse
from orchestrator.adapters.pillow.opened import Problem, decoded
from orchestrator.adapters.pillow.processing import process
from orchestrator.domain.artifact import content_path
from orchestrator.domain.errors import Conflict, Forbidden, InvalidRequest, TooLarge
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.images import ImageAnalysis, ImageProcessing
from orchestrator.services.builtin_tools.material import Material


@pytest.fixture
def analysis(material: Material, apart: Apart) -> Caller:
    return Caller(ImageAnalysis(material, apart, "orchestrator.adapters.pillow.analysis:analyse"))


@pytest.fixture
def processing(material: Material, apart: Apart) -> Caller:
    return Caller(ImageProcessing(material, apart, "orchestrator.adapters.pillow.processing:process"))


def picture(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (40, 20), **options: object) -> bytes:
    """Red on the left, blue on the right quarter."""
    image = Image.new("RGB", size, "#ff0000")
    image.paste("#0000ff", (size[0] * 3 // 4, 0, size[0], size[1]))
    sink = io.BytesIO()
    image.convert(mode).save(sink, kind, **options)
    return sink.getvalue()


def inline(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def test_analysis_tells_what_is_there(analysis: Caller, root: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera\0", 6
    exif.get_ifd(0x8825)[1] = "N"
    (root / "a.jpg").write_bytes(picture("JPEG", exif=exif, quality=95))
    told = await analysis(path="a.jpg")
    assert (told["width"], told["height"], told["format"], told["mode"]) == (40, 20, "jpeg", "RGB")
    assert told["exif"] == {"Make": "Camera", "Orientation": 6}
    assert told["has_location"] is True
    assert told["colours"][0]["hex"].startswith("#f")
    assert len(told["sha256"]) == 64
    assert len(told["average_hash"]) == 16


async def test_only_the_part_that_is_asked_for(analysis: Caller) -> None:
    told = await analysis(content=inline(picture()), analysis_type="colours")
    assert told["colours"] == [{"hex": "#ff0000", "share": 0.75}, {"hex": "#0000ff", "share": 0.25}]
    assert "width" not in told


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({"action": "resize", "width": 20}, (20, 10)),
        ({"action": "resize", "width": 20, "height": 20}, (20, 10)),
        ({"action": "resize", "width": 20, "height": 20, "keep_aspect": False}, (20, 20)),
        ({"action": "thumbnail", "width": 10, "height": 10}, (10, 5)),
        ({"action": "thumbnail", "width": 100, "height": 100}, (40, 20)),
        ({"action": "crop", "left": 30, "width": 10}, (10, 20)),
        ({"action": "rotate"}, (20, 40)),
        ({"action": "rotate", "degrees": -180}, (40, 20)),
        ({"action": "rotate", "degrees": 45}, (44, 44)),
        ({"action": "grayscale"}, (40, 20)),
        ({"action": "optimise"}, (40, 20)),
        ({"action": "convert", "format": "webp"}, (40, 20)),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "L", "LA", "1", "CMYK", "I;16"])
def test_every_action_in_every_mode(arguments: dict[str, object], size: tuple[int, int], mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    told = process(content=inline(picture(kind, mode)), **arguments)
    made = base64.b64decode(told["content"])
    with Image.open(io.BytesIO(made)) as image:
        assert (told["width"], told["height"]) == image.size
    assert abs(told["width"] - size[0]) <= 2
    assert abs(told["height"] - size[1]) <= 2
    assert told["size"] == len(made)
    assert told["original"]["width"] == 40


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "L", "LA", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "bmp", "tiff"])
def test_every_mode_in_every_format(mode: str, kind: str) -> None:
    source = picture("TIFF" if mode == "CMYK" else "PNG", mode)
    told = process(content=inline(source), action="convert", format=kind)
    with Image.open(io.BytesIO(base64.b64decode(told["content"]))) as image:
        assert image.size == (40, 20)
        assert image.format == kind.upper()


async def test_the_result_becomes_an_artifact(processing: Caller) -> None:
    assert (await processing(content=inline(picture()), action="optimize"))["action"] == "optimise"
    outcome = await processing.outcome(content=inline(picture()), action="convert", format="webp")
    (made,) = outcome.files
    assert (made.mime_type, made.file_name) == ("image/webp", "image.webp")
    assert outcome.result["size"] == len(made.content)
    assert outcome.result["url"] == content_path(outcome.result["artifact_id"])


async def test_rotation_is_clockwise_and_the_cut_is_where_it_was_asked(processing: Caller) -> None:
    turned = (await processing.outcome(content=inline(picture()), action="rotate", degrees=90)).files[0]
    assert Image.open(io.BytesIO(turned.content)).getpixel((10, 39)) == (0, 0, 255)
    cut = (await processing.outcome(content=inline(picture()), action="crop", left=30, width=1)).files[0]
    assert Image.open(io.BytesIO(cut.content)).getpixel((0, 0)) == (0, 0, 255)


async def test_the_camera_s_turn_is_applied_and_its_words_are_left_out(processing: Caller) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", 6
    made = (await processing.outcome(content=inline(picture("JPEG", exif=exif)), action="optimise")).files[0]
    image = Image.open(io.BytesIO(made.content))
    assert image.size == (20, 40)
    assert not dict(image.getexif())
    assert b"Camera" not in made.content


async def test_the_result_is_written_where_it_is_asked_for(processing: Caller, root: Path) -> None:
    (root / "a.png").write_bytes(picture(mode="RGBA"))
    told = await processing(image="a.png", action="convert", format="jpeg", output_path="out/b.jpg", keep=False)
    assert (told["path"], told["file_path"]) == ("out/b.jpg", "out/b.jpg")
    with Image.open(root / "out/b.jpg") as image:
        assert image.format == "JPEG"
    assert "artifact_id" not in told
    with pytest.raises(Conflict):
        await processing(image="a.png", action="grayscale", output_path="out/b.jpg", overwrite=False)
    with pytest.raises(InvalidRequest, match="lost"):
        await processing(image="a.png", action="grayscale", keep=False)


async def test_an_artifact_is_read_as_its_caller(material: Material, apart: Apart, keep: Keep) -> None:
    tool = ImageAnalysis(material, apart, "orchestrator.adapters.pillow.analysis:analyse")
    made = await keep(picture())
    assert (await Caller(tool, "bert")(artifact_id=made, analysis_type="info"))["width"] == 40
    for principal in ("anna", "gone"):
        with pytest.raises(Forbidden):
            await Caller(tool, principal)(artifact_id=made)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is so large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no image", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (picture()[:-30], "damaged"),
        (bomb(60_000, 60_000), "pixels"),
        (bomb(8_000, 8_000), "pixels"),
        (bomb(7_000, 7_000), "damaged"),
        (b"", "not an image"),
    ],
)
def test_hostile_images(content: bytes, words: str) -> None:
    assert words in analyse(content=inline(content), wanted=["info", "exif", "colours", "hash"])["problem"]
    assert words in process(content=inline(content), action="grayscale")["problem"]


def test_too_little_memory_is_no_damage() -> None:
    class Hungry(Image.Image):
        def load(self) -> None:
            raise MemoryError

    with pytest.raises(Problem, match="memory"):
        decoded(Hungry())


async def test_what_is_too_much_is_refused(processing: Caller, root: Path) -> None:
    with pytest.raises(InvalidRequest, match="pixels"):
        await processing(content=inline(picture()), action="resize", width=16_000, height=16_000, keep_aspect=False)
    with pytest.raises(InvalidRequest, match="does not lie"):
        await processing(content=inline(picture()), action="crop", left=30, width=11)
    with pytest.raises(InvalidRequest, match="give one of"):
        await processing(path="a.png", content=inline(picture()), action="grayscale")
    with pytest.raises(InvalidRequest, match="base64"):
        await processing(content="***", action="grayscale")
    with (root / "big.png").open("wb") as file:
        file.truncate(33 << 20)
    with pytest.raises(TooLarge):
        await processing(path="big.png", action="grayscale")
