/** The files of a thread over HTTP: what goes in comes out, nothing else does, and nobody's browser shows it as a page. */
import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Hono } from "hono";
import { uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import type { ServerEnv } from "../../server/app.ts";
import { fileRoutes } from "../../server/files.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { requestText, sendRaw, serve, testApp } from "../support/serve.ts";

let db: TestDatabase;
let app: Hono<ServerEnv>;
let threadId: string;

beforeAll(async () => {
  db = await testDatabase();
  const threads = createThreads({ pool: db.pool, graphs: new Map() });
  app = testApp({ maxBodyBytes: 1_024 * 1_024, routes: [fileRoutes(threads.files)] });
  return () => db[Symbol.asyncDispose]();
});

beforeEach(async () => {
  const threads = createThreads({ pool: db.pool, graphs: new Map() });
  ({ thread_id: threadId } = await threads.create(localPrincipal, {}));
});

const url = (path: string): string => `/threads/${threadId}/files${path}`;
const put = (path: string, body: string | Buffer) => app.request(url(path), { method: "PUT", body });
const get = (path: string) => app.request(url(path));
const code = async (response: Response): Promise<string> =>
  `${response.status} ${((await response.json()) as { code: string }).code}`;

test("bytes come back as they went in, under any name", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
  for (const path of ["/a.bin", "/deep/er/b", "/Gr%C3%BC%C3%9Fe%20%26%20100%25.txt"]) {
    expect((await put(path, bytes)).status).toBe(204);
    expect(Buffer.from(await (await get(path)).arrayBuffer())).toEqual(bytes);
  }
  expect(await (await get("")).json()).toEqual({
    files: [
      { path: "Grüße & 100%.txt", size: 256, modified_at: expect.stringMatching(/^\d{4}-.*Z$/) },
      { path: "a.bin", size: 256, modified_at: expect.any(String) },
      { path: "deep/er/b", size: 256, modified_at: expect.any(String) },
    ],
    more: false,
  });
});

test("a hostile page is a download without a type", async () => {
  await put("/x.html", "<script>alert(document.domain)</script>");
  const { headers } = await get("/x.html");
  expect(headers.get("content-type")).toBe("application/octet-stream");
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("content-disposition")).toBe("attachment; filename*=UTF-8''x.html");
  expect(headers.get("content-security-policy")).toContain("sandbox");
  await put("/%22%0d%0aSet-Cookie:%20a=b", "x");
  const strange = await get("/%22%0d%0aSet-Cookie:%20a=b");
  expect(strange.headers.get("set-cookie")).toBeNull();
});

test("what is deleted is gone", async () => {
  await put("/d/a", "1");
  const remove = (path: string) => app.request(url(path), { method: "DELETE" });
  expect((await remove("/d")).status).toBe(204);
  expect(await code(await get("/d/a"))).toBe("404 file_not_found");
  expect(await code(await remove("/d"))).toBe("404 file_not_found");
});

test("a thread that is not there has no files, and gets none", async () => {
  const other = randomUUID();
  for (const method of ["PUT", "DELETE", "GET"]) {
    const body = method === "PUT" ? { body: "x" } : {};
    const response = await app.request(`/threads/${other}/files/a`, { method, ...body });
    expect(await code(response)).toBe("404 thread_not_found");
  }
  const { rowCount } = await db.pool.query("select from file_contents where thread_id = $1", [other]);
  expect(rowCount).toBe(0);
});

test("what is replaced or deleted leaves no row", async () => {
  await put("/a", "1");
  await put("/a", "2");
  await app.request(url("/a"), { method: "DELETE" });
  const { rowCount } = await db.pool.query("select from file_contents where thread_id = $1", [threadId]);
  expect(rowCount).toBe(0);
});

test("files are not changed under a run", async () => {
  await put("/a", "1");
  await db.pool.query(
    "insert into runs (run_id, thread_id, assistant_id, graph_id, kwargs) values ($1, $2, $1, 'x', '{}')",
    [uuidv7(), threadId],
  );
  expect(await code(await put("/a", "2"))).toBe("409 thread_busy");
  expect(await code(await app.request(url("/a"), { method: "DELETE" }))).toBe("409 thread_busy");
  expect(await (await get("/a")).text()).toBe("1");
});

describe("a path cannot leave the workspace", () => {
  test.each([
    ["/%2e%2e/%2e%2e/%2e%2e/secret.txt"],
    ["/..%2f..%2f..%2fsecret.txt"],
    ["/a/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.txt"],
    ["/a%00b"],
    ["/%ff"],
    ["/folder"],
    ["/folder/made/below"],
  ])("%s", async (path) => {
    await put("/folder/made", "x");
    const response = await app.request(url(path), { method: "PUT", body: "planted" });
    expect(response.status).toBeGreaterThanOrEqual(403);
    expect(response.status).toBeLessThan(423);
    expect((await get(path)).ok).toBe(false);
    expect(await (await get("")).json()).toMatchObject({ files: [{ path: "folder/made", size: 1 }] });
  });

  test("in a request as it is on the wire", async () => {
    await using server = await serve(app);
    for (const path of ["/../../../secret.txt", "/..%2f..%2f..%2fsecret.txt", "//etc/passwd"]) {
      const raw = await sendRaw(server.port, requestText(`GET ${url(path)}`, { Connection: "close" }));
      expect(await raw.until(/\r\n\r\n[^]*\}/)).toMatch(/^HTTP\/1\.1 4\d\d /);
      raw.socket.destroy();
    }
  });
});

test("a body that is too large is refused", async () => {
  expect(await code(await put("/big", Buffer.alloc(1_024 * 1_024 + 1)))).toBe("413 body_too_large");
});
