/**
 * Runs the matrices against one executor as whatever user started it, and prints the attempts that worked, as JSON:
 * `node test/sandbox/attacks/run-matrix.ts wasm`. A process of its own, so that a test can start it as another user.
 */
import { rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { narrowed } from "../../../tools/sandbox/policy.ts";
import { defaultPolicy, type ToolExecutor } from "../../../tools/sandbox/types.ts";
import { createBwrapExecutor } from "../../../tools/sandbox/bwrap/executor.ts";
import { createContainerExecutor } from "../../../tools/sandbox/container/executor.ts";
import { createLandlockExecutor } from "../../../tools/sandbox/landlock/executor.ts";
import { createRemoteExecutor } from "../../../tools/sandbox/remote/executor.ts";
import { createWasmExecutor } from "../../../tools/sandbox/wasm/executor.ts";
import { startEngine, testImage } from "../container/engine.ts";
import { startOtherSide, useOtherSide } from "../remote/other-side.ts";
import { attack, type Attempt, createGround, type Ground, type Outcome } from "./attempt.ts";
import { groups } from "./groups.ts";
import { javascript } from "./javascript.ts";
import { programs } from "./programs.ts";
import { notForNative, systemCalls } from "./system-calls.ts";

interface Subject {
  readonly create: () => ToolExecutor;
  readonly matrices: readonly (readonly Attempt[])[];
}

const native = [...programs.filter(({ name }) => !notForNative.includes(name)), ...systemCalls, ...groups];

/**
 * Attempts on native sandboxes that say nothing about a container: its image and its engine have an `/etc/passwd` and an
 * `/etc/hostname` of their own; of processes that take too much memory the kernel ends some and the others go on; CPU
 * time of all processes together is not counted (docs/sandbox.md), their rate is one CPU.
 */
const notForContainer: readonly string[] = [
  "02b files of the host",
  "51c memory in many processes",
  "62c CPU time in many processes",
];

const subjects: Readonly<Record<string, Subject>> = {
  landlock: { create: createLandlockExecutor, matrices: [native] },
  bwrap: { create: createBwrapExecutor, matrices: [native] },
  // A real engine, where this machine has one that works; it refuses, with the reason, where not.
  container: {
    create: () => createContainerExecutor(typeof engine === "string" ? undefined : engine),
    matrices: [native.filter(({ name }) => !notForContainer.includes(name))],
  },
  wasm: { create: createWasmExecutor, matrices: [javascript, programs] },
  // On its machine, which here is this one: JavaScript in wasm, the others in what is strongest.
  remote: { create: createRemoteExecutor, matrices: [javascript, native] },
};

/** Most attempts wait for their time limit. Each lane has things of its own to attack. */
const lanes = 3;

const [name = "", only = ""] = process.argv.slice(2);
const subject = subjects[name];
if (!subject) throw new Error(`There is no executor ${name}`);
const engine = name === "container" ? await startEngine() : "not asked for";
if (typeof engine === "string") process.env["PAWL_SANDBOX_CONTAINER_IMAGE"] = testImage;
const otherSide = name === "remote" ? await startOtherSide() : undefined;
if (otherSide) useOtherSide(otherSide);
const executor = subject.create();
const capabilities = await executor.probe();
const attempts = subject.matrices
  .flat()
  .filter((attempt) => capabilities.languages.includes(attempt.language) && attempt.name.includes(only));
const outcomes: Outcome[] = [];
await Promise.all(Array.from({ length: lanes }, attackInTurn));
await executor.close();
await otherSide?.[Symbol.asyncDispose]();
if (typeof engine !== "string") await engine[Symbol.asyncDispose]();
const user = process.getuid?.();
process.stdout.write(
  `${JSON.stringify({ user, capabilities, made: outcomes.length, worked: outcomes.filter((outcome) => outcome.worked) })}\n`,
);

async function attackInTurn(): Promise<void> {
  await using ground = await createGround();
  for (let attempt = attempts.shift(); attempt; attempt = attempts.shift()) {
    outcomes.push(await attackAfresh(attempt, ground));
  }
}

/** Each attempt finds an empty workspace. */
async function attackAfresh(attempt: Attempt, on: Ground): Promise<Outcome> {
  rmSync(on.workspace, { recursive: true, force: true });
  await mkdir(on.workspace, { mode: 0o700 });
  const policy = narrowed(defaultPolicy, attempt.policy ?? {});
  const session = await executor.open({ threadId: "attacked", root: on.workspace }, policy);
  try {
    return await attack(session, attempt, on);
  } finally {
    await session.close();
  }
}
