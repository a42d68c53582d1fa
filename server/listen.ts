/** The HTTP server of node around the application: where it listens, and how it stops. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Hono } from "hono";
import { PawlError } from "../lib/errors.ts";
import type { ServerEnv } from "./app.ts";

/** The port where clients and LangGraph Studio look first. */
export const DEFAULT_PORT = 2024;
/** Ports that are tried, from the default one on. */
const TRIES = 20;

interface ListenOptions {
  readonly host: string;
  /** 0 for any free port; absent for the default one, or the next that is free. */
  readonly port?: number;
}

export interface Listening {
  readonly url: string;
  readonly port: number;
  /** Whether the default port was taken, so that this is another one. */
  readonly moved: boolean;
  /** Takes no more connections; those that are open go on. */
  stopAccepting(): void;
  /** Cuts what is still open, and resolves when nothing is. */
  close(): Promise<void>;
}

/** Throws `bad_configuration` when the port that was asked for is taken or the address is not of this machine. */
export async function listen(app: Hono<ServerEnv>, { host, port }: ListenOptions): Promise<Listening> {
  const server = createAdaptorServer({
    fetch: app.fetch,
    // Longer than what load balancers keep idle connections for, so that it is they who close them. No time-out cuts a
    // response: node's own are for the arrival of requests.
    createServer,
    serverOptions: { keepAliveTimeout: 75_000 },
  }) as Server;
  const bound = port === undefined ? await bindNear(server, host) : await bind(server, host, port);
  if (bound === null) throw new PawlError("bad_configuration", `Port ${port ?? DEFAULT_PORT} is taken`);
  const closed = once(server, "close");
  return {
    url: `http://${nameOf(host)}:${bound}`,
    port: bound,
    moved: port === undefined && bound !== DEFAULT_PORT,
    stopAccepting: () => void server.close(),
    async close() {
      if (server.listening) server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function bindNear(server: Server, host: string): Promise<number | null> {
  for (let port = DEFAULT_PORT; port < DEFAULT_PORT + TRIES; port += 1) {
    const bound = await bind(server, host, port);
    if (bound !== null) return bound;
  }
  return null;
}

/** The port that was bound, null if it is taken. */
async function bind(server: Server, host: string, port: number): Promise<number | null> {
  try {
    server.listen(port, host);
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EADDRINUSE") return null;
    throw new PawlError("bad_configuration", `Cannot listen on ${host}, port ${port}: ${code}`, { cause: error });
  }
}

/** A name that a client on this machine can call. */
function nameOf(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}
