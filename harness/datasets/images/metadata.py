"""Takes image files apart: what the pixels need, and the few facts that are read beside them.

A tag that is odd can so never cost a picture: whoever decodes the pixels does not see it, and
each fact is read by itself, or not at all.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

ORIENTATION, PAGES, XMP = 0x0112, 0xB001, 0x02BC
"""Tags of how to turn a picture, of how many a JPEG file holds, and of a TIFF file's packet."""
WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}
"""Types of tags, with how they are unpacked."""
MOST_TEXT = 2**20
"""Bytes that a packed text may have; orientation is looked for in so many."""
PNG = b"\x89PNG\r\n\x1a\n"
PIXEL_TAGS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320}
    | {322, 323, 324, 325, 332, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519}
    | {520, 521, 529, 530, 531, 532, 50674}
)
"""What TIFF's decoders read: sizes, places, compression, and what levels mean."""


@dataclass
class Taken:
    """An image file that was taken apart.

    Attributes:
        pixels: The file without metadata; as it was, if it could not be taken apart.
        exif: EXIF blocks, in the order in which they are believed.
        xmp: XMP packets, believed where no EXIF block gives an orientation.
        several: Whether the file holds more than one image.
    """

    pixels: bytes
    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    several: bool = False

    @property
    def orientation(self) -> int:
        """How to turn the picture, 1 to 8 as EXIF has it; 1, as it is, if nobody says."""
        said = [found for block in self.exif if (found := _number(block, ORIENTATION)) is not None]
        for packet in self.xmp:
            match = re.search(rb'tiff:Orientation(?:="|>)([0-9])', packet)
            said += [int(match[1])] if match else []
        return said[0] if said and 1 <= said[0] <= 8 else 1


def take_apart(data: bytes) -> Taken:
    """Take a file apart, whatever it is: JPEG, PNG, TIFF and WebP files have metadata."""
    for begins, take in ((b"\xff\xd8", _jpeg), (PNG, _png), (b"RIFF", _webp)):
        if data.startswith(begins):
            return take(data)
    return _tiff(data) if data[:2] in (b"II", b"MM") else Taken(data)


def _jpeg(data: bytes) -> Taken:
    """Leave out what applications and people wrote before the pixels begin."""
    taken = Taken(data)
    kept, at = [data[:2]], 2
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):  # filling
            at += 1
            continue
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        if marker == 0xDA:
            # A picture's other half for bright screens is no second picture.
            taken.several &= not any(b' hdrgm:Version="' in own for own in taken.xmp)
            taken.pixels = b"".join((*kept, data[at:]))
            return taken
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:  # alone, without a body
            kept.append(data[at : at + 2])
            at += 2
            continue
        body = data[at + 4 : at + 2 + length]
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or _says_colours(marker, body):
            kept.append(data[at : at + 2 + length])
        elif body.startswith(b"Exif\0\0"):
            taken.exif.append(body[6:])
        elif body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            taken.xmp.append(body)
        elif body.startswith(b"MPF\0"):
            taken.several = (_number(body[4:], PAGES) or 1) > 1
        at += 2 + length
    # The pixels never begin: whoever decodes the file says so.
    return taken


def _says_colours(marker: int, body: bytes) -> bool:
    """Tell the two notes that say what a JPEG file's channels are: JFIF's and Adobe's."""
    jfif = marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14
    return jfif or (marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12)


def _png(data: bytes) -> Taken:
    """Leave out every chunk that a reader may pass over, but for the transparent colour."""
    taken = Taken(data)
    kept, at, name = [PNG], len(PNG), b""
    texts: dict[bytes, bytes] = {}
    while at + 8 <= len(data) and name != b"IEND":
        (length,) = struct.unpack_from(">I", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if not name[0] & 0x20 or name == b"tRNS":
            kept.append(data[at : at + 12 + length])
        elif name == b"eXIf":
            taken.exif.append(body.removeprefix(b"Exif\0\0"))
        elif name == b"acTL":
            taken.several = body[:4] > b"\0\0\0\1"
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, _, text = body.partition(b"\0")
            texts.setdefault(keyword, name + text)
        at += 12 + length
    taken.pixels = b"".join(kept)
    with suppress(KeyError, ValueError, IndexError, zlib.error):
        taken.xmp.append(_text(texts[b"XML:com.adobe.xmp"]))
    with suppress(KeyError, ValueError, IndexError, zlib.error):  # as older programs write it
        lines = _text(texts[b"Raw profile type exif"]).split(b"\n")[3:]
        block = bytes.fromhex(b"".join(lines).decode("ascii"))
        taken.exif.append(block.removeprefix(b"Exif\0\0"))
    return taken


def _text(chunk: bytes) -> bytes:
    """Read what follows the keyword in one of PNG's three kinds of text, whose name comes first."""
    name, text = chunk[:4], chunk[4:]
    packed = name == b"zTXt"
    text = text[1:] if packed else text
    if name == b"iTXt":
        packed, text = text[0] == 1, text[2:].split(b"\0", 2)[2]
    return zlib.decompressobj().decompress(text, MOST_TEXT) if packed else text


def _webp(data: bytes) -> Taken:
    """Leave out the chunks of metadata, and unsay them in the header."""
    taken = Taken(data)
    data = data[: 8 + struct.unpack_from("<I", data.ljust(8, b"\0"), 4)[0]]
    kept, at = [], 12
    while at + 8 <= len(data):
        name, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        body = data[at + 8 : at + 8 + length]
        if name == b"EXIF":
            taken.exif.append(body.removeprefix(b"Exif\0\0"))
        elif name == b"XMP ":
            taken.xmp.append(body)
        elif name == b"VP8X" and body:
            kept.append(data[at : at + 8] + bytes([body[0] & ~0x2C]) + body[1:])
        elif name != b"ICCP":
            kept.append(data[at : at + 8 + length + length % 2])
        at += 8 + length + length % 2
    whole = data[8:12] + b"".join(kept)
    taken.pixels = b"RIFF" + struct.pack("<I", len(whole)) + whole
    return taken


def _tiff(data: bytes) -> Taken:
    """Keep of the first directory what the pixels need."""
    taken = Taken(data, exif=[data])
    with suppress(struct.error):
        directory = Directory(data)
        own = [entry for entry in directory if directory.tag(entry) in PIXEL_TAGS]
        taken.several = 0 < directory.following < len(data)
        packet = next((entry for entry in directory if directory.tag(entry) == XMP), None)
        taken.xmp = [directory.bytes_of(packet)] if packet is not None else []
        taken.pixels = directory.replaced(own)
    return taken


class Directory:
    """The first directory of a TIFF structure, which EXIF blocks are too.

    Args:
        block: The structure; a directory that goes on beyond it has the entries that are there.

    Raises:
        struct.error: if there is no directory.
    """

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._order = "<" if block[:2] == b"II" else ">"
        big = b"+" in block[2:4]
        self._count, self._place, self._size = ("Q", "Q", 20) if big else ("H", "I", 12)
        self._start = self._read(self._place, 8 if big else 4)
        self._length = self._read(self._count, self._start)

    def _read(self, form: str, at: int) -> int:
        form = self._order + form
        found: int = struct.unpack(form, self._block[at : at + struct.calcsize(form)])[0]
        return found

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the entries."""
        first = self._start + struct.calcsize(f"<{self._count}")
        for at in range(first, first + self._length * self._size, self._size):
            if len(entry := self._block[at : at + self._size]) < self._size:
                return
            yield entry

    def tag(self, entry: bytes) -> int:
        """Return an entry's tag."""
        found: int = struct.unpack_from(f"{self._order}H", entry)[0]
        return found

    def number(self, entry: bytes) -> int | None:
        """Return an entry's whole number; None if it holds anything else."""
        _, kind, count = struct.unpack_from(f"{self._order}HH{self._place}", entry)
        if kind not in WHOLE_NUMBERS or count != 1:
            return None
        at = 4 + struct.calcsize(f"<{self._place}")
        found: int = struct.unpack_from(self._order + WHOLE_NUMBERS[kind], entry, at)[0]
        return found

    def bytes_of(self, entry: bytes) -> bytes:
        """Return the bytes that an entry points to, as many as are there."""
        _, _, count, place = struct.unpack(f"{self._order}HH{self._place * 2}", entry)
        return self._block[place : place + count]

    @property
    def following(self) -> int:
        """Where the next directory begins; 0, or beyond the structure, if this is the last."""
        end = self._start + struct.calcsize(f"<{self._count}") + self._length * self._size
        return self._read(self._place, end)

    def replaced(self, entries: list[bytes]) -> bytes:
        """Return the structure with no more than some of its entries, and no other directory."""
        count = struct.pack(self._order + self._count, len(entries))
        own = count + b"".join(entries) + bytes(struct.calcsize(f"<{self._place}"))
        return self._block[: self._start] + own + self._block[self._start + len(own) :]


def _number(block: bytes, tag: int) -> int | None:
    """Find a tag's whole number in a TIFF structure; None if nothing of the kind is there."""
    if block[:2] not in (b"II", b"MM"):
        return None
    with suppress(struct.error):
        directory = Directory(block)
        for entry in directory:
            if directory.tag(entry) == tag:
                return directory.number(entry)
    return None
