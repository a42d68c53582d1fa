/** fetch_url reaches what the operator listed, at public addresses, and nothing else. */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { destinationOf, isPublicAddress } from "../../tools/egress.ts";
import { fetchUrl } from "../../tools/fetch-url.ts";
import { executeTool, type ToolOutcome } from "../../tools/index.ts";
import { createHarness } from "./harness.ts";

const requests: string[] = [];
let answer: RequestListener = (_request, response) => void response.end("hello");
const server = createServer((request, response) => {
  requests.push(request.url ?? "");
  answer(request, response);
});
let host: string;

beforeEach(async () => {
  requests.length = 0;
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => void server.close(resolve));
});

async function fetch(url: string, allow: string): Promise<ToolOutcome> {
  using harness = createHarness();
  return executeTool(fetchUrl, { url }, harness.context({ PAWL_FETCH_ALLOW: allow }));
}

describe("what is allowed", () => {
  test("a listed host and port answers with text", async () => {
    answer = (_request, response) => void response.setHeader("content-type", "text/plain").end("hello");
    expect(await fetch(`http://${host}/page?q=1`, host)).toEqual({
      status: "ok",
      result: {
        url: `http://${host}/page?q=1`,
        status: 200,
        content_type: "text/plain",
        text: "hello",
        truncated: false,
        untrusted: true,
      },
    });
    expect(requests).toEqual(["/page?q=1"]);
  });

  test("HTML arrives as its text", async () => {
    answer = (_request, response) =>
      void response
        .setHeader("content-type", "text/html; charset=utf-8")
        .end(
          "<head><title>t</title></head><p>Fish &amp; <b>chips</b><script>alert('<p>')</script><!-- no --><p>Tea &lt;3<style>p{}",
        );
    expect(await fetch(`http://${host}/`, host)).toMatchObject({ result: { text: "Fish & chips\nTea <3" } });
  });

  test("a redirect to a listed place is followed", async () => {
    answer = (request, response) =>
      void (request.url === "/a" ? response.writeHead(302, { location: "/b" }).end() : response.end("there"));
    expect(await fetch(`http://${host}/a`, host)).toMatchObject({ result: { url: `http://${host}/b`, text: "there" } });
  });

  test("an error of the server is a page like any other", async () => {
    answer = (_request, response) => void response.writeHead(404, { "content-type": "text/plain" }).end("no such page");
    expect(await fetch(`http://${host}/`, host)).toMatchObject({
      status: "ok",
      result: { status: 404, text: "no such page" },
    });
  });
});

describe("what is refused without a connection", () => {
  test("everything, when nothing is listed, and the message says who can change that", async () => {
    expect(await fetch(`http://${host}/`, "")).toMatchObject({
      code: "DENIED",
      message: expect.stringContaining("PAWL_FETCH_ALLOW"),
    });
    expect(requests).toEqual([]);
  });

  test.each([
    ["another host", "http://other.example/", "example.com"],
    ["a host that only ends alike", "http://evilexample.com/", "*.example.com"],
    ["the parent of a wildcard", "http://example.com/", "*.example.com"],
    ["another port", "http://example.com:8080/", "example.com"],
    ["a user name", "http://user:pass@example.com/", "example.com"],
    ["a loopback address", "http://127.0.0.1/", "127.0.0.1:8080"],
    ["a loopback address in another notation", "http://2130706433/", "localhost,*.local"],
    ["a loopback address in hexadecimal", "http://0x7f.1/", "localhost"],
    ["an IPv6 loopback", "http://[::1]/", "localhost"],
    ["an IPv4-mapped address", "http://[::ffff:127.0.0.1]/", "127.0.0.1"],
    ["the metadata service", "http://169.254.169.254/latest/meta-data", "*.254"],
    ["a listed name with a private address", "http://localhost/", "localhost"],
    ["the same with a port", "http://localhost:8080/", "localhost:8080"],
  ])("%s", async (_name, url, allow) => {
    expect(await fetch(url, allow)).toMatchObject({ status: "error", code: "DENIED" });
  });

  test.each(["file:///etc/passwd", "ftp://example.com/", "javascript:1", "no url"])(
    "%s is no argument",
    async (url) => {
      expect(await fetch(url, "*")).toMatchObject({ code: "INVALID_ARGS" });
    },
  );

  test.each([
    "http://169.254.169.254/",
    "http://localhost:1/",
    "http://[::1]:1/",
    "file:///etc/passwd",
    "http://10.0.0.1/",
  ])("a redirect to %s", async (location) => {
    answer = (_request, response) => void response.writeHead(302, { location }).end();
    expect(await fetch(`http://${host}/`, `${host},localhost:1`)).toMatchObject({ code: "DENIED" });
    expect(requests).toHaveLength(1);
  });
});

test("a redirect without end stops after five", async () => {
  answer = (request, response) => void response.writeHead(307, { location: `${request.url}x` }).end();
  expect(await fetch(`http://${host}/`, host)).toMatchObject({ code: "FAILED" });
  expect(requests).toHaveLength(6);
});

test("an endless answer is cut at one megabyte, and its connection closed", async () => {
  const closed = Promise.withResolvers<void>();
  answer = (_request, response) => {
    const more = (): void =>
      void (
        response.destroyed || (response.write("x".repeat(65_536)) ? setImmediate(more) : response.once("drain", more))
      );
    response.once("close", () => closed.resolve());
    response.setHeader("content-type", "text/plain");
    more();
  };
  expect(await fetch(`http://${host}/`, host)).toMatchObject({ status: "ok", result: { truncated: true } });
  await closed.promise;
});

test.each(["image/png", "application/octet-stream", "application/zip"])("%s is refused", async (type) => {
  answer = (_request, response) => void response.setHeader("content-type", type).end("x");
  expect(await fetch(`http://${host}/`, host)).toMatchObject({ code: "FAILED" });
});

test("a server that drops the connection is asked three times", async () => {
  answer = (request) => void request.socket.destroy();
  expect(await fetch(`http://${host}/`, host)).toMatchObject({ code: "MAX_RETRIES" });
  expect(requests).toHaveLength(3);
});

test("a hostile page is turned into text in linear time", async () => {
  const started = performance.now();
  for (const hostile of ["<script>", "<!--", "<", "<p", "&amp", "<style><"]) {
    answer = (_request, response) => void response.setHeader("content-type", "text/html").end(hostile.repeat(100_000));
    expect(await fetch(`http://${host}/`, host)).toMatchObject({ status: "ok" });
  }
  expect(performance.now() - started).toBeLessThan(5_000);
});

test.each([
  ["8.8.8.8", true],
  ["2606:4700::1111", true],
  ["10.1.2.3", false],
  ["100.64.0.1", false],
  ["172.31.255.255", false],
  ["172.32.0.1", true],
  ["192.168.1.1", false],
  ["169.254.169.254", false],
  ["0.0.0.0", false],
  ["255.255.255.255", false],
  ["::", false],
  ["::1", false],
  ["::ffff:8.8.8.8", false],
  ["64:ff9b::a00:1", false],
  ["fe80::1", false],
  ["fd00::1", false],
  ["2002:a00:1::", false],
  ["not an address", false],
])("%s is public: %s", (address, expected) => {
  expect(isPublicAddress(address)).toBe(expected);
});

test("an address is reached only if it is listed itself", async () => {
  expect(await destinationOf(new URL("http://10.0.0.1/"), ["10.0.0.1"])).toEqual({ address: "10.0.0.1", family: 4 });
  expect(await destinationOf(new URL("http://[::1]:8080/"), ["[::1]:8080"])).toEqual({ address: "::1", family: 6 });
  await expect(destinationOf(new URL("http://10.0.0.1/"), ["*.0.0.1", "*.1", "10.0.0.2"])).rejects.toMatchObject({
    code: "DENIED",
  });
});
