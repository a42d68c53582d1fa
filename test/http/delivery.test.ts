/** Whether a client got the answer to its POST, seen from the side that cannot know: with sockets that misbehave. */
import { once } from "node:events";
import { expect, test } from "vitest";
import type { RunOutcome } from "../../runs/index.ts";
import { runRoutes } from "../../server/runs.ts";
import { silent } from "../support/database.ts";
import { RunsInMemory } from "../support/runs-in-memory.ts";
import { requestText, sendRaw, serve, testApp } from "../support/serve.ts";

const patience = { signal: AbortSignal.timeout(20_000) };

function given({ closing = new AbortController().signal } = {}) {
  const runs = new RunsInMemory();
  const app = testApp({ routes: [runRoutes({ runs, log: silent, heartbeatSeconds: 60, closing })] });
  const { promise, resolve } = Promise.withResolvers<RunOutcome>();
  return { runs, app, promise, end: () => resolve({ status: "success", values: {} }) };
}

const paths = ["/runs", "/runs/stream", "/runs/wait"];
const body = (more: object = {}) => JSON.stringify({ assistant_id: "agent", ...more });

test.each(paths)("POST %s to a client that stays counts as delivered", async (path) => {
  const { runs, app, promise, end } = given();
  runs.end = promise;
  await using server = await serve(app);
  const answered = once(runs.calls, "answered", patience);
  const response = fetch(`${server.url}${path}`, { method: "POST", body: body() });
  expect(await answered).toEqual([true]);
  end();
  expect((await response).status).toBe(200);
});

test.each(paths)("POST %s from a client that hung up before the answer does not count as delivered", async (path) => {
  const { runs, app } = given();
  const gone = Promise.withResolvers<void>();
  runs.whileCreating = () => gone.promise;
  await using server = await serve(app);
  const answered = once(runs.calls, "answered", patience);
  const { socket } = await sendRaw(server.port, requestText(`POST ${path}`, {}, body()));
  socket.end();
  // The end is in the server's kernel now, but its loop may not have read it: that is the case that counts.
  setImmediate(gone.resolve);
  expect(await answered).toEqual([false]);
});

test.each(paths)(
  "POST %s from a client whose socket broke before the answer does not count as delivered",
  async (path) => {
    const { runs, app } = given();
    await using server = await serve(app);
    const answered = once(runs.calls, "answered", patience);
    runs.whileCreating = () => {
      const closed = once(socket, "close");
      socket.resetAndDestroy();
      return closed;
    };
    const { socket } = await sendRaw(server.port, requestText(`POST ${path}`, {}, body()));
    expect(await answered).toEqual([false]);
  },
);

test.each([
  ["POST /runs/stream", body({ on_disconnect: "cancel" })],
  ["POST /runs/wait", body({ on_disconnect: "cancel" })],
  ["GET /runs/:run_id/stream?cancel_on_disconnect=1", ""],
  ["GET /threads/:thread_id/runs/:run_id/join?cancel_on_disconnect=true", ""],
])("%s cancels the run when its client leaves before the end", async (line, text) => {
  const { runs, app, promise } = given();
  runs.end = promise;
  await using server = await serve(app);
  const begun = text === "" ? undefined : once(runs.calls, "answered", patience);
  const path = line.replace(":run_id", runs.run.run_id).replace(":thread_id", runs.run.thread_id);
  const { socket, until } = await sendRaw(server.port, requestText(path, {}, text));
  await until(/\r\n\r\n[^]*\n/);
  await begun;
  const cancelled = once(runs.calls, "cancel", patience);
  socket.destroy();
  expect(await cancelled).toEqual([{ action: "interrupt" }]);
});

test("a client that leaves does not cancel the run unless it said so", async () => {
  const { runs, app, promise } = given();
  runs.end = promise;
  const left = once(runs.calls, "left", patience);
  let cancels = 0;
  runs.calls.on("cancel", () => (cancels += 1));
  await using server = await serve(app);
  const { socket, until } = await sendRaw(server.port, requestText("POST /runs/stream", {}, body()));
  await until(/heartbeat/);
  socket.destroy();
  await left;
  expect(cancels).toBe(0);
});

test("a client that never got the answer does not cancel the run that its next POST will ask for", async () => {
  const { runs, app } = given();
  let cancels = 0;
  runs.calls.on("cancel", () => (cancels += 1));
  runs.whileCreating = () => {
    const closed = once(socket, "close");
    socket.resetAndDestroy();
    return closed;
  };
  await using server = await serve(app);
  const answered = once(runs.calls, "answered", patience);
  const text = body({ on_disconnect: "cancel" });
  const { socket } = await sendRaw(server.port, requestText("POST /runs/stream", {}, text));
  expect(await answered).toEqual([false]);
  expect(cancels).toBe(0);
});

test("connections that the server itself cuts when it stops cancel nothing", async () => {
  const closing = new AbortController();
  const { runs, app, promise } = given({ closing: closing.signal });
  runs.end = promise;
  let cancels = 0;
  runs.calls.on("cancel", () => (cancels += 1));
  await using server = await serve(app);
  const answered = once(runs.calls, "answered", patience);
  const { socket } = await sendRaw(
    server.port,
    requestText("POST /runs/stream", {}, body({ on_disconnect: "cancel" })),
  );
  await answered;
  closing.abort();
  const closed = once(socket, "close");
  await server.close();
  await closed;
  expect(cancels).toBe(0);
});
