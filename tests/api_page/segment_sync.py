import base64
import os
import requests
from air import AIRefinery
from air import login

# Authenticate using account and API key retrieved from environment variables
auth = login(
    account=str(os.getenv("ACCOUNT")),
    api_key=str(os.getenv("API_KEY")),
)
# Get base URL for AI Refinery service from environment variable
base_url = os.getenv("AIREFINERY_ADDRESS", "")


# Fetch the image and convert it to base64
def get_image_as_base64(url: str) -> str:
    """Fetches an image from a URL and returns it as a base64 encoded string."""
    response = requests.get(url, timeout=60)
    response.raise_for_status()  # Ensure the request was successful
    return base64.b64encode(response.content).decode("utf-8")


# Sample image:
IMG_URL = "https://huggingface.co/ybelkada/segment-anything/resolve/main/assets/car.png"
image_for_segmentation = get_image_as_base64(IMG_URL)


def segment_image_sync():
    # Initialize the synchronous client for AI Refinery service with authentication details
    client = AIRefinery(**auth.openai(base_url=base_url))
    # Use the images sub-client to synchronously generate a mask based on the provided segment_prompt with the given model.
    response = client.images.segment(
        image=image_for_segmentation,  # Provide desired base64 image
        segment_prompt=[[[450, 600]]],  # Provide best guess of segment you want to extract from the image
        model="syscv-community/sam-hq-vit-base",  # Specify the model to use for image segmentation
    )
    # Print the response from the image segmentation request
    print("Sync image segmentation response: ", response)


# Execute the synchronous image segmentation function when the script is run
if __name__ == "__main__":
    segment_image_sync()
