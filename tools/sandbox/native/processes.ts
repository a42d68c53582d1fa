/** What all descendants of a process use together, read from /proc. Ended while we look: counts as nothing. */
import { readdirSync, readFileSync } from "node:fs";

export interface Usage {
  readonly processes: number;
  /** Memory that is nobody else's: neither the text of programs nor their libraries. */
  readonly memoryMb: number;
  readonly cpuMs: number;
}

/** USER_HZ is 100 on both machines. */
const msPerTick = 10;

/** `ancestor` itself counts with the CPU time of the children it has buried and not with its own. */
export function usageOfDescendants(ancestor: number): Usage {
  let [memoryKb, ticks] = [0, statOf(ancestor).buriedTicks];
  const pids = descendantsOf(ancestor);
  for (const pid of pids) {
    const { ownTicks, buriedTicks } = statOf(pid);
    ticks += ownTicks + buriedTicks;
    memoryKb += memoryOf(pid);
  }
  return { processes: pids.length, memoryMb: memoryKb / 1_024, cpuMs: ticks * msPerTick };
}

/** CPU time of the children that `pid` has buried. */
export function buriedCpuMs(pid: number): number {
  return statOf(pid).buriedTicks * msPerTick;
}

export function descendantsOf(ancestor: number): number[] {
  const found: number[] = [];
  const toVisit = [ancestor];
  for (let pid = toVisit.pop(); pid !== undefined; pid = toVisit.pop()) {
    const children = childrenOf(pid);
    found.push(...children);
    toVisit.push(...children);
  }
  return found;
}

/** The kernel keeps children by the thread that forked. */
export function childrenOf(pid: number): number[] {
  return list(`/proc/${pid}/task`).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number),
  );
}

function statOf(pid: number): { ownTicks: number; buriedTicks: number } {
  // After the name, which stands in brackets and may hold anything: state, parent, ..., utime, stime, cutime, cstime.
  const fields = read(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, "")
    .split(" ")
    .slice(11, 15)
    .map(Number);
  const [user = 0, system = 0, buriedUser = 0, buriedSystem = 0] = fields;
  return { ownTicks: user + system, buriedTicks: buriedUser + buriedSystem };
}

function memoryOf(pid: number): number {
  const lines = read(`/proc/${pid}/status`).matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB/gm);
  return [...lines].reduce((sum, [, kb]) => sum + Number(kb), 0);
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/**
 * SIGKILL to `ancestor` and its descendants, as a last resort: what forks while we look may get away. Stopped first, so
 * that none starts another one meanwhile.
 */
export function killTree(ancestor: number): void {
  const family = [...descendantsOf(ancestor), ancestor];
  for (const signal of ["SIGSTOP", "SIGKILL"] as const) for (const pid of family) killProcess(pid, signal);
}

/** Harmless when it is gone. */
export function killProcess(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A count of all processes is worth milliseconds, and serves to draw a line that is hundreds of tasks away. */
const countMs = 5_000;
let counted = { tasks: 0, at: Number.NEGATIVE_INFINITY };

/** Tasks (threads too) of our own user on this machine, as the kernel counts them against RLIMIT_NPROC, about now. */
export function tasksOfUser(): number {
  if (performance.now() - counted.at > countMs) counted = { tasks: countTasks(), at: performance.now() };
  return counted.tasks;
}

function countTasks(): number {
  const user = String(process.getuid?.());
  return list("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => read(`/proc/${pid}/status`))
    .filter((status) => /^Uid:\t(\d+)/m.exec(status)?.[1] === user)
    .reduce((sum, status) => sum + Number(/^Threads:\t(\d+)/m.exec(status)?.[1] ?? 0), 0);
}
