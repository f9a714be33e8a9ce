"""`maskery segment --url` names the image in `x-session-id`, so that a proxy can choose the server that knows it."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from command_line import fails
from samples import png, squares


def test_the_session_id_is_of_the_images_bytes(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png(squares()))
    sent = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.headers["x-session-id"])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        fails("segment", photo, "--point", "20,20", "--url", f"http://127.0.0.1:{server.server_address[1]}")
        thread.join()
    assert sent == [hashlib.sha256(photo.read_bytes()).hexdigest()[:32]]
