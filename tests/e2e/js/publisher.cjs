// The official client for custom topics: both schemas, with a key, with a signature and with a token.
const { AzureKeyCredential, AzureSASCredential } = require("@azure/core-auth");
const { EventGridPublisherClient, generateSharedAccessSignature } = require("@azure/eventgrid");

const [endpoint, key, schema, token] = process.argv.slice(2);

async function main() {
  const credential = new AzureKeyCredential(key);
  const expiry = new Date(Date.now() + 3_600_000);
  const signature = await generateSharedAccessSignature(endpoint, credential, expiry);
  for (const [name, given] of [
    ["key", credential],
    ["signature", new AzureSASCredential(signature)],
    ["bearer", { getToken: async () => ({ token, expiresOnTimestamp: expiry.getTime() }) }],
  ]) {
    const client = new EventGridPublisherClient(endpoint, schema, given);
    const event = schema === "CloudEvent"
      ? { type: "song.requested", source: "/station", id: name, data: { "é": [1, 2.5] } }
      : { eventType: "song.requested", subject: "s", id: name, dataVersion: "1", data: { "é": [1] } };
    await client.send([event]);
  }
  console.log("sent");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
