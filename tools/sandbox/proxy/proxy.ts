/**
 * The only way out of a sandbox that has a network: an HTTP proxy (CONNECT, and plain HTTP) on a Unix socket that is
 * shown to the guest. A host is reached if it is allowed, at an address that was checked after it was resolved, and that
 * very address is connected to. Inside a CONNECT tunnel there is TLS between guest and host: the proxy sees the host's
 * name and the number of bytes, and can add nothing.
 */
import {
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type Server,
  type ServerResponse,
} from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { destinationOf } from "../../egress.ts";
import { ToolFailure } from "../../tool.ts";

interface ProxyRules {
  /** Hosts, as `destinationOf` takes them. */
  readonly allow: readonly string[];
  /** Headers that are added to plain HTTP requests to a host: a secret that the guest never sees. */
  readonly headers: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** In both directions, of all connections together. */
  readonly maxBytes: number;
  /** Of one connection. */
  readonly maxMs: number;
  /** Told of each decision. */
  readonly decided: (decision: Decision) => void;
}

export interface Decision {
  /** What was asked for: `host:port`. */
  readonly target: string;
  readonly allowed: boolean;
  readonly reason?: string;
}

export interface Proxy extends AsyncDisposable {
  readonly server: Server;
}

export async function startProxy(socketPath: string, rules: ProxyRules): Promise<Proxy> {
  const traffic = new Traffic(rules);
  const server = createServer({ maxHeaderSize: 16_384 }, (request, response) => {
    void forward(request, response, traffic);
  });
  server.on("connect", (request, client, head) => {
    client.unshift(head); // what came with the request already belongs to the tunnel
    void tunnel(request, client, traffic);
  });
  server.on("clientError", (_, socket) => socket.destroy());
  server.on("connection", (socket: Socket) => traffic.bound(socket));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(socketPath, resolve);
  });
  server.unref();
  return {
    server,
    async [Symbol.asyncDispose]() {
      traffic.end();
      await new Promise((resolve) => void server.close(resolve));
    },
  };
}

/** What all connections of one proxy share. */
class Traffic {
  readonly rules: ProxyRules;
  readonly #sockets = new Set<Duplex>();
  #bytes = 0;

  constructor(rules: ProxyRules) {
    this.rules = rules;
  }

  /** Ends `socket` at the limits, and with the proxy. */
  bound(socket: Duplex): void {
    this.#sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), this.rules.maxMs).unref();
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    });
  }

  /** Counts what `socket` receives. */
  count(socket: Duplex | IncomingMessage): void {
    socket.on("data", (chunk: Buffer) => {
      this.#bytes += chunk.length;
      if (this.#bytes > this.rules.maxBytes) this.end();
    });
  }

  end(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

async function tunnel(request: IncomingMessage, client: Duplex, traffic: Traffic): Promise<void> {
  const target = request.url ?? "";
  // Nothing but a host and a port; the scheme only stands for "some of the two default ports".
  const url =
    /^[^\s/?#@\\]+:\d+$/.test(target) && URL.canParse(`https://${target}`) ? new URL(`https://${target}`) : undefined;
  const destination = await decide(url, target, traffic);
  if (typeof destination === "string") {
    client.end(`HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n${destination}\n`);
    return;
  }
  if (client.destroyed) return;
  const upstream = connect({ host: destination.address, port: Number(url?.port || 443) });
  traffic.bound(upstream);
  upstream.once("connect", () => {
    client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    traffic.count(client);
    traffic.count(upstream);
    client.pipe(upstream).pipe(client);
  });
  upstream.once("error", () => client.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n"));
  upstream.once("close", () => client.destroy());
  client.once("close", () => upstream.destroy());
}

/** RFC 9110, 7.6.1, and what is for a proxy. The connection's own framing is ours to choose. */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
const isForwarded = (name: string): boolean => !hopByHop.has(name) && !name.startsWith("proxy-");

async function forward(request: IncomingMessage, response: ServerResponse, traffic: Traffic): Promise<void> {
  const target = request.url ?? "";
  const parsed = URL.canParse(target) ? new URL(target) : undefined;
  // https would make the proxy the one that sees the content.
  const url = parsed?.protocol === "http:" ? parsed : undefined;
  const destination = await decide(url, url?.host ?? target, traffic);
  if (typeof destination === "string" || !url) {
    response
      .writeHead(403, { "content-type": "text/plain" })
      .end(`${typeof destination === "string" ? destination : "Forbidden"}\n`);
    return;
  }
  const named = Object.entries(request.headers).filter(([name]) => isForwarded(name));
  const upstream = httpRequest({
    host: destination.address,
    port: url.port || 80,
    method: request.method,
    path: url.pathname + url.search,
    headers: { ...Object.fromEntries(named), ...traffic.rules.headers[url.hostname], host: url.host },
    agent: false,
    setHost: false,
  });
  upstream.once("socket", (socket) => traffic.bound(socket));
  upstream.once("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  upstream.once("response", (answer) => {
    traffic.count(answer);
    const headers = Object.entries(answer.headers).filter(([name]) => isForwarded(name));
    response.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers));
    answer.once("error", () => response.destroy());
    answer.pipe(response);
  });
  response.once("close", () => upstream.destroy());
  traffic.count(request);
  request.pipe(upstream);
}

/** The checked address, or why there is none. */
async function decide(url: URL | undefined, target: string, { rules }: Traffic) {
  const shown = target.slice(0, 300);
  try {
    if (!url) throw new ToolFailure("DENIED", "That is not a host and a port");
    const destination = await destinationOf(url, rules.allow);
    rules.decided({ target: shown, allowed: true });
    return destination;
  } catch (error) {
    if (!(error instanceof ToolFailure)) throw error;
    rules.decided({ target: shown, allowed: false, reason: error.message });
    return error.message;
  }
}
