"""Label Studio: an ML backend that turns smart keypoints, rectangles and brushes into brushes or polygons.

As of `label_studio/ml/api_connector.py` and `ml/models.py` in Label Studio 1.23.
"""

from maskery.bridges.label_studio.configuration import find_output
from maskery.bridges.label_studio.images import ImageUnavailable, LabelStudioImages
from maskery.bridges.label_studio.prediction import Prediction, RegionPrompt, Setup
from maskery.bridges.label_studio.results import to_results

__all__ = [
    "ImageUnavailable",
    "LabelStudioImages",
    "Prediction",
    "RegionPrompt",
    "Setup",
    "find_output",
    "to_results",
]
