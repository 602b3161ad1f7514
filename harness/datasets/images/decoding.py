"""Decodes image files of any kind to squares of one size, or says why not."""

from __future__ import annotations

import io
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.datasets.images.metadata import take_apart

Crop = Literal["center", "none"]

DECODING = 2
"""Raised by every change of what :func:`decode` makes of a file."""
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"}
    | {".tif", ".tiff", ".webp"}
)
"""Endings by which a file counts as an image, in lower case."""
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are opened, and no other: some would have a program run. JPEG includes MPO."""
MOST_PIXELS = 100_000_000
ANIMATED = "with several frames, of which the first is taken"
ENLARGED = "smaller than the size, which are enlarged"
SIXTEEN_BIT = "of 16 bits per level, of which the upper 8 are taken"
SIXTEEN_BIT_CHANNELS = "of 16 bits per level in several channels, which are cut to 8"
TRANSPARENT = "transparent somewhere, where white shows through"
TURNED = "turned upright"
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture comes upright, by its orientation in EXIF."""
DEPTHS = (8, 10, 12, 14, 16)
"""Bits per level that cameras and scanners have, whatever a file has room for."""


class Undecodable(Exception):
    """Raised where a file cannot be an example; says why in a few words."""


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: ``(channels, size, size)``.
        remarks: On what had to be done, of those defined here.
        peak: Its highest level, 0 to 65,535, if levels have 16 bits; else None.
    """

    pixels: NDArray[np.uint8]
    remarks: frozenset[str]
    peak: int | None


def decode(data: bytes, *, size: int, crop: Crop, channels: int, bits: int = 16) -> Picture:
    """Decode one image: upright, on white, cut or squeezed to a square, in 8 bits.

    Pixels and orientation are read apart from all other metadata, which may be damaged.

    Args:
        data: The file's bytes.
        size: Pixels along each side of the result; the filter is Lanczos'.
        crop: ``center`` cuts the largest square out of the middle, ``none`` squeezes everything.
        channels: 1 for grey, 3 for colours.
        bits: How many of a grey level's 16 bits are in use; the upper 8 of these are taken.

    Raises:
        Undecodable: if the file is damaged, or of a kind that has no 8-bit equivalent.
    """
    try:
        taken = take_apart(data)
        with Image.open(io.BytesIO(taken.pixels), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise Undecodable(f"has {opened.width}×{opened.height} pixels")
            several = taken.several or getattr(opened, "n_frames", 1) > 1
            remarks = {ANIMATED} if several else set()
            _refuse_planes(opened)
            is_deep = any(map(_is_deep, opened.tile))
            opened.load()
            image: Image.Image = opened
            if taken.orientation in TURNS:
                image = opened.transpose(TURNS[taken.orientation])
                remarks.add(TURNED)
            image, peak = _eight_bits(image, bits, remarks, is_deep=is_deep)
            image = _opaque(image, remarks).convert("L" if channels == 1 else "RGB")
            if min(image.size) < size:
                remarks.add(ENLARGED)
            box = _square(*image.size) if crop == "center" else None
            image = image.resize((size, size), Image.Resampling.LANCZOS, box)
    except Undecodable:
        raise
    except Exception as error:
        words = "is no image, or of an unknown kind"
        if not isinstance(error, UnidentifiedImageError):
            words = " ".join(str(error).split()) or type(error).__name__
        raise Undecodable(words) from error
    pixels = np.asarray(image, dtype=np.uint8)
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return Picture(pixels, frozenset(remarks), peak)


def _square(width: int, height: int) -> tuple[int, int, int, int]:
    """Place the largest square in the middle; of an odd rest the larger part is right or below."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _refuse_planes(opened: Image.Image) -> None:
    """Refuse a TIFF file of which Pillow would read the half of each level as a level."""
    tags = getattr(opened, "tag_v2", {})
    if (tags.get(284), tags.get(259)) == (2, 1) and max(tags.get(258, (1,))) > 8:
        raise Undecodable("has levels of 16 bits in a plane for each channel")


def _is_deep(tile: Any) -> bool:
    """Say whether a part of a file has levels of more than 8 bits, before Pillow cuts them."""
    codec, *_, arguments = tile
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    if codec in ("ppm", "ppm_plain"):
        return isinstance(arguments[-1], int) and arguments[-1] > 255
    return any(";16" in str(argument) for argument in arguments)


def _eight_bits(
    image: Image.Image, bits: int, remarks: set[str], *, is_deep: bool
) -> tuple[Image.Image, int | None]:
    """Map 16-bit levels to 8 bits, and return the highest of them.

    Floating-point and 32-bit levels have no known range. Several channels are cut by Pillow, so
    that of their highest level only the upper half is known.
    """
    if image.mode == "F":
        raise Undecodable("has floating-point levels")
    if not image.mode.startswith("I"):
        if not is_deep:
            return image, None
        remarks.add(SIXTEEN_BIT_CHANNELS)
        array = np.asarray(image.convert("RGB"))
        return image, int(array.max()) << 8 | 255
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise Undecodable("has levels of 32 bits")
    remarks.add(SIXTEEN_BIT)
    eight = np.minimum(levels >> (bits - 8), 255).astype(np.uint8)
    return Image.fromarray(eight), int(levels.max())


def depth_of(peak: int) -> int:
    """Return how many of 16 bits are in use where no level is above a peak."""
    return next(bits for bits in DEPTHS if peak < 2**bits)


def shallow(bits: int) -> str:
    """Remark on grey images of which only the lower bits are in use."""
    taken = "the upper 8 of these are taken" if bits > 8 else "these are taken"
    return f"of 16 bits per level, of which only the lower {bits} are in use: {taken}"


def shallow_channels(bits: int) -> str:
    """Remark on the same in several channels, where it is too late."""
    return (
        f"of 16 bits per level in several channels, of which only the lower {bits} are in use and "
        "the upper 8 taken: these come out nearly black; write them with 8 bits per level"
    )


def _opaque(image: Image.Image, remarks: set[str]) -> Image.Image:
    """Lay transparent pixels on white."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if np.asarray(image)[..., 3].min() == 255:
        return image
    remarks.add(TRANSPARENT)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
