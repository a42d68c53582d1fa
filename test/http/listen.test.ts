/** Where the server listens, and what it does when somebody is there already. */
import { createServer } from "node:net";
import { once } from "node:events";
import { expect, test } from "vitest";
import { DEFAULT_PORT, listen } from "../../server/listen.ts";
import { metaRoutes } from "../../server/meta.ts";
import { testApp } from "../support/serve.ts";

const app = testApp({ routes: [metaRoutes({ checks: { database: async () => {}, model: async () => {} } })] });
const host = "127.0.0.1";

test("a free port is found and told", async () => {
  const server = await listen(app, { host, port: 0 });
  expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
  expect((await fetch(`${server.url}/ok`)).status).toBe(200);
  await server.close();
});

test("a port that was asked for and is taken is an error that names it", async () => {
  const first = await listen(app, { host, port: 0 });
  await expect(listen(app, { host, port: first.port })).rejects.toMatchObject({
    code: "bad_configuration",
    message: expect.stringContaining(String(first.port)),
  });
  await first.close();
});

test("a taken default port that nobody asked for gives way to the next one", async () => {
  const occupant = createServer();
  occupant.on("error", () => undefined); // somebody else has it: as good
  occupant.listen(DEFAULT_PORT, host);
  await Promise.race([once(occupant, "listening"), once(occupant, "error")]).catch(() => undefined);
  const server = await listen(app, { host });
  expect(server.moved).toBe(true);
  expect(server.port).toBeGreaterThan(DEFAULT_PORT);
  await server.close();
  occupant.close();
});

test("an address of another machine is an error that names it", async () => {
  await expect(listen(app, { host: "192.0.2.1", port: 0 })).rejects.toThrow(/192\.0\.2\.1/);
});

test("closing ends a connection that is still open", async () => {
  const server = await listen(app, { host, port: 0 });
  const response = await fetch(`${server.url}/info`);
  await response.body?.cancel();
  await server.close();
  await expect(fetch(`${server.url}/info`)).rejects.toThrow();
});
