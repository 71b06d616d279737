"""Any WSGI application: polls beside it, without holding.

`trunkline serve` on the same line streams.

    pip install trunkline
    python examples/wsgi/app.py
    curl -X POST localhost:8000/orders/7
    curl -d '/orders=0' localhost:8000/events/message-bus/me/poll
"""

from wsgiref.simple_server import make_server

from trunkline.integrations.wsgi import LineMiddleware
from trunkline.sync import Trunkline

line = Trunkline()


def shop(environ, start_response):
    order = int(environ["PATH_INFO"].rpartition("/")[2])
    receipt = line.publish("/orders", {"order": order})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(receipt.message_id).encode()]


app = LineMiddleware(shop, line, path="/events", open=True)

if __name__ == "__main__":
    make_server("127.0.0.1", 8000, app).serve_forever()
