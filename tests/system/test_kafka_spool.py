"""A source that may be spooled goes on being accepted while its broker is away, over a kill of the process too,
and everything is on the topic in order once the broker is back."""

from lib import kafka, report
from lib.kafka_node import node_over
from lib.kit import Kit, mapped
from lib.postern import body_of


class Spool(Kit):
    def test_accepted_without_a_broker_and_drained_in_order(self):
        broker = kafka.own(self)
        broker.kill()
        topic = broker.topic()
        sender, more = mapped()
        node = node_over(self, broker, topic, {"sw": (sender, {**more, "ack_from": "spool"})})
        process = node.start("ingress", ready=False)
        self.until(lambda: node.api.get("/readyz").status == 200, "ready: every source may be spooled")
        for number in range(1, 21):
            self.accepted(node.send("sw", body_of("thing:1", number), f"evt_{number}"))
        (status,) = node.cli_json("status")
        self.assertEqual(status["spool"]["records"], 20)
        process.kill()
        process = node.start("ingress", ready=False)
        self.until(lambda: node.api.get("/readyz").status == 200, "ready again")
        self.accepted(node.send("sw", body_of("thing:1", 21), "evt_21"))
        broker.up()
        self.until(lambda: node.cli_json("status")[0]["spool"]["records"] == 0, "drained")
        ids = [record.headers["ce_id"] for record in broker.consume(topic)]
        self.assertEqual(list(dict.fromkeys(ids)), [f"evt_{number}" for number in range(1, 22)])
        self.assertEqual(process.stop(), 0)


if __name__ == "__main__":
    report.main()
