"""``client.images``: segmenting pictures, and preparing them for it."""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Literal

from ._batch import Progress, SegmentResult, run_all, run_all_async
from ._cutoff import Abort
from ._image_input import Picture
from ._prepared import PreparedImage
from ._prepared_images import deletion, preparation
from ._prompts import Boxes, MaskPrompts, PointLabels, SegmentPrompt
from ._segment_request import segmentation
from ._transport import AsyncTransport, Transport
from .types import SegmentationResponse


class Images:
    """Segments pictures and prepares them, blocking the caller."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def segment(
        self,
        image: Picture,
        segment_prompt: SegmentPrompt | None,
        model: str,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: object | None = None,
        *,
        point_labels: PointLabels | None = None,
        boxes: Boxes | None = None,
        mask_prompts: MaskPrompts | None = None,
        n: int | None = None,
        size: str | tuple[int, int] | None = None,
        exif: Literal["apply", "ignore"] | None = None,
        response_format: Literal["b64_json", "rle", "polygons"] | None = None,
        compose: bool | None = None,
        merge_iou: float | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> SegmentationResponse:
        """Ask which pixels belong to the objects that the prompt points at.

        Args:
            image: the picture. A str is base64, with or without ``data:`` prefix; bytes are a picture file's; a
                `pathlib.Path` is read; a PIL image or an array (uint8 [height, width], [height, width, 3] RGB or
                [height, width, 4] RGBA) is sent as its pixels stand. Of a prepared picture only the id is sent; it
                is uploaded again, within the same ``timeout``, where the server has dropped it, and once for each
                other model, server or account. A str ``"id:img_..."`` is a prepared picture's id alone.
            segment_prompt: for each object its points: ``[[[x, y], ...], ...]``, in pixels from the upper left
                corner of the picture as a person sees it. Points in one inner list refine one object; a further
                inner list asks for a further object. JSON text of such a list is passed on as it is.
                None where ``boxes`` or ``mask_prompts`` say it all.
            model: a name that ``models.list()`` answers.
            timeout: seconds for everything: retries, waiting, and the answer's last byte. None: the client's.
            extra_headers: override the client's headers.
            extra_body: sent as the body's key ``extra_body``.
            point_labels: for each object for each point 1 (on the object) or 0 (not on it), or None for an object
                whose points are all on it.
            boxes: for each object ``[x0, y0, x1, y1]`` in pixels around it, or None.
            mask_prompts: for each object a mask to start from, or None: COCO RLE, base64 of a PNG, a PNG's bytes
                or path, a PIL image, or bool or uint8 [height, width]; whatever is not 0 is on the object.
            n: how many readings of an ambiguous prompt to answer, 1 to 3, best first.
            size: of the answered mask, ``"WIDTHxHEIGHT"`` or (width, height); the picture's own if None.
                Coordinates refer to the picture that is sent in any case.
            exif: "apply" (the server's default) turns the picture as its EXIF orientation says; "ignore" does not.
                Settled already where the picture is a prepared one.
            response_format: "b64_json" (a PNG), "rle" or "polygons".
            compose: False answers each object's whole mask, so that they may overlap; needs "rle" or "polygons".
            merge_iou: objects whose masks overlap at least so much, 0 to 1, are one; 1 keeps all apart.
            user: your name for the end user, for the server's log.
            **kwargs: sent as further keys of the body.

        Returns:
            As many masks as ``n``, and what they cost.

        Raises:
            InputError: an argument cannot be sent; nothing was.
            OSError: the picture's file cannot be read.
            MissingExtraError: pixels were passed, and numpy or Pillow is not installed.
            ImageNotPreparedError: the prepared picture is gone, and was not kept; or it was passed by its id; or it
                was uploaded again, and is gone again.
            APIConnectionError: no answer.
            APITimeoutError: no whole answer in time.
            BadResponseError: an answer that is not what the API promises.
            APIStatusError: the server refused or failed; one subclass for each status, see `air.errors`.
        """
        return self._segment(
            {
                "image": image,
                "segment_prompt": segment_prompt,
                "model": model,
                "timeout": timeout,
                "extra_headers": extra_headers,
                "extra_body": extra_body,
                "point_labels": point_labels,
                "boxes": boxes,
                "mask_prompts": mask_prompts,
                "n": n,
                "size": size,
                "exif": exif,
                "response_format": response_format,
                "compose": compose,
                "merge_iou": merge_iou,
                "user": user,
                **kwargs,
            }
        )

    def segment_many(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = 4,
        progress: Progress | None = None,
        **defaults: Any,
    ) -> list[SegmentResult]:
        """Ask for many pictures, a few at a time.

        Args:
            requests: for each picture a mapping of `segment`'s arguments. Read as places become free, so that a
                generator over a folder never has more than ``concurrency`` pictures in memory. A Path costs no
                memory until its turn.
            concurrency: how many requests are in flight at most.
            progress: called after each request with the number of those done and of all, or None where
                ``requests`` has no length. Always called from the caller's thread.
            **defaults: arguments of `segment` for the requests that do not set them, such as ``model=...``.

        Returns:
            One result per request, in their order. A request that fails does not stop the others: its result holds
            the error.

        Raises:
            InputError: ``concurrency`` is not a positive integer.
            Exception: whatever ``requests`` or ``progress`` raises, KeyboardInterrupt too; requests in flight are
                cut off first.
        """
        return run_all(requests, self._segment, defaults, concurrency, progress)

    def prepare(
        self,
        image: Picture,
        model: str,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        *,
        exif: Literal["apply", "ignore"] | None = None,
        user: str | None = None,
        keep: bool = True,
    ) -> PreparedImage:
        """Upload a picture once, have it encoded ahead, and segment it many times without sending it again.

        Args:
            image: the picture, as anything that `segment` takes but an id. A prepared one is prepared anew.
            model: the model to encode it for. `segment` may name another: the picture is then uploaded once for that.
            timeout: as for `segment`.
            extra_headers: as for `segment`.
            exif: as for `segment`, for all that will be asked about the picture. None: as a prepared ``image`` was
                prepared, else the server's default, "apply".
            user: as for `segment`; sent with every upload of the picture.
            keep: hold the picture's file in memory, so that it can be uploaded again when the server has dropped it.
                False saves that memory; `segment` then raises ImageNotPreparedError when the picture is gone.

        Returns:
            What to pass to `segment` as ``image``.

        Raises:
            AirError: as for `segment`.
            OSError: the picture's file cannot be read.
        """
        program = preparation(self._transport.config, image, model, extra_headers, exif, user, keep)
        return self._transport.run(program, timeout)

    def delete(
        self,
        image: PreparedImage | str,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Have the server drop a prepared picture now, for all models. One that is gone already is no error.

        A `PreparedImage` that holds its picture can still be segmented afterwards: it is uploaded again.

        Args:
            image: the prepared picture, or its id, ``"img_..."`` or ``"id:img_..."``.
            timeout: as for `segment`.
            extra_headers: as for `segment`.

        Raises:
            InputError: the picture was prepared at another server, or the text is no id.
            AirError: as for `segment`.
        """
        self._transport.run(deletion(self._transport.config, image, extra_headers), timeout)

    def _segment(self, arguments: dict[str, Any], abort: Abort | None = None) -> SegmentationResponse:
        timeout = arguments.pop("timeout", None)
        return self._transport.run(segmentation(self._transport.config, **arguments), timeout, abort)


class AsyncImages:
    """Segments pictures and prepares them from asyncio: `Images`' twin."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def segment(
        self,
        image: Picture,
        segment_prompt: SegmentPrompt | None,
        model: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the API's own argument
        extra_headers: Mapping[str, str] | None = None,
        extra_body: object | None = None,
        *,
        point_labels: PointLabels | None = None,
        boxes: Boxes | None = None,
        mask_prompts: MaskPrompts | None = None,
        n: int | None = None,
        size: str | tuple[int, int] | None = None,
        exif: Literal["apply", "ignore"] | None = None,
        response_format: Literal["b64_json", "rle", "polygons"] | None = None,
        compose: bool | None = None,
        merge_iou: float | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> SegmentationResponse:
        """Ask which pixels belong to the objects that the prompt points at.

        The same arguments, answer and errors as `Images.segment`. Files are read and pixels compressed in a
        thread.
        """
        return await self._segment(
            {
                "image": image,
                "segment_prompt": segment_prompt,
                "model": model,
                "timeout": timeout,
                "extra_headers": extra_headers,
                "extra_body": extra_body,
                "point_labels": point_labels,
                "boxes": boxes,
                "mask_prompts": mask_prompts,
                "n": n,
                "size": size,
                "exif": exif,
                "response_format": response_format,
                "compose": compose,
                "merge_iou": merge_iou,
                "user": user,
                **kwargs,
            }
        )

    async def segment_many(
        self,
        requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        concurrency: int = 4,
        progress: Progress | None = None,
        **defaults: Any,
    ) -> list[SegmentResult]:
        """Ask for many pictures, a few at a time.

        The same arguments and results as `Images.segment_many`; ``requests`` may be async. Cancelling it cancels
        the requests in flight, and waits until they have ended.
        """
        return await run_all_async(requests, self._segment, defaults, concurrency, progress)

    async def prepare(
        self,
        image: Picture,
        model: str,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        extra_headers: Mapping[str, str] | None = None,
        *,
        exif: Literal["apply", "ignore"] | None = None,
        user: str | None = None,
        keep: bool = True,
    ) -> PreparedImage:
        """Upload a picture once, have it encoded ahead, and segment it many times without sending it again.

        The same arguments, answer and errors as `Images.prepare`. Files are read and pixels compressed in a thread.
        """
        program = preparation(self._transport.config, image, model, extra_headers, exif, user, keep)
        return await self._transport.run(program, timeout)

    async def delete(
        self,
        image: PreparedImage | str,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        extra_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Have the server drop a prepared picture now, for all models. One that is gone already is no error.

        The same arguments and errors as `Images.delete`.
        """
        await self._transport.run(deletion(self._transport.config, image, extra_headers), timeout)

    async def _segment(self, arguments: dict[str, Any]) -> SegmentationResponse:
        timeout = arguments.pop("timeout", None)
        return await self._transport.run(segmentation(self._transport.config, **arguments), timeout)
