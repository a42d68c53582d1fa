/**
 * What an engine's command line is told, and what is made of its answers: the engine here is a script that notes it. A
 * real one runs in attacks.test.ts, where the machine has one.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createContainerExecutor } from "../../../tools/sandbox/container/executor.ts";
import { defaultPolicy, type Session, type ToolExecutor } from "../../../tools/sandbox/types.ts";

let folder: string;
let root: string;
let executor: ToolExecutor;
let session: Session;

/** `run` does what `behaviour` says; `rm` ends it, as an engine would, whatever its command line does. */
function engine(behaviour: string): void {
  const program = join(folder, "docker");
  writeFileSync(
    program,
    `#!/bin/sh
for argument in "$@"; do printf '%s\\0' "$argument"; done >> '${folder}/'$1
env > '${folder}/env'
case $1 in
  --version) echo "Docker version 99" ;;
  kill) kill -9 $(cat '${folder}/pid') ;;
  run) echo $$ > '${folder}/pid'; ${behaviour} ;;
esac
`,
  );
  chmodSync(program, 0o755);
  executor = createContainerExecutor({ program, image: "example/image:1" });
}

/** The words of the last such command. */
const told = (command: string): string[] => readFileSync(join(folder, command), "utf8").split("\0").slice(0, -1);
const after = (words: string[], option: string): string | undefined => words[words.indexOf(option) + 1];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "pawl-container-"));
  root = join(folder, "workspace");
  mkdirSync(root);
});
afterEach(async () => {
  await executor.close();
  rmSync(folder, { recursive: true, force: true });
});

async function run(behaviour: string, code = "true", signal?: AbortSignal) {
  engine(behaviour);
  session = await executor.open({ threadId: "t", root }, { ...defaultPolicy, memMb: 99, procs: 7 });
  return session.run({ language: "shell", code, stdin: "typed", timeoutMs: 5_000, ...(signal && { signal }) });
}

test("the engine is told everything that a container may not do", async () => {
  expect(await run("cat; exit 3", "echo 'a b'")).toMatchObject({
    status: "error",
    exitCode: 3,
    stdout: "typed",
    isolation: "container",
  });
  const words = told("run");
  for (const flag of ["--rm", "--read-only", "--init"]) expect(words).toContain(flag);
  const options = {
    "--network": "none",
    "--cap-drop": "ALL",
    "--pull": "never",
    "--memory": "99m",
    "--memory-swap": "99m",
    "--pids-limit": "8",
    "--cpus": "1",
    "--mount": `type=bind,source=${root},target=/workspace`,
    "--workdir": "/workspace",
  };
  for (const [option, value] of Object.entries(options))
    expect([option, after(words, option)]).toEqual([option, value]);
  expect(words).toContain("no-new-privileges");
  const [, profile = ""] = /seccomp=(\S+)/.exec(words.join(" ")) ?? [];
  expect(JSON.parse(readFileSync(profile, "utf8"))).toMatchObject({ defaultAction: "SCMP_ACT_ALLOW" });
  expect(after(words, "--user")).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  expect(words.join(" ")).not.toMatch(/privileged|docker\.sock|--volume|--cap-add|--device/);
  // The image, then only what runs in it.
  expect(words.slice(words.indexOf("example/image:1"))).toEqual([
    "example/image:1",
    "-c",
    expect.stringMatching(/^umask 077;.*echo 'a b'$/),
  ]);
});

test("the engine's command line gets nothing of our environment", async () => {
  process.env["PAWL_TEST_SECRET"] = "secret";
  await run("true");
  expect(readFileSync(join(folder, "env"), "utf8")).not.toContain("secret");
});

test("a container that hangs is removed by its name when the run is cancelled", async () => {
  const abort = new AbortController();
  engine("echo begun; exec sleep 60");
  session = await executor.open({ threadId: "t", root }, defaultPolicy);
  const result = await session.run({
    language: "shell",
    code: "true",
    signal: abort.signal,
    onOutput: () => abort.abort(),
  });
  expect(result).toMatchObject({ status: "killed", stdout: "begun\n" });
  const name = after(told("run"), "--name");
  expect(told("kill")).toEqual(["kill", "--signal", "KILL", name]);
  expect(told("rm")).toEqual(["rm", "--force", name]);
});

test("a flood of output is stopped", async () => {
  expect(await run("exec yes")).toMatchObject({ status: "output_limit", truncated: true });
  expect(existsSync(join(folder, "rm"))).toBe(true);
});

test("time that runs out removes the container", async () => {
  engine("exec sleep 60");
  session = await executor.open({ threadId: "t", root }, defaultPolicy);
  const result = await session.run({ language: "python", code: "pass", timeoutMs: 200 });
  expect(result).toMatchObject({ status: "timeout" });
  expect(existsSync(join(folder, "rm"))).toBe(true);
});

test("the engine's own failure is a refusal, and what SIGKILL ended was killed", async () => {
  expect(await run("echo 'no such image' >&2; exit 125")).toMatchObject({ status: "denied", exitCode: null });
  expect(await run("echo 'Error: runc create failed' >&2; exit 126")).toMatchObject({ status: "denied" });
  expect(await run("echo mine >&2; exit 126")).toMatchObject({ status: "error", exitCode: 126 });
  expect(await run("exit 137")).toMatchObject({ status: "killed" });
});

test("an engine that isolates nothing is found out by the self-test", async () => {
  engine('while [ "$1" != example/image:1 ]; do shift; done; shift; exec /bin/sh "$@"');
  const { available, reason } = await executor.probe();
  expect({ available, reason }).toEqual({ available: false, reason: expect.stringMatching(/did not beat the attack/) });
});

test("without an image, and for a network, it refuses", async () => {
  executor = createContainerExecutor();
  const workspace = { threadId: "t", root };
  await expect(executor.open(workspace, defaultPolicy)).rejects.toMatchObject({ code: "sandbox_denied" });
  expect(await executor.probe()).toMatchObject({ available: false, reason: expect.stringContaining("IMAGE") });
  engine("true");
  const policy = { ...defaultPolicy, network: { allow: ["example.org"] } };
  await expect(executor.open(workspace, policy)).rejects.toMatchObject({ code: "sandbox_denied" });
});
