// What both servers share: the publishing that the load generator asks for, the port, and the end.

import { createServer } from "node:http";

const now = () => Number(process.hrtime.bigint() / 1000n);

/** The event with this number, whose JSON has `size` bytes. */
function message(seq, size) {
  const event = { seq, at: now(), text: "" };
  event.text = "x".repeat(Math.max(0, size - JSON.stringify(event).length));
  return event;
}

/** Serves until standard input is closed; `subscribe` answers a request, `publish` sends one message to a channel. */
export function serve({ subscribe, publish }) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    const [, kind, channel] = url.pathname.split("/");
    if (kind === "events") {
      await subscribe(request, response, channel);
      return;
    }
    const number = (name) => Number(url.searchParams.get(name));
    const start = process.hrtime.bigint();
    for (let seq = number("from"); seq < number("from") + number("events"); seq++) {
      await publish(channel, message(seq, number("size")));
    }
    response.writeHead(204, { "publishing-took": String(process.hrtime.bigint() - start) }).end();
  });
  server.listen(0, "127.0.0.1", 4096, () => console.log(server.address().port));
  process.stdin.resume().on("end", () => process.exit());
}
