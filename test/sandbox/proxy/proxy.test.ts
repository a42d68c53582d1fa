/** The proxy of a sandbox, asked by clients that do not behave, over its real socket. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, request } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { type Decision, type Proxy, startProxy } from "../../../tools/sandbox/proxy/proxy.ts";

const answers = vi.hoisted(() => new Map<string, { address: string; family: number }[]>());
vi.mock("node:dns/promises", () => ({
  lookup: (host: string) => {
    const found = answers.get(host);
    return found ? Promise.resolve(found) : Promise.reject(new Error("ENOTFOUND"));
  },
}));

const folder = mkdtempSync(join(tmpdir(), "pawl-proxy-test-"));
const socketPath = join(folder, "proxy.sock");
const seen: { url: string | undefined; headers: IncomingHttpHeaders }[] = [];
const decisions: Decision[] = [];
const web = createServer((incoming, response) => {
  seen.push({ url: incoming.url, headers: incoming.headers });
  if (incoming.url === "/redirect") response.writeHead(302, { location: "http://169.254.169.254/" });
  response.end(incoming.url === "/large" ? "x".repeat(200_000) : "content");
}).listen(0, "127.0.0.1");
const echo = createTcpServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;
let proxy: Proxy;

beforeAll(async () => {
  proxy = await startProxy(socketPath, {
    allow: [`127.0.0.1:${portOf(web)}`, `127.0.0.1:${portOf(echo)}`, "allowed.test", "*.wild.test"],
    headers: { "127.0.0.1": { authorization: "Bearer secret" } },
    maxBytes: 150_000,
    maxMs: 10_000,
    decided: (decision) => decisions.push(decision),
  });
});

beforeEach(() => {
  decisions.length = 0;
  seen.length = 0;
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  web.close();
  echo.close();
  rmSync(folder, { recursive: true });
});

/** Sends `text` as it is; resolves with all that came back. */
function raw(text: string, then?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(socketPath, () => socket.write(text));
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      if (then !== undefined && received === "") socket.end(then);
      received += chunk;
    });
    socket.once("error", reject).once("close", () => resolve(received));
  });
}

function get(
  target: string,
  headers: Record<string, string> = {},
): Promise<{ status: number | undefined; body: string; location?: string | undefined }> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path: target, headers, agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      const done = (): void => resolve({ status: response.statusCode, body, location: response.headers.location });
      response.once("close", done);
    })
      .once("error", reject)
      .end();
  });
}

const line = (target: string): string => `CONNECT ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;

test("a tunnel to an allowed host carries bytes both ways, and the decision is told", async () => {
  const target = `127.0.0.1:${portOf(echo)}`;
  expect(await raw(line(target), "there and back")).toBe("HTTP/1.1 200 Connection Established\r\n\r\nthere and back");
  expect(decisions).toEqual([{ target, allowed: true }]);
});

test.each([
  ["another port of the host", "127.0.0.1:1"],
  ["another host", "example.com:443"],
  ["a host that only ends like an allowed one", "notallowed.test:443"],
  ["a wildcard's own name", "wild.test:443"],
  ["a port that is not the web's", "allowed.test:22"],
  ["an allowed name that does not exist", "allowed.test:443"],
  ["an address in other words", "2130706433:443"],
  ["an address inside an IPv6 one", "[::ffff:127.0.0.1]:443"],
  ["the metadata address", "169.254.169.254:80"],
  ["a user in front of it", "allowed.test@127.0.0.1:443"],
  ["a path behind it", "allowed.test:443/x"],
  ["no port", "allowed.test"],
  ["nothing", "/"],
])("a tunnel to %s is refused", async (_name, target) => {
  expect(await raw(line(target))).toMatch(/^HTTP\/1\.1 403 /);
  expect(decisions).toMatchObject([{ target, allowed: false, reason: expect.stringMatching(/\w/) }]);
});

test.each([
  ["loopback", "127.0.0.1"],
  ["a private network", "10.0.0.1"],
  ["link-local", "169.254.169.254"],
  ["loopback in IPv6", "::1"],
  ["an IPv4-mapped address", "::ffff:10.0.0.1"],
  ["a unique local address", "fd00::1"],
])("an allowed name that means %s is refused, also as one answer of several", async (_name, address) => {
  const bad = { address, family: address.includes(":") ? 6 : 4 };
  for (const found of [[bad], [{ address: "93.184.216.34", family: 4 }, bad]]) {
    answers.set("rebound.wild.test", found);
    expect(await raw(line("rebound.wild.test:443"))).toMatch(/^HTTP\/1\.1 403 .*does not have a public address/s);
    expect(await get("http://rebound.wild.test/")).toMatchObject({ status: 403 });
  }
});

test("a plain request gets the host's secret, whatever the guest sent in its place, and no header of the proxy's", async () => {
  const host = `127.0.0.1:${portOf(web)}`;
  const headers = { authorization: "Bearer own", "proxy-authorization": "x", host: "elsewhere", "x-own": "kept" };
  expect(await get(`http://${host}/path?q=1`, headers)).toMatchObject({ status: 200, body: "content" });
  expect(seen).toEqual([
    { url: "/path?q=1", headers: { authorization: "Bearer secret", host, "x-own": "kept", connection: "close" } },
  ]);
});

test.each([
  ["https, which would show the content to us", "https://allowed.test/"],
  ["another scheme", "ftp://allowed.test/"],
  ["a path alone", "/"],
  ["another host", "http://example.com/"],
])("a plain request for %s is refused", async (_name, target) => {
  expect(await get(target)).toMatchObject({ status: 403 });
  expect(decisions).toMatchObject([{ allowed: false }]);
});

test("a redirect is the guest's to follow, and is decided like any other request", async () => {
  const { location = "" } = await get(`http://127.0.0.1:${portOf(web)}/redirect`);
  expect(await get(location)).toMatchObject({ status: 403 });
});

test("more bytes than allowed end the connection", async () => {
  const { body } = await get(`http://127.0.0.1:${portOf(web)}/large`);
  expect(body.length).toBeLessThan(200_000);
});
