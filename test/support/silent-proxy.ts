/** A way to Postgres that may go dead without a word, as when a firewall forgets a connection: sockets stay open. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { ConnectTo } from "../../db/pool.ts";

interface SilentProxy extends AsyncDisposable {
  /** The same database through the proxy. */
  readonly connection: ConnectTo;
  /** From now on nothing passes, in either direction, on any connection. */
  silence(): void;
  /** New connections pass; those that went silent stay so. */
  restore(): void;
}

/** `connection` is that of a test database: on a Unix socket. */
export async function silentProxy(connection: ConnectTo): Promise<SilentProxy> {
  const sockets = new Set<Socket>();
  let isSilent = false;
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => {});
    if (isSilent) return;
    const upstream = connect(join(connection.host ?? "", `.s.PGSQL.${connection.port ?? 5432}`));
    sockets.add(upstream);
    upstream.on("error", () => client.destroy());
    client.pipe(upstream).pipe(client);
    client.on("close", () => upstream.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    connection: { ...connection, host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    silence() {
      isSilent = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
    restore: () => (isSilent = false),
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}
