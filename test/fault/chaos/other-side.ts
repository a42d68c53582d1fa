/** The world outside, as effects see it: an HTTP server that counts what it was asked to do, and now and then hangs up after doing it. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import type { Random } from "./random.ts";

const Order = z.object({ name: z.string(), kind: z.enum(["idempotent", "irreversible"]) });

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
const LONGEST_MS = 200;

export async function startOtherSide(random: Random): Promise<OtherSide> {
  const done = new Map<string, Done>();
  const server = createServer((request, response) => {
    void (async () => {
      const { name, kind } = Order.parse(await json(request));
      const key = String(request.headers["idempotency-key"]);
      const mood = random.fork(name);
      await delay(mood.between(0, LONGEST_MS)); // a sender may die before it is done
      const earlier = done.get(name) ?? { kind, keys: new Map<string, number>() };
      done.set(name, earlier);
      earlier.keys.set(key, (earlier.keys.get(key) ?? 0) + 1);
      await delay(mood.between(0, LONGEST_MS)); // or before it knows
      if (mood.chance(HANGS_UP) && earlier.keys.get(key) === 1) return void response.destroy();
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
