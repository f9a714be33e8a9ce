"""Without numpy and Pillow: everything but pixels works, and pixels say what to install."""

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def without_extra(stub, tmp_path):
    (tmp_path / "image.png").write_bytes(b"image")

    def run(code):
        prelude = f"""
            import sys
            sys.modules["numpy"] = sys.modules["PIL"] = None  # as if not installed
            import asyncio, pathlib, air
            client = air.AIRefinery("some-key", {stub.url!r})
            folder = pathlib.Path({str(tmp_path)!r})
        """
        code = textwrap.dedent(prelude) + textwrap.dedent(code)
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_text_bytes_and_paths_are_segmented_and_the_mask_saved(without_extra, stub, tmp_path):
    without_extra("""
        for image in ("aW1hZ2U=", b"image", folder / "image.png"):
            response = client.images.segment(image, [[[1, 2]]], "m", mask_prompts=[None, "iVBOR"], size=(4, 3))
        response.data[0].save(folder / "mask.png")
        client.close()
    """)
    assert len(stub.requests) == 3
    assert (tmp_path / "mask.png").read_bytes().startswith(b"\x89PNG")


def test_pixels_name_the_extra_to_install(without_extra):
    printed = without_extra("""
        class Array:
            def __array__(self): ...
        mask = client.images.segment("aW1hZ2U=", [[[1, 2]]], "m").data[0]
        mask.segments = [air.Segment(value=1)]
        for ask in (
            lambda: client.images.segment(Array(), [[[1, 2]]], "m"),
            lambda: client.images.segment("aW1hZ2U=", [[[1, 2]]], "m", mask_prompts=[Array()]),
            mask.to_numpy, mask.to_image, mask.segments[0].to_numpy, lambda: mask.overlay(b"image"),
        ):
            try:
                ask()
            except air.MissingExtraError as error:
                print(error)
        client.close()
    """)
    lines = printed.splitlines()
    assert len(lines) == 6
    assert all(line.endswith('needs numpy and Pillow: pip install "maskery-sdk[images]"') for line in lines)


def test_importing_the_package_imports_neither():
    code = "import sys, air; print({'numpy', 'PIL'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n"
