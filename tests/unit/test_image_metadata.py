"""No tag costs a picture: pixels and orientation are read apart from everything else."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.datasets.folder import Folder
from harness.datasets.images.decoding import (
    ANIMATED,
    SIXTEEN_BIT,
    SIXTEEN_BIT_CHANNELS,
    TURNED,
    TURNS,
    Undecodable,
    decode,
    depth_of,
    shallow,
    shallow_channels,
)
from harness.datasets.images.metadata import Directory, take_apart
from harness.errors import DataError, DataWarning

SHORT, LONG, TEXT, RATIONAL = 3, 4, 2, 5
LEVELS = np.random.RandomState(0).randint(0, 256, (20, 30, 3), dtype=np.uint8)
PICTURE = Image.fromarray(LEVELS)


def encoded(form: str, image: Image.Image = PICTURE, **options) -> bytes:
    """Write a picture, without loss but for JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, form, **({"lossless": True} if form == "WEBP" else {}), **options)
    return buffer.getvalue()


def exif(*tags: tuple[int, int, int, bytes], order: str = "<", count: int | None = None) -> bytes:
    """Write an EXIF block of tags by hand: number, type, count and value."""
    head = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    block = head + struct.pack(f"{order}H", len(tags) if count is None else count)
    for number, kind, n, value in tags:
        block += struct.pack(f"{order}HHI", number, kind, n) + value.ljust(4, b"\0")
    return block + bytes(4)


def orientation(value: int) -> tuple[int, int, int, bytes]:
    return 0x0112, SHORT, 1, struct.pack("<H", value)


def packet(value: object) -> bytes:
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{value}"/></x:xmpmeta>'.encode()


def chunk(name: bytes, body: bytes, crc: int | None = None) -> bytes:
    check = zlib.crc32(name + body) if crc is None else crc
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)


def with_chunk(png: bytes, *chunks: bytes, last: bool = False) -> bytes:
    """Put chunks behind a PNG file's header, or before its end."""
    place = png.index(b"IEND") - 4 if last else 33
    return png[:place] + b"".join(chunks) + png[place:]


def with_segment(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Put segments at the beginning of a JPEG file."""
    written = [bytes([0xFF, marker]) + struct.pack(">H", len(b) + 2) + b for marker, b in segments]
    return jpeg[:2] + b"".join(written) + jpeg[2:]


def with_riff_chunk(webp: bytes, name: bytes, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    inner = webp[8:] + name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def tiff(tags: dict[int, tuple[int, int, bytes]], image: Image.Image = PICTURE, **options) -> bytes:
    """Write a TIFF file, and add or replace tags in its directory by hand."""
    data = encoded("TIFF", image, **options)
    directory = Directory(data)
    order = "<" if data[:2] == b"II" else ">"
    own = {struct.unpack_from(f"{order}H", entry)[0]: entry for entry in directory}
    for number, (kind, count, value) in tags.items():
        own[number] = struct.pack(f"{order}HHI", number, kind, count) + value.ljust(4, b"\0")
    start = len(data) + len(data) % 2
    written = struct.pack(f"{order}H", len(own)) + b"".join(own[n] for n in sorted(own)) + bytes(4)
    return data[:4] + struct.pack(f"{order}I", start) + data[8:].ljust(start - 8, b"\0") + written


def pixels(data: bytes, size: int = 20) -> np.ndarray:
    """Decode all of a picture, squeezed, as (size, size, 3)."""
    found = decode(data, size=size, crop="none", channels=3)
    return found.pixels.transpose(1, 2, 0)


def remarks(data: bytes) -> frozenset[str]:
    return decode(data, size=8, crop="none", channels=3).remarks - {ANIMATED}


def expected(value: int, image: Image.Image = PICTURE, size: int = 20) -> np.ndarray:
    turned = image.transpose(TURNS[value]) if value in TURNS else image
    return np.asarray(turned.resize((size, size), Image.Resampling.LANCZOS))


TEXT_TAG = (0x011A, TEXT, 4, b"72\0\0")
"""A resolution that is text, which breaks who writes EXIF again."""


class TestPictures:
    """The four that people came with."""

    def test_a_turned_telephone_picture_whose_resolution_is_text(self):
        data = encoded("JPEG", exif=b"Exif\0\0" + exif(orientation(6), TEXT_TAG))
        with Image.open(io.BytesIO(encoded("JPEG"))) as plain:
            assert np.array_equal(pixels(data), expected(6, plain))
        assert remarks(data) == {TURNED}

    def test_a_png_file_with_a_broken_exif_block(self):
        data = encoded("PNG", exif=b"Exif\0\0XXjunk")
        assert np.array_equal(pixels(data), expected(1))
        assert remarks(data) == frozenset()

    @pytest.mark.parametrize("value", [0, 1])
    def test_orientations_that_turn_nothing_are_not_noted(self, value):
        data = encoded("JPEG", exif=b"Exif\0\0" + exif(orientation(value), TEXT_TAG))
        assert remarks(data) == frozenset()
        assert np.array_equal(pixels(data), pixels(encoded("JPEG")))


ODD = {
    "nine": exif(orientation(9)),
    "as text": exif((0x0112, TEXT, 2, b"6\0")),
    "as a fraction": exif((0x0112, RATIONAL, 1, b"\x08\0\0\0")),
    "twice": exif((0x0112, SHORT, 2, b"\6\0\6\0")),
    "none of it": exif((0x0112, SHORT, 0, b"\6\0")),
    "of no type": exif((0x0112, 99, 1, b"\6\0")),
    "nowhere": b"II*\0\xff\xff\xff\xff",
    "cut off": b"II*\0",
    "no block": b"XXjunk",
    "nothing": b"",
    "bomb": exif(*[(0x9000 + i, 7, 0xFFFFFFFF, b"\xff" * 4) for i in range(500)]),
    "too many": exif(TEXT_TAG, count=65535),
}


class TestOrientation:
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("value", range(1, 9))
    def test_every_one_is_applied_and_noted(self, form, value):
        block = b"Exif\0\0" + exif(orientation(value))
        options = {"tiffinfo": {274: value}} if form == "TIFF" else {"exif": block}
        data = encoded(form, **options)
        with Image.open(io.BytesIO(encoded(form))) as plain:
            assert np.array_equal(pixels(data), expected(value, plain.convert("RGB")))
        assert remarks(data) == ({TURNED} if value != 1 else frozenset())

    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize("odd", ODD)
    def test_an_odd_block_leaves_the_picture_as_it_is(self, form, odd):
        data = encoded(form, exif=b"Exif\0\0" + ODD[odd])
        assert np.array_equal(pixels(data), pixels(encoded(form)))
        assert remarks(data) == frozenset()

    @pytest.mark.parametrize(
        ("odd", "turned"),
        [((SHORT, 1, b"\x09\0"), False), ((TEXT, 2, b"6\0"), False), ((LONG, 1, b"\6"), True)],
    )
    def test_tiff_files_are_no_exception(self, odd, turned):
        assert remarks(tiff({274: odd})) == ({TURNED} if turned else frozenset())
        assert np.array_equal(pixels(tiff({274: odd})), expected(6 if turned else 1))

    def test_what_comes_before_the_end_of_a_block_counts(self):
        data = encoded("JPEG", exif=b"Exif\0\0" + exif(orientation(6), TEXT_TAG, count=900))
        assert remarks(data) == {TURNED}

    def test_both_orders_of_bytes(self):
        block = exif((0x0112, SHORT, 1, b"\0\6"), order=">")
        assert remarks(encoded("PNG", exif=b"Exif\0\0" + block)) == {TURNED}

    def test_xmp_says_it_where_exif_does_not(self):
        others = {
            "JPEG": encoded("JPEG", xmp=packet(6)),
            "WEBP": encoded("WEBP", xmp=packet(6)),
            "TIFF": encoded("TIFF", tiffinfo={700: packet(6)}),
        }
        body = b"XML:com.adobe.xmp\0\0\0\0\0" + packet(6)
        others["PNG"] = with_chunk(encoded("PNG"), chunk(b"iTXt", body))
        body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet(6))
        others["PNG, packed"] = with_chunk(encoded("PNG"), chunk(b"iTXt", body))
        assert {name: remarks(data) for name, data in others.items()} == dict.fromkeys(
            others, frozenset({TURNED})
        )

    @pytest.mark.parametrize(("block", "turned"), [(3, True), (1, False), (None, True)])
    def test_exif_is_believed_first(self, block, turned):
        own = exif(orientation(block)) if block is not None else b"XXjunk"
        data = encoded("JPEG", exif=b"Exif\0\0" + own, xmp=packet(6))
        assert remarks(data) == ({TURNED} if turned else frozenset())
        assert take_apart(data).orientation == (block or 6)

    def test_exif_as_text_of_older_programs(self):
        block = b"Exif\0\0" + exif(orientation(6))
        text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
        body = b"Raw profile type exif\0\0" + zlib.compress(text)
        assert remarks(with_chunk(encoded("PNG"), chunk(b"zTXt", body))) == {TURNED}
        for odd in (b"\0", b"\0\0junk", b"\0\0" + zlib.compress(b"\nexif\n 3\nno hex\n")):
            data = with_chunk(encoded("PNG"), chunk(b"zTXt", b"Raw profile type exif" + odd))
            assert remarks(data) == frozenset()


JPEG, PNG, WEBP = encoded("JPEG"), encoded("PNG"), encoded("WEBP")
BOMB = zlib.compress(bytes(200_000_000), 9)
BENIGN = {
    "short JFIF": with_segment(JPEG, (0xE0, b"JFIF")),
    "short Adobe": with_segment(JPEG, (0xEE, b"Adobe")),
    "torn Photoshop": with_segment(JPEG, (0xED, b"Photoshop 3.0\x008BIM\x04")),
    "torn MPF": with_segment(JPEG, (0xE2, b"MPF\0II*\0\xff\xff\xff\xff")),
    "MPF of text": with_segment(JPEG, (0xE2, b"MPF\0" + exif((0xB001, TEXT, 2, b"9\0")))),
    "MPF of none": with_segment(JPEG, (0xE2, b"MPF\0" + exif((0xB001, LONG, 0, b"\2")))),
    "torn ICC": with_segment(JPEG, (0xE2, b"ICC_PROFILE\0\1\3abc"), (0xE2, b"ICC_PROFILE\0")),
    "segment of no length": JPEG[:2] + b"\xff\xe1\0\0" + JPEG[2:],
    "empty segments": with_segment(JPEG, (0xE1, b""), (0xFE, b""), (0xEF, b"")),
    "two blocks": with_segment(JPEG, (0xE1, b"Exif\0\0II"), (0xE1, b"Exif\0\0junk")),
    "PNG ICC": with_chunk(PNG, chunk(b"iCCP", b"name\0\0" + zlib.compress(b"x" * 99)[:-9])),
    "PNG ICC bomb": with_chunk(PNG, chunk(b"iCCP", b"name\0\0" + BOMB)),
    "PNG ICC of nothing": with_chunk(PNG, chunk(b"iCCP", b"")),
    "PNG text bomb": with_chunk(PNG, chunk(b"zTXt", b"Comment\0\0" + BOMB)),
    "PNG XMP bomb": with_chunk(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB)),
    "PNG text": with_chunk(PNG, chunk(b"tEXt", b""), chunk(b"zTXt", b"a\0\7"), chunk(b"iTXt", b"")),
    "PNG pHYs": with_chunk(PNG, chunk(b"pHYs", b"\0")),
    "PNG gAMA": with_chunk(PNG, chunk(b"gAMA", b"\0"), chunk(b"cHRM", b"1"), chunk(b"sRGB", b"")),
    "PNG checksum": with_chunk(PNG, chunk(b"tEXt", b"a\0b", crc=7)),
    "PNG at its end": with_chunk(PNG, chunk(b"eXIf", b"junk", crc=7), last=True),
    "PNG acTL": with_chunk(PNG, chunk(b"acTL", b"\0")),
    "WebP EXIF": with_riff_chunk(WEBP, b"EXIF", b"XXjunk"),
    "WebP EXIF cut off": with_riff_chunk(WEBP, b"EXIF", b"XXjunk", length=5_000),
    "WebP ICC": with_riff_chunk(WEBP, b"ICCP", b"1"),
    "TIFF resolution": tiff({282: (TEXT, 4, b"72\0\0"), 296: (SHORT, 1, b"\3\0")}),
    "TIFF of nowhere": tiff({270: (TEXT, 900, b"\xff" * 4), 700: (1, 0xFFFFFFF, b"\xff" * 4)}),
    "TIFF EXIF": tiff({34665: (LONG, 1, b"\xff" * 4), 34675: (7, 9, b"\xff" * 4)}),
    "TIFF next": tiff({})[:-4] + b"\xff\xff\xff\x7f",
}


class TestOtherMetadata:
    @pytest.mark.parametrize("name", BENIGN)
    def test_never_costs_a_picture(self, name):
        data = BENIGN[name]
        form = "JPEG" if data[:1] == b"\xff" else "PNG" if data[:1] == b"\x89" else "TIFF"
        plain = encoded("WEBP") if data[:4] == b"RIFF" else encoded(form)
        assert np.array_equal(pixels(data), pixels(plain))
        assert decode(data, size=8, crop="none", channels=3).remarks == frozenset()

    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_a_damaged_picture_is_still_refused(self, form):
        data = encoded(form)
        for cut in (len(data) // 3, len(data) // 2):
            with pytest.raises(Undecodable):
                pixels(data[:cut])

    def test_pixels_are_damaged_where_their_checksum_is(self):
        data = bytearray(PNG)
        data[data.index(b"IDAT") + 60] ^= 0xFF
        with pytest.raises(Undecodable):
            pixels(bytes(data))

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "I;16"])
    def test_without_it_the_pixels_are_the_same(self, mode):
        image = PICTURE.convert(mode) if mode != "I;16" else Image.fromarray(deep(16)[..., 0])
        icc = bytes(range(200)) * 400
        options: list[tuple[str, dict]] = [
            ("PNG", {"icc_profile": icc, "dpi": (72, 72)}),
            ("JPEG", {"icc_profile": icc, "comment": b"hello", "quality": 95}),
            ("JPEG", {"progressive": True, "subsampling": 2}),
            ("WEBP", {"icc_profile": icc, "xmp": packet(1)}),
            *(
                ("TIFF", {"compression": name, "icc_profile": icc, **more})
                for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")
                for more in ({}, {"big_tiff": True}, {"tiffinfo": {317: 2}}, {"tiffinfo": {278: 4}})
            ),
        ]
        compared = 0
        for form, more in options:
            try:
                data = encoded(form, image, **more)
                before = Image.open(io.BytesIO(data))
                before.load()
            except (OSError, ValueError, RuntimeError):  # not everything can be written so
                continue
            bare = take_apart(data).pixels
            after = Image.open(io.BytesIO(bare))
            assert len(bare) < len(data) or form in ("JPEG", "TIFF")
            assert (after.mode, after.size) == (before.mode, before.size)
            assert after.tobytes() == before.tobytes()
            assert after.info.get("transparency") == before.info.get("transparency")
            compared += 1
        assert compared >= 3

    def test_several_images_in_a_file_are_noted_also_without_the_tags_that_say_so(self):
        several = 0xE2, b"MPF\0" + exif((0xB001, LONG, 1, b"\2"))
        bright = 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b'<x hdrgm:Version="1.0"/>'
        for segments, noted in (((several,), {ANIMATED}), ((bright, several), set())):
            data = with_segment(JPEG, *segments)
            assert decode(data, size=8, crop="none", channels=3).remarks == noted

    @given(st.binary(max_size=80), st.integers(0, 10**6), st.sampled_from([*BENIGN]))
    def test_taking_apart_never_fails(self, noise, place, name):
        data = BENIGN[name][:5000]
        at = place % len(data)
        for changed in (data[:at], data[:at] + noise, data[:at] + noise + data[at + len(noise) :]):
            taken = take_apart(changed)
            assert 1 <= taken.orientation <= 8
            assert len(taken.pixels) <= len(changed) + 20

    @given(
        st.sampled_from([b"II", b"MM"]),
        st.sampled_from([b"*\0", b"\0*", b"+\0", b"\0+"]),
        st.binary(max_size=60),
    )
    def test_directories_of_noise(self, order, magic, noise):
        assert 1 <= take_apart(order + magic + noise).orientation <= 8


def deep(bits: int, seed: int = 0) -> np.ndarray:
    """Draw levels of so many bits, (20, 30, 3) uint16."""
    random = np.random.RandomState(seed)
    return random.randint(0, 2**bits, (20, 30, 3)).astype(np.uint16)


def png16(levels: np.ndarray, kind: int) -> bytes:
    """Write a PNG file of 16 bits per level by hand: grey 0, colour 2, grey and alpha 4."""
    height, width = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff16(levels: np.ndarray, planar: int) -> bytes:
    """Write a TIFF file of 16 bits per level by hand, by pixel (1) or by channel (2)."""
    height, width, channels = levels.shape
    planes = [levels] if planar == 1 else [levels[..., k] for k in range(channels)]
    data = b"".join(plane.astype("<u2").tobytes() for plane in planes)
    n, size = len(planes), len(data) // len(planes)
    bits, offsets = 8 + len(data), 8 + len(data) + 2 * channels
    counts = offsets + 4 * n
    body = data + struct.pack(f"<{channels}H", *[16] * channels)
    body += struct.pack(f"<{n}I", *(8 + size * k for k in range(n))) + struct.pack(
        f"<{n}I", *[size] * n
    )
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits), (259, 3, 1, 1),
        (262, 3, 1, 2), (273, 4, n, offsets if n > 1 else 8), (277, 3, 1, channels),
        (278, 3, 1, height), (279, 4, n, counts if n > 1 else size), (284, 3, 1, planar),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + bytes(4)


class TestSixteenBits:
    def test_several_channels_are_cut_and_noted(self):
        levels = deep(16)
        files = {
            "PNG": png16(levels, 2),
            "TIFF": tiff16(levels, 1),
            "PPM": b"P6\n30 20\n65535\n" + levels.astype(">u2").tobytes(),
        }
        for name, data in files.items():
            found = decode(data, size=20, crop="center", channels=3)
            middle = (levels >> 8)[:, 5:25].transpose(2, 0, 1)
            assert np.abs(found.pixels.astype(int) - middle).max() <= (name == "PPM"), name
            assert found.remarks == {SIXTEEN_BIT_CHANNELS}
        assert SIXTEEN_BIT_CHANNELS in remarks(png16(levels[..., :2], 4))
        assert remarks(b"P6\n30 20\n255\n" + bytes(1800)) == frozenset()

    def test_planes_that_would_be_read_wrongly_are_refused(self):
        with pytest.raises(Undecodable, match="16 bits in a plane for each channel"):
            pixels(tiff16(deep(16), 2))

    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
    def test_the_bits_in_use_are_those_of_cameras(self, bits):
        below = {8: 0, 10: 256, 12: 1024, 14: 4096, 16: 16384}[bits]
        assert depth_of(2**bits - 1) == depth_of(below) == bits

    def fill(self, folder: Path, files: dict[str, bytes]) -> Path:
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return folder

    def grey(self, bits: int, count: int = 30) -> dict[str, bytes]:
        """Write grey images that use so many bits together, half of them as TIFF files."""
        files = {}
        for i in range(count):
            levels = deep(bits if i == 7 else bits - 1, i)[..., 0]
            as_tiff = encoded("TIFF", Image.fromarray(levels))
            files[f"{i:02d}.{'tif' if i % 2 else 'png'}"] = (
                as_tiff if i % 2 else png16(levels[..., None], 0)
            )
        return files

    @pytest.mark.parametrize("bits", [8, 10, 12, 14])
    def test_a_data_set_that_uses_fewer_is_scaled_and_noted(self, bits, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        base = self.fill(tmp_path / "a", self.grey(bits))
        data = Folder(path=str(base), size=20, channels=1)
        with pytest.warns(DataWarning, match=f"30 of 16 bits .* only the lower {bits} are in use"):
            found = {v.numpy().tobytes() for s in ("train", "validation", "test")
                     for v in data.load(s).values}  # fmt: skip
        drawn = [deep(bits if i == 7 else bits - 1, i)[:, 5:25, 0] >> (bits - 8) for i in range(30)]
        assert found == {image.astype(np.uint8).tobytes() for image in drawn}
        assert data.notes == (f"30 {shallow(bits)}",)

    def test_one_image_of_all_bits_makes_it_of_sixteen(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        dark = self.fill(tmp_path / "a", self.grey(12))
        other = self.fill(tmp_path / "b", {**self.grey(12), "x.png": png16(deep(16), 2)})
        bright = self.fill(tmp_path / "c", {**self.grey(12), "x.png": png16(deep(16)[..., :1], 0)})
        notes = {}
        for path in (dark, other, bright):
            data = Folder(path=str(path), size=20, channels=1)
            with pytest.warns(DataWarning):
                notes[path] = data.notes
        assert notes[dark] == (f"30 {shallow(12)}",)
        assert notes[other] == (f"1 {SIXTEEN_BIT_CHANNELS}", f"30 {shallow(12)}")
        assert notes[bright] == (f"31 {SIXTEEN_BIT}",)

    def test_dark_colours_are_warned_of(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        files = {f"{i}.png": png16(deep(12, i), 2) for i in range(25)}
        data = Folder(path=str(self.fill(tmp_path / "a", files)), size=8)
        with pytest.warns(DataWarning, match="come out nearly black; write them with 8 bits"):
            assert data.notes == (f"25 {shallow_channels(12)}",)

    def test_a_file_that_changes_meanwhile_is_told(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        base = self.fill(tmp_path / "a", self.grey(12))

        def touched(peak: int) -> int:
            (base / "03.tif").write_bytes(b"II*\0")
            return depth_of(peak)

        monkeypatch.setattr("harness.datasets.images.reading.depth_of", touched)
        with pytest.raises(DataError, match=r"03\.tif has changed while it was read; run the same"):
            Folder(path=str(base), size=8).fingerprint()
