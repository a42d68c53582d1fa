import { expect, test } from "vitest";
import { openSignals } from "../../db/signals.ts";
import type { Log } from "../../lib/log.ts";
import { silent, testDatabase, testServer } from "../support/database.ts";

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

test("signals reach their own process, but for work, and all others that listen", async () => {
  await using db = await testDatabase();
  const first = await openSignals(db.connection, silent);
  const heard: string[] = [];
  first.on("events", (payload) => heard.push(`first ${payload}`));
  first.on("work", (payload) => heard.push(`first works ${payload}`));
  first.send("events", "a");
  first.send("work", ""); // whoever sends it looks for itself
  await expect.poll(() => heard).toEqual(["first a"]);

  const second = await openSignals(db.connection, silent);
  second.on("events", (payload) => heard.push(`second ${payload}`));
  second.on("control", (payload) => heard.push(`second stops ${payload}`));
  second.send("work", ""); // before the first can have answered it
  await expect.poll(() => heard).toContain("first works ");
  first.send("control", "b");
  first.send("events", "c");
  await expect
    .poll(() => heard.toSorted())
    .toEqual(["first a", "first c", "first works ", "second c", "second stops b"]);
  await Promise.all([first.close(), second.close()]);
});
