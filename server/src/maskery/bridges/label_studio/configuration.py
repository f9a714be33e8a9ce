"""The labelling configuration: which control receives the masks, and which field of a task has its image."""

from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from maskery.segmentation import PromptError

# Controls that can hold a mask, and the kind of regions that they hold.
_KINDS: dict[str, Literal["brushlabels", "polygonlabels"]] = {
    "brushlabels": "brushlabels",
    "polygonlabels": "polygonlabels",
}


@dataclass(frozen=True)
class Output:
    """The control that receives the masks.

    Attributes:
        name: of the control.
        kind: of its regions.
        labels: that it offers; empty if they come from the task.
        image: name of the image that it labels.
        field: of the task's data that has the image.
    """

    name: str
    kind: Literal["brushlabels", "polygonlabels"]
    labels: frozenset[str]
    image: str
    field: str


def find_output(configuration: str, image: str | None = None) -> Output:
    """The first control of a labelling configuration that can hold masks: BrushLabels or PolygonLabels.

    Args:
        configuration: in XML.
        image: name of the image that was labelled; None: any.

    Raises:
        PromptError: it is not a configuration, or has no such control.
    """
    tags = list(_parse(configuration).iter())
    images = {tag.get("name", ""): tag for tag in tags if _kind(tag) == "image"}
    for tag in tags:
        labelled = tag.get("toname", "")
        kind = _KINDS.get(_kind(tag))
        if kind and labelled in images and image in (None, labelled):
            return Output(tag.get("name", ""), kind, _labels(tag), labelled, _field(images[labelled]))
    raise PromptError(
        "label_config: the labelling configuration has no BrushLabels or PolygonLabels for "
        f"{'an image' if image is None else f'the image {image!r}'}, so there is no place for a mask: add "
        '<BrushLabels name="mask" toName="image"> with the labels of the keypoints',
        "label_config",
    )


def _parse(configuration: str) -> ElementTree.Element:
    """The elements, with attributes in lower case, because Label Studio accepts any case."""
    # Declarations of entities can make a small document very large; Label Studio does not accept them either.
    if "<!" in configuration.replace("<!--", ""):
        raise PromptError("label_config: the labelling configuration has a document type declaration", "label_config")
    try:
        root = ElementTree.fromstring(configuration)  # noqa: S314
    except ElementTree.ParseError as error:
        raise PromptError(f"label_config: the labelling configuration is not XML: {error}", "label_config") from None
    for element in root.iter():
        element.attrib = {name.lower(): value for name, value in element.attrib.items()}
    return root


def _kind(tag: ElementTree.Element) -> str:
    return tag.tag.lower() if isinstance(tag.tag, str) else ""


def _labels(control: ElementTree.Element) -> frozenset[str]:
    """The labels as they are stored in regions: the alias, if a label has one."""
    labels = [tag for tag in control.iter() if _kind(tag) == "label"]
    return frozenset(filter(None, (tag.get("alias") or tag.get("value") for tag in labels)))


def _field(image: ElementTree.Element) -> str:
    value = image.get("value", "")
    if not value.startswith("$"):
        name = image.get("name")
        message = f"label_config: the image {name!r} has no value such as $image; images in a list are not supported"
        raise PromptError(message, "label_config")
    return value[1:]
