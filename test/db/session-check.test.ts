import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { requireSessions } from "../../db/session-check.ts";
import { testDatabase } from "../support/database.ts";

test("connections of their own are fine, also when many processes check at once", async () => {
  await using db = await testDatabase();
  await Promise.all(Array.from({ length: 5 }, () => requireSessions(db.connection)));
});

test("connections that share a session, as behind a pooler in transaction mode, are refused", async () => {
  await using db = await testDatabase();
  const { host = "", port = 5432 } = db.connection;
  await using pooler = await sharedSession(join(host, `.s.PGSQL.${port}`));
  await expect(requireSessions({ ...db.connection, host: "127.0.0.1", port: pooler.port })).rejects.toMatchObject({
    code: "bad_configuration",
    message: expect.stringContaining("pooler"),
  });
});

test("no database at all is said as such", async () => {
  await expect(requireSessions({ host: "127.0.0.1", port: 1, user: "x", database: "x" })).rejects.toMatchObject({
    code: "database_unavailable",
  });
});

/**
 * The least of a pooler: the first client opens the session, each later one is told what the first was told at its
 * start and then has its messages carried over the same session; the answer goes to the one who asked last.
 */
async function sharedSession(socketPath: string) {
  const server = connect(socketPath);
  let greeting = Buffer.alloc(0);
  let isGreeting = true;
  let asker: Socket | undefined;
  server.on("data", (data) => {
    if (isGreeting) greeting = Buffer.concat([greeting, data]);
    asker?.write(data);
  });
  server.on("error", () => {});
  const clients = new Set<Socket>();
  const pooler = createServer((client) => {
    clients.add(client);
    client.on("error", () => {});
    let isStarted = false;
    if (greeting.length > 0) isGreeting = false;
    client.on("data", (data) => {
      const isStart = !isStarted;
      isStarted = true;
      if (data[0] === 0x58) return; // Terminate: the session stays
      if (isStart && !isGreeting) return void client.write(greeting);
      if (!isStart) isGreeting = false;
      asker = client;
      server.write(data);
    });
  });
  pooler.listen(0, "127.0.0.1");
  await once(pooler, "listening");
  const address = pooler.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      server.destroy();
      pooler.close();
    },
  };
}
