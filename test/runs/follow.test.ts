import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { uuidv7 } from "../../lib/ids.ts";
import { type Followed, follow } from "../../runs/events/follow.ts";
import { Hub } from "../../runs/events/hub.ts";
import { testDatabase } from "../support/database.ts";

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

test("a reader who stalls does not hold a run's events in memory: it goes on with the log", async () => {
  await using db = await testDatabase({ max: 1 });
  const runId = uuidv7();
  const count = 5_000;
  const stored = Array.from({ length: count }, (_, i) => ({ seq: String(i), event: "custom", data: "log" }));
  await db.pool.query(
    `insert into thread_events (thread_id, last_seq, run_id, events, outcome)
     select $1, (e ->> 'seq')::bigint, $1, jsonb_build_array(e)::text,
            case when (e ->> 'seq')::int = $3 then '{"status": "success"}' end
       from jsonb_array_elements($2::jsonb) e`,
    [runId, JSON.stringify(stored), count - 1],
  );
  const hub = new Hub();
  hub.open(runId, { isFirst: true });
  const signals = { send() {}, on: () => () => {}, close: async () => {} };
  const reader = follow(
    { pool: db.pool, hub, signals },
    { runId, after: -1n, hasNoLog: () => false, signal: AbortSignal.timeout(20_000) },
  );
  const seen: Followed[] = [(await reader.next()).value];
  const publish = (seq: bigint): WeakRef<object> => {
    const event = { seq, event: "custom", data: "live" };
    hub.publish(runId, event);
    return new WeakRef(event);
  };
  const published = Array.from({ length: count - 1 }, (_, i) => publish(BigInt(i + 1)));
  hub.logged(runId, BigInt(count));
  await turn();
  collectGarbage();
  expect(published.filter((event) => event.deref()).length).toBeLessThan(count / 2);
  for await (const followed of reader) seen.push(followed);

  const events = seen.flatMap((followed) => ("event" in followed ? [followed.event] : []));
  expect(events.map(({ seq }) => Number(seq))).toEqual(stored.map(({ seq }) => Number(seq)));
  expect(seen.at(-1)).toMatchObject({ outcome: { status: "success" } });
});
