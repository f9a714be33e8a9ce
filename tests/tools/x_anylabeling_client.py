"""Asks a server as X-AnyLabeling does, with its own client: `x_anylabeling_client.py CONFIG MODEL IMAGE MARKS`.

Prints the models and the shapes as JSON. Runs in the environment of X-AnyLabeling, without a display. CONFIG is the
application's settings file, in which the server and the key are.
"""

import json
import sys

from anylabeling import config
from anylabeling.services.auto_labeling.remote_server import RemoteServer
from PyQt6.QtCore import QCoreApplication
from PyQt6.QtGui import QImage

config.current_config_file, model, path, marks = sys.argv[1:]
application = QCoreApplication(sys.argv)
messages: list[str] = []
client = RemoteServer({"type": "remote_server", "display_name": "Remote-Server"}, on_message=messages.append)
models = client.get_available_models()
client.set_model_id(model)
client.set_auto_labeling_marks(json.loads(marks))
found = client.predict_shapes(QImage(path), path)
shapes = [
    {
        "label": shape.label,
        "type": shape.shape_type,
        "score": shape.score,
        "points": [[point.x(), point.y()] for point in shape.points],
    }
    for shape in found.shapes
]
mode = client.get_batch_processing_mode()
print(json.dumps({"models": models, "shapes": shapes, "replace": found.replace, "messages": messages, "batch": mode}))
