"""Where answers are written, and that nothing is lost by it."""

from pathlib import Path

from maskery.cli.errors import CommandError


def check_outputs(image: Path, masks: Path, overlays: Path | None, suffix: str, readings: int) -> None:
    """Refuse names under which one file would be written over another, or under a wrong kind.

    Args:
        image: the image, or the folder of them.
        masks: the mask's file, or the folder of them.
        overlays: the same for what is drawn over the image, if that is wanted.
        suffix: of masks, png or json.
        readings: masks of an image.

    Raises:
        CommandError: with a name that would do.
    """
    if image.is_dir():
        for option, folder in (("-o", masks), ("--overlay", overlays)):
            if folder and _same(folder, image):
                raise CommandError(f"{option} is the folder of the images, {image}: name another one.")
        if overlays and _same(masks, overlays):
            raise CommandError("-o and --overlay are one folder: name two.")
        return
    if suffix == "png":
        _check_png("-o", masks)
    if overlays:
        _check_png("--overlay", overlays)
    written = [reading_path(masks, reading) for reading in range(1, readings + 1)]
    for file in written:
        if _same(file, image):
            raise CommandError(f"the mask would be written over the image, {image}: name another file with -o.")
        if overlays and _same(file, overlays):
            raise CommandError(f"the mask and the overlay would both be written to {file}: name two files.")
    if overlays and _same(overlays, image):
        raise CommandError(f"the overlay would be written over the image, {image}: name another file.")


def reading_path(output: Path, reading: int) -> Path:
    """The file of a reading, counted from 1: ``mask.png``, ``mask-2.png`` …"""
    return output if reading == 1 else output.with_stem(f"{output.stem}-{reading}")


def _check_png(option: str, path: Path) -> None:
    if path.suffix and path.suffix.lower() != ".png":
        raise CommandError(f"{option} {path}: it is written as a PNG, so name it {path.with_suffix('.png').name}.")


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, which need not exist."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
