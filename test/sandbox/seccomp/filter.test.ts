/** The filter as the kernel would run it, for both machines; and on this one, for real. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answers, seccompFilter } from "../../../tools/sandbox/seccomp/filter.ts";
import type { GuestKind } from "../../../tools/sandbox/seccomp/rules.ts";
import { machines, newestKnown, type Syscall, syscalls } from "../../../tools/sandbox/seccomp/syscalls.ts";
import { interpret } from "./bpf.ts";

const launcher = { pid: 4_321, killToken: [0x0123_4567_89ab_cdefn, 0xfedc_ba98_7654_3210n] } as const;
const boxed: GuestKind = { network: "none", launcher };
const sharing: GuestKind = { network: "none", sharesUser: true, launcher };
const connected: GuestKind = { network: "inside" };

const arches = ["x64", "arm64"] as const;

interface Question {
  readonly call: Syscall;
  readonly args: readonly (number | bigint)[];
  readonly kind: GuestKind;
}

function answerTo({ call, args, kind }: Question, arch: (typeof arches)[number]): string | undefined {
  const machine = machines[arch]!;
  const number = machine.numberOf(call);
  if (number === undefined) return undefined;
  const value = interpret(seccompFilter(kind, arch)!, { audit: machine.audit, number, args: args.map(BigInt) });
  return Object.entries(answers).find(([, code]) => code === value)?.[0];
}

describe.each(arches)("on %s", (arch) => {
  const { audit, numberOf } = machines[arch]!;
  const program = seccompFilter(boxed, arch)!;

  test("a call that is denied without conditions is denied whatever its arguments are", () => {
    const always: Syscall[] = ["ptrace", "process_vm_readv", "mount", "umount2", "pivot_root", "chroot", "unshare"];
    always.push("setns", "bpf", "io_uring_setup", "userfaultfd", "keyctl", "add_key", "request_key", "perf_event_open");
    always.push("mknodat", "open_by_handle_at", "init_module", "reboot", "memfd_create", "shmget", "msgget", "semget");
    always.push("socket", "connect", "bind", "listen", "accept4", "pidfd_open", "pidfd_send_signal", "fanotify_init");
    const args = fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(fc.constantFrom(...always), args, (call, values) => {
        expect(interpret(program, { audit, number: numberOf(call)!, args: values })).toBe(answers.eperm);
      }),
    );
  });

  test("a call that no rule names passes, and one that is newer than the table does not exist", () => {
    const named = new Set(syscalls.map(numberOf));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000 }), (number) => {
        const expected = number > newestKnown ? answers.enosys : answers.allow;
        if (!named.has(number)) expect(interpret(program, { audit, number })).toBe(expected);
      }),
    );
  });

  test("another machine's calls end the process", () => {
    const others = Object.values(machines).filter((machine) => machine.audit !== audit);
    for (const other of [...others.map((machine) => machine.audit), 0x4000_0003])
      expect(interpret(program, { audit: other, number: 1 })).toBe(answers.kill);
    expect(interpret(program, { audit, number: 0x4000_0000 + 39 }), "x32").toBe(answers.kill);
  });

  test("the program ends for every call of every kind, and the kernel would take its length", () => {
    for (const kind of [boxed, sharing, connected]) {
      const filter = seccompFilter(kind, arch)!;
      for (let number = 0; number <= newestKnown; number++)
        expect(Object.values(answers)).toContain(interpret(filter, { audit, number }));
    }
  });
});

const newUser = 0x1000_0000;
const thread = 0x3d_0f00;

test.each<[string, Syscall, (number | bigint)[], string, GuestKind?]>([
  ["a thread", "clone", [thread], "allow"],
  ["a fork", "clone", [17], "allow"],
  ["a user namespace", "clone", [newUser | 17], "eperm"],
  ["a network namespace", "clone", [0x4000_0000], "eperm"],
  ["clone3, whose flags cannot be seen", "clone3", [], "enosys"],
  ["openat2, whose flags cannot be seen", "openat2", [], "enosys"],
  ["an ordinary file", "openat", [-100, 0, 0o101, 0o644], "allow"],
  ["reading, with rubbish where a mode would be", "openat", [-100, 0, 0, 0o4755], "allow"],
  ["a set-user-id file", "openat", [-100, 0, 0o101, 0o4755], "eperm"],
  ["an unnamed set-group-id file", "openat", [-100, 0, 0o20200002, 0o2755], "eperm"],
  ["an executable", "fchmodat", [-100, 0, 0o755], "allow"],
  ["chmod u+s", "fchmodat", [-100, 0, 0o4755], "eperm"],
  ["a pair of sockets", "socketpair", [1, 1, 0], "allow"],
  ["a pair of other sockets", "socketpair", [16, 3, 0], "eperm"],
  ["a terminal's size", "ioctl", [0, 0x5413], "allow"],
  ["typing into a terminal", "ioctl", [0, 0x5412], "eperm"],
  ["typing into a terminal, with the upper half set", "ioctl", [0, (1n << 32n) | 0x5412n], "eperm"],
  ["a signal by a descriptor's owner", "fcntl", [0, 8, launcher.pid], "eperm"],
  ["a lock", "fcntl", [0, 6], "allow"],
  ["the personality as it is", "personality", [0xffff_ffff], "allow"],
  ["no address randomisation", "personality", [0x004_0000], "eperm"],
  ["its own limits", "prlimit64", [0, 7], "allow"],
  ["another's limits", "prlimit64", [1, 7], "eperm"],
  ["its own priority", "setpriority", [0, 0, 10], "allow"],
  ["all priorities of its user", "setpriority", [2, 0, 10], "eperm"],
  ["a signal to a child", "kill", [99, 9], "allow"],
  ["a signal to its group", "kill", [0, 15], "allow"],
  ["a signal to the launcher", "kill", [launcher.pid, 0], "eperm"],
  ["a signal to the launcher's group", "kill", [-launcher.pid, 9], "eperm"],
  ["a signal to the launcher's thread", "tgkill", [launcher.pid, launcher.pid, 9], "eperm"],
  ["a signal to all", "kill", [-1, 9], "eperm"],
  ["a signal to all, with half of the token", "kill", [-1, 9, launcher.killToken[0], 0], "eperm"],
  ["a signal to all, with the token", "kill", [-1, 9, ...launcher.killToken], "allow"],
  ["chmod of what the server may own", "fchmodat", [-100, 0, 0o777], "fake", sharing],
  ["its time", "utimensat", [-100, 0, 0, 0], "fake", sharing],
  ["its attributes", "setxattr", [], "eperm", sharing],
  ["TCP in a network of its own", "socket", [2, 1, 0], "allow", connected],
  ["TCP without waiting", "socket", [10, 0o4001, 6], "allow", connected],
  ["a Unix socket in files of its own", "socket", [1, 1, 0], "allow", connected],
  ["UDP", "socket", [2, 2, 0], "eperm", connected],
  ["raw sockets", "socket", [2, 3, 1], "eperm", connected],
  ["MPTCP", "socket", [2, 1, 262], "eperm", connected],
  ["netlink", "socket", [16, 3, 0], "eperm", connected],
  ["packets", "socket", [17, 1, 0], "eperm", connected],
  ["vsock", "socket", [40, 1, 0], "eperm", connected],
])("%s, by %s, is answered as it should", (...row) => {
  const [, call, args, answer, kind = boxed] = row;
  for (const arch of arches) {
    const given = answerTo({ call, args, kind }, arch);
    if (given !== undefined) expect(given).toBe(answer);
  }
});

test("a machine without a table has no filter", () => {
  expect(seccompFilter(boxed, "s390x")).toBeUndefined();
});
