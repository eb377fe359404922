// The JavaScript library that ours is the sibling of.

import { EventStream } from "@fanoutio/eventstream";

import { serve } from "./control.js";

const stream = new EventStream();
const handlers = new Map();

serve({
  subscribe(request, response, channel) {
    if (!handlers.has(channel)) handlers.set(channel, stream(channel));
    return handlers.get(channel)(request, response);
  },
  publish: (channel, data) => stream.publishEvent(channel, { event: "message", data }),
});
