"""What every backend offers: it reads a graph and compiles it for shapes of its inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from numpy.typing import NDArray

#: In which matrix products are computed: tf32 has the range of f32 and the mantissa of f16.
Precision = Literal["f32", "tf32", "f16", "bf16"]

Arrays = Mapping[str, NDArray[Any]]

#: Name and shape of each input, in order; -1 for an axis of any size.
Shapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]

#: Computes the outputs by name. They belong to the caller; inputs are not kept.
Run = Callable[[Arrays], dict[str, NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph as data, before a backend reads it.

    Attributes:
        model: a serialized ONNX graph, or a file in ONNX or in OpenVINO's own format.
        weights: float32, the inputs that are constants, by name. Neither ONNX nor OpenVINO read weights from outside
            the graph's own folder, and in the graph itself they would be copied and limited to 2 GB. They are used
            where they are, so that a mapped file stays mapped.
    """

    model: bytes | Path
    weights: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How a graph is run.

    Attributes:
        precision: of matrix products, where the graph does not specify it.
        outputs: names of the outputs to return.
        half: inputs that are given as float16.
        cache: folder for compiled graphs, if the backend keeps any; None: no cache.
    """

    precision: Precision
    outputs: tuple[str, ...]
    half: tuple[str, ...] = ()
    cache: Path | None = None


class Program(Protocol):
    """A graph that a backend has read."""

    def compile(self, shapes: Shapes) -> Run:
        """Prepare the graph for inputs of these shapes.

        Raises:
            RuntimeError: the backend cannot compile it.
        """
        ...


class Backend(Protocol):
    """A library that runs graphs on a device."""

    @property
    def device(self) -> str:
        """The value of the setting `device`."""
        ...

    @property
    def description(self) -> str:
        """The library, and the device as it names itself."""
        ...

    @property
    def precisions(self) -> Mapping[str, Precision]:
        """The precision to compute in, by value of the setting `precision`; other values are not supported."""
        ...

    def read(self, graph: Graph, options: Options) -> Program:
        """Read a graph.

        Raises:
            RuntimeError: the backend cannot read it.
        """
        ...
