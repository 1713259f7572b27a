"""Senders of webhooks, written from the providers' documents and not from the program under test.

Each knows its key, what stands in its key file, and the headers of a request. Keys and signatures are
registered with `leaks` as they are made.
"""

import base64
import hashlib
import hmac
import secrets as random
import time

from . import leaks


class Sender:
    """A key and a way to sign with it. `key` is the raw key; `key_text` is what the key file holds."""

    preset = None

    def __init__(self, key=None):
        self.key = key if key is not None else random.token_hex(24).encode()
        leaks.note(leaks.KEY, self.key_text())

    def key_text(self):
        return self.key.decode()

    def headers(self, body, event_id, now=None):
        """The request's headers, signed. `now`: seconds, the present when absent."""
        raise NotImplementedError

    def _mac(self, text, digest=hashlib.sha256):
        return hmac.new(self.key, text, digest).digest()

    @staticmethod
    def _noted(text):
        leaks.note(leaks.SIGNATURE, text)
        return text


class StandardWebhooks(Sender):
    """v1,BASE64 of HMAC-SHA256 over "id.timestamp.body"; the key file holds whsec_ and base64."""

    preset = "standard-webhooks"
    prefix = "webhook"

    def __init__(self, key=None):
        super().__init__(key if key is not None else random.token_bytes(24))

    def key_text(self):
        return "whsec_" + base64.b64encode(self.key).decode()

    def headers(self, body, event_id, now=None):
        stamp = str(int(time.time() if now is None else now))
        signed = f"{event_id}.{stamp}.".encode() + body
        mac = self._noted(base64.b64encode(self._mac(signed)).decode())
        return {
            f"{self.prefix}-id": event_id,
            f"{self.prefix}-timestamp": stamp,
            f"{self.prefix}-signature": "v1," + mac,
        }

    def verify(self, headers, body):
        """Does a request that came from the program carry a good signature of ours?"""
        names = {name.lower(): value for name, value in headers.items()}
        signed = f"{names['webhook-id']}.{names['webhook-timestamp']}.".encode() + body
        want = "v1," + base64.b64encode(self._mac(signed)).decode()
        return hmac.compare_digest(want, names["webhook-signature"])


class Svix(StandardWebhooks):
    preset = "svix"
    prefix = "svix"


class Stripe(Sender):
    """t=...,v1=HEX over "t.body"; the key is the text, whsec_ included. The id is in the body."""

    preset = "stripe"

    def __init__(self, key=None):
        super().__init__(key if key is not None else b"whsec_" + random.token_hex(20).encode())

    def headers(self, body, event_id, now=None):
        stamp = str(int(time.time() if now is None else now))
        mac = self._noted(self._mac(stamp.encode() + b"." + body).hex())
        return {"Stripe-Signature": f"t={stamp},v1={mac}"}


class GitHub(Sender):
    """sha256=HEX over the body; the id is in a header that nobody signs."""

    preset = "github"

    def __init__(self, key=None, event="push"):
        super().__init__(key)
        self.event = event

    def headers(self, body, event_id, now=None):
        return {
            "X-Hub-Signature-256": "sha256=" + self._noted(self._mac(body).hex()),
            "X-GitHub-Delivery": event_id,
            "X-GitHub-Event": self.event,
        }


class Shopify(Sender):
    """BASE64 over the body; id and topic are in headers that nobody signs."""

    preset = "shopify"

    def __init__(self, key=None, topic="orders/create"):
        super().__init__(key)
        self.topic = topic

    def headers(self, body, event_id, now=None):
        return {
            "X-Shopify-Hmac-Sha256": self._noted(base64.b64encode(self._mac(body)).decode()),
            "X-Shopify-Webhook-Id": event_id,
            "X-Shopify-Topic": self.topic,
        }


class Slack(Sender):
    """v0=HEX over "v0:timestamp:body"."""

    preset = "slack"

    def headers(self, body, event_id, now=None):
        stamp = str(int(time.time() if now is None else now))
        mac = self._noted(self._mac(b"v0:" + stamp.encode() + b":" + body).hex())
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": "v0=" + mac}
