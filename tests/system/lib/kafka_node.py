"""Nodes over Kafka: configs, and what an independent client says of the topics."""

import hashlib

from . import leaks
from .postern import Node

PARTITIONS = 3


def murmur2(data):
    """As Kafka's own clients for Java have it, written from the published algorithm."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(key, partitions=PARTITIONS):
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def queue(broker, topic, kind="plain", **more):
    """The "queue" of a config; secrets among the properties are left out."""
    properties = {name: value for name, value in broker.properties(kind).items() if name != "sasl.password"}
    properties.update(more.pop("properties", {}))
    return {
        "backend": "kafka", "topic": topic, "group": topic, "partitions": PARTITIONS, "reserve_bytes": 0,
        "segment_bytes": 4 * 1024 * 1024, "properties": properties, **more,
    }


def node_over(test, broker, topic, sources, kind="plain", **more):
    """A node whose queue is a topic. The broker's password, if there is one, is in a key file."""
    node = test.node(sources, queue=queue(broker, topic, kind, **more.pop("queue", {})), **more)
    password = broker.properties(kind).get("sasl.password")
    if password is not None:
        leaks.note(leaks.KEY, password)
        node.write_key("kafka.password", password)
        node.config["queue"]["properties"]["sasl.password"] = {"file": "keys/kafka.password"}
        node.write_config()
    return node


def another(test, node):
    """A second machine: the same sources, routes and topic, a data_dir and listeners of its own."""
    more = {name: value for name, value in node.config.items() if name not in ("admin", "ingress", "sources", "routes")}
    made = test.adopt(Node({}, routes=node.config["routes"], **more))
    made.senders = node.senders
    made.config["sources"] = node.config["sources"]
    for name, sender in node.senders.items():
        made.write_key(f"{name}.key", sender.key_text())
    made.write_config()
    return made


def digest(body):
    return hashlib.sha256(body).hexdigest()


__all__ = ["PARTITIONS", "another", "digest", "murmur2", "node_over", "partition_of", "queue"]
