"""A server as people write them with Python's http.server: what pods of the image `python` run in scripts/zero-drop.sh.

GET / , /slow?ms=N , /drip?ms=N&bytes=M , POST /echo. Listens on $HOST:$PORT. Every answer names image and pod and repeats
the request's id. With $RECORD, that file gets a line with the id of each POST, before it is answered. SIGTERM: the usual
graceful shutdown, which accepts no more and waits for the threads of all connections, idle ones too.
"""

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RECORD = open(os.environ["RECORD"], "ab", buffering=0) if "RECORD" in os.environ else None
PAGE = f"<h1>{os.environ.get('CORACLE_IMAGE')}</h1>\n".encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def begin(self, length):
        self.send_response(200)
        self.send_header("X-Coracle-Image", os.environ.get("CORACLE_IMAGE", ""))
        self.send_header("X-Coracle-Pod", os.environ.get("POD_NAME", ""))
        if "X-Request-Id" in self.headers:
            self.send_header("X-Request-Id", self.headers["X-Request-Id"])
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def whole(self, body):
        self.begin(len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
        if url.path == "/slow":
            time.sleep(query["ms"] / 1000)
            self.whole(b"done\n")
        elif url.path == "/drip":
            self.begin(query["bytes"])
            pieces = 50
            for piece in range(pieces):
                time.sleep(query["ms"] / 1000 / pieces)
                done, due = (query["bytes"] * (piece + i) // pieces for i in (0, 1))
                self.wfile.write(b"." * (due - done))
        else:
            self.whole(PAGE)

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if RECORD:
            RECORD.write((self.headers.get("X-Request-Id", "") + "\n").encode())
        self.whole(body if self.path == "/echo" else PAGE)


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 1024


server = Server((os.environ["HOST"], int(os.environ["PORT"])), Handler)
# shutdown() waits for serve_forever() to end, so it cannot be called by the thread that runs it.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
