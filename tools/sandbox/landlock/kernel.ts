/**
 * System calls that Node has no function for, through libc's `syscall`. Loaded in a launcher only. Each acts on the
 * calling thread, the launcher's only one that starts processes, unless it says otherwise.
 */
import koffi from "koffi";

/** Numbers for x86-64 and aarch64. */
const numbers = {
  x64: {
    prctl: 157,
    setresuid: 117,
    kill: 62,
    wait4: 61,
    prlimit64: 302,
    seccomp: 317,
    unshare: 272,
    mount: 165,
    fcntl: 72,
  },
  arm64: {
    prctl: 167,
    setresuid: 147,
    kill: 129,
    wait4: 260,
    prlimit64: 261,
    seccomp: 277,
    unshare: 97,
    mount: 40,
    fcntl: 25,
  },
};
/** The same on all machines. */
export const landlock = { createRuleset: 444, addRule: 445, restrictSelf: 446 };

const known = Object.hasOwn(numbers, process.arch);
const nr = numbers[process.arch as keyof typeof numbers];

const libc = koffi.load(null);
const words = libc.func("long syscall(long number, long a, long b, uint64_t c, uint64_t d, uint64_t e)");
const withBytes = libc.func("long syscall(long number, long a, long b, uint8_t *bytes, long d, long e)");
const withFirst = libc.func("long syscall(long number, uint8_t *bytes, long b, long c, long d, long e)");
const withPaths = libc.func("long syscall(long number, str from, str to, str type, long flags, str data)");
const Program = koffi.struct("sock_fprog", { len: "uint16_t", filter: "uint8_t *" });
const execve = libc.func("int execve(str path, str *arguments, str *environment)");
const withProgram = libc.func("syscall", "long", ["long", "long", "long", koffi.pointer(Program)]);

class SystemCallError extends Error {
  readonly errno: number;

  constructor(what: string, errno: number) {
    super(`${what}: errno ${errno}`);
    this.errno = errno;
  }
}

function check(what: string, result: number): number {
  if (result < 0) throw new SystemCallError(what, koffi.errno());
  return result;
}

export function requireKnownMachine(): void {
  if (!known) throw new Error(`There is no table of system calls for ${process.arch}`);
}

export const prctlOptions = { deathSignal: 1, dumpable: 4, childSubreaper: 36, noNewPrivileges: 38 };

export function prctl(option: number, value: number): void {
  check("prctl", words(nr.prctl, option, value, 0, 0, 0));
}

/** With a null pointer and flag 1 it answers the ABI version; throws where Landlock is missing or switched off. */
export function createRuleset(attributes: Buffer | null): number {
  const flags = attributes ? 0 : 1;
  return check(
    "landlock_create_ruleset",
    withFirst(landlock.createRuleset, attributes, attributes?.length ?? 0, flags, 0, 0),
  );
}

/** `rule` is a `struct landlock_path_beneath_attr`. */
export function addPathRule(ruleset: number, rule: Buffer): void {
  check("landlock_add_rule", withBytes(landlock.addRule, ruleset, 1, rule, 0, 0));
}

export function restrictSelf(ruleset: number): void {
  check("landlock_restrict_self", words(landlock.restrictSelf, ruleset, 0, 0, 0, 0));
}

/** `filter` is an array of `struct sock_filter`. For this thread and what it starts; see seccomp/filter.ts. */
export function setSeccompFilter(filter: Buffer): void {
  check("seccomp", withProgram(nr.seccomp, 1, 0, { len: filter.length / 8, filter }));
}

export const resources = { fileSize: 1, core: 4, tasks: 6, openFiles: 7 };

/** Soft and hard, for this process and what it starts. */
export function limitResource(resource: number, value: number): void {
  const pair = Buffer.alloc(16);
  pair.writeBigUInt64LE(BigInt(value), 0);
  pair.writeBigUInt64LE(BigInt(value), 8);
  check("prlimit64", withBytes(nr.prlimit64, 0, resource, pair, 0, 0));
}

/** Real and effective user of this thread alone; the saved one stays root's, so that it can be undone. */
export function actAs(user: number): void {
  check("setresuid", words(nr.setresuid, user, user, 0, 0, 0));
}

const setDescriptorFlags = 2; // F_SETFD

/** Replaces this process by `program`, with an empty environment. Returns only by an error. */
export function become(program: string, args: readonly string[]): never {
  // Node has marked its standard streams to be closed here.
  for (const descriptor of [0, 1, 2]) check("fcntl", words(nr.fcntl, descriptor, setDescriptorFlags, 0, 0, 0));
  execve(program, [program, ...args, null], [null]);
  throw new SystemCallError("execve", koffi.errno());
}

const [interrupted, noSuchProcess] = [4, 3];

/** SIGKILL to every process that this thread may signal, but for its own. `token`: see seccomp/rules.ts. */
export function killAllReachable([first, second]: readonly [bigint, bigint]): void {
  if (words(nr.kill, -1, 9, first, second, 0) < 0 && koffi.errno() !== noSuchProcess) check("kill", -1);
}

/** Waits until this process has no child any more. */
export function reapAll(): void {
  while (words(nr.wait4, -1, 0, 0, 0, 0) > 0 || koffi.errno() === interrupted);
}

const mountFlags = { noSetUid: 2, noDevices: 4, remount: 32, bind: 4_096, recursive: 16_384, slave: 1 << 19 };
const newMountNamespace = 0x2_0000;

/** Makes the folder `from` appear at the folder `to`, without devices and set-user-id, for this thread and what it starts. */
export function bindFolder(from: string, to: string): void {
  const { noSetUid, noDevices, remount, bind, recursive, slave } = mountFlags;
  const mount = (source: string | null, target: string, flags: number): void =>
    void check("mount", withPaths(nr.mount, source, target, null, flags, null));
  check("unshare", words(nr.unshare, newMountNamespace, 0, 0, 0, 0));
  // What is mounted here stays here.
  mount(null, "/", recursive | slave);
  mount(from, to, bind);
  mount(null, to, bind | remount | noSetUid | noDevices);
}
