/** A name that answers differently each time it is asked gains nothing, with fetch_url as with the proxy of a sandbox. */
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, type LookupFunction, Socket } from "node:net";
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import { fetchUrl } from "../../tools/fetch-url.ts";
import { executeTool } from "../../tools/index.ts";
import { createHarness } from "./harness.ts";

interface Answer {
  readonly address: string;
  readonly family: 4 | 6;
}

/** What each name answers, one after the other; the last one stays. Our resolver, in the place of the system's. */
const script = vi.hoisted(() => new Map<string, Answer[][]>());
const asked = vi.hoisted((): string[] => []);
vi.mock("node:dns/promises", () => ({
  lookup: (host: string) => {
    asked.push(host);
    const answers = script.get(host);
    if (!answers) return Promise.reject(new Error("ENOTFOUND"));
    return Promise.resolve(answers.length > 1 ? answers.shift() : answers[0]);
  },
}));

const requests: string[] = [];
const server = createServer((request, response) => {
  requests.push(request.url ?? "");
  if (request.url === "/away") response.writeHead(302, { location: "http://flip.test/inside" });
  response.end("secret");
}).listen(0, "127.0.0.1");
await once(server, "listening");
const own = `127.0.0.1:${(server.address() as AddressInfo).port}`;

const outside: Answer = { address: "93.184.216.34", family: 4 };
const inside: Answer = { address: "127.0.0.1", family: 4 };

beforeEach(() => {
  script.clear();
  asked.length = 0;
  requests.length = 0;
});
afterAll(() => server.close());

async function fetch(url: string, allow: string) {
  using harness = createHarness();
  return executeTool(fetchUrl, { url }, harness.context({ PAWL_FETCH_ALLOW: allow }));
}

test("the address that was checked is the one that is connected to, and the name is not asked again", async () => {
  script.set("flip.test", [[outside], [inside]]);
  const dialled: unknown[] = [];
  // Where Node would dial: nothing leaves this machine.
  const connect = vi.spyOn(Socket.prototype, "connect").mockImplementation(function (this: Socket, ...args: unknown[]) {
    const { lookup, host } = (args.flat() as { lookup: LookupFunction; host: string }[])[0]!;
    lookup(host, { all: false }, (_error, address) => void dialled.push(address));
    this.destroy(new Error("not dialled"));
    return this;
  });
  // Only the first of the three attempts: by the second the name means this machine.
  expect(await fetch("http://flip.test/", "flip.test")).toMatchObject({ status: "error", code: "DENIED" });
  connect.mockRestore();
  expect(dialled).toEqual([outside.address]);
  expect(asked).toEqual(["flip.test", "flip.test"]);
  expect(requests).toEqual([]);
});

test.each([
  ["loopback", inside],
  ["the metadata address", { address: "169.254.169.254", family: 4 } as const],
  ["a private network", { address: "10.0.0.1", family: 4 } as const],
  ["an IPv4-mapped address", { address: "::ffff:169.254.169.254", family: 6 } as const],
  ["a mapped address in hexadecimal", { address: "::ffff:7f00:1", family: 6 } as const],
  ["NAT64 to a private network", { address: "64:ff9b::a00:1", family: 6 } as const],
])("an allowed name that means %s is refused, alone and beside a public address", async (_name, bad) => {
  for (const answers of [[bad], [outside, bad], [bad, outside]]) {
    script.set("flip.test", [answers]);
    expect(await fetch("http://flip.test/", "flip.test")).toMatchObject({
      code: "DENIED",
      message: expect.stringContaining("does not have a public address"),
    });
  }
});

test("a redirect to an allowed name that means this machine is refused as the first request would be", async () => {
  script.set("flip.test", [[inside]]);
  expect(await fetch(`http://${own}/away`, `${own},flip.test`)).toMatchObject({ code: "DENIED" });
  expect(requests).toEqual(["/away"]);
});
