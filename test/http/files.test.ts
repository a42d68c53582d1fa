/** The files of a thread over HTTP: what goes in comes out, nothing else does, and nobody's browser shows it as a page. */
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { PawlError } from "../../lib/errors.ts";
import { fileRoutes } from "../../server/files.ts";
import { requestText, sendRaw, serve, testApp } from "../support/serve.ts";

const dataDir = mkdtempSync(join(tmpdir(), "pawl-http-files-"));
const secret = join(dataDir, "secret.txt");
let threadId = randomUUID();

const app = testApp({
  maxBodyBytes: 1_024 * 1_024,
  routes: [
    fileRoutes({
      dataDir,
      requireThread: async (_principal, id) => {
        if (id !== threadId) throw new PawlError("thread_not_found", "no such thread");
      },
    }),
  ],
});
const url = (path: string): string => `/threads/${threadId}/files${path}`;
const put = (path: string, body: string | Buffer) => app.request(url(path), { method: "PUT", body });
const get = (path: string) => app.request(url(path));
const code = async (response: Response): Promise<string> =>
  `${response.status} ${((await response.json()) as { code: string }).code}`;

beforeEach(() => {
  threadId = randomUUID();
  writeFileSync(secret, "secret");
});
afterAll(() => rmSync(dataDir, { recursive: true }));

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

test("a thread that is not there has no files, and gets no folder", async () => {
  const other = randomUUID();
  const response = await app.request(`/threads/${other}/files/a`, { method: "PUT", body: "x" });
  expect(await code(response)).toBe("404 thread_not_found");
  expect(() => readFileSync(join(dataDir, "workspaces", "default", other, "a"))).toThrow("ENOENT");
});

describe("a path cannot leave the workspace", () => {
  test.each([
    ["/%2e%2e/%2e%2e/%2e%2e/secret.txt"],
    ["/..%2f..%2f..%2fsecret.txt"],
    ["/a/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.txt"],
    ["/a%00b"],
    ["/%ff"],
    ["/link"],
    ["/folder-link/secret.txt"],
    ["/folder"],
  ])("%s", async (path) => {
    await put("/made", "x");
    const root = join(dataDir, "workspaces", "default", threadId);
    symlinkSync(secret, join(root, "link"));
    symlinkSync(dataDir, join(root, "folder-link"));
    mkdirSync(join(root, "folder"));
    for (const method of ["GET", "PUT"]) {
      const response = await app.request(url(path), { method, ...(method === "PUT" && { body: "planted" }) });
      expect(response.status).toBeGreaterThanOrEqual(403);
      expect(response.status).toBeLessThan(423);
      expect(await response.text()).not.toMatch(/secret"|pawl-http-files/);
    }
    expect(readFileSync(secret, "utf8")).toBe("secret");
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
