/** An application on a free port of the loopback, and raw sockets to it for what a well-behaved client never does. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Hono } from "hono";
import { createApp, type ServerEnv } from "../../server/app.ts";
import { listen, type Listening } from "../../server/listen.ts";
import { silent } from "./database.ts";

/** The guard as on a first start. */
export const localGuard = { bindHost: "127.0.0.1", anyHost: false, allowedHosts: [], corsOrigins: [] };

interface AppUnderTest {
  readonly maxBodyBytes?: number;
  readonly routes: readonly Hono<ServerEnv>[];
}

export function testApp({ maxBodyBytes = 64 * 1_024, routes }: AppUnderTest): Hono<ServerEnv> {
  return createApp({ log: silent, guard: localGuard, maxBodyBytes, routes });
}

/** `await using server = await serve(app)`. */
export async function serve(app: Hono<ServerEnv>): Promise<Listening & AsyncDisposable> {
  const server = await listen(app, { host: "127.0.0.1", port: 0 });
  return { ...server, [Symbol.asyncDispose]: () => server.close() };
}

/** Sends `text` as it is. The socket stays open; `received` grows with what comes. */
export async function sendRaw(port: number, text: string): Promise<RawExchange> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  let received = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => (received += chunk));
  socket.on("error", () => undefined);
  await new Promise<void>((resolve) => void socket.write(text, () => resolve()));
  return {
    socket,
    until: async (pattern) => {
      while (!pattern.test(received)) await once(socket, "data", { signal: AbortSignal.timeout(5_000) });
      return received;
    },
  };
}

interface RawExchange {
  readonly socket: Socket;
  /** What has come, once it matches. */
  readonly until: (pattern: RegExp) => Promise<string>;
}

/** An HTTP/1.1 request as text. */
export function requestText(line: string, headers: Record<string, string>, body = ""): string {
  const length = body === "" ? {} : { "Content-Length": String(Buffer.byteLength(body)) };
  const fields = Object.entries({ Host: "localhost", ...length, ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return `${line} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n${body}`;
}
