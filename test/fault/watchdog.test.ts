/** A main loop that never turns again: nothing in the process can answer, drain or end, so something beside it has to. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";

test("a process whose main loop is blocked for good is ended and says why; one whose loop turns is not", async () => {
  const child = spawn(process.execPath, ["test/fault/stuck-child.ts"], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  expect(out).toBe("turning\n"); // after twice the time
  expect([code, signal]).toEqual([null, "SIGKILL"]);
  expect(err).toContain("the main loop was blocked for 1 s, and this process ends");
});
