"""Reads image files with Pillow, as browsers read them and without changing Pillow's global settings."""

import ctypes
import io
import logging
import re
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
from PIL import Image as PILImage
from PIL import _imaging
from PIL.ImageFile import ImageFile

from maskery.segmentation.bit_depth import low_byte_tiles, scale_colour, uses_all_bits
from maskery.segmentation.errors import ImageTooLarge, NotAnImage

#: Supported formats.
READABLE = ("JPEG", "PNG", "WebP", "AVIF", "GIF", "BMP", "TIFF")

#: Extensions of their files, in lower case. An MPO file is a JPEG with further frames behind it.
FILE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in "jpg jpeg jpe jfif mpo png apng webp avif avifs gif bmp tif tiff".split()  # noqa: SIM905
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_ORIENTATION = 0x0112

_FIRST_BYTES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(re.escape(PNG_SIGNATURE)),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "AVIF": re.compile(rb"....ftyp(avi[fs]|mif1|msf1)", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]|II\0\*|MM\*\0"),
}

# Formats that are not supported. Bytes 4 to 12 of a HEIF file say what it contains.
_UNSUPPORTED = {
    "HEIC": re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "JPEG 2000": re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
    "Photoshop": re.compile(rb"8BPS"),
    "PDF": re.compile(rb"%PDF-"),
    "OpenEXR": re.compile(rb"\x76\x2f\x31\x01"),
    "SVG": re.compile(rb"\s*(<\?xml[^>]*>\s*)?<svg\b"),
}

# Chunks of a PNG beside its pixels that decoding them depends on, and its EXIF. The size and the checksum of other
# chunks, such as text and colour profiles, do not matter, but Pillow refuses files because of them.
_PNG_CHUNKS = frozenset({b"tRNS", b"eXIf"})
_MAX_PNG_CHUNKS = 200_000

# A JPEG may lack this share of its rows at the end, or as many rows as are coded together.
_MAX_MISSING, _CODED_ROWS = 1 / 16, 16
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
# Encoders write a dozen scans. Each takes a pass over all pixels, however few bytes it has.
_MAX_SCANS = 200
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def silence() -> None:
    """Keep what Pillow and libtiff say about malformed files out of this process' log and standard error.

    It depends on clients' bytes, and refusals say what matters. Programs call this; importing the package does not.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff writes to file descriptor 2, and Pillow has no option for that. Symbols are looked up in the libraries
    # that its extension is linked with, too. Where libtiff is a part of the extension, they are not found.
    library = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        with suppress(AttributeError):
            getattr(library, name)(None)


def read_header(data: bytes) -> ImageFile:
    """Read the header of an image file. `decode` reads its pixels.

    Raises:
        NotAnImage: the bytes are not an image, are in an unsupported format, or the header is damaged.
        ImageTooLarge: Pillow does not decode as many pixels in this format.
    """
    kind = next((name for name, pattern in _FIRST_BYTES.items() if pattern.match(data)), None)
    unsupported = next((name for name, pattern in _UNSUPPORTED.items() if pattern.match(data)), None)
    if kind is None:
        what = "not an image" if unsupported is None else f"{unsupported}, which is not supported"
        raise NotAnImage(f"the bytes are {what}: send {', '.join(READABLE)}")
    if kind == "JPEG" and _has_too_many_scans(data):
        raise NotAnImage(f"the JPEG has more than {_MAX_SCANS} scans: save it again")
    try:
        image = _open(kind, _strip_png(data) if kind == "PNG" else data)
    except (NotAnImage, MemoryError):
        raise
    except PILImage.DecompressionBombError as error:
        raise ImageTooLarge(f"the image is too large: {error}") from None
    # Pillow raises many kinds of exceptions for malformed headers.
    except Exception as error:
        if unsupported:
            raise NotAnImage(f"the image is {unsupported}, which is not supported: send JPEG or PNG") from None
        if kind == "JPEG" and _jpeg_frame(data)[0] not in (0, 8):
            bits = _jpeg_frame(data)[0]
            raise NotAnImage(
                f"the image is a JPEG of {bits} bits a channel; 8 are supported: convert it to 8 bits, or to a PNG"
            ) from None
        raise NotAnImage(f"the {kind}'s header is damaged or not supported: {sentence(error)}") from error
    # Pillow would take an orientation from there.
    image.info.pop("xmp", None)
    return image


def orientation(image: PILImage.Image) -> int:
    """The EXIF orientation, 1 to 8. As in browsers and OpenCV, XMP does not count."""
    try:
        if image.format == "TIFF":
            value = image.tag_v2.get(_ORIENTATION)  # type: ignore[attr-defined]
        else:
            exif = PILImage.Exif()
            exif.load(image.info.get("exif", b""))
            value = exif.get(_ORIENTATION)
    # Malformed EXIF leaves the image as it is stored, as in browsers.
    except Exception:  # noqa: BLE001
        return 1
    return value if value in range(1, 9) else 1


def decode(image: ImageFile, data: bytes) -> PILImage.Image:
    """Decode the pixels of an image from `read_header`. Where the end of a JPEG is missing, they are gray.

    Colours of 16 bits are scaled to 8; gray is not.

    Raises:
        ImageTooLarge: Pillow does not decode as many pixels in this format.
        Exception: of many kinds; the file is damaged.
    """
    low_bytes = low_byte_tiles(image)
    try:
        image.load()
        if low_bytes and not uses_all_bits(image) and "transparency" not in image.info:
            low = read_header(data)
            low.tile = low_bytes
            low.load()
            return scale_colour(image, low)
    except PILImage.DecompressionBombError as error:
        raise ImageTooLarge(f"the image is too large: {error}") from None
    except OSError:
        if image.format not in ("JPEG", "MPO"):
            raise
        completed = read_header(data + _END_OF_IMAGE)
        completed.load()
        if not _is_nearly_complete(completed, data):
            raise
        return completed
    return image


def gif_frame(data: bytes) -> tuple[int, int]:
    """Extent of a GIF's first frame, which may exceed the size in the header; (0, 0) for other files.

    Pillow allocates it when it reads the header. The blocks are read as Pillow reads them, so that both find the same
    frame in a malformed file.
    """
    file = io.BytesIO(data)
    header = file.read(13)
    if not header.startswith((b"GIF87a", b"GIF89a")) or len(header) < 13:
        return 0, 0
    if header[10] & 0x80:
        file.seek(3 << (header[10] & 7) + 1, io.SEEK_CUR)

    def read_block() -> bytes:
        length = file.read(1)
        return file.read(length[0]) if length else b""

    while (marker := file.read(1)) not in (b"", b";"):
        if marker == b"!":
            kind, block = file.read(1), read_block()
            if kind == b"\xff" and block.startswith(b"NETSCAPE2.0"):
                read_block()
            if kind != b"\xfe" or block:
                while read_block():
                    pass
        elif marker == b",":
            left, top, width, height = struct.unpack("<4H", file.read(8).ljust(8, b"\0"))
            return left + width, top + height
    return 0, 0


def sentence(error: Exception) -> str:
    """The message of an exception, or the name of its type."""
    return str(error) or type(error).__name__


def _open(kind: str, data: bytes) -> ImageFile:
    # `Image.open` would apply Pillow's own limit on pixels, which is global. Importing a plugin registers it, so this
    # happens when an image is read and not when this package is imported.
    file = io.BytesIO(data)
    match kind:
        case "JPEG":
            from PIL.JpegImagePlugin import jpeg_factory  # noqa: PLC0415

            return jpeg_factory(file)
        case "PNG":
            from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415

            return PngImageFile(file)
        case "WebP":
            from PIL.WebPImagePlugin import WebPImageFile  # noqa: PLC0415

            return WebPImageFile(file)
        case "AVIF":
            from PIL.AvifImagePlugin import AvifImageFile  # noqa: PLC0415

            return AvifImageFile(file)
        case "GIF":
            from PIL.GifImagePlugin import GifImageFile  # noqa: PLC0415

            return GifImageFile(file)
        case "BMP":
            from PIL.BmpImagePlugin import BmpImageFile  # noqa: PLC0415

            return BmpImageFile(file)
        case _:
            from PIL.TiffImagePlugin import TiffImageFile  # noqa: PLC0415

            return TiffImageFile(file)


def _strip_png(data: bytes) -> bytes:
    """A PNG without the chunks that its pixels do not depend on, and without damaged ones of the others.

    Files without such chunks are not copied.
    """
    kept, position = [memoryview(data)[:8]], 8
    for _ in range(_MAX_PNG_CHUNKS):
        if position + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        chunk = memoryview(data)[position : position + 12 + length]
        is_critical = not kind[0] & 0x20
        if is_critical or (kind in _PNG_CHUNKS and chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))):
            kept.append(chunk)
        position += 12 + length
        if kind == b"IEND":
            break
    else:
        raise NotAnImage(f"the PNG has more than {_MAX_PNG_CHUNKS:,} chunks: save it again")
    return data if sum(map(len, kept)) >= min(position, len(data)) else b"".join(kept)


def _jpeg_frame(data: bytes) -> tuple[int, int, int]:
    """Bits a channel, number of channels, and offset of the first scan; 0 for what is not found."""
    position, bits, channels = 2, 0, 0
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, position)
        if marker == 0xFF:
            position += 1
            continue
        if marker == _START_OF_SCAN[1]:
            return bits, channels, position
        if marker in _JPEG_FRAMES:
            bits, channels = data[position + 4], data[position + 9]
        position += 2 + length
    return bits, channels, 0


def _has_too_many_scans(data: bytes) -> bool:
    # The sequence may also occur by chance: in metadata, and in a film behind the image.
    if data.count(_START_OF_SCAN) <= _MAX_SCANS:
        return False
    scans, position = 0, _jpeg_frame(data)[2]
    while position > 0 and scans <= _MAX_SCANS:
        scans += data[position : position + 2] == _START_OF_SCAN
        (length,) = struct.unpack(">H", data[position + 2 : position + 4].ljust(2, b"\0"))
        found = _JPEG_MARKER.search(data, position + 2 + length)
        position = found.start() if found and found[0] != _END_OF_IMAGE else 0
    return scans > _MAX_SCANS


def _is_nearly_complete(image: PILImage.Image, data: bytes) -> bool:
    """Whether a JPEG without an end has all its scans, of the last of them all but the last rows.

    Rows that are missing are decoded as exact mid-gray.
    """
    _, channels, position = _jpeg_frame(data)
    # Each scan has some coefficients of some channels, to all or all but some of their bits.
    missing_bits: dict[tuple[int, int], int] = {}
    while position > 0:
        scan = data[position + 5 : position + 5 + 2 * data[position + 4] + 3]
        if len(scan) >= 3:
            for channel in scan[:-3:2]:
                missing_bits |= {(channel, coefficient): scan[-1] & 15 for coefficient in range(scan[-3], scan[-2] + 1)}
        position = data.find(_START_OF_SCAN, position + 2, len(data) - 5)
    if len(missing_bits) < 64 * channels or any(missing_bits.values()):
        return False
    last = image.height - 1 - max(_CODED_ROWS, int(image.height * _MAX_MISSING))
    if last < 0:
        return True
    row = np.asarray(image.crop((0, last, image.width, last + 1))).astype(int)
    return bool((abs(row - 127.5) > 1).any())
