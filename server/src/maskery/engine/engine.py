"""A picture's bytes and a prompt to an answer, within the limits in force."""

from dataclasses import dataclass, field
from typing import Any

from maskery.models import Registry
from maskery.segmentation import (
    Exif,
    ImageLimits,
    Model,
    Options,
    PictureFile,
    PromptLimits,
    Segmentation,
    parse_prompt,
    segment,
)


@dataclass(frozen=True)
class Prompt:
    """The prompt as it was sent; it can be checked only when the picture's size is known."""

    segment_prompt: Any
    point_labels: Any = None
    boxes: Any = None
    mask_prompts: Any = None


@dataclass(frozen=True)
class Job:
    """A picture and what is asked of it."""

    model: str
    image: bytes
    prompt: Prompt
    options: Options = field(default_factory=Options)
    exif: Exif = "apply"


class Engine:
    """Answers jobs, one at a time in the calling thread; safe from several threads.

    Args:
        models: those that can be asked for.
        image_limits: what a picture may weigh.
        prompt_limits: how much may be asked.
    """

    def __init__(self, models: Registry, image_limits: ImageLimits, prompt_limits: PromptLimits) -> None:
        self.models = models
        self.image_limits = image_limits
        self.prompt_limits = prompt_limits

    def segment(self, job: Job) -> Segmentation:
        """Every check comes before the work that it would waste.

        Raises:
            ModelNotInstalled: the model is not on this machine.
            SegmentationError: the picture or the prompt is wrong.
        """
        model: Model = self.models.get(job.model)
        file = PictureFile(job.image, job.exif, self.image_limits)
        prompt = job.prompt
        objects = parse_prompt(
            prompt.segment_prompt,
            file.size,
            prompt.point_labels,
            prompt.boxes,
            prompt.mask_prompts,
            self.prompt_limits,
        )
        return segment(model, file.decode(), objects, job.options)
