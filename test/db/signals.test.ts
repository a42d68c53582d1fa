import { expect, test } from "vitest";
import { openSignals } from "../../db/signals.ts";
import type { Log } from "../../lib/log.ts";
import { silent, testServer } from "../support/database.ts";

test("while the database is away one loop tries to reconnect, and afterwards there is one connection", async () => {
  await using server = await testServer();
  const tries: number[] = [];
  const enough = Promise.withResolvers<void>();
  const log: Log = {
    ...silent,
    warn() {},
    debug() {
      if (tries.push(performance.now()) === 6) enough.resolve();
    },
    child: () => log,
  };
  const signals = await openSignals(server.connection, log);
  const back = Promise.withResolvers<void>();
  signals.on("work", (payload) => payload === "" && back.resolve());

  await server.postgres.stop();
  await enough.promise;
  expect(tries[5]! - tries[0]!).toBeGreaterThan(1_200); // five waits of 250 ms, and not a doubling crowd
  await server.restart();
  await back.promise;
  await signals.close();
});
