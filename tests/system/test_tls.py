"""TLS on the hook listener: versions, certificates that are renewed by a reload, keep-alive, garbage, load.

The clients are Python's ssl and `openssl s_client`.
"""

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

from lib import report
from lib.kit import Kit, in_threads
from lib.postern import Node
from lib.senders import StandardWebhooks


def certificate(directory, name):
    """A self-signed certificate of localhost: (path of the certificate, path of the key)."""
    pem, key = os.path.join(directory, name + ".pem"), os.path.join(directory, name + ".key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", f"/CN={name}.localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", pem],
        capture_output=True, check=True,
    )
    os.chmod(key, 0o600)
    return pem, key


class Tls(Kit):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="postern-tls-")
        cls.first, cls.second = certificate(cls.directory, "first"), certificate(cls.directory, "second")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory, ignore_errors=True)

    def start(self, **ingress):
        node = self.adopt(Node(
            {"hooks": (StandardWebhooks(), {})},
            ingress={"tls": {"cert": "keys/tls.pem", "key": "keys/tls.key"}, **ingress},
        ))
        self.install(node, self.first)
        node.start()
        return node

    def install(self, node, pair):
        for path, name in zip(pair, ("tls.pem", "tls.key")):
            with open(path, encoding="ascii") as pem:
                node.write_key(name, pem.read().rstrip("\n"))

    def context(self, pair):
        return ssl.create_default_context(cafile=pair[0])

    def connect(self, node, pair, **more):
        host, port = node.listen.split(":")
        del host
        made = http.client.HTTPSConnection("localhost", int(port), timeout=10, context=self.context(pair), **more)
        self.addCleanup(made.close)
        return made

    def post(self, node, connection, event_id, body=b'{"mark":1,"type":"a.b"}'):
        headers = node.senders["hooks"].headers(body, event_id)
        connection.request("POST", "/hooks/hooks", body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def handshake(self, node, version):
        port = node.listen.split(":")[1]
        return subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{version}", "-cipher", "ALL:@SECLEVEL=0"],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10,
        )

    def test_events_come_in_over_tls_and_the_connection_is_kept(self):
        node = self.start(header_timeout_s=1, idle_timeout_s=60)
        connection = self.connect(node, self.first)
        self.assertEqual(self.post(node, connection, "e-1"), 200)
        first = connection.sock
        time.sleep(2.5)  # longer than a head may take: what is idle is not a head that is slow
        for number in range(2, 20):
            self.assertEqual(self.post(node, connection, f"e-{number}"), 200)
        self.assertIs(connection.sock, first)
        large = b'{"type":"a.b","mark":"' + b"x" * 300000 + b'"}'
        self.assertEqual(self.post(node, connection, "e-20", large), 200)
        connection.request("POST", "/hooks/hooks", b"{}", {})
        self.assertEqual(connection.getresponse().status, 401)
        for number in (1, 19, 20):
            node.wait_outcome(f"e-{number}", "applied")

    def test_old_versions_and_plain_http_are_refused(self):
        node = self.start()
        for version, fits in (("tls1_1", False), ("tls1_2", True), ("tls1_3", True)):
            with self.subTest(version=version):
                got = self.handshake(node, version)
                self.assertEqual(b"BEGIN CERTIFICATE" in got.stdout, fits, got.stdout[-500:])
        host, port = node.listen.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as plain:
            plain.sendall(b"POST /hooks/hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            got = b""
            try:
                while some := plain.recv(4096):
                    got += some
            except ConnectionResetError:
                pass
        self.assertNotIn(b"HTTP/1.1", got)
        self.assertEqual(self.post(node, self.connect(node, self.first), "e-1"), 200)

    def test_a_reload_renews_the_certificate_for_new_connections(self):
        node = self.start()
        kept = self.connect(node, self.first)
        self.assertEqual(self.post(node, kept, "e-1"), 200)
        self.install(node, self.second)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.post(node, self.connect(node, self.second), "e-2")
        node.processes[0].signal(signal.SIGHUP)
        self.until(lambda: self.served(node, self.second), "the new certificate")
        self.assertEqual(self.post(node, self.connect(node, self.second), "e-3"), 200)
        self.assertEqual(self.post(node, kept, "e-4"), 200)
        node.write_key("tls.pem", "not a certificate")
        node.cli("reload", check=None)
        self.assertEqual(self.post(node, self.connect(node, self.second), "e-5"), 200)

    def served(self, node, pair):
        connection = self.connect(node, pair)
        try:
            connection.connect()
            return True
        except ssl.SSLCertVerificationError:
            return False
        finally:
            connection.close()

    def test_many_connections_at_once(self):
        node = self.start()

        def work(number):
            connection = self.connect(node, self.first)
            for turn in range(20):
                self.assertEqual(self.post(node, connection, f"m-{number}-{turn}"), 200)

        began = time.monotonic()
        in_threads(8, work)
        self.assertLess(time.monotonic() - began, 30)


if __name__ == "__main__":
    report.main()
