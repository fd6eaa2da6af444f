// The official client for Event Grid namespaces, as a program of a user has it: a whole round.
const { AzureKeyCredential } = require("@azure/core-auth");
const {
  EventGridReceiverClient,
  EventGridSenderClient,
} = require("@azure/eventgrid-namespaces");

const [endpoint, kind, secret, topic, name] = process.argv.slice(2);

async function main() {
  // A token credential is what @azure/identity has; its tokens come from an issuer of the test.
  const expiresOnTimestamp = Date.now() + 3_600_000;
  const credential = kind === "bearer"
    ? { getToken: async () => ({ token: secret, expiresOnTimestamp }) }
    : new AzureKeyCredential(secret);
  const sender = new EventGridSenderClient(endpoint, credential, topic);
  const receiver = new EventGridReceiverClient(endpoint, credential, topic, name);
  const events = [0, 1, 2, 3].map((number) => ({
    type: "song.requested",
    source: "/station",
    id: `event-${number}`,
    subject: `genre/${number}`,
    time: new Date("2026-01-01T00:00:00Z"),
    specVersion: "1.0",
    data: { number, "é": [1, 2.5] },
  }));
  await sender.sendEvents(events[0]);
  await sender.sendEvents(events.slice(1));

  const received = await receiver.receiveEvents({ maxEvents: 10, maxWaitTime: 10 });
  const tokens = received.details.map((each) => each.brokerProperties.lockToken);
  const renewed = await receiver.renewEventLocks(tokens);
  const released = await receiver.releaseEvents(tokens.slice(0, 1));
  const delayed = await receiver.releaseEvents(tokens.slice(1, 2), { releaseDelay: "3600" });
  const acknowledged = await receiver.acknowledgeEvents([tokens[2], "nonsense"]);
  const rejected = await receiver.rejectEvents([tokens[3], tokens[2]]);
  const again = await receiver.receiveEvents({ maxEvents: 10, maxWaitTime: 10 });
  const last = again.details.map((each) => each.brokerProperties.lockToken);
  await receiver.acknowledgeEvents(last);
  const nothing = await receiver.receiveEvents({ maxEvents: 1, maxWaitTime: 0 });

  let refusal = "";
  try {
    await new EventGridReceiverClient(
      endpoint, new AzureKeyCredential("bm90aGluZw=="), topic, name
    ).receiveEvents({ maxWaitTime: 0 });
  } catch (error) {
    refusal = `${error.statusCode} ${error.code}`;
  }
  const told = (result) => [
    result.succeededLockTokens.map((token) => tokens.indexOf(token)),
    result.failedLockTokens.map((each) => each.error.code),
  ];
  console.log(JSON.stringify({
    received: received.details.map((each) => each.event),
    renewed: told(renewed),
    released: told(released),
    delayed: told(delayed),
    acknowledged: told(acknowledged),
    rejected: told(rejected),
    again: again.details.map((each) => [each.event.id, each.brokerProperties.deliveryCount]),
    nothing: nothing.details,
    refusal,
  }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
