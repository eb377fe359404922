// better-sse: a session for each client, registered with a channel.

import { createChannel, createSession } from "better-sse";

import { serve } from "./control.js";

const channels = new Map();

function channel(name) {
  if (!channels.has(name)) channels.set(name, createChannel());
  return channels.get(name);
}

serve({
  async subscribe(request, response, name) {
    channel(name).register(await createSession(request, response));
  },
  publish(name, data) {
    channel(name).broadcast(data, "message", { eventId: `0123456789abc-${data.seq}` });
  },
});
