"""Reads the weights of SAM and SAM-HQ from a safetensors file, mapping tensors into memory on request.

The format: https://huggingface.co/docs/safetensors. The names are those under which transformers saves `SamModel`
and `SamHQModel`.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.config import DecoderConfig, SamConfig, UnsupportedModel, VisionConfig

# Bytes per element.
_ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}

_READABLE = ("F32", "F16", "BF16")

# The format's own limit on the header.
_MAX_HEADER = 100_000_000

# First bytes of the file that Git keeps in place of a large one.
_LFS_POINTER = b"version "

# Far more layers than any network has; a config.json that asks for more would only fill the memory with names.
_MAX_REPEATS = 512

# One matrix, used by both encoders; a file may contain it once. transformers reads the first name.
_SHARED = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")

# transformers builds the layers' cross attention with this rate; attention_downsample_rate applies to the final
# attention only.
_LAYER_DOWNSAMPLE = 2

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorInfo:
    """The position of a tensor in the file.

    Attributes:
        dtype: as the format writes it, such as F32.
        shape: of the tensor.
        offset: of the first byte from the start of the file.
        nbytes: length in bytes.
    """

    dtype: str
    shape: Shape
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Weights:
    """A safetensors file whose header is valid. No tensor is in memory.

    Attributes:
        path: the file.
        tensors: by name. If one of the two names of the shared positional embedding is there, both are.
    """

    path: Path
    tensors: Mapping[str, TensorInfo]

    @classmethod
    def open(cls, path: Path) -> "Weights":
        """Read the header and compare it with the size of the file.

        Raises:
            UnsupportedModel: the file is not a complete safetensors file.
            OSError: the file cannot be read.
        """
        tensors = _read_header(path)
        for name, twin in (_SHARED, _SHARED[::-1]):
            if name in tensors:
                tensors.setdefault(twin, tensors[name])
        return cls(path, tensors)

    def array(self, name: str) -> NDArray[np.float32]:
        """A tensor as float32. F32 is mapped from the file, other types are copies.

        Raises:
            KeyError: the name is unknown.
            UnsupportedModel: its type is not F32, F16 or BF16.
        """
        info = self.tensors[name]
        if info.dtype not in _READABLE:
            raise UnsupportedModel(_wrong_type(self.path.name, name, info))
        if not info.nbytes:
            return np.zeros(info.shape, np.float32)
        stored = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[info.dtype]
        # Copy on write, because OpenVINO accepts only writable arrays. Nothing writes to it.
        mapped = np.memmap(self.path, stored, "c", info.offset, info.shape).view(np.ndarray)
        if info.dtype == "BF16":
            return (mapped.astype(np.uint32) << 16).view(np.float32)
        return mapped.astype(np.float32, copy=False)


def merge(parts: Sequence[Path], target: Path, progress: Callable[[int], None] | None = None) -> None:
    """Merge the files of sharded weights into one.

    Args:
        progress: called with the number of bytes written so far.

    Raises:
        UnsupportedModel: a part is not a complete safetensors file, or a tensor is in several parts.
        OSError: a file cannot be read or written.
    """
    header: dict[str, dict[str, Any]] = {}
    end = 0
    starts = []
    for part in parts:
        tensors = _read_header(part)
        starts.append(min((info.offset for info in tensors.values()), default=0))
        for name, info in tensors.items():
            if name in header:
                raise UnsupportedModel(f"{part.name} is not a part of the same weights: {name} is in another part, too")
            header[name] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": [end, end + info.nbytes]}
            end += info.nbytes
    text = json.dumps(header).encode()
    with target.open("wb") as output:
        output.write(len(text).to_bytes(8, "little") + text)
        for part, start in zip(parts, starts, strict=True):
            with part.open("rb") as source:
                source.seek(start)
                while chunk := source.read(2**20):
                    output.write(chunk)
                    if progress:
                        progress(output.tell())
        output.flush()
        os.fsync(output.fileno())


def digest(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file, in hexadecimal.

    Args:
        progress: called with the number of bytes read so far.
    """
    state, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            state.update(chunk)
            done += len(chunk)
            if progress:
                progress(done)
    return state.hexdigest()


def check(weights: Weights, config: SamConfig) -> None:
    """Check that every tensor is there, with its shape, in a supported type. Further tensors are ignored.

    Raises:
        UnsupportedModel: names the first tensor that is not.
    """
    expected, file = expected_shapes(config), weights.path.name
    missing = [name for name in expected if name not in weights.tensors]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UnsupportedModel(
            f"{file} lacks {missing[0]}{more} of the {len(expected)} tensors of {config.architecture}"
        )
    for name, shape in expected.items():
        info = weights.tensors[name]
        if info.shape != shape:
            raise UnsupportedModel(f"{file}: {name} is {_sizes(info.shape)}; config.json says {_sizes(shape)}")
        if info.dtype not in _READABLE:
            raise UnsupportedModel(_wrong_type(file, name, info))


def expected_shapes(config: SamConfig) -> dict[str, Shape]:
    """The shape of every tensor of the network, by its name in transformers.

    Raises:
        UnsupportedModel: the config asks for too many layers.
    """
    vision, decoder = config.vision, config.decoder
    if max(vision.layers, decoder.layers, decoder.multimask, decoder.iou_depth) > _MAX_REPEATS:
        raise UnsupportedModel(f"config.json asks for more than {_MAX_REPEATS} layers")
    shapes: dict[str, Shape] = dict.fromkeys(_SHARED, (2, decoder.hidden_size // 2))
    shapes.update(_vision(vision))
    shapes.update(_prompt(decoder))
    shapes.update(_decoder(decoder))
    if config.is_hq:
        shapes.update(_hq(vision, decoder))
    return shapes


_Shapes = Iterator[tuple[str, Shape]]


def _vision(config: VisionConfig) -> _Shapes:
    hidden, out, patch = config.hidden_size, config.output_channels, config.patch_size
    yield "vision_encoder.pos_embed", (1, config.grid, config.grid, hidden)
    yield from _affine("vision_encoder.patch_embed.projection", (hidden, 3, patch, patch))
    for layer in range(config.layers):
        name = f"vision_encoder.layers.{layer}"
        window = config.window_size if layer not in config.global_layers else 0
        relative = (2 * (window or config.grid) - 1, config.head_size)
        yield from _affine(f"{name}.layer_norm1", (hidden,))
        yield f"{name}.attn.rel_pos_h", relative
        yield f"{name}.attn.rel_pos_w", relative
        yield from _affine(f"{name}.attn.qkv", (3 * hidden, hidden))
        yield from _affine(f"{name}.attn.proj", (hidden, hidden))
        yield from _affine(f"{name}.layer_norm2", (hidden,))
        yield from _affine(f"{name}.mlp.lin1", (config.mlp_dim, hidden))
        yield from _affine(f"{name}.mlp.lin2", (hidden, config.mlp_dim))
    yield "vision_encoder.neck.conv1.weight", (out, hidden, 1, 1)
    yield from _affine("vision_encoder.neck.layer_norm1", (out,))
    yield "vision_encoder.neck.conv2.weight", (out, out, 3, 3)
    yield from _affine("vision_encoder.neck.layer_norm2", (out,))


def _prompt(config: DecoderConfig) -> _Shapes:
    hidden, channels = config.hidden_size, config.mask_channels
    first = channels // 4
    name = "prompt_encoder.mask_embed"
    yield from _affine(f"{name}.conv1", (first, 1, 2, 2))
    yield from _affine(f"{name}.layer_norm1", (first,))
    yield from _affine(f"{name}.conv2", (channels, first, 2, 2))
    yield from _affine(f"{name}.layer_norm2", (first * 4,))
    yield from _affine(f"{name}.conv3", (hidden, channels, 1, 1))
    for token in ("no_mask_embed", "not_a_point_embed", *(f"point_embed.{label}" for label in range(4))):
        yield f"prompt_encoder.{token}.weight", (1, hidden)


def _decoder(config: DecoderConfig) -> _Shapes:
    hidden, outputs = config.hidden_size, config.multimask + 1
    yield "mask_decoder.iou_token.weight", (1, hidden)
    yield "mask_decoder.mask_tokens.weight", (outputs, hidden)
    for layer in range(config.layers):
        name = f"mask_decoder.transformer.layers.{layer}"
        yield from _attention(f"{name}.self_attn", hidden, hidden)
        yield from _attention(f"{name}.cross_attn_token_to_image", hidden, hidden // _LAYER_DOWNSAMPLE)
        yield from _attention(f"{name}.cross_attn_image_to_token", hidden, hidden // _LAYER_DOWNSAMPLE)
        yield from _affine(f"{name}.mlp.lin1", (config.mlp_dim, hidden))
        yield from _affine(f"{name}.mlp.lin2", (hidden, config.mlp_dim))
        for norm in range(1, 5):
            yield from _affine(f"{name}.layer_norm{norm}", (hidden,))
    yield from _attention("mask_decoder.transformer.final_attn_token_to_image", hidden, hidden // config.downsample)
    yield from _affine("mask_decoder.transformer.layer_norm_final_attn", (hidden,))
    yield from _transposed("mask_decoder.upscale_conv1", hidden, hidden // 4)
    yield from _affine("mask_decoder.upscale_layer_norm", (hidden // 4,))
    yield from _transposed("mask_decoder.upscale_conv2", hidden // 4, hidden // 8)
    for output in range(outputs):
        yield from _mlp(f"mask_decoder.output_hypernetworks_mlps.{output}", hidden, hidden, hidden // 8, 3)
    yield from _mlp("mask_decoder.iou_prediction_head", hidden, config.iou_hidden, outputs, config.iou_depth)


def _hq(vision: VisionConfig, decoder: DecoderConfig) -> _Shapes:
    hidden, half, small = decoder.hidden_size, decoder.hidden_size // 4, decoder.hidden_size // 8
    yield "mask_decoder.hq_token.weight", (1, hidden)
    yield from _mlp("mask_decoder.hq_mask_mlp", hidden, hidden, small, 3)
    yield from _transposed("mask_decoder.compress_vit_conv1", vision.hidden_size, hidden)
    yield from _affine("mask_decoder.compress_vit_norm", (hidden,))
    yield from _transposed("mask_decoder.compress_vit_conv2", hidden, small)
    yield from _transposed("mask_decoder.encoder_conv1", hidden, half)
    yield from _affine("mask_decoder.encoder_norm", (half,))
    yield from _transposed("mask_decoder.encoder_conv2", half, small)
    yield from _affine("mask_decoder.mask_conv1", (half, small, 3, 3))
    yield from _affine("mask_decoder.mask_norm", (half,))
    yield from _affine("mask_decoder.mask_conv2", (small, half, 3, 3))


def _affine(name: str, weight: Shape) -> _Shapes:
    """A linear layer, a convolution or a normalisation: the first axis is the output."""
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def _transposed(name: str, inputs: int, outputs: int) -> _Shapes:
    """A transposed 2 × 2 convolution: the first axis is the input."""
    yield f"{name}.weight", (inputs, outputs, 2, 2)
    yield f"{name}.bias", (outputs,)


def _attention(name: str, hidden: int, inner: int) -> _Shapes:
    for projection in ("q_proj", "k_proj", "v_proj"):
        yield from _affine(f"{name}.{projection}", (inner, hidden))
    yield from _affine(f"{name}.out_proj", (hidden, inner))


def _mlp(name: str, inputs: int, hidden: int, outputs: int, depth: int) -> _Shapes:
    yield from _affine(f"{name}.proj_in", (hidden, inputs))
    for layer in range(depth - 2):
        yield from _affine(f"{name}.layers.{layer}", (hidden, hidden))
    yield from _affine(f"{name}.proj_out", (outputs, hidden))


def _read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a file, in the order of their offsets."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if start == _LFS_POINTER:
            raise UnsupportedModel(
                f"{path.name} is a pointer of Git LFS, not the file: run `git lfs pull` where it was cloned"
            )
        if len(start) < 8 or length > _MAX_HEADER:
            raise UnsupportedModel(f"{path.name} is not a safetensors file")
        if 8 + length > size:
            raise UnsupportedModel(f"{path.name} is cut off: its header has {length:,} bytes, the file {size:,}")
        return dict(_parse(path.name, file.read(length), 8 + length, size))


def _parse(file: str, header: bytes, start: int, size: int) -> Iterator[tuple[str, TensorInfo]]:
    """The tensors of a header, in the order of their offsets.

    Args:
        file: name, for messages.
        start: offset of the first tensor in the file.
        size: of the file in bytes.
    """
    try:
        document = json.loads(header, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UnsupportedModel(f"{file} is not a safetensors file")
    document.pop("__metadata__", None)
    spans = {}
    for name, entry in document.items():
        spans[name] = _span(entry)
        if spans[name] is None:
            raise UnsupportedModel(f"{file} is damaged: its header has an invalid entry for {name}")
    expected = 0
    for name, span in sorted(spans.items(), key=lambda item: item[1][2:]):
        dtype, shape, begin, end = span
        if begin != expected:
            raise UnsupportedModel(f"{file} is damaged: {name} does not begin where the tensor before it ends")
        expected = end
        yield name, TensorInfo(dtype, shape, start + begin, end - begin)
    if start + expected > size:
        raise UnsupportedModel(f"{file} is cut off: it has {size:,} of {start + expected:,} bytes")
    if start + expected < size:
        raise UnsupportedModel(f"{file} is damaged: it continues after its last tensor")


def _span(entry: Any) -> Any:
    """Type, shape, first and last byte of a tensor if they are consistent, else None."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]} if dtype in _ITEM_BYTES:
            numbers = (*shape, begin, end)
            whole = all(type(number) is int and 0 <= number < 2**63 for number in numbers)
            if whole and end - begin == math.prod(shape) * _ITEM_BYTES[dtype]:
                return dtype, tuple(shape), begin, end
    return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a name occurs twice")
    return document


def _wrong_type(file: str, name: str, info: TensorInfo) -> str:
    return f"{file}: {name} is of type {info.dtype}; supported are {', '.join(_READABLE)}"


def _sizes(shape: Shape) -> str:
    return " × ".join(map(str, shape)) or "a scalar"
