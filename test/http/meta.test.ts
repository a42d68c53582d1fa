/** What the server says about itself. */
import { expect, test } from "vitest";
import { metaRoutes, type Truncate } from "../../server/meta.ts";
import { testApp } from "../support/serve.ts";

const fine = async () => {};
const broken = (reason: string) => async () => {
  throw new Error(reason);
};

test("the process is well although its database is not, unless one asks for that", async () => {
  const app = testApp({ routes: [metaRoutes({ checks: { database: broken("no route"), model: fine } })] });
  expect(await (await app.request("/ok")).json()).toEqual({ ok: true });
  expect(await (await app.request("/ok?check_db=0")).json()).toEqual({ ok: true });
  const asked = await app.request("/ok?check_db=1");
  expect(asked.status).toBe(503);
  expect(await asked.json()).toMatchObject({ detail: "no route" });
});

test("a model that is down makes the server not ready, and says why", async () => {
  const down = testApp({ routes: [metaRoutes({ checks: { database: fine, model: broken("connection refused") } })] });
  const response = await down.request("/ready");
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({
    ready: false,
    checks: { database: { ok: true }, model: { ok: false, detail: "connection refused" } },
  });
  const up = testApp({ routes: [metaRoutes({ checks: { database: fine, model: fine } })] });
  expect((await up.request("/ready")).status).toBe(200);
});

test("clients that look for features find a version of today and the flags", async () => {
  const app = testApp({ routes: [metaRoutes({ checks: { database: fine, model: fine } })] });
  expect(await (await app.request("/info")).json()).toMatchObject({
    version: expect.stringMatching(/^0\.[89]|^[1-9]/),
    langgraph_js_version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    context: "js",
    flags: { assistants: true, crons: false },
    host: { kind: "self-hosted", project_id: null, tenant_id: null },
  });
});

test("emptying the tables exists only where it was asked for", async () => {
  const checks = { database: fine, model: fine };
  const post = (app: ReturnType<typeof testApp>) =>
    app.request("/internal/truncate", { method: "POST", body: '{"runs":true,"threads":false,"checkpoint":true}' });
  expect((await post(testApp({ routes: [metaRoutes({ checks })] }))).status).toBe(404);
  const seen: Truncate[] = [];
  const truncate = async (what: Truncate) => void seen.push(what);
  expect((await post(testApp({ routes: [metaRoutes({ checks, truncate })] }))).status).toBe(200);
  expect(seen).toEqual([{ runs: true, threads: false }]);
});
