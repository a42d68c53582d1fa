import type pg from "pg";
import { expect, test } from "vitest";
import { RunId, uuidv7 } from "../../lib/ids.ts";
import type { ClaimedRun } from "../../runs/claim.ts";
import { Isolation, type IsolatedEnd } from "../../runs/isolation.ts";
import { silent } from "../support/database.ts";

test("a run that is claimed again before the end of its process is heard of stays isolated in its next one", async () => {
  const ends: ((end: IsolatedEnd) => void)[] = [];
  const isolation = new Isolation({
    pool: {} as pg.Pool, // nothing is asked of it while there are processes
    log: silent,
    start: () => {
      const { promise, resolve } = Promise.withResolvers<IsolatedEnd>();
      ends.push(resolve);
      return { stop: () => {}, cut: () => {}, ended: promise };
    },
    closing: new AbortController().signal,
    othersEnded: async () => {},
    execute: async () => {},
    onDead: async () => {},
  });
  const run_id = RunId.parse(uuidv7());
  const claim = (epoch: string) => ({ run_id, epoch, graph_id: "g", stalled_attempts: 1 }) as ClaimedRun;

  const first = isolation.isolate(claim("1"), "worker");
  const second = isolation.isolate(claim("2"), "worker"); // its lock was seen to be free
  ends[0]?.({ workerId: "first", isOrderly: false });
  await first;

  expect(isolation.has(run_id)).toBe(true);
  ends[1]?.({ workerId: "second", isOrderly: true });
  await second;
  expect(isolation.has(run_id)).toBe(false);
  expect(isolation.active).toBe(0);
});
