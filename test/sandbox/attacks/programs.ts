/**
 * Matrix A as far as programs without system calls of their own have it (a shell and a Python in WebAssembly or in
 * TypeScript): the files, environment, network and processes of the host, and the limits. A native sandbox runs it too.
 */
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { RunStatus } from "../../../tools/sandbox/types.ts";
import { type Attempt, type Ground, loot, secretVariable } from "./attempt.ts";

const [front, back] = loot.split("-");
/** In a shell, and in Python: prints the loot without containing it. */
const shout = `printf '%s-%s\\n' ${front} ${back}`;
const cry = `print("${front}" + "-" + "${back}")`;

type Row = readonly [name: string, code: (ground: Ground) => string, rest?: Partial<Attempt>];

const limit = (ends: readonly RunStatus[], timeoutMs = 2_000): Partial<Attempt> => ({ ends, timeoutMs });

const shell: readonly Row[] = [
  ["01 users of the host", () => `grep -q '^root:' /etc/passwd && ${shout}; true`],
  ["02 secret outside the workspace", ({ secretFile }) => `cat ${secretFile}; head -c 100 < ${secretFile}`],
  ["03 symbolic link to the secret", ({ secretFile }) => `ln -s ${secretFile} link; cat link; cp link copy; cat copy`],
  ["03b link to a folder outside", ({ folder }) => `ln -s ${folder} out; cat out/secret.txt; echo x > out/planted.txt`],
  ["04 dots", () => "cat ../secret.txt ../../secret.txt /workspace/../secret.txt ./../secret.txt"],
  ["05 environment", () => `env; echo "$${secretVariable}"; cat /proc/self/environ`],
  ["06 environments in /proc", ({ victim }) => `cat /proc/${victim}/environ /proc/1/environ /proc/*/environ`],
  [
    "07 root of a process",
    ({ victim, secretFile }) => `cat /proc/${victim}/root${secretFile} /proc/self/root${secretFile}`,
  ],
  [
    "08 write outside",
    ({ plantedFile }) => `echo x > ${plantedFile}; cp /dev/null ${plantedFile}; tee ${plantedFile} </dev/null`,
  ],
  ["09 change outside", ({ secretFile }) => `echo x >> ${secretFile}; rm -f ${secretFile}; mv ${secretFile} here`],
  ["13 hard link", ({ secretFile }) => `ln ${secretFile} hard; cat hard`],
  [
    "16 inherited descriptors",
    () => `for fd in 3 4 5 6 7 8 9; do (cat <&$fd) 2>/dev/null | grep -q . && ${shout}; done; true`,
  ],
  ["20 end a process of ours", ({ victim }) => `kill -9 ${victim}; kill ${victim}`],
  [
    "23 processes of the host",
    ({ victim }) => `ps aux | grep -q " ${victim} " && ${shout}; test -d /proc/${victim} && ${shout}; true`,
  ],
  [
    "40 TCP to a listener of ours",
    ({ tcpPort }) =>
      `curl -s http://127.0.0.1:${tcpPort}; (echo x > /dev/tcp/127.0.0.1/${tcpPort}); nc 127.0.0.1 ${tcpPort}`,
  ],
  [
    "43 UDP to a listener of ours",
    ({ udpPort }) => `(echo x > /dev/udp/127.0.0.1/${udpPort}); nc -u -w 1 127.0.0.1 ${udpPort}`,
  ],
  [
    "23b other interpreters",
    () => `for p in node deno bun perl ruby; do $p -e 'process.exit(7)' ; test $? = 7 && ${shout}; done; true`,
  ],
  ["50 fork bomb", () => "f() { f | f & }; f; wait", limit(["error", "timeout", "killed", "oom", "ok"], 3_000)],
  [
    "51b memory of many processes",
    () => "for i in 1 2 3 4 5 6 7 8 9; do (head -c 60000000 /dev/zero | tail -c 59000000 | sleep 9) & done; wait",
    limit(["error", "oom", "timeout", "killed", "ok"], 8_000),
  ],
  ["51 memory", () => "s=x; while true; do s=$s$s; done", limit(["error", "oom", "timeout", "killed"], 8_000)],
  [
    "51b memory in awk",
    () => `awk 'BEGIN { s = "x"; while (1) s = s s }'`,
    limit(["error", "oom", "timeout", "killed"], 8_000),
  ],
  [
    "53 one huge file",
    () => "s=0123456789; for i in $(seq 20); do s=$s$s; done; for i in $(seq 12); do echo $s >> big; done",
    { timeoutMs: 8_000, trace: tooMuch },
  ],
  [
    "55 many files",
    () => "for i in $(seq 1 20000); do echo x > f$i; done",
    { timeoutMs: 8_000, policy: { files: 1_000 }, trace: tooMany },
  ],
  ["60 a process that stays", () => "(sleep 600; true) & echo started", limit(["ok", "timeout", "error"], 2_000)],
  [
    "61 ignores signals",
    () => "trap '' TERM INT HUP; while true; do sleep 1; done",
    limit(["timeout", "killed", "error"]),
  ],
  ["62 endless loop", () => "while true; do :; done", limit(["timeout", "error", "killed"])],
  [
    "62b regular expression",
    () => `echo ${"a".repeat(40)}b | grep -E '^(a+)+$'; echo ${"a".repeat(40)}b | sed -E 's/^(a|a)*$//'`,
    limit(["timeout", "error", "ok"], 3_000),
  ],
  [
    "63 endless output",
    () => "while true; do echo 0123456789; done",
    limit(["output_limit", "timeout", "error", "killed", "oom"], 5_000),
  ],
  [
    "70 escape sequences",
    () => String.raw`printf '\033[2J\033]0;title\007\302\233'`,
    { trace: ({ output }) => hasControls(output) },
  ],
  [
    "71 right-to-left override",
    () => String.raw`printf '\342\200\256'`,
    { trace: ({ output }) => /[\u202a-\u202e]/u.test(output) },
  ],
  [
    "72 file name with dots in an archive",
    () => "mkdir d; echo x > d/f; tar cf a.tar d/../../planted.txt; tar xf a.tar; tar cPf b.tar ../planted.txt",
  ],
];

const python: readonly Row[] = [
  [
    "P01 files of the host",
    ({ secretFile }) => `
for path in ("${secretFile}", "/etc/passwd", "../secret.txt", "/workspace/../secret.txt", "/proc/self/environ"):
    try: print(open(path).read())
    except OSError: pass
import os
if os.path.exists("/etc/shadow"): ${cry}`,
  ],
  [
    "P03 symbolic link",
    ({ secretFile }) => `import os\nos.symlink("${secretFile}", "link")\nprint(open("link").read())`,
  ],
  ["P05 environment", () => `import os\nprint(dict(os.environ))`],
  ["P08 write outside", ({ plantedFile }) => `open("${plantedFile}", "w").write("x")`],
  [
    "P09 a way into JavaScript",
    () => `
for name in ("js", "pyodide", "pyodide_js", "_pyodide", "ctypes", "_ctypes", "cffi", "emscripten"):
    try:
        __import__(name)
        ${cry}
    except ImportError: pass`,
  ],
  ["P20 end a process of ours", ({ victim }) => `import os, signal\nos.kill(${victim}, signal.SIGKILL)`],
  [
    "P23 programs",
    ({ plantedFile }) => `
import os, subprocess
for attempt in (lambda: subprocess.run(["touch", "${plantedFile}"]), lambda: os.system("touch ${plantedFile}"), lambda: os.execv("/bin/touch", ["touch", "${plantedFile}"]), lambda: os.posix_spawn("/bin/touch", ["touch", "${plantedFile}"], {}), lambda: os.fork()):
    try: attempt()
    except BaseException as error: print(type(error).__name__)`,
  ],
  [
    "P40 TCP, UDP and Unix sockets",
    ({ tcpPort, udpPort, unixSocket }) => `
import socket
for family, kind, address in ((socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", ${tcpPort})), (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", ${udpPort})), (socket.AF_UNIX, socket.SOCK_STREAM, "${unixSocket}"), (socket.AF_INET6, socket.SOCK_STREAM, ("::ffff:127.0.0.1", ${tcpPort}))):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(1)
            s.connect(address)
            s.send(b"x")
    except BaseException as error: print(type(error).__name__)`,
  ],
  [
    "P41 a web request",
    ({ tcpPort }) => `
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:${tcpPort}", timeout=1).read())`,
  ],
  [
    "P44 names",
    () => `
import socket
for host in ("localhost", "metadata.google.internal", "169.254.169.254"):
    try: socket.create_connection((host, 80), timeout=1); ${cry}
    except BaseException as error: print(type(error).__name__)`,
  ],
  ["P51 memory", () => "a = []\nwhile True: a.append(bytearray(10_000_000))", limit(["oom", "error", "killed"], 9_000)],
  [
    "P51b memory that catches",
    () => `
a = []
while True:
    try: a.append(bytearray(10_000_000))
    except MemoryError: pass`,
    limit(["oom", "error", "killed", "timeout"], 3_000),
  ],
  [
    "P52 deep recursion",
    () => "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    limit(["oom", "error", "killed", "timeout"], 5_000),
  ],
  [
    "P53 one huge file",
    () => `
with open("big", "wb") as file:
    for _ in range(90): file.write(b"x" * 1_000_000)`,
    { timeoutMs: 8_000, trace: tooMuch },
  ],
  [
    "P55 many files",
    () => "for i in range(20_000): open(f'f{i}', 'w').close()",
    { timeoutMs: 8_000, policy: { files: 1_000 }, trace: tooMany },
  ],
  ["P62 endless loop", () => "while True: pass", limit(["timeout", "killed"])],
  [
    "P62b endless loop that catches everything",
    () => "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    limit(["timeout", "killed"]),
  ],
  ["P62c regular expression", () => "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", limit(["timeout", "killed"])],
  [
    "P62d one native operation",
    () => "len(str(7 ** 40_000_000 % 10 ** 9)) and pow(3, 10 ** 9)",
    limit(["timeout", "killed", "oom", "error"]),
  ],
  ["P63 endless output", () => "while True: print('x' * 1000)", limit(["output_limit", "timeout", "killed"], 8_000)],
  ["P64 abort", () => "import os\nos.abort()", limit(["error", "killed", "oom"])],
  [
    "P65 a fault in native code",
    () => "exec(compile('('*10**6, 'x', 'eval'))",
    limit(["error", "oom", "killed", "timeout", "output_limit"], 8_000),
  ],
];

function usage(folder: string): { bytes: number; files: number } {
  const entries = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const bytes = entries.reduce((sum, entry) => sum + lstatSync(join(folder, entry)).size, 0);
  return { bytes, files: entries.length };
}

function tooMuch(_: unknown, { workspace }: Ground): boolean {
  return usage(workspace).bytes > 60_000_000;
}

function tooMany(_: unknown, { workspace }: Ground): boolean {
  return usage(workspace).files > 1_100;
}

function hasControls(text: string): boolean {
  return /[^\P{Cc}\t\n]/u.test(text);
}

const attempts =
  (language: Attempt["language"]) =>
  ([name, code, rest]: Row): Attempt => ({ name, language, code, ...rest });

export const programs: readonly Attempt[] = [...shell.map(attempts("shell")), ...python.map(attempts("python"))];
