"""A rule of the company that its pipeline asks: a bundle is sold as its parts.

POST /parts takes an order and answers the lines of its sale. Amounts come as texts and go as texts: they stay exact.
An order that the rule cannot take is answered 422 with the reason, and goes to the dead letters.
Python's own library is enough: python3 rules.py [PORT]
"""

import json
import sys
from decimal import ROUND_DOWN, Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What a bundle holds: the article, how many of it, and its share of the price.
BUNDLES = {
    "STARTER": [("SKU-1", 1, Decimal("0.6")), ("SKU-2", 2, Decimal("0.4"))],
    "GIFT": [("SKU-3", 1, Decimal("1"))],
}
CENT = Decimal("0.01")


class Refused(Exception):
    """An order that the rule cannot take."""


def parts(line):
    """The lines that one line of an order is sold as: together they cost what it costs, to the cent."""
    quantity, price = Decimal(str(line["quantity"])), Decimal(str(line["unit_price"]))
    if not line["sku"].startswith("BUNDLE-"):
        return [sold(line["sku"], quantity, price)]
    name = line["sku"].removeprefix("BUNDLE-")
    if name not in BUNDLES:
        raise Refused(f"there is no bundle {name}")
    bundle, left, lines = BUNDLES[name], price, []
    for article, each, share in bundle[1:]:
        unit = (price * share / each).quantize(CENT, ROUND_DOWN)
        left -= unit * each
        lines.append(sold(article, quantity * each, unit))
    # The first part takes the cents that do not divide; of it a bundle holds one.
    return [sold(bundle[0][0], quantity, left), *lines]


def sold(article, quantity, price):
    return {"product": article, "quantity": str(quantity), "unit_price": str(price)}


class Rules(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            self.answer(200, {"lines": [part for line in order["lines"] for part in parts(line)]})
        except Refused as refused:
            self.answer(422, {"error": str(refused)})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    ThreadingHTTPServer(("127.0.0.1", port), Rules).serve_forever()
