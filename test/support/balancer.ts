/** A load balancer in front of servers that come and go: each connection to the next one that accepts it. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

interface Balancer extends AsyncDisposable {
  readonly url: string;
  /** Ports of the servers; those that refuse are passed over. */
  readonly ports: Set<number>;
}

export async function balance(): Promise<Balancer> {
  const ports = new Set<number>();
  const sockets = new Set<Socket>();
  let turn = 0;
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const all = [...ports];
    const order = all.map((_, i) => all[(turn + i) % all.length]!);
    turn += 1;
    keep(client);
    forward(client, order);
  });
  function keep(socket: Socket): void {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  }
  function forward(client: Socket, [port, ...others]: number[]): void {
    if (port === undefined) return void client.resetAndDestroy();
    const upstream = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const next = (): void => forward(client, others);
    upstream.once("error", next);
    upstream.once("connect", () => {
      upstream.off("error", next);
      keep(upstream);
      client.pipe(upstream).pipe(client);
      upstream.on("close", (hadError) => (hadError ? client.resetAndDestroy() : client.end()));
      client.on("close", () => upstream.destroy());
    });
  }
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ports,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}
