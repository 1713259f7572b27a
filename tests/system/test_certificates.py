"""Signatures by certificates that the sender points to, fetched from a real HTTPS server with a CA of its own.

Certificates and signatures are made by the openssl command.
"""

import base64
import collections
import http.server
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time

from lib import report
from lib.kit import Kit
from lib.postern import Node

EXTENSIONS = "subjectAltName=DNS:{name}\nbasicConstraints=CA:{ca}\n"


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


class Authority:
    """A CA in a directory, and what it issues."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", f"/CN={name}", "-keyout", self.path("key"), "-out", self.path("pem"))

    def path(self, kind):
        return os.path.join(self.directory, f"{self.name}.{kind}")

    def issue(self, dns, rsa=False, days=30):
        """(path of the certificate, path of the key)"""
        base = os.path.join(self.directory, f"{self.name}-{dns}-{days}")
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("req", "-newkey", *kind, "-nodes", "-subj", f"/CN={dns}", "-keyout", base + ".key", "-out", base + ".csr")
        with open(base + ".ext", "w", encoding="ascii") as out:
            out.write(EXTENSIONS.format(name=dns, ca="FALSE"))
        openssl("x509", "-req", "-in", base + ".csr", "-CA", self.path("pem"), "-CAkey", self.path("key"),
                "-CAcreateserial", "-days", str(days), "-extfile", base + ".ext", "-out", base + ".pem")
        return base + ".pem", base + ".key"


class Certificates:
    """An HTTPS server: path -> (status, headers, body) or a delay in seconds."""

    def __init__(self, certificate, key):
        self.pages, self.asked = {}, collections.Counter()
        self.held = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802 - the library's name
                outer.asked[self.path] += 1
                page = outer.pages.get(self.path, (404, {}, b""))
                if page == "hold":
                    outer.held.wait(20)
                    page = (503, {}, b"")
                status, headers, body = page
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"https://localhost:{self.port}{path}"

    def close(self):
        self.held.set()
        self.server.shutdown()
        self.server.server_close()


class FetchedCertificates(Kit):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="postern-certs-")
        cls.ours = Authority(cls.directory, "ours")
        cls.theirs = Authority(cls.directory, "theirs")
        cls.signer, cls.signer_key = cls.ours.issue("sign.localhost", rsa=True)
        cls.stranger, cls.stranger_key = cls.ours.issue("sign.example.org", rsa=True)
        cls.forged, _ = cls.theirs.issue("sign.localhost", rsa=True)
        cls.server_pair = cls.ours.issue("localhost")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory, ignore_errors=True)

    def start(self, pair=None, **cert):
        server = Certificates(*(pair or self.server_pair))
        self.addCleanup(server.close)
        source = {
            "verify": {
                "alg": "x509-rsa", "sig": "header:X-Sig", "match": "{base64}", "hash": {"header:X-V": {"2": "sha256"}},
                "signed": "{header:X-Id}.{body}",
                "cert": {"url": "header:X-Cert", "host": "^localhost$", "suffix": ".pem", "port": server.port,
                         "ca": "secret:roots", **cert},
            },
            "id": "header:X-Id", "type": "none", "topics": ["arn:1:*"],
            "handshake": [{"when": {"header:X-Ask": "confirm"}, "signed": True, "visit": "header:X-Url",
                           "topic": "header:X-Topic"}],
            "secrets": {"roots": {"file": "keys/roots.pem"}},
        }
        node = self.adopt(Node({"sns": (None, source), "open": (None, {"verify": {"alg": "none"}, "id": "sha256:body"})}))
        with open(self.ours.path("pem"), encoding="ascii") as roots:
            node.write_key("roots.pem", roots.read())
        node.start()
        for name in ("signer", "stranger", "forged"):
            with open(getattr(self, name), "rb") as pem:
                server.pages[f"/{name}.pem"] = (200, {}, pem.read())
        return node, server

    def post(self, node, url, event_id, body=b'{"mark":1}', key=None, **more):
        signature = openssl("dgst", "-sha256", "-sign", key or self.signer_key, data=event_id.encode() + b"." + body)
        headers = {"X-Id": event_id, "X-Topic": "arn:1:orders", "X-V": "2", "X-Cert": url, "X-Sig": base64.b64encode(signature).decode(), **more}
        return node.post("sns", body, headers)

    def settle(self, node, url, event_id, **more):
        """The answer once the certificate is there, or is known not to be."""
        answer = self.post(node, url, event_id, **more)
        first = answer
        deadline = time.monotonic() + 15
        while answer.status == 503 and time.monotonic() < deadline:
            self.assertIn("retry-after", {name.lower() for name in answer.headers})
            time.sleep(0.02)
            answer = self.post(node, url, event_id, **more)
        return first, answer

    def test_a_certificate_is_fetched_once_and_used(self):
        node, server = self.start(chain="required")
        url = server.url("/signer.pem")
        first, answer = self.settle(node, url, "e-1")
        self.assertEqual((first.status, answer.status), (503, 200), answer)
        for number in range(2, 5):
            self.assertEqual(self.post(node, url, f"e-{number}").status, 200)
        bad = self.post(node, url, "e-20", key=self.stranger_key)
        self.assertEqual((bad.status, bad.json()["code"]), (401, "BAD_SIGNATURE"))
        tampered = self.post(node, url, "e-21", **{"X-Id": "e-22"})
        self.assertEqual((tampered.status, tampered.json()["code"]), (401, "BAD_SIGNATURE"))
        node.cli("reload")
        self.assertEqual(self.post(node, url, "e-30").status, 200)
        self.assertEqual(server.asked["/signer.pem"], 1)

    def test_what_is_no_certificate_of_the_sender_is_refused(self):
        node, server = self.start()
        server.pages["/redirect.pem"] = (302, {"Location": "/signer.pem"}, b"")
        server.pages["/html.pem"] = (200, {}, b"<html>" + b"x" * 1000)
        with open(self.signer, "rb") as pem:
            server.pages["/large.pem"] = (200, {}, b"#" * 80000 + b"\n" + pem.read())
        for path in ("/gone.pem", "/redirect.pem", "/html.pem", "/large.pem", "/stranger.pem"):
            with self.subTest(path=path):
                _, answer = self.settle(node, server.url(path), "e-1", key=self.stranger_key)
                self.assertEqual((answer.status, answer.json()["code"]), (401, "KEY_NOT_FOUND"), answer)
                self.post(node, server.url(path), "e-2")
                self.assertEqual(server.asked[path], 1)
        self.assertEqual(server.asked["/signer.pem"], 0)
        for url in ("http://localhost/signer.pem", f"https://localhost:{server.port + 1}/signer.pem",
                    f"https://127.0.0.1:{server.port}/signer.pem", server.url("/signer.pem?x=1"), "x"):
            answer = self.post(node, url, "e-3")
            self.assertEqual((answer.status, answer.json()["code"]), (401, "KEY_NOT_FOUND"), url)

    def test_a_chain_to_another_root_is_refused_where_one_is_required(self):
        node, server = self.start(chain="required")
        _, answer = self.settle(node, server.url("/forged.pem"), "e-1")
        self.assertEqual((answer.status, answer.json()["code"]), (401, "KEY_NOT_FOUND"), answer)

    def test_a_server_of_another_authority_is_not_believed(self):
        node, server = self.start(pair=self.theirs.issue("localhost"))
        self.assertEqual(self.post(node, server.url("/signer.pem"), "e-1").status, 503)
        self.until(lambda: "certificate_not_taken" in node.processes[0].log_text(), "the fetch failed")
        self.assertEqual(self.post(node, server.url("/signer.pem"), "e-1").status, 503)
        self.assertEqual(server.asked["/signer.pem"], 0)

    def test_a_subscription_is_confirmed_by_a_visit(self):
        node, server = self.start()
        ask = {"X-Ask": "confirm", "X-Topic": "arn:1:orders", "X-Url": server.url("/?Action=Confirm&Token=sEcReT-1")}
        server.pages["/?Action=Confirm&Token=sEcReT-1"] = (200, {}, b"<Confirmed/>" * 10000)
        server.pages["/moved"] = (302, {"Location": "/secret"}, b"")
        _, answer = self.settle(node, server.url("/signer.pem"), "e-1", **ask)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.until(lambda: server.asked["/?Action=Confirm&Token=sEcReT-1"] == 1, "the visit")
        for change in ({"X-Topic": "arn:2:orders"}, {"X-Url": "http://localhost/"}, {"X-Url": "https://127.0.0.1/"}):
            answer = self.post(node, server.url("/signer.pem"), "e-2", **{**ask, **change})
            self.assertEqual(answer.status, 200)
        bad = self.post(node, server.url("/signer.pem"), "e-3", key=self.stranger_key, **ask)
        self.assertEqual(bad.status, 401)
        self.post(node, server.url("/signer.pem"), "e-4", **{**ask, "X-Url": server.url("/moved")})
        self.until(lambda: server.asked["/moved"] == 1, "the second visit")
        log = node.processes[0].log_text
        self.until(lambda: "visit_failed" in log() and log().count('"visit_refused"') == 3, "what came of them")
        self.assertEqual(server.asked["/?Action=Confirm&Token=sEcReT-1"], 1)
        self.assertEqual(server.asked["/secret"], 0)
        self.assertNotIn("sEcReT", log())

    def test_nobody_waits_for_a_fetch_and_floods_fetch_little(self):
        node, server = self.start()
        server.pages["/held.pem"] = "hold"
        began = time.monotonic()
        self.assertEqual(self.post(node, server.url("/held.pem"), "e-1").status, 503)
        self.assertEqual(node.post("open", b'{"mark":1}', {}).status, 200)
        self.assertLess(time.monotonic() - began, 3)
        for number in range(30):
            self.post(node, server.url(f"/flood-{number}.pem"), "e-2")
        self.assertLessEqual(sum(server.asked.values()), 8 + time.monotonic() - began)
        _, answer = self.settle(node, server.url("/signer.pem"), "e-3")
        self.assertEqual(answer.status, 200)


if __name__ == "__main__":
    report.main()
