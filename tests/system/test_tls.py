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


def authority(directory, name):
    """A root for clients: (path of the certificate, path of the key)."""
    pem, key = os.path.join(directory, name + ".pem"), os.path.join(directory, name + ".key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", f"/CN={name}", "-keyout", key, "-out", pem],
        capture_output=True, check=True,
    )
    return pem, key


def client(directory, root, name, san, days=30, usage="clientAuth"):
    """A certificate that this root signed: one file with its key. `days` below 0: it has expired."""
    path = {kind: os.path.join(directory, f"{name}.{kind}") for kind in ("csr", "key", "crt", "ext", "both")}
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", f"/CN={name}", "-keyout", path["key"], "-out", path["csr"]],
        capture_output=True, check=True,
    )
    with open(path["ext"], "w", encoding="ascii") as extensions:
        extensions.write(f"subjectAltName={san}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
    subprocess.run(
        ["openssl", "x509", "-req", "-in", path["csr"], "-CA", root[0], "-CAkey", root[1], "-CAcreateserial",
         "-days", str(days), "-extfile", path["ext"], "-out", path["crt"]],
        capture_output=True, check=True,
    )
    with open(path["both"], "w", encoding="ascii") as both:
        for kind in ("crt", "key"):
            with open(path[kind], encoding="ascii") as part:
                both.write(part.read())
    return path["both"]


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

    def start_mutual(self):
        """A node with two sources: "hooks" takes anyone's signature, "mutual" asks for a certificate besides."""
        root = authority(self.directory, "root")
        strange = authority(self.directory, "strange")
        with open(root[0], encoding="ascii") as pem:
            roots = pem.read().rstrip("\n")
        verify = {"require": [["peer.san", "hooks.example.com"]]}
        node = self.adopt(Node(
            {"hooks": (StandardWebhooks(), {}),
             "mutual": (StandardWebhooks(), {"extends": "standard-webhooks", "verify": verify})},
            ingress={"tls": {"cert": "keys/tls.pem", "key": "keys/tls.key", "client_ca": "keys/roots.pem"}},
        ))
        self.install(node, self.first)
        node.write_key("roots.pem", roots)
        node.start()
        return node, root, strange

    def post_as(self, node, source, event_id, certificate_file):
        context = self.context(self.first)
        if certificate_file:
            context.load_cert_chain(certificate_file)
        port = int(node.listen.split(":")[1])
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
        body = b'{"type":"a.b"}'
        try:
            headers = {"Content-Type": "application/json", **node.senders[source].headers(body, event_id)}
            answers = []
            for _ in range(2):  # the second on a connection that is kept
                connection.request("POST", f"/hooks/{source}", body, headers)
                answer = connection.getresponse()
                answers.append((answer.status, answer.read()))
        finally:
            connection.close()
        self.assertEqual(answers[0][0], answers[1][0])
        return answers[0]

    def test_a_source_may_require_a_client_certificate(self):
        node, root, strange = self.start_mutual()
        right = "DNS:other.example.com,DNS:hooks.example.com,IP:10.0.0.1"
        rows = (
            ("none", None, 401),
            ("right", client(self.directory, root, "right", right), 200),
            ("typed", client(self.directory, root, "typed", "URI:hooks.example.com"), 200),
            ("strange", client(self.directory, strange, "strange-client", right), 401),
            ("expired", client(self.directory, root, "expired", right, days=-1), 401),
            ("wrong", client(self.directory, root, "wrong", "DNS:hooks.example.com.evil.org"), 401),
            ("server", client(self.directory, root, "server", right, usage="serverAuth"), 401),
        )
        for name, path, want in rows:
            with self.subTest(name=name):
                status, body = self.post_as(node, "mutual", f"m-{name}", path)
                self.assertEqual(status, want, body)
                self.assertEqual(b"BAD_SIGNATURE" in body, want == 401, body)
                # Who does not require one serves everyone.
                self.assertEqual(self.post_as(node, "hooks", f"h-{name}", path)[0], 200)
        node.wait_outcome("m-right", "applied")
        self.assertNotIn(b"client_ca", node.cli("reload").stderr)
        with open(strange[0], encoding="ascii") as pem:
            node.write_key("roots.pem", pem.read().rstrip("\n"))
        self.assertIn(b"/ingress/tls/client_ca", node.cli("reload").stderr)
        self.assertEqual(self.post_as(node, "mutual", "m-strange-2", rows[3][1])[0], 401)
        self.assertEqual(self.post_as(node, "mutual", "m-right-2", rows[1][1])[0], 200)

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
