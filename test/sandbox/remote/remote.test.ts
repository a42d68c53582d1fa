/** A sandbox on another machine: a second process here, and others that do not keep to the protocol. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { defaultPolicy, type Policy, type RunRequest, type Session } from "../../../tools/sandbox/types.ts";
import { createRemoteExecutor } from "../../../tools/sandbox/remote/executor.ts";
import { type OtherSide, startOtherSide } from "./other-side.ts";

const remote = vi.hoisted(() => ({ url: "", token: "" }));
vi.mock("../../../lib/config.ts", async (original) => ({
  ...(await original<object>()),
  config: () => ({ sandboxRemote: remote, logLevel: "silent" }),
}));

const executor = createRemoteExecutor();
const policy: Policy = { ...defaultPolicy, fileMb: 1 };
let root: string;
let session: Session;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "pawl-remote-test-"));
  Object.assign(remote, { url: "http://127.0.0.1:1", token: "0123456789abcdef" });
  session = await executor.open({ threadId: "t", root }, policy);
});
afterEach(() => rmSync(root, { recursive: true }));

const shell = (code: string, more: Partial<RunRequest> = {}) => session.run({ language: "shell", code, ...more });

describe("with a server of the other machine", () => {
  let side: OtherSide;
  beforeAll(async () => {
    side = await startOtherSide({ PAWL_FETCH_ALLOW: "allowed.invalid" });
  }, 60_000);
  afterAll(async () => side[Symbol.asyncDispose]());
  beforeEach(async () => {
    Object.assign(remote, { url: side.url, token: side.token });
    session = await executor.open({ threadId: "t", root }, policy);
  });

  test("its self-test says which languages it runs, and in what", async () => {
    const { available, languages, detail } = await executor.probe();
    expect({ available, languages: languages.toSorted() }).toEqual({
      available: true,
      languages: ["js", "python", "shell"],
    });
    expect(detail).toMatch(/js in wasm, python in \w+, shell in \w+/);
  }, 120_000);

  test("code runs there over a copy of the files, and what it changed comes back", async () => {
    mkdirSync(join(root, "old"));
    writeFileSync(join(root, "old/gone"), "x");
    writeFileSync(join(root, "kept"), "b\na\n");
    const result = await shell("cat; sort kept > d.txt; mkdir -p new/deep; echo 1 > new/deep/f; rm -r old; exit 3", {
      stdin: "typed\n",
    });
    expect(result).toMatchObject({ status: "error", exitCode: 3, stdout: "typed\n", isolation: "remote" });
    expect(readFileSync(join(root, "d.txt"), "utf8")).toBe("a\nb\n");
    expect((await session.glob("**/*")).files?.map(({ path }) => path)).toEqual([
      "/workspace/d.txt",
      "/workspace/kept",
      "/workspace/new/deep/f",
    ]);
  });

  test("a result of JavaScript is a value, and its error is told", async () => {
    expect(await session.run({ language: "js", code: "({ a: [1, 2] })" })).toMatchObject({ value: { a: [1, 2] } });
    const { status, stderr } = await session.run({ language: "js", code: "throw new Error('no such thing')" });
    expect({ status, stderr }).toMatchObject({ status: "error", stderr: expect.stringContaining("no such thing") });
  });

  test("output comes while it runs; a cancelled run is killed there and changes nothing", async () => {
    const abort = new AbortController();
    const result = shell("echo begun; echo x > file; while :; do :; done", {
      signal: abort.signal,
      onOutput: ({ text }) => text.includes("begun") && abort.abort(),
    });
    expect(await result).toMatchObject({ status: "killed", stdout: "begun\n" });
    expect((await session.ls("/workspace")).files).toEqual([]);
  });

  test("its limits are kept there and here", async () => {
    expect(await shell("while :; do :; done", { timeoutMs: 300 })).toMatchObject({ status: "timeout" });
    expect(await shell("while :; do echo 0123456789012345678901234567890123456789; done")).toMatchObject({
      status: "output_limit",
      truncated: true,
    });
    const tooLarge = "s=0123456789; for i in $(seq 17); do s=$s$s; done; echo $s > big";
    expect(await shell(tooLarge)).toMatchObject({ status: expect.stringMatching(/^(?:error|output_limit)$/) });
    expect((await session.ls("/workspace")).files?.filter(({ size = 0 }) => size > 1_024 * 1_024)).toEqual([]);
  });

  test("it answers nobody without the token, and takes nothing that is not a run", async () => {
    const put = (body: string, authorization: string): Promise<Response> =>
      fetch(`${side.url}/v1/runs/0190b7e0-0000-7000-8000-000000000002`, {
        method: "PUT",
        body,
        headers: { authorization, "content-type": "application/json", connection: "close" },
      });
    expect((await put("{}", "")).status).toBe(401);
    expect((await put("{}", "Bearer wrong")).status).toBe(401);
    for (const body of ["{}", "no json", '{"language":"ruby"}', "[]"])
      expect((await put(body, `Bearer ${side.token}`)).status).toBe(422);
    remote.token = "another-token-16";
    session = await executor.open({ threadId: "t", root }, policy);
    expect(await shell("true")).toMatchObject({ status: "denied", stderr: expect.stringContaining("401") });
    expect(await executor.probe()).toMatchObject({ available: false, reason: expect.stringContaining("401") });
  });

  test("the environment goes along, to the code alone, or is refused where nothing there holds it", async () => {
    session = await executor.open({ threadId: "t", root }, { ...policy, env: { GREETING: "hello" } });
    const greeting = await shell('echo "$GREETING"; env');
    if (greeting.status !== "denied") expect(greeting.stdout).toMatch(/^hello\n/);
    else expect(greeting.stderr).toContain("no environment");
    expect(greeting.stdout).not.toContain("PAWL_");
    const js = await session.run({ language: "js", code: "1" });
    expect(js).toMatchObject({ status: "denied", stderr: expect.stringContaining("no environment") });
  });

  test("a host that its operator does not allow is refused; one that is allowed is all that is reached", async () => {
    const reaching = (host: string) =>
      executor.open({ threadId: "t", root }, { ...policy, network: { allow: [host] } }).then((on) => {
        session = on;
        return shell('echo "$http_proxy"');
      });
    expect(await reaching("other.invalid")).toMatchObject({
      status: "denied",
      stderr: expect.stringContaining("other.invalid"),
    });
    // Only bwrap has a network: whatever else runs there refuses.
    const allowed = await reaching("allowed.invalid");
    if (allowed.status === "denied") expect(allowed.stderr).toContain("no network");
    else expect(allowed).toMatchObject({ stderr: "", status: "ok", stdout: expect.stringMatching(/^http:/) });
  });

  test("files of this machine, and secrets for the network, are refused", async () => {
    const place = { threadId: "t", root };
    const secret = { allow: ["allowed.invalid"], headers: { "allowed.invalid": { authorization: "secret" } } };
    for (const more of [{ readable: ["/etc"] }, { network: secret }])
      await expect(executor.open(place, { ...policy, ...more })).rejects.toMatchObject({ code: "sandbox_denied" });
  });
});

test("a machine that fails while code runs ends the run, and nothing is believed to have changed", async () => {
  await using side = await startOtherSide();
  Object.assign(remote, { url: side.url, token: side.token });
  session = await executor.open({ threadId: "t", root }, policy);
  const result = await shell("echo begun; while :; do :; done", {
    onOutput: ({ text }) => void (text.includes("begun") && side.fail()),
  });
  expect(result).toMatchObject({ status: "killed", stderr: expect.stringContaining("no file was changed") });
}, 60_000);

test("a machine that is not there is a refusal", async () => {
  expect(await shell("true")).toMatchObject({ status: "denied", stderr: "The remote sandbox cannot be reached" });
  expect(await executor.probe("shell")).toMatchObject({ available: false, languages: [] });
});

describe("an other side that lies", () => {
  let server: Server;
  let answer: RequestListener;
  const asked: string[] = [];
  beforeEach(async () => {
    asked.length = 0;
    server = createServer((request: IncomingMessage, response) => {
      asked.push(`${request.method}`);
      request.resume();
      if (request.method === "DELETE") return void response.writeHead(204).end();
      answer(request, response);
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => void server.once("listening", resolve));
    remote.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    session = await executor.open({ threadId: "t", root }, policy);
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const end = { type: "end", status: "ok", exit_code: 0, folders: [], files: [], deleted: [] };
  const says = (...lines: unknown[]): void => {
    answer = (_request, response) => void response.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  };
  const content = Buffer.from("x").toString("base64");

  test.each([
    ["a file outside", { files: [{ path: "../planted", content }] }],
    ["an absolute path", { files: [{ path: "/etc/planted", content }] }],
    ["a name that the system would cut", { files: [{ path: "a\0b", content }] }],
    ["deleting what is outside", { deleted: ["../.."] }],
    ["a folder outside", { folders: ["../x"] }],
    [
      "a file that is too large",
      { files: [{ path: "big", content: Buffer.alloc(2 * 1_024 * 1_024).toString("base64") }] },
    ],
  ])("%s is not kept, nor anything beside it", async (_name, changes) => {
    const honest = { path: "honest", content };
    const files = [honest, ...("files" in changes ? changes.files : [])];
    says({ ...end, ...changes, files });
    expect(await shell("true")).toMatchObject({ status: "output_limit", stderr: expect.stringContaining("not kept") });
    expect((await session.ls("/workspace")).files).toEqual([]);
  });

  test.each([
    ["no line of the protocol", [{ type: "else" }]],
    ["a status that there is not", [{ ...end, status: "great" }]],
    ["an end without an end", [{ type: "alive" }]],
    ["nothing", []],
  ])("%s ends the run, and the other side is told to kill it", async (_name, lines) => {
    says(...lines);
    expect(await shell("true")).toMatchObject({ status: expect.stringMatching(/^(?:denied|killed)$/) });
    expect(asked).toEqual(["PUT", "DELETE"]);
  });

  test("a result that is deep, large or no JSON is an error", async () => {
    for (const value of ["[".repeat(100) + "]".repeat(100), `"${"x".repeat(policy.resultBytes)}"`, "{"]) {
      says({ ...end, value });
      expect(await shell("true")).toMatchObject({ status: expect.stringMatching(/^(?:error|output_limit)$/) });
    }
    says({ ...end, value: '{"__proto__":{"polluted":1},"kept":1}' });
    expect((await shell("true")).value).toEqual({ kept: 1 });
  });

  test("what it says for the guest is plain text", async () => {
    says(
      { type: "output", stream: "stdout", text: "\u001b]0;title\u0007plain\u202e" },
      { ...end, note: "\u001b[31mred" },
    );
    expect(await shell("true")).toMatchObject({ stdout: "plain", stderr: "red" });
  });

  test("output without end, or without a newline, is cut, and the run killed", async () => {
    const flood = (piece: string): void => {
      answer = (_request, response) => {
        const more = (): void =>
          void (response.destroyed || (response.write(piece) ? setImmediate(more) : response.once("drain", more)));
        more();
      };
    };
    flood(`${JSON.stringify({ type: "output", stream: "stdout", text: "x".repeat(10_000) })}\n`);
    expect(await shell("true")).toMatchObject({ status: "output_limit" });
    flood("x".repeat(1_024 * 1_024));
    expect(await shell("true")).toMatchObject({ status: "denied", stderr: expect.stringContaining("too much") });
    expect(asked).toEqual(["PUT", "DELETE", "PUT", "DELETE"]);
  });

  test("a redirect does not take the token elsewhere", async () => {
    answer = (_request, response) => void response.writeHead(307, { location: "http://127.0.0.1:1/" }).end();
    expect(await shell("true")).toMatchObject({ status: "denied" });
  });

  test("silence is ended by the caller", async () => {
    const abort = new AbortController();
    answer = () => abort.abort();
    expect(await shell("true", { signal: abort.signal })).toMatchObject({ status: "killed" });
    expect(asked).toEqual(["PUT", "DELETE"]);
  });

  test("silence that nobody ends is taken for death", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout"] });
    try {
      answer = () => void vi.advanceTimersByTime(10_001);
      expect(await shell("true")).toMatchObject({ status: "denied", stderr: expect.stringContaining("went silent") });
    } finally {
      vi.useRealTimers();
    }
  });

  test("one that serves anybody, or does not run what it says, is not used", async () => {
    answer = (_request, response) => void response.end('{"sandboxes":{"shell":{"isolation":"bwrap"}}}');
    expect(await executor.probe()).toMatchObject({
      available: false,
      reason: expect.stringContaining("without the token"),
    });
    answer = ({ headers, method }, response) => {
      if (!headers.authorization) response.writeHead(401).end();
      else if (method === "GET") response.end('{"sandboxes":{"shell":{"isolation":"bwrap"}}}');
      else response.end(`${JSON.stringify(end)}\n`);
    };
    expect(await executor.probe()).toMatchObject({ available: false, reason: expect.stringContaining("does not") });
  });
});
