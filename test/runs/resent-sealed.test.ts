/** With keys a run's row says nothing by which a guess at its request could be tested, and one that is sent again is known. */
import { createHash, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { encryptWith } from "../../checkpoints/encryption.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { oneNode, runsHost } from "../support/runs.ts";

const graph = oneNode(async () => ({ log: ["done"] }));
const body = { assistant_id: "graph", input: {} };
const digestOf = (text: string) => createHash("sha256").update(text).digest();
const digest = digestOf("a body");
const [keyA, keyB] = [randomBytes(32), randomBytes(32)];

test("the digest of a request is in no row, and is another one under each key", async () => {
  await using host = await runsHost({ graph });
  const stored = async () =>
    (await host.db.pool.query<{ of: string }>("select request_digest as of from runs order by seq")).rows.map(
      ({ of }) => Buffer.from(of).toString("hex"),
    );
  for (const key of [keyA, keyB]) {
    encryptWith(host.db.pool, [key]);
    const threadId = await host.thread();
    await host.runs.create(localPrincipal, body, { threadId, digest });
  }

  const digests = await stored();
  expect(digests).toHaveLength(2);
  expect(new Set([...digests, digest.toString("hex")]).size).toBe(3);
});

test.each([
  ["in clear", [[]]],
  ["under the first key", [[keyA]]],
  ["under an earlier key", [[keyA], [keyB, keyA]]],
  ["from before there was a key", [[], [keyA]]],
  ["from before there was a key, and another one followed", [[], [keyA], [keyB, keyA]]],
] as const)(
  "a request whose row is %s is known when it is sent again, with an idempotency key and without",
  async (_, times) => {
    await using host = await runsHost({ graph });
    const threadId = await host.thread();
    encryptWith(host.db.pool, times[0]);
    const post = (options: object = { digest }) => host.runs.create(localPrincipal, body, { threadId, ...options });
    const lost = await post();
    await host.runs.answered(lost.run_id, false);
    const named = await post({ digest: digestOf("named"), idempotencyKey: "k" });

    for (const keys of times) encryptWith(host.db.pool, keys);

    expect((await post()).run_id).toBe(lost.run_id);
    expect((await post({ digest: digestOf("named"), idempotencyKey: "k" })).run_id).toBe(named.run_id);
    await expect(post({ digest, idempotencyKey: "k" })).rejects.toMatchObject({ code: "already_exists" });
    expect((await post({ digest: digestOf("another body") })).run_id).not.toBe(lost.run_id);
  },
);

test("once a key is gone, what was sent under it is a new request, and under its idempotency key none at all", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  encryptWith(host.db.pool, [keyA]);
  const post = (options: object = { digest }) => host.runs.create(localPrincipal, body, { threadId, ...options });
  const lost = await post();
  await host.runs.answered(lost.run_id, false);
  await post({ digest, idempotencyKey: "k" });

  encryptWith(host.db.pool, [keyB]);

  expect((await post()).run_id).not.toBe(lost.run_id);
  await expect(post({ digest, idempotencyKey: "k" })).rejects.toMatchObject({ code: "already_exists" });
});
