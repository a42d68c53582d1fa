/** Who may call: `Host` on every request, `Origin` on every one that is not a read. */
import { expect, test } from "vitest";
import { createApp } from "../../server/app.ts";
import type { GuardOptions } from "../../server/guard.ts";
import { metaRoutes } from "../../server/meta.ts";
import { runRoutes } from "../../server/runs.ts";
import { silent } from "../support/database.ts";
import { RunsInMemory } from "../support/runs-in-memory.ts";
import { localGuard } from "../support/serve.ts";

const checks = { database: async () => {}, model: async () => {} };

function appWith(guard: Partial<GuardOptions> = {}) {
  const { signal } = new AbortController();
  const runs = runRoutes({ runs: new RunsInMemory(), log: silent, heartbeatSeconds: 5, closing: signal });
  return createApp({
    log: silent,
    guard: { ...localGuard, ...guard },
    maxBodyBytes: 1_024,
    routes: [metaRoutes({ checks }), runs],
  });
}

const post = (headers: Record<string, string>, app = appWith()) =>
  app.request("/runs", { method: "POST", headers, body: JSON.stringify({ assistant_id: "agent" }) });

test.each(["localhost", "localhost:2024", "127.0.0.1:3000", "[::1]:2024", "LOCALHOST:1"])(
  "a request to Host %s is served",
  async (host) => {
    const response = await appWith().request("/info", { headers: { host } });
    expect(response.status).toBe(200);
  },
);

test.each(["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:2024", "10.0.0.1", "[::2]", ""])(
  "a page whose name was rebound to us cannot even read: Host %j is refused",
  async (host) => {
    const response = await appWith().request("/info", { headers: { host } });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ code: "forbidden_host" });
  },
);

test("a Host of the configuration is served, with its port if it names one", async () => {
  const app = appWith({ allowedHosts: ["agents.example", "other.example:8080"] });
  const statusFor = async (host: string) => (await app.request("/info", { headers: { host } })).status;
  expect(await statusFor("agents.example:443")).toBe(200);
  expect(await statusFor("other.example:8080")).toBe(200);
  expect(await statusFor("other.example:8081")).toBe(403);
});

test("with --insecure any Host is served, and pages of other origins stay out", async () => {
  const app = appWith({ bindHost: "0.0.0.0", anyHost: true, allowedHosts: ["box.lan"] });
  expect((await post({ host: "box.lan:2024" }, app)).status).toBe(200);
  expect((await post({ host: "other.lan:2024" }, app)).status).toBe(200);
  expect((await post({ host: "box.lan:2024", origin: "http://box.lan:2024" }, app)).status).toBe(200);
  // A name that somebody has led here, and a page under that name.
  expect((await post({ host: "evil.example:2024", origin: "http://evil.example:2024" }, app)).status).toBe(403);
  expect((await post({ host: "box.lan:2024", origin: "https://evil.example" }, app)).status).toBe(403);
});

test.each(["http://localhost:5173", "https://127.0.0.1", "http://[::1]:80", "https://smith.langchain.com"])(
  "pages of %s may call, and read the answer",
  async (origin) => {
    const response = await post({ origin });
    expect(response.status).toBe(200);
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    expect(response.headers.get("access-control-expose-headers")?.split(",")).toEqual(
      expect.arrayContaining(["content-location", "location", "x-pagination-total", "x-pagination-next"]),
    );
  },
);

test.each([
  "null",
  "https://evil.example",
  "https://smith.langchain.com.evil.example",
  "file://localhost",
  "",
  "localhost",
])("pages of origin %j may not call", async (origin) => {
  const response = await post({ origin, "content-type": "text/plain" });
  expect(response.status).toBe(403);
  expect(await response.json()).toMatchObject({ code: "forbidden_origin" });
  expect(response.headers.get("access-control-allow-origin")).toBeNull();
});

test("a page of a foreign origin gets no leave to read", async () => {
  const response = await appWith().request("/info", { headers: { origin: "https://evil.example" } });
  expect(response.headers.get("access-control-allow-origin")).toBeNull();
});

test("origins of the configuration may call", async () => {
  expect((await post({ origin: "https://ui.example" }, appWith({ corsOrigins: ["https://ui.example"] }))).status).toBe(
    200,
  );
});

test("a failure carries the CORS headers too, or the page could not read what went wrong", async () => {
  const response = await appWith().request("/nowhere", { headers: { origin: "https://smith.langchain.com" } });
  expect(response.status).toBe(404);
  expect(response.headers.get("access-control-allow-origin")).toBe("https://smith.langchain.com");
});

test("a preflight allows every method and whatever headers are asked for, from a public page too", async () => {
  const response = await appWith().request("/threads/x/runs", {
    method: "OPTIONS",
    headers: {
      origin: "https://smith.langchain.com",
      "access-control-request-method": "PATCH",
      "access-control-request-headers": "content-type,x-api-key",
      "access-control-request-private-network": "true",
    },
  });
  expect(response.status).toBe(204);
  expect(response.headers.get("access-control-allow-methods")).toMatch(/PATCH/);
  expect(response.headers.get("access-control-allow-headers")).toBe("content-type,x-api-key");
  expect(response.headers.get("access-control-allow-private-network")).toBe("true");
});

test("a preflight from a foreign origin allows nothing", async () => {
  const response = await appWith().request("/runs", {
    method: "OPTIONS",
    headers: { origin: "https://evil.example", "access-control-request-private-network": "true" },
  });
  expect(response.headers.get("access-control-allow-origin")).toBeNull();
  expect(response.headers.get("access-control-allow-private-network")).toBeNull();
});
