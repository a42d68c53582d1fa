/** Control groups of native guests. Where a machine has none for us, the self-tests and the results have to say so. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createBwrapExecutor } from "../../../tools/sandbox/bwrap/executor.ts";
import { Group, groupPrefix } from "../../../tools/sandbox/cgroup/group.ts";
import { groupsHere, sweepGroups } from "../../../tools/sandbox/cgroup/groups.ts";
import { createLandlockExecutor } from "../../../tools/sandbox/landlock/executor.ts";
import { childrenOf, descendantsOf } from "../../../tools/sandbox/native/processes.ts";
import { ownName } from "../../../tools/sandbox/scratch.ts";
import { defaultPolicy, type RunResult, type Session } from "../../../tools/sandbox/types.ts";

const threadId = "0190b7e0-0000-7000-8000-00000000000b";
const executors = { landlock: createLandlockExecutor, bwrap: createBwrapExecutor };
const { places, detail } = await groupsHere();
const folders = places ? [...new Set([places.memory, places.pids])] : [];
const ours = ownName(groupPrefix, "");

/** The groups of this process that exist. */
const groups = (): string[] => folders.flatMap((folder) => readdirSync(folder).filter((name) => name.startsWith(ours)));

const available = await Promise.all(
  (["landlock", "bwrap"] as const).map(async (kind) => {
    const executor = executors[kind]();
    const found = await executor.probe("shell");
    await executor.close();
    return { kind, ...found };
  }),
);

test("the self-tests say whether there are groups", () => {
  expect(detail).toMatch(/^cgroup v[12]$|^no cgroup: /);
  for (const found of available) if (found.available) expect(found.detail).toContain(detail);
  expect(groups()).toEqual([]);
});

describe.each(available.filter((found) => found.available).map(({ kind }) => kind))("%s", (kind) => {
  async function inSession(use: (session: Session) => Promise<void>, memMb = 256): Promise<void> {
    const executor = executors[kind]();
    const root = mkdtempSync(join(tmpdir(), "pawl-groups-"));
    try {
      await use(await executor.open({ threadId, root }, { ...defaultPolicy, memMb }));
    } finally {
      await executor.close();
      rmSync(root, { recursive: true });
      expect(groups(), "no group outlives its executor").toEqual([]);
    }
  }

  test("every process of a guest is in one group, also one that detaches itself, and the result says so", () =>
    inSession(async (session) => {
      await session.run({ language: "shell", code: "true" });
      const stop = new AbortController();
      const all = Promise.withResolvers<number[]>();
      const code = "setsid sleep 997 & sh -c 'sleep 997' & echo started; wait";
      const onOutput = (): void => all.resolve(sleepers());
      const result = await withStop(session.run({ language: "shell", code, signal: stop.signal, onOutput }), stop, all);
      expect(result.isGrouped).toBe(places !== undefined);
    }));

  test("a guest that shares too much memory among its processes ends for that reason", () =>
    inSession(async (session) => {
      const code = "for i in 1 2 3 4 5 6 7 8; do (head -c 30m /dev/zero | tail -c 29m | sleep 5) & done; wait";
      expect((await session.run({ language: "shell", code })).status).toBe("oom");
      expect(await session.run({ language: "shell", code: "echo next" })).toMatchObject({
        status: "ok",
        stdout: "next\n",
      });
    }, 64));

  test("nothing is left of a guest whose sandbox was shot from outside, where there are groups", () =>
    inSession(async (session) => {
      const marker = `9${process.pid}.5`;
      const code = `setsid sleep ${marker} & setsid setsid sleep ${marker} & echo started; wait`;
      const onOutput = (): void => {
        for (const pid of childrenOf(process.pid)) if (isOfSandbox(pid)) process.kill(pid, "SIGKILL");
      };
      await session.run({ language: "shell", code, onOutput });
      if (places) expect(running(marker)).toEqual([]);
    }));

  /** Takes the groups of all sleepers while they run. */
  async function withStop(
    run: Promise<RunResult>,
    stop: AbortController,
    { promise }: PromiseWithResolvers<number[]>,
  ): Promise<RunResult> {
    const pids = await promise;
    const memberships = pids.map((pid) => readFileSync(`/proc/${pid}/cgroup`, "utf8"));
    stop.abort();
    const result = await run;
    expect(pids.length).toBeGreaterThan(0);
    const names = memberships.map((text) => [...new Set(text.match(/pawl-group-[\w-]+/g))]);
    expect(new Set(names.map(String)).size).toBe(1);
    expect(names[0]).toHaveLength(places ? 1 : 0);
    return result;
  }
});

const sleepers = (): number[] => descendantsOf(process.pid).filter((pid) => commandLine(pid).includes("997"));

const running = (marker: string): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => commandLine(pid).includes(marker));

const isOfSandbox = (pid: number): boolean => /bwrap|landlock.launcher/.test(commandLine(pid));

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
}

/** Where there are none, there is nothing to make one of. */
describe.each(places ? [places] : [])("a group", (here) => {
  async function withGroup(limits: { memoryMb: number; tasks: number }, code: string) {
    const group = await Group.make(here, limits);
    // Waits at its input until it is in.
    const child = spawn("/bin/sh", ["-c", `read -r line; ${code}`], {
      stdio: ["pipe", "pipe", "ignore"],
      detached: true,
    });
    await group.enter(child.pid!);
    return { group, child };
  }

  test("counts the memory of all in it, and says when it ended one for it", async () => {
    const { group, child } = await withGroup(
      { memoryMb: 32, tasks: 20 },
      "head -c 100m /dev/zero | tail -c 90m; echo $?",
    );
    child.stdin.end("go\n");
    await once(child, "exit");
    expect(group.oomKills()).toBeGreaterThan(0);
    await group.remove();
    expect(groups()).toEqual([]);
  });

  test("counts the tasks of all in it", async () => {
    const { group, child } = await withGroup(
      { memoryMb: 32, tasks: 5 },
      "for i in 1 2 3 4 5 6 7 8; do sleep 998 & done; wait",
    );
    child.stdin.write("go\n");
    await once(child, "exit"); // a shell that cannot fork ends
    expect(await group.members()).toHaveLength(4);
    await group.remove();
  });

  test("ends what is in it, also what has detached itself from all that it came from", async () => {
    const { group, child } = await withGroup(
      { memoryMb: 32, tasks: 20 },
      "setsid sleep 996 & setsid sleep 996 & echo on",
    );
    child.stdin.write("go\n");
    await once(child, "exit");
    const left = await group.members();
    expect(left).toHaveLength(2);
    await group.remove();
    expect(left.filter((pid) => existsSync(`/proc/${pid}/cgroup`) && isRunning(pid))).toEqual([]);
    expect(groups()).toEqual([]);
  });

  test("of a process that is gone is swept with what is in it, and that of one that lives is not", async () => {
    const dead = spawn("/bin/true", { stdio: "ignore" });
    await once(dead, "exit");
    const name = ours.replace(`-${process.pid}-`, `-${dead.pid}-`) + "x";
    const stale = makeNamed(name);
    const mine = await Group.make(here, { memoryMb: 16, tasks: 4 });
    const child = spawn("/bin/sleep", ["995"], { stdio: "ignore" });
    const exited = once(child, "exit");
    await stale.enter(child.pid!);
    await sweepGroups();
    expect(await exited).toEqual([null, "SIGKILL"]);
    for (const folder of folders) expect(readdirSync(folder)).not.toContain(name);
    expect(groups()).not.toEqual([]);
    await mine.remove();
  });
});

function makeNamed(name: string): Group {
  for (const folder of folders) mkdirSync(join(folder, name));
  return new Group(places!, name);
}

function isRunning(pid: number): boolean {
  return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}
