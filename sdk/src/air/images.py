"""``client.images``: segmenting images, and preparing them."""

import threading
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Literal

from ._batch import PrepareResult, Progress, SegmentResult, run_all, run_all_async
from ._guidance import SegmentationOnly
from ._image_input import ImageInput
from ._prepared_images import PreparedImage, deletion, preparation
from ._segment_request import (
    Boxes,
    Labels,
    MaskPrompts,
    PointLabels,
    SegmentArguments,
    SegmentPrompt,
    SegmentRequest,
    segmentation,
)
from ._transport import AsyncTransport, Transport
from .types.images import SegmentationResponse


class Images(SegmentationOnly):
    """Segments and prepares images; methods block."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def segment(
        self,
        image: ImageInput,
        segment_prompt: SegmentPrompt | None,
        model: str,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: object | None = None,
        *,
        point_labels: PointLabels | None = None,
        boxes: Boxes | None = None,
        mask_prompts: MaskPrompts | None = None,
        labels: Labels | None = None,
        automatic: bool | Mapping[str, Any] | None = None,
        n: int | None = None,
        size: str | tuple[int, int] | None = None,
        exif: Literal["apply", "ignore"] | None = None,
        response_format: Literal["b64_json", "rle", "polygons"] | None = None,
        polygon_tolerance: float | None = None,
        compose: bool | None = None,
        merge_iou: float | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> SegmentationResponse:
        """Segment the objects that the prompt points at.

        Args:
            image: the image. A str is base64, with or without ``data:`` prefix; bytes are an image file or its base64;
                a `pathlib.Path` is read; the pixels of a PIL image or an array (uint8 [height, width],
                [height, width, 3] RGB or [height, width, 4] RGBA) are sent as PNG. Of a `PreparedImage` only the id is
                sent; it is uploaded again, within the same ``timeout``, if the server has dropped it, and once for each
                other model, server or account. A str ``"id:img_..."`` is the id of a prepared image.
            segment_prompt: for each object its points: ``[[[x, y], ...], ...]``, in pixels from the upper left corner
                of the upright image. Points in one inner list refine one object; each inner list is one object. JSON
                text of such a list is sent unchanged. None if ``boxes`` or ``mask_prompts`` describe the objects.
            model: a name that ``models.list()`` returns.
            timeout: seconds for the whole call, with retries, up to the last byte of the answer. None: the client's.
            extra_headers: override the client's headers.
            extra_body: sent as the body's key ``extra_body``.
            point_labels: for each object for each point 1 (on the object) or 0 (not on it), or None for an object
                whose points are all on it.
            boxes: for each object ``[x0, y0, x1, y1]`` in pixels around it, or None.
            mask_prompts: for each object a mask to refine, or None: COCO RLE, base64 of a PNG, a PNG's bytes or path,
                a PIL image, or bool or uint8 [height, width]; values other than 0 are on the object.
            labels: for each object a text that names it, or None; its segment carries it as ``label``.
            automatic: True, or a mapping of options such as ``{"points_per_side": 16}``: segment everything in the
                image. ``segment_prompt`` is None then. Takes as long as some hundred prompts: mind ``timeout``.
            n: how many candidates of an ambiguous prompt to return, 1 to 3, best first.
            size: of the answered mask, ``"WIDTHxHEIGHT"`` or (width, height); None: the image's own. Coordinates
                always refer to the image that is sent.
            exif: "apply" (the server's default) turns the image as its EXIF orientation says; "ignore" does not. A PIL
                image is sent as its pixels are, and turned only with "apply". A prepared image has its own.
            response_format: "b64_json" (a PNG), "rle" or "polygons".
            polygon_tolerance: how far the rings of polygons may lie from the edges of the mask's pixels, in pixels; 0
                (the server's default): exact. 1 leaves out most corners.
            compose: False returns each object's whole mask, so that they may overlap; needs "rle" or "polygons".
            merge_iou: objects whose masks have at least this IoU, 0 to 1, become one; 1 keeps all apart.
            user: your name for the end user, for the server's log.
            **kwargs: sent as further keys of the body.

        Returns:
            As many masks as ``n``, and the usage.

        Raises:
            InputError: an argument cannot be sent; nothing was.
            OSError: the image's file cannot be read.
            MissingExtraError: pixels were passed, and numpy or Pillow is not installed.
            ImageNotPreparedError: the server has dropped the prepared image, which does not hold its file or was
                passed by its id; or dropped it again right after it was uploaded.
            APIConnectionError: no answer.
            APITimeoutError: no complete answer in time.
            BadResponseError: an answer that does not follow the API.
            APIStatusError: an error status; one subclass for each, see `air.errors`.
            ConfigurationError: the client has been closed.
        """
        return self._segment(
            SegmentArguments(
                image, segment_prompt, model, timeout, extra_headers, extra_body, point_labels, boxes, mask_prompts,
                labels, automatic, n, size, exif, response_format, polygon_tolerance,
                compose, merge_iou, user, kwargs,
            )
        )  # fmt: skip

    def segment_many(
        self,
        requests: Iterable[SegmentRequest],
        *,
        concurrency: int = 4,
        progress: Progress | None = None,
        **defaults: Any,
    ) -> list[SegmentResult]:
        """Segment many images, a few at a time.

        Args:
            requests: for each image a mapping of `segment`'s arguments, see `SegmentRequest`. The next one is taken
                when a request has finished, so that a generator over a folder never has more than ``concurrency``
                images in memory. A Path is read when its request starts.
            concurrency: how many requests run at the same time at most.
            progress: called after each request with the number of finished requests and the total, or None if
                ``requests`` has no length. Always called in the caller's thread.
            **defaults: arguments of `segment` for requests that do not set them, such as ``model=...``.

        Returns:
            One result per request, in their order. If a request fails, its result holds the error and the others
            continue.

        Raises:
            InputError: ``concurrency`` is not a positive integer, or, before a request has succeeded, a request is not
                one.
            AirError: before a request has succeeded, one failed in a way that all would: the server cannot be reached,
                refuses the key, or does not know the model or an option.
            Exception: what ``requests`` or ``progress`` raises, or KeyboardInterrupt; running requests end first.
        """

        def call(request: SegmentRequest, cancelled: threading.Event) -> SegmentationResponse:
            return self._segment(SegmentArguments.from_request(request, defaults), cancelled)

        return run_all(requests, call, SegmentResult, concurrency, progress)

    def prepare(
        self,
        image: ImageInput,
        model: str,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        *,
        exif: Literal["apply", "ignore"] | None = None,
        user: str | None = None,
        keep: bool = True,
    ) -> PreparedImage:
        """Upload an image once and encode it in advance, to segment it many times without sending it again.

        Args:
            image: in any form that `segment` accepts but an id. A `PreparedImage` is prepared again.
            model: the model to encode it for. It is uploaded again for any other model that `segment` names.
            timeout: as for `segment`.
            extra_headers: as for `segment`.
            exif: as for `segment`, for all requests with this image. None: that of a `PreparedImage`, else the
                server's default, "apply".
            user: as for `segment`; sent with every upload of the image.
            keep: hold the image file in memory, to upload it again if the server has dropped it. False saves that
                memory; `segment` then raises ImageNotPreparedError.

        Returns:
            What to pass to `segment` as ``image``.

        Raises:
            AirError: as for `segment`.
            OSError: the image's file cannot be read.
        """
        flow = preparation(self._transport.config, image, model, extra_headers, exif, user, keep)
        return self._transport.run(flow, timeout)

    def prepare_many(
        self,
        images: Iterable[ImageInput],
        model: str,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        *,
        exif: Literal["apply", "ignore"] | None = None,
        user: str | None = None,
        keep: bool = False,
        concurrency: int = 4,
        progress: Progress | None = None,
    ) -> list[PrepareResult]:
        """Prepare many images, a few at a time, such as a folder that will be annotated.

        Images that the server knows are not encoded again: a batch that was interrupted can be repeated.

        Args:
            images: images in any form that `prepare` accepts. The next one is taken when another has finished; a Path
                is read when its turn comes.
            model: as for `prepare`.
            timeout: as for `segment`, for each image.
            extra_headers: as for `segment`.
            exif: as for `prepare`.
            user: as for `prepare`.
            keep: hold the image files in memory, to upload them again if the server has dropped them. False, unlike in
                `prepare`, because many files take much memory.
            concurrency: how many images are sent at the same time at most.
            progress: called after each image with the number of finished images and the total, or None if ``images``
                has no length. Always called in the caller's thread.

        Returns:
            One result per image, in their order. If an image fails, its result holds the error and the others
            continue.

        Raises:
            InputError: ``concurrency`` is not a positive integer.
            Exception: what ``images`` or ``progress`` raises, or KeyboardInterrupt; running requests end first.
        """

        def call(image: ImageInput, cancelled: threading.Event) -> PreparedImage:
            flow = preparation(self._transport.config, image, model, extra_headers, exif, user, keep)
            return self._transport.run(flow, timeout, cancelled)

        return run_all(images, call, PrepareResult, concurrency, progress)

    def delete(
        self,
        image: PreparedImage | str,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Delete a prepared image from the server, for all models. It is not an error if the server has dropped it.

        A `PreparedImage` that holds its file can still be segmented afterwards: it is uploaded again.

        Args:
            image: the prepared image, or its id, ``"img_..."`` or ``"id:img_..."``.
            timeout: as for `segment`.
            extra_headers: as for `segment`.

        Raises:
            InputError: the image was prepared on another server, or the text is not an id.
            AirError: as for `segment`.
        """
        self._transport.run(deletion(self._transport.config, image, extra_headers), timeout)

    def _segment(self, arguments: SegmentArguments, cancelled: threading.Event | None = None) -> SegmentationResponse:
        return self._transport.run(segmentation(self._transport.config, arguments), arguments.timeout, cancelled)


class AsyncImages(SegmentationOnly):
    """Segments and prepares images from asyncio: the same methods as `Images`, awaited."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def segment(
        self,
        image: ImageInput,
        segment_prompt: SegmentPrompt | None,
        model: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the API's own argument
        extra_headers: Mapping[str, str] | None = None,
        extra_body: object | None = None,
        *,
        point_labels: PointLabels | None = None,
        boxes: Boxes | None = None,
        mask_prompts: MaskPrompts | None = None,
        labels: Labels | None = None,
        automatic: bool | Mapping[str, Any] | None = None,
        n: int | None = None,
        size: str | tuple[int, int] | None = None,
        exif: Literal["apply", "ignore"] | None = None,
        response_format: Literal["b64_json", "rle", "polygons"] | None = None,
        polygon_tolerance: float | None = None,
        compose: bool | None = None,
        merge_iou: float | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> SegmentationResponse:
        """Segment the objects that the prompt points at.

        The same arguments, answer and errors as `Images.segment`. Files are read and pixels compressed in a thread.
        """
        return await self._segment(
            SegmentArguments(
                image, segment_prompt, model, timeout, extra_headers, extra_body, point_labels, boxes, mask_prompts,
                labels, automatic, n, size, exif, response_format, polygon_tolerance,
                compose, merge_iou, user, kwargs,
            )
        )  # fmt: skip

    async def segment_many(
        self,
        requests: Iterable[SegmentRequest] | AsyncIterable[SegmentRequest],
        *,
        concurrency: int = 4,
        progress: Progress | None = None,
        **defaults: Any,
    ) -> list[SegmentResult]:
        """Segment many images, a few at a time.

        The same arguments and results as `Images.segment_many`; ``requests`` may be async. Cancelling it cancels the
        running requests, and waits until they have ended.
        """

        async def call(request: SegmentRequest) -> SegmentationResponse:
            return await self._segment(SegmentArguments.from_request(request, defaults))

        return await run_all_async(requests, call, SegmentResult, concurrency, progress)

    async def prepare(
        self,
        image: ImageInput,
        model: str,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        extra_headers: Mapping[str, str] | None = None,
        *,
        exif: Literal["apply", "ignore"] | None = None,
        user: str | None = None,
        keep: bool = True,
    ) -> PreparedImage:
        """Upload an image once and encode it in advance, to segment it many times without sending it again.

        The same arguments, answer and errors as `Images.prepare`. Files are read and pixels compressed in a thread.
        """
        flow = preparation(self._transport.config, image, model, extra_headers, exif, user, keep)
        return await self._transport.run(flow, timeout)

    async def prepare_many(
        self,
        images: Iterable[ImageInput] | AsyncIterable[ImageInput],
        model: str,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        extra_headers: Mapping[str, str] | None = None,
        *,
        exif: Literal["apply", "ignore"] | None = None,
        user: str | None = None,
        keep: bool = False,
        concurrency: int = 4,
        progress: Progress | None = None,
    ) -> list[PrepareResult]:
        """Prepare many images, a few at a time, such as a folder that will be annotated.

        The same arguments and results as `Images.prepare_many`; ``images`` may be async. Cancelling it cancels the
        running requests, and waits until they have ended.
        """

        async def call(image: ImageInput) -> PreparedImage:
            flow = preparation(self._transport.config, image, model, extra_headers, exif, user, keep)
            return await self._transport.run(flow, timeout)

        return await run_all_async(images, call, PrepareResult, concurrency, progress)

    async def delete(
        self,
        image: PreparedImage | str,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        extra_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Delete a prepared image from the server, for all models. It is not an error if the server has dropped it.

        The same arguments and errors as `Images.delete`.
        """
        await self._transport.run(deletion(self._transport.config, image, extra_headers), timeout)

    async def _segment(self, arguments: SegmentArguments) -> SegmentationResponse:
        return await self._transport.run(segmentation(self._transport.config, arguments), arguments.timeout)
