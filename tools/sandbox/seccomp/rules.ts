/**
 * What a guest's system calls may do, as data. The list is a deny list, since real programs run under it; what Linux
 * adds after the newest call known here is denied with it. Landlock and the resource limits guard files and amounts;
 * this guards everything that they do not see.
 */
import type { Syscall } from "./syscalls.ts";

/** `fake`: the call does nothing and reports success. */
export type Verdict = "allow" | "eperm" | "enosys" | "fake";

/**
 * Of one argument. `eq` and `ne` compare its lower 32 bits, as the kernel does for an int; `set` asks whether any of
 * the bits is set, `clear` whether none is; `eq64` compares all 64 bits.
 */
export type Condition =
  | { readonly arg: number; readonly is: "eq" | "ne" | "set" | "clear"; readonly value: number }
  | { readonly arg: number; readonly is: "eq64"; readonly value: bigint };

/** The first rule whose conditions all hold decides; a call without such a rule is allowed. */
export interface Rule {
  readonly calls: readonly Syscall[];
  readonly when?: readonly Condition[];
  readonly verdict: Verdict;
}

export interface GuestKind {
  /** `none`: no socket can be made. `inside`: TCP and Unix sockets, for a guest that has a network namespace of its own. */
  readonly network: "none" | "inside";
  /** The guest has the user id of our server: then calls that Landlock does not check reach the server's files. */
  readonly sharesUser?: boolean;
  /** The process that starts guests and has the same rights as they: no signal to it. */
  readonly launcher?: { readonly pid: number; readonly killToken: readonly [bigint, bigint] };
}

export function rulesFor(kind: GuestKind): Rule[] {
  return [
    ...signalRules(kind.launcher),
    ...(kind.sharesUser ? sharedUserRules : []),
    ...(kind.network === "none" ? noSocketRules : innerSocketRules),
    ...commonRules,
  ];
}

const deny = (calls: Syscall[], ...when: Condition[]): Rule => ({ calls, when, verdict: "eperm" });
const all32 = 0xffff_ffff;

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const cloneNew = 0x7e02_0000;
/** S_ISUID, S_ISGID. */
const setId = 0o6000;
/** O_CREAT, and O_TMPFILE without the O_DIRECTORY in it: without one of them `open` has no mode. */
const creates = 0x40 | 0x40_0000;

const commonRules: readonly Rule[] = [
  // Other processes.
  deny(["ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "process_madvise", "process_mrelease"]),
  deny(["pidfd_open", "pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "get_robust_list"]),
  deny(["migrate_pages", "move_pages", "perf_event_open"]),
  deny(["prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"], ne(0, 0)),
  // PRIO_PROCESS and IOPRIO_WHO_PROCESS, of the caller itself.
  deny(["setpriority"], ne(0, 0)),
  deny(["setpriority"], ne(1, 0)),
  deny(["ioprio_set"], ne(0, 1)),
  deny(["ioprio_set"], ne(1, 0)),
  // A signal by way of a descriptor's owner: F_SETOWN, F_SETSIG, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP.
  ...[8, 10, 15].map((command) => deny(["fcntl"], eq(1, command))),
  ...[0x8901, 0x8902].map((request) => deny(["ioctl"], eq(1, request))),
  // Typing into a terminal: TIOCSTI, TIOCLINUX.
  ...[0x5412, 0x541c].map((request) => deny(["ioctl"], eq(1, request))),
  // Namespaces and mounts.
  deny(["clone"], { arg: 0, is: "set", value: cloneNew }),
  // Its flags lie in memory, where a filter cannot look. Libraries fall back to `clone`.
  { calls: ["clone3"], verdict: "enosys" },
  deny(["unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount"]),
  deny(["fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "statmount", "listmount"]),
  // Parts of the kernel with a long record of flaws, or of which one guest has no need.
  deny(["bpf", "io_uring_setup", "userfaultfd", "keyctl", "add_key", "request_key", "lsm_set_self_attr"]),
  deny(["mknod", "mknodat", "name_to_handle_at", "open_by_handle_at", "lookup_dcookie"]),
  deny(["fanotify_init", "fanotify_mark", "inotify_add_watch"]),
  // Memory that no limit of a process counts.
  deny(["memfd_create", "memfd_secret"]),
  // Objects that outlive the guest, and belong to all of its user.
  deny(["shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semctl", "semtimedop"]),
  deny(["msgget", "msgsnd", "msgrcv", "msgctl"]),
  deny(["mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"]),
  // The machine.
  deny([
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
  ]),
  deny(["acct", "quotactl", "quotactl_fd", "syslog", "sethostname", "setdomainname", "vhangup", "nfsservctl"]),
  deny(["settimeofday", "clock_settime", "clock_adjtime", "adjtimex"]),
  deny(["iopl", "ioperm", "modify_ldt", "uselib", "ustat", "sysfs"]),
  // Asking for the personality (all ones) and the ordinary one (0) are fine.
  deny(["personality"], ne(0, 0), ne(0, all32)),
  // Set-user-id and set-group-id files.
  deny(["chmod", "fchmod", "creat"], { arg: 1, is: "set", value: setId }),
  deny(["fchmodat", "fchmodat2"], { arg: 2, is: "set", value: setId }),
  deny(["open"], { arg: 1, is: "set", value: creates }, { arg: 2, is: "set", value: setId }),
  deny(["openat"], { arg: 2, is: "set", value: creates }, { arg: 3, is: "set", value: setId }),
  { calls: ["openat2"], verdict: "enosys" },
];

const socketServers: Syscall[] = ["bind", "listen", "accept", "accept4"];

const noSocketRules: readonly Rule[] = [
  deny(["socket", "connect", ...socketServers]),
  // AF_UNIX: a pair has no address and reaches nobody. Node makes its pipes of it.
  deny(["socketpair"], ne(0, 1)),
];

/** AF_UNIX, AF_INET, AF_INET6, and of them only SOCK_STREAM with the default protocol or TCP: no UDP, no MPTCP. */
const innerSocketRules: readonly Rule[] = [
  deny(["socket"], ne(0, 1), ne(0, 2), ne(0, 10)),
  deny(["socket"], { arg: 1, is: "clear", value: 1 }),
  deny(["socket"], { arg: 1, is: "set", value: 0xe }),
  deny(["socket"], ne(2, 0), ne(2, 6)),
  deny(["socketpair"], ne(0, 1)),
];

/**
 * Landlock checks none of these. They would reach whatever belongs to the server's user: its data folder, this very
 * program. Changes of mode, owner and time pretend to succeed, as many programs (`cp`, `tar`, `shutil.copy`) end in
 * one that does not matter.
 */
const sharedUserRules: readonly Rule[] = [
  {
    calls: ["chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"],
    verdict: "fake",
  },
  { calls: ["utime", "utimes", "futimesat", "utimensat"], verdict: "fake" },
  deny(["setxattr", "lsetxattr", "fsetxattr", "setxattrat", "file_setattr"]),
  deny(["removexattr", "lremovexattr", "fremovexattr", "removexattrat"]),
];

/**
 * A guest must not end its launcher, which shares its rights and would then have left the guest to nobody.
 * `kill(-1)` is the launcher's own way to end all guests at once: it proves itself by two words, random for each
 * launcher, in registers that `kill` does not read.
 */
function signalRules(launcher: GuestKind["launcher"]): Rule[] {
  if (!launcher) return [];
  const { pid, killToken } = launcher;
  const token = killToken.map((value, i): Condition => ({ arg: i + 2, is: "eq64", value }));
  return [
    { calls: ["kill"], when: [eq(0, all32), ...token], verdict: "allow" },
    deny(["kill"], eq(0, all32)),
    deny(["kill"], eq(0, -pid >>> 0)),
    deny(["kill", "tkill", "tgkill"], eq(0, pid)),
  ];
}

function eq(arg: number, value: number): Condition {
  return { arg, is: "eq", value };
}

function ne(arg: number, value: number): Condition {
  return { arg, is: "ne", value };
}
