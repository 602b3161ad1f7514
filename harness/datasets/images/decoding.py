"""Decodes image files of any kind to squares of one size, or says why not."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Crop = Literal["center", "none"]

DECODING = 1
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
TRANSPARENT = "transparent somewhere, where white shows through"
TURNED = "turned upright, as their EXIF tag says"


class Undecodable(Exception):
    """Raised where a file cannot be an example; says why in a few words."""


def decode(
    data: bytes, *, size: int, crop: Crop, channels: int
) -> tuple[NDArray[np.uint8], frozenset[str]]:
    """Decode one image: upright, on white, cut or squeezed to a square, in 8 bits.

    Args:
        data: The file's bytes.
        size: Pixels along each side of the result; the filter is Lanczos'.
        crop: ``center`` cuts the largest square out of the middle, ``none`` squeezes everything.
        channels: 1 for grey, 3 for colours.

    Returns:
        ``(channels, size, size)``, and remarks on what had to be done, of those defined here.

    Raises:
        Undecodable: if the file is damaged, or of a kind that has no 8-bit equivalent.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise Undecodable(f"has {opened.width}×{opened.height} pixels")
            remarks = {ANIMATED} if getattr(opened, "n_frames", 1) > 1 else set()
            opened.load()
            image = ImageOps.exif_transpose(opened)
            if opened.getexif().get(0x0112, 1) != 1:
                remarks.add(TURNED)
            image = _eight_bits(image, remarks)
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
    return (pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)), frozenset(remarks)


def _square(width: int, height: int) -> tuple[int, int, int, int]:
    """Place the largest square in the middle; of an odd rest the larger part is right or below."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _eight_bits(image: Image.Image, remarks: set[str]) -> Image.Image:
    """Map 16-bit levels to 8 bits; floating-point and 32-bit levels have no known range."""
    if image.mode == "F":
        raise Undecodable("has floating-point levels")
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise Undecodable("has levels of 32 bits")
    remarks.add(SIXTEEN_BIT)
    return Image.fromarray((levels >> 8).astype(np.uint8))


def _opaque(image: Image.Image, remarks: set[str]) -> Image.Image:
    """Lay transparent pixels on white."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if np.asarray(image)[..., 3].min() == 255:
        return image
    remarks.add(TRANSPARENT)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
