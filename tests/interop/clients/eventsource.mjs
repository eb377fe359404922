// npm's `eventsource` at the URL of the first argument. Prints `ready`, then events of the types that follow, each as a
// line of JSON.
import { EventSource } from 'eventsource';

const [url, ...types] = process.argv.slice(2);
const source = new EventSource(url);
for (const type of types) {
  source.addEventListener(type, (event) => {
    console.log(JSON.stringify([event.type, event.data, event.lastEventId]));
  });
}
console.log('ready');
