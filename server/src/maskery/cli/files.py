"""The files that `maskery segment` reads and writes; ``-`` is standard input or output."""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskery.errors import UserError
from maskery.segmentation import FILE_SUFFIXES

#: In place of a file: standard input or output.
STANDARD = Path("-")

_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


def read_file(path: Path) -> bytes:
    """Raises UserError."""
    # Python has no object for a stream that was closed when the process started.
    if path == STANDARD and sys.stdin is None:
        raise UserError("standard input is closed.")
    try:
        return sys.stdin.buffer.read() if path == STANDARD else path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from None


def write_file(path: Path, data: bytes) -> None:
    """Write a file, in folders that are created where missing. Raises UserError."""
    if path == STANDARD and sys.stdout is None:
        raise UserError("standard output is closed.")
    try:
        if path == STANDARD:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}.") from None


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole: an interrupted command leaves the earlier one, not half of the new one."""
    if path.exists() and not path.is_file():
        # A device or a pipe, such as /dev/null.
        path.write_bytes(data)
        return
    target = path.resolve()
    new = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        new.write_bytes(data)
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class FolderContent:
    """What a folder holds, in the order of the names. Hidden files and folders are left out.

    Attributes:
        folder: the folder itself.
        images: files that are images by their names.
        others: other files.
        folders: folders in the folder.
    """

    folder: Path
    images: list[Path]
    others: list[Path]
    folders: list[Path]

    def need_images(self) -> list[Path]:
        """The images. Raises UserError if there are none."""
        if not self.images:
            raise UserError(f"{self.folder} holds no images.")
        return self.images


def list_folder(folder: Path) -> FolderContent:
    """Raises UserError."""
    try:
        # macOS writes a hidden file `._cat.jpg` beside `cat.jpg` on foreign file systems; it is not an image.
        # A link to a missing file is kept, so that it is reported as one that cannot be read.
        visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}.") from None
    files = [path for path in visible if path.is_file() or not path.exists()]
    images = [path for path in files if path.suffix.lower() in FILE_SUFFIXES]
    others = [path for path in files if path.suffix.lower() not in FILE_SUFFIXES]
    return FolderContent(folder, images, others, [path for path in visible if path.is_dir()])


def candidate_path(output: Path, candidate: int) -> Path:
    """The file of a candidate, counted from 1: ``mask.png``, ``mask-2.png`` …"""
    return output if candidate == 1 else output.with_stem(f"{output.stem}-{candidate}")


def check_names(image: str, options: Mapping[str, str | None]) -> None:
    """Refuse empty names, a URL, and names of folders in place of files.

    Args:
        image: an image, or a folder of images.
        options: the names of other files or folders, by the options that they were given with.

    Raises:
        UserError: with a name that would be accepted.
    """
    for option, name in {"the image": image, **options}.items():
        # An unset variable, as in `segment "$IMAGE"`. As a path it would be the current folder.
        if name == "":
            raise UserError(f"the name of {option} is empty: name a file, or . for the current folder.")
    if image.startswith(("http://", "https://")):
        raise UserError(f"the image is a URL, {image}: download it, and name the file.")
    if not Path(image).is_dir():
        for option, name in options.items():
            if name and name.endswith(_SEPARATORS):
                raise UserError(f"{option} {name} is a folder, but {image} is one image: name a file.")


def check_outputs(
    image: Path, masks: Path, overlays: Path | None, suffix: str, candidates: int, mask_prompt: Path | None
) -> None:
    """Refuse outputs that would overwrite an input or each other, or whose extension is wrong.

    Args:
        image: the image, or a folder of images.
        masks: the mask's file, or the folder of masks.
        overlays: the overlay's file, or the folder of overlays; None: no overlay.
        suffix: of masks, ``.png`` or ``.json``.
        candidates: number of masks per image.
        mask_prompt: the mask prompt's file.

    Raises:
        UserError: with a name that would be accepted.
    """
    options = {"-o": masks, "--overlay": overlays} if overlays else {"-o": masks}
    if masks == overlays == STANDARD:
        raise UserError("-o and --overlay are both standard output: name a file for one of them.")
    if image.is_dir():
        for option, folder in options.items():
            if folder == STANDARD:
                raise UserError(f"{image} is a folder, so {option} names a folder, not standard output.")
            if folder.exists() and not folder.is_dir():
                raise UserError(f"{image} is a folder, so {option} names a folder; {folder} is a file.")
            if _same(folder, image):
                raise UserError(f"{option} is the folder of the images, {image}: name another one.")
        if overlays and _same(masks, overlays):
            raise UserError("-o and --overlay are the same folder: name two.")
        return
    for option, path in options.items():
        check_file(option, path, suffix if option == "-o" else ".png", image, None)
    if masks == STANDARD and candidates > 1 and suffix == ".png":
        raise UserError(
            f"-o - writes one mask, but --n {candidates} asks for several: name a file, or use --format rle."
        )
    written = [masks] if suffix == ".json" else [candidate_path(masks, each) for each in range(1, candidates + 1)]
    for file in written:
        if _same(file, image):
            raise UserError(f"the mask would be written over the image, {image}: name another file with -o.")
        if mask_prompt and _same(file, mask_prompt):
            raise UserError(f"the mask would be written over the mask prompt {mask_prompt}: name another file with -o.")
        if overlays and _same(file, overlays):
            raise UserError(f"the mask and the overlay would both be written to {file}: name two files.")
    for name, read in (("image", image), ("mask prompt", mask_prompt)):
        if overlays and read and _same(overlays, read):
            raise UserError(f"the overlay would be written over the {name}, {read}: name another file.")


def check_file(option: str, path: Path, suffix: str, image: Path, mask_prompt: Path | None) -> None:
    """Refuse an output that is a folder, has another extension, or would overwrite the mask prompt.

    Raises:
        UserError: with a name that would be accepted.
    """
    if path.is_dir():
        example = path / f"{'image' if image == STANDARD else image.stem}{suffix}"
        raise UserError(f"{option} {path} is a folder: name a file, such as {example}.")
    if path.suffix and path.suffix.lower() != suffix:
        kind = suffix[1:].upper()
        raise UserError(f"{option} {path}: the file is written as {kind}, so name it {path.with_suffix(suffix).name}.")
    if mask_prompt and _same(path, mask_prompt):
        raise UserError(f"{option} {path} is the mask prompt: name another file.")


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, which need not exist. `-` does not name a file."""
    if STANDARD in (one, other):
        return False
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
