"""Official libraries from PyPI: one JSON object a line in, one out. See run.

{"sdk", "do": "sign" or "verify", "key", "body", "url", "id", "time", "headers"} gives {"headers"} or {"ok"}.
"""

import base64
import datetime
import json
import sys

import standardwebhooks.webhooks
import stripe
import svix.webhooks
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict
from urllib.parse import parse_qsl


def standard(module, prefix):
    def sign(ask):
        at = datetime.datetime.fromtimestamp(ask["time"], tz=datetime.timezone.utc)
        signature = module.Webhook(ask["key"]).sign(ask["id"], at, ask["body"])
        return {f"{prefix}-id": ask["id"], f"{prefix}-timestamp": str(ask["time"]), f"{prefix}-signature": signature}

    def verify(ask):
        module.Webhook(ask["key"]).verify(ask["body"], ask["headers"])
        return True

    return sign, verify


def slack_sign(ask):
    time = str(ask["time"])
    signature = SignatureVerifier(ask["key"]).generate_signature(timestamp=time, body=ask["body"])
    return {"X-Slack-Request-Timestamp": time, "X-Slack-Signature": signature}


def slack_verify(ask):
    return SignatureVerifier(ask["key"]).is_valid_request(ask["body"], ask["headers"])


def stripe_verify(ask):
    stripe.Webhook.construct_event(ask["body"], ask["headers"]["stripe-signature"], ask["key"])
    return True


def twilio_sign(ask):
    form = MultiDict(parse_qsl(ask["body"], keep_blank_values=True))
    return {"X-Twilio-Signature": RequestValidator(ask["key"]).compute_signature(ask["url"], form)}


def sendgrid_sign(ask):
    """The library only verifies; a request that it accepts is made with a key of our own."""
    private = serialization.load_pem_private_key(ask["key"].encode(), None)
    time = str(ask["time"])
    made = private.sign((time + ask["body"]).encode(), ec.ECDSA(hashes.SHA256()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Timestamp": time,
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(made).decode(),
    }
    public = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    webhook = EventWebhook(base64.b64encode(public).decode())
    if not webhook.verify_signature(ask["body"], *reversed(list(headers.values()))):
        raise ValueError("the library does not accept what was signed")
    return headers


SDKS = {
    "standardwebhooks": standard(standardwebhooks.webhooks, "webhook"),
    "svix": standard(svix.webhooks, "svix"),
    "slack_sdk": (slack_sign, slack_verify),
    "stripe": (None, stripe_verify),
    "twilio": (twilio_sign, None),
    "sendgrid": (sendgrid_sign, None),
}


def answer(ask):
    sign, verify = SDKS[ask["sdk"]]
    if ask["do"] == "sign":
        return {"headers": sign(ask)}
    ask["headers"] = {name.lower(): value for name, value in ask["headers"].items()}
    try:
        return {"ok": bool(verify(ask))}
    except Exception as refusal:  # each library has errors of its own for "no"
        return {"ok": False, "why": type(refusal).__name__}


print("{}", flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
