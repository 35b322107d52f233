"""A service that knows nothing of the mesh: Python's standard library alone.

It is called through the inbound listener of the proxy beside it, and calls `prices` through the outbound one, by nothing
but the name of the service in a URL and the proxy of the environment (http_proxy).
"""

import json
import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Stock(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        item = self.path.rsplit("/", 1)[-1]
        with urllib.request.urlopen(f"http://prices/v1/{item}") as reply:
            price = json.load(reply)["price"]
        body = json.dumps({"item": item, "price": price, "from": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Stock).serve_forever()
