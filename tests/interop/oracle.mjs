// Official libraries from npm: one JSON object a line in, one out. See run, and oracle.py for the form.

import readline from "node:readline";
import { Signature } from "@hubspot/api-client";
import adyen from "@adyen/api-library";
import * as octokit from "@octokit/webhooks-methods";
import { Paddle } from "@paddle/paddle-node-sdk";
import { WebhooksHelper } from "square";
import Stripe from "stripe";

const { webhooks } = new Stripe("sk_test_none");
const paddle = new Paddle("none");
const hmac = new adyen.hmacValidator();

function hubspot(version) {
  return (ask) => {
    const time = ask.time * 1000;
    const signature = Signature.getSignature("POST", version, {
      clientSecret: ask.key, requestBody: ask.body, url: ask.url, timestamp: time,
    });
    return version === "v3"
      ? { "X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": String(time) }
      : { "X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version };
  };
}

const sign = {
  octokit: async (ask) => ({ "X-Hub-Signature-256": await octokit.sign(ask.key, ask.body) }),
  stripe: (ask) => ({
    "Stripe-Signature": webhooks.generateTestHeaderString({ payload: ask.body, secret: ask.key, timestamp: ask.time }),
  }),
  "hubspot-v1": hubspot("v1"),
  "hubspot-v2": hubspot("v2"),
  "hubspot-v3": hubspot("v3"),
  "adyen-platform": (ask) => ({ HmacSignature: hmac.calculateHmac(ask.body, ask.key) }),
  // The signature stands in the item: what is given back goes there.
  "adyen-payments": (ask) => ({ signature: hmac.calculateHmac(JSON.parse(ask.body), ask.key) }),
};

const verify = {
  octokit: (ask) => octokit.verify(ask.key, ask.body, ask.headers["x-hub-signature-256"]),
  stripe: (ask) => !!webhooks.constructEvent(ask.body, ask.headers["stripe-signature"], ask.key),
  paddle: (ask) => paddle.webhooks.isSignatureValid(ask.body, ask.key, ask.headers["paddle-signature"]),
  square: (ask) => WebhooksHelper.verifySignature({
    requestBody: ask.body, signatureHeader: ask.headers["x-square-hmacsha256-signature"], signatureKey: ask.key,
    notificationUrl: ask.url,
  }),
};

async function answer(ask) {
  if (ask.do === "sign") return { headers: await sign[ask.sdk](ask) };
  const headers = Object.fromEntries(Object.entries(ask.headers).map(([name, value]) => [name.toLowerCase(), value]));
  try {
    return { ok: !!(await verify[ask.sdk]({ ...ask, headers })) };
  } catch (refusal) {
    return { ok: false, why: String(refusal.name) };
  }
}

console.log("{}");
for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
