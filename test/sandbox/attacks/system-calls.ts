/**
 * Matrix A as far as it needs system calls: what a native guest can ask of the kernel. Python makes them by number, so
 * that no library stands in between.
 */
import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { machines, type Syscall } from "../../../tools/sandbox/seccomp/syscalls.ts";
import type { RunStatus } from "../../../tools/sandbox/types.ts";
import { type Attempt, type Ground, loot } from "./attempt.ts";

const [front, back] = loot.split("-");
const cry = `print("${front}" + "-" + "${back}")`;

/**
 * `call` makes one and answers (result, errno). `wants` is for one that must not be had: it cries unless the kernel
 * refused, with EPERM, EACCES, ENOSYS, EAFNOSUPPORT or EPROTONOSUPPORT.
 */
const prelude = `
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *args):
    ctypes.set_errno(0)
    words = [a if isinstance(a, (bytes, ctypes.Array)) else ctypes.c_long(a) for a in args]
    return libc.syscall(ctypes.c_long(number), *words), ctypes.get_errno()
def wants(number, *args):
    result, error = call(number, *args)
    print(number, result, error)
    if result >= 0 or error not in (1, 13, 38, 97, 93): ${cry}
`;

type Code = (ground: Ground) => string;
type Row = readonly [name: string, code: Code, rest?: Partial<Attempt>];

function nr(call: Syscall): number {
  const number = machines[process.arch]?.numberOf(call);
  if (number === undefined) throw new Error(`${call} has no number here`);
  return number;
}

/** A call that must be refused whatever it would do. */
const wants = (call: Syscall, ...args: (number | string)[]): string => `wants(${[nr(call), ...args].join(", ")})`;
const refused = (name: string, ...calls: string[]): Row => [name, () => calls.join("\n")];

const limit = (ends: readonly RunStatus[], timeoutMs = 5_000): Partial<Attempt> => ({ ends, timeoutMs });
const stopped: readonly RunStatus[] = ["oom", "killed", "error", "timeout", "output_limit"];

/** Makes the file look at its own mode, owner and time. */
const isTouched = (_: unknown, { secretFile }: Ground): boolean => {
  const { mode, mtimeMs } = statSync(secretFile);
  return (mode & 0o111) !== 0 || mtimeMs < 1_000_000;
};

/** Unique to one attempt, on the command line of a process that is to stay. */
const stayer = (name: string): string => `6${process.pid}${name.length}`;

const isRunning = (marker: string): boolean =>
  readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .some((pid) => commandOf(pid).includes(marker));

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
}

const kernel: readonly Row[] = [
  [
    "10 core_pattern and sysrq",
    () => `
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/dev/kmsg"):
    try: os.close(os.open(path, os.O_WRONLY)); ${cry}
    except OSError as error: print(error)`,
  ],
  [
    "11 devices",
    () => `
for path in ("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/mem", "/dev/kvm", "/dev/fuse", "/dev/net/tun"):
    try: os.close(os.open(path, os.O_RDONLY)); ${cry}
    except OSError as error: print(error)`,
  ],
  refused("12 making a device", wants("mknodat", -100, 'b"device"', 0o60666, 0xfe00)),
  ["12b making a FIFO", () => `try: os.mkfifo("fifo"); ${cry}\nexcept OSError as error: print(error)`],
  [
    "15 set-user-id file",
    () => `
open("left", "w").close()
for attempt in (lambda: os.chmod("left", 0o6755), lambda: os.close(os.open("left2", os.O_CREAT | os.O_WRONLY, 0o6755)), lambda: os.fchmod(os.open("left", os.O_RDONLY), 0o4755)):
    try: attempt()
    except OSError as error: print(error)`,
    { trace: (_, { workspace }) => readdirSync(workspace).some((file) => isSetId(join(workspace, file))) },
  ],
  [
    "21 ptrace",
    ({ victim }) => `wants(${nr("ptrace")}, 16, ${victim}, 0, 0)\nwants(${nr("ptrace")}, 0x4206, ${victim}, 0, 0)`,
  ],
  [
    "22 another's memory",
    ({ victim }) => `
space = ctypes.create_string_buffer(16)
wants(${nr("process_vm_readv")}, ${victim}, space, 0, space, 0, 0)
wants(${nr("process_vm_writev")}, os.getppid(), space, 0, space, 0, 0)`,
  ],
  refused(
    "24 mounts",
    wants("mount", 'b"none"', 'b"/tmp"', 'b"tmpfs"', 0, 0),
    wants("umount2", 'b"/tmp"', 2),
    wants("fsopen", 'b"tmpfs"', 0),
    wants("open_tree", -100, 'b"/"', 1),
    wants("pivot_root", 'b"."', 'b"."'),
  ),
  refused("25 namespaces", ...[0x1000_0000, 0x2_0000, 0x4000_0000].map((flag) => wants("unshare", flag))),
  refused("25b a child in a namespace", wants("clone", 0x1000_0011, 0, 0, 0, 0), wants("clone3", 'b"\\0" * 88', 88)),
  refused("26 bpf", wants("bpf", 0, 'b"\\0" * 64', 64)),
  refused("27 io_uring", wants("io_uring_setup", 1, 'b"\\0" * 120')),
  refused("28 keys", wants("keyctl", 0, -3, 0), wants("add_key", 'b"user"', 'b"x"', 'b"y"', 1, -3)),
  refused("29 performance counters", wants("perf_event_open", 'b"\\0" * 128', 0, -1, -1, 0)),
  refused("30 userfaultfd", wants("userfaultfd", 0)),
  refused("31 names of the machine", wants("sethostname", 'b"owned"', 5), wants("setdomainname", 'b"owned"', 5)),
  ["32 new privileges", () => `if libc.prctl(39, 0, 0, 0, 0) != 1: ${cry}`],
  [
    "33 capabilities",
    () => `
data = ctypes.create_string_buffer(24)
libc.capget(ctypes.create_string_buffer(bytes([0x22, 0x05, 0x08, 0x20, 0, 0, 0, 0])), data)
print(data.raw.hex())
if any(data.raw): ${cry}`,
  ],
  [
    "34 raised limits",
    () => `
import resource
for name in ("RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE"):
    soft, hard = resource.getrlimit(getattr(resource, name))
    if hard == resource.RLIM_INFINITY: print(name); ${cry}
    try: resource.setrlimit(getattr(resource, name), (hard + 1, hard + 1)); ${cry}
    except (ValueError, OSError) as error: print(error)`,
  ],
  refused("35 chroot", wants("chroot", 'b"."')),
  refused(
    "36 the clock and the modules",
    wants("clock_settime", 0, 'b"\\0" * 16'),
    wants("init_module", 'b""', 0, 'b""'),
  ),
  refused(
    "37 files by handle",
    wants("open_by_handle_at", -100, 'b"\\0" * 128', 0),
    wants("name_to_handle_at", -100, 'b"/"', 'b"\\0" * 136', 'b"\\0" * 4', 0),
  ),
  refused(
    "38 objects of all of its user",
    wants("shmget", 0, 4_096, 0o1666),
    wants("semget", 0, 1, 0o1666),
    wants("msgget", 0, 0o1666),
    wants("mq_open", 'b"pawl"', 0o102, 0o600, 0),
  ),
  refused("39 memory that no limit counts", wants("memfd_create", 'b"x"', 0)),
];

const users: readonly Row[] = [
  [
    "20b signals by every other way",
    ({ victim }) => `
for target in (${victim},):
    for attempt in (lambda: call(${nr("kill")}, target, 0), lambda: call(${nr("tkill")}, target, 0), lambda: call(${nr("tgkill")}, target, target, 0), lambda: call(${nr("kill")}, -target, 0), lambda: call(${nr("rt_sigqueueinfo")}, target, 0, b"\\0" * 128), lambda: call(${nr("pidfd_open")}, target, 0)):
        if attempt()[0] >= 0: print(target); ${cry}`,
  ],
  [
    "20d everything at once, and what started it",
    () => `
if os.getppid() > 1:
    for call_it in (${nr("kill")}, ${nr("tkill")}):
        if call(call_it, os.getppid(), 9)[0] >= 0: ${cry}
    call(${nr("tgkill")}, os.getppid(), os.getppid(), 9)
    call(${nr("kill")}, -os.getppid(), 9)
    call(${nr("kill")}, -1, 9)
print("still here")`,
    { trace: ({ output }) => !output.includes("still here") },
  ],
  [
    "20c a signal by the owner of a pipe",
    ({ victim }) => `
import fcntl
for target in (${victim}, os.getppid()):
    reader, writer = os.pipe()
    for attempt in (lambda: fcntl.fcntl(reader, 8, target), lambda: fcntl.fcntl(reader, 10, 9), lambda: fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)):
        try: attempt()
        except OSError as error: print(error)
    os.write(writer, b"x")
print("still here")`,
    { trace: ({ output }) => !output.includes("still here") },
  ],
  [
    "80 limits and priority of a process of ours",
    ({ victim }) => `
for target in (${victim},):
    wants(${nr("prlimit64")}, target, 7, b"\\1" + b"\\0" * 15, 0)
    wants(${nr("setpriority")}, 0, target, 19)
    wants(${nr("sched_setaffinity")}, target, 8, b"\\1" + b"\\0" * 7)
wants(${nr("setpriority")}, 2, 0, 19)`,
  ],
  [
    "81 mode, time and attributes of a file of ours",
    ({ secretFile }) => `
for attempt in (lambda: os.chmod("${secretFile}", 0o777), lambda: os.utime("${secretFile}", (1, 1)), lambda: os.setxattr("${secretFile}", "user.x", b"x")):
    try: attempt()
    except OSError as error: print(error)
try: os.getxattr("${secretFile}", "user.x"); ${cry}
except OSError: pass`,
    { trace: isTouched },
  ],
  [
    "82 emptying a file of ours",
    ({ secretFile }) => `
for attempt in (lambda: os.truncate("${secretFile}", 0), lambda: open("${secretFile}", "w"), lambda: os.link("${secretFile}", "here"), lambda: os.rename("${secretFile}", "here"), lambda: os.open("${secretFile}", os.O_RDONLY | os.O_TRUNC)):
    try: attempt()
    except OSError as error: print(error)`,
  ],
  [
    "83 watching a folder of ours",
    ({ folder }) => `
watch = libc.inotify_init()
if libc.inotify_add_watch(watch, b"${folder}", 0xfff) >= 0: ${cry}`,
  ],
  [
    "02b files of the host",
    ({ secretFile }) => `
for path in ("${secretFile}", "/etc/passwd", "/etc/shadow", "/etc/hostname", "../secret.txt", "/workspace/../secret.txt", "/proc/1/environ", "/proc/${process.pid}/environ", "/proc/${process.pid}/maps", "/proc/${process.pid}/mem"):
    try:
        if open(path, "rb").read(1) != b"" and path != "/proc/1/environ": print(path); ${cry}
    except OSError as error: print(error)`,
  ],
  [
    "84 listing a folder of ours",
    ({ folder }) => `
for path in ("${folder}", "/proc", "/root", "/home", "/var"):
    try:
        if "secret.txt" in os.listdir(path) or "/proc" == path and "1" in os.listdir(path) and os.path.exists("/proc/${process.pid}"): ${cry}
    except OSError as error: print(error)`,
  ],
];

const network: readonly Row[] = [
  [
    "45 every kind of socket",
    () => `
import socket
for family in range(0, 46):
    for kind in (1, 2, 3, 5):
        for protocol in (0, 6, 132, 262):
            if family == 1 and kind == 1 or family in (2, 10) and kind == 1 and protocol in (0, 6): continue
            result, error = call(${nr("socket")}, family, kind, protocol)
            if result >= 0: print(family, kind, protocol); ${cry}`,
  ],
  [
    "41 Unix sockets, by name and abstract",
    ({ unixSocket }) => `
import socket
for address in ("${unixSocket}", "\\0pawl", "/run/docker.sock", "/var/run/dbus/system_bus_socket"):
    try:
        with socket.socket(socket.AF_UNIX) as s: s.connect(address); ${cry}
    except OSError as error: print(error)`,
  ],
  [
    "42 addresses that lead to ours",
    ({ tcpPort }) => `
import socket
for address in ("127.0.0.1", "0.0.0.0", "localhost", "127.1", "::1", "::ffff:127.0.0.1", "169.254.169.254"):
    try: socket.create_connection((address, ${tcpPort}), 1); ${cry}
    except OSError as error: print(error)`,
  ],
  [
    "46 a connection by fast open",
    ({ tcpPort }) => `
import socket
try:
    with socket.socket() as s: s.sendto(b"x", 0x20000000, ("127.0.0.1", ${tcpPort})); ${cry}
except OSError as error: print(error)`,
  ],
];

const amounts: readonly Row[] = [
  [
    "50b children that fork",
    () => `
count = 0
try:
    while count < 400:
        if os.fork() == 0: time.sleep(20); os._exit(0)
        count += 1
except OSError as error: print(error)
if count >= 200: time.sleep(1); ${cry}`,
    limit(["ok", ...stopped]),
  ],
  [
    "51c memory in many processes",
    () => `
for _ in range(6):
    if os.fork() == 0:
        block = bytearray(150_000_000)
        time.sleep(5); os._exit(0)
time.sleep(4); ${cry}`,
    limit(stopped, 8_000),
  ],
  [
    "52 memory as files",
    () => `
for path in ("/dev/shm/x", "/tmp/x", "/run/x", "/var/tmp/x"):
    try:
        with open(path, "wb") as file:
            for _ in range(512): file.write(b"x" * 1_000_000)
        ${cry}
    except OSError as error: print(error)`,
    { timeoutMs: 15_000 },
  ],
  [
    "55b files that together are too much",
    () => `
for i in range(330):
    with open(f"f{i}", "wb") as file: file.write(b"x" * 1_000_000)
time.sleep(4); ${cry}`,
    limit(["output_limit", "killed", "error"], 20_000),
  ],
  [
    "55c files that are too many, and deep",
    () => `
for i in range(5_000):
    os.mkdir("d"); os.chdir("d"); open("f", "w").close()
time.sleep(4); ${cry}`,
    { ...limit(["output_limit", "killed", "error"], 20_000), policy: { files: 1_000 } },
  ],
  [
    "62c CPU time in many processes",
    () => `
for _ in range(3):
    if os.fork() == 0:
        while True: pass
time.sleep(9); ${cry}`,
    { ...limit(["timeout", "killed"], 9_500), policy: { cpuMs: 1_000 } },
  ],
];

/** All detach themselves in a way of their own; none may be there when the result is. */
const survivors: readonly Row[] = [
  [
    "60b a session of its own",
    (marker: string) => `setsid sleep ${marker} >/dev/null 2>&1 </dev/null & sleep 0.1`,
  ] as const,
  ["60c an orphan", (marker: string) => `(sh -c 'sleep ${marker} & exit' &) ; sleep 0.1`] as const,
  [
    "60d a session of its own, and it holds the output",
    (marker: string) => `(setsid sleep ${marker} &) ; sleep 0.1`,
  ] as const,
  [
    "60e it ignores signals",
    (marker: string) => `(trap '' TERM HUP INT; setsid sleep ${marker} &) ; sleep 0.1`,
  ] as const,
].map(([name, code]): Row => {
  const marker = stayer(name);
  return [name, () => code(marker), { language: "shell", trace: () => isRunning(marker), ...limit(["ok"]) }];
});

function isSetId(file: string): boolean {
  return (lstatSync(file).mode & 0o6000) !== 0;
}

export const systemCalls: readonly Attempt[] = [...kernel, ...users, ...network, ...amounts, ...survivors].map(
  ([name, code, rest]) => ({
    name,
    language: "python",
    ...rest,
    code: rest?.language === "shell" ? code : (ground) => prelude + code(ground),
  }),
);

/**
 * Of the attempts on programs without system calls, those that say nothing about a native sandbox: it has other
 * interpreters and `ctypes` by design, `/proc/<pid>` and `/etc/shadow` can be seen to exist (docs/sandbox.md), and the
 * number of files is kept by counting, which 55b and 55c wait for.
 */
export const notForNative: readonly string[] = [
  "23 processes of the host",
  "23b other interpreters",
  "P01 files of the host",
  "P09 a way into JavaScript",
  "55 many files",
  "P55 many files",
];
