"""A job done at once in the calling thread: what a command line needs, and what the engine's answers must equal."""

from maskery.engine.job import Job, Upload
from maskery.models import Registry
from maskery.segmentation import ImageFile, ImageLimits, PromptLimits, Segmentation, segment


def segment_directly(
    models: Registry, image_limits: ImageLimits, prompt_limits: PromptLimits, job: Job
) -> Segmentation:
    """Every check comes before the work that it would waste. Safe from several threads.

    Raises:
        ModelNotInstalled, StoreError: the model is not on this machine, or its files are damaged.
        SegmentationError: the image or the prompt is wrong.
        TypeError: the job's image is a reference; nothing is kept here that it could refer to.
    """
    model = models.get(job.model)
    if not isinstance(job.image, Upload):
        raise TypeError(f"only an image's file can be segmented directly, not {job.image!r}")
    file = ImageFile(job.image.data, job.image.exif, image_limits)
    objects = job.prompt.check(file.size, prompt_limits)
    return segment(model, file.decode(), objects, job.options)
