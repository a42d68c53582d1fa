/** Who may use a process that has run code: nobody but whose code it was. */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { Kept } from "../../tools/sandbox/kept.ts";
import { defaultPolicy } from "../../tools/sandbox/types.ts";
import type { GuestCall, GuestChild, GuestEnd } from "../../tools/sandbox/wasm/child.ts";
import { GuestPool } from "../../tools/sandbox/wasm/pool.ts";
import { programFor } from "../../tools/sandbox/wasm/programs.ts";
import { type GuestRequest, packBundle } from "../../tools/sandbox/wasm/protocol.ts";

function callOf(code: string, timeoutMs: number): GuestCall {
  const limits = { timeoutMs, maxOutput: 1_000, resultBytes: 1_000 };
  const request: GuestRequest = { code, stdin: "", cwd: "", ...limits, folders: [], files: [] };
  return {
    bundle: packBundle(request, []),
    timeoutMs: 10_000,
    maxAnswer: 100_000,
    signal: undefined,
    onOutput: () => true,
  };
}

describe("a pool of JavaScript guests", () => {
  const pool = new GuestPool(programFor("js", defaultPolicy));
  afterAll(() => pool.close());

  const evaluate = (owner: string, code: string, timeoutMs = 10_000): Promise<[GuestChild, GuestEnd]> =>
    pool.withGuest(owner, async (guest) => {
      await guest.start(20_000);
      return [guest, await guest.evaluate(callOf(code, timeoutMs))];
    });

  test("one thread's guest never serves another, and serves its own again", async () => {
    const ownerOf = new Map<GuestChild, string>();
    const owners = ["a", "b", "c"];
    let calls = 0;
    for (let round = 0; round < 4; round++) {
      // All at once, and two of one thread among them.
      await Promise.all(
        [...owners, "a"].map(async (owner) => {
          const [guest, end] = await evaluate(owner, `globalThis.seen = (globalThis.seen ?? "") + "${owner}"; seen`);
          expect(end).toMatchObject({ status: "ok", json: `"${owner}"` });
          expect(ownerOf.get(guest) ?? owner).toBe(owner);
          ownerOf.set(guest, owner);
          calls++;
        }),
      );
    }
    expect(ownerOf.size).toBeLessThan(calls);
  });

  test.each([
    ["ran into its time limit", "for (;;);", "timeout", 200],
    ["ran out of memory", "const a = []; for (;;) a.push(new Array(1e5).fill(1));", "oom", 10_000],
    ["printed too much", "for (;;) console.log('x'.repeat(1000));", "output_limit", 10_000],
  ])("a guest whose code %s serves nobody any more", async (...[, code, status, timeoutMs]) => {
    const owner = `once ${status}`;
    const [spoilt, end] = await evaluate(owner, code, timeoutMs);
    expect(end.status).toBe(status);
    expect(spoilt.mayServeAgain).toBe(false);
    const [next] = await evaluate(owner, "1");
    expect(next).not.toBe(spoilt);
  });

  test("a guest that has worked for five seconds serves nobody any more", async () => {
    const [tired, end] = await evaluate("busy", "for (const end = Date.now() + 5_100; Date.now() < end;);");
    expect(end.status).toBe("ok");
    expect(tired.mayServeAgain).toBe(false);
  });
});

describe("what is kept", () => {
  const owner = fc.constantFrom("a", "b", "c");
  const step = fc.oneof(
    fc.record({ do: fc.constant("keep" as const), owner }),
    fc.record({ do: fc.constant("take" as const), owner }),
    fc.record({ do: fc.constant("lose" as const), owner }),
  );

  test("goes back to its owner alive or is ended, once, and never more than the limit waits", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const atMost = 3;
        const waiting = new Set<{ owner: string; gone: boolean }>();
        const kept = new Kept<{ owner: string; gone: boolean }>({
          idleMs: 60_000,
          atMost,
          isGone: (item) => item.gone,
          end: (item) => expect(waiting.delete(item)).toBe(true),
        });
        for (const { do: what, owner: whose } of steps) {
          const own = [...waiting].filter((item) => item.owner === whose);
          if (what === "keep") {
            const item = { owner: whose, gone: false };
            waiting.add(item);
            kept.keep(whose, item);
          } else if (what === "lose") for (const item of own) item.gone = true;
          else {
            const item = kept.take(whose);
            if (item) expect([item.owner, item.gone, waiting.delete(item)]).toEqual([whose, false, true]);
            else expect(own.filter(({ gone }) => !gone)).toEqual([]);
          }
          expect(waiting.size).toBeLessThanOrEqual(atMost);
        }
        kept.clear();
        expect(waiting.size).toBe(0);
      }),
    );
  });
});
