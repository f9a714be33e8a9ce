"""The API's synchronous example on a photograph of this folder.

Needs ACCOUNT, API_KEY and AIREFINERY_ADDRESS in the environment; `make demo` sets them and runs it.
"""

import base64
import os
from pathlib import Path

from air import AIRefinery, login

# Authenticate using account and API key retrieved from environment variables
auth = login(
    account=str(os.getenv("ACCOUNT")),
    api_key=str(os.getenv("API_KEY")),
)

# Get the service's base URL from an environment variable
base_url = os.getenv("AIREFINERY_ADDRESS", "")


def get_image_as_base64(path: Path) -> str:
    """Reads an image file and returns it as a base64 encoded string."""
    return base64.b64encode(path.read_bytes()).decode("utf-8")


# Sample image:
IMG_PATH = Path(__file__).parent / "photos" / "coffee.png"

image_for_segmentation = get_image_as_base64(IMG_PATH)


def segment_image_sync() -> None:
    # Initialize the synchronous client with authentication details
    client = AIRefinery(**auth.openai(base_url=base_url))

    # Generate a mask of what lies at the point
    response = client.images.segment(
        image=image_for_segmentation,  # The image in base64
        segment_prompt=[[[285, 150]]],  # A point on the segment to extract from the image
        model="maskery/nano",  # The model to use for image segmentation
    )

    print("Sync image segmentation response: ", response)


if __name__ == "__main__":
    segment_image_sync()
