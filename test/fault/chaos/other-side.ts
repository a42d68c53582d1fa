/** The world outside, as effects see it: an HTTP server that counts what it was asked to do, and now and then hangs up before or after doing it. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import type { Random } from "./random.ts";

const Order = z.object({
  name: z.string(),
  kind: z.enum(["idempotent", "irreversible"]),
  /** Nothing is done after it: who looked then knows for good. */
  deadline: z.coerce.date().optional(),
});

/** What was asked for under one name: the effect as whoever planned it knows it. */
export interface Done {
  readonly kind: "idempotent" | "irreversible";
  /** How often each key was asked for. */
  readonly keys: Map<string, number>;
}

export interface OtherSide extends AsyncDisposable {
  readonly url: string;
  readonly done: ReadonlyMap<string, Done>;
}

const HANGS_UP = 0.04;
/** Before it is done, and again before the answer: long enough for processes to die meanwhile. */
const LONGEST_MS = 300;

export async function startOtherSide(random: Random): Promise<OtherSide> {
  const done = new Map<string, Done>();
  const known = new Set<string>();
  const server = createServer((request, response) => {
    void (async () => {
      const { name, kind, deadline } = Order.parse(await json(request));
      const key = String(request.headers["idempotency-key"]);
      const mood = random.fork(name);
      const isFirst = !known.has(name);
      known.add(name);
      await delay(mood.between(0, LONGEST_MS)); // a sender may die before it is done
      const isTooLate = deadline !== undefined && Date.now() > deadline.getTime();
      if (isTooLate || (isFirst && mood.chance(HANGS_UP))) return void response.destroy();
      const earlier = done.get(name) ?? { kind, keys: new Map<string, number>() };
      done.set(name, earlier);
      earlier.keys.set(key, (earlier.keys.get(key) ?? 0) + 1);
      await delay(mood.between(0, LONGEST_MS)); // or before it knows
      if (isFirst && mood.chance(HANGS_UP)) return void response.destroy();
      response.setHeader("content-type", "application/json").end(JSON.stringify({ receipt: name }));
    })().catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    done,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
