/** Attacks the wasm sandbox from inside, before its first use. A language whose attacks are not all beaten is not offered. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Capabilities,
  defaultPolicy,
  type Language,
  type Policy,
  type RunResult,
  type Session,
} from "../types.ts";
import type { Workspace } from "../workspace.ts";

interface Attack {
  readonly name: string;
  readonly code: string;
  readonly timeoutMs?: number;
  /** Whether the result shows that it failed. */
  readonly beaten: (result: RunResult) => boolean;
}

const timesOut = ({ status }: RunResult): boolean => status === "timeout";
const says =
  (text: string) =>
  ({ status, stdout }: RunResult): boolean =>
    status === "ok" && stdout === text;

const attacks: Readonly<Record<Language, readonly Attack[]>> = {
  js: [
    {
      name: "host objects",
      code: `[typeof process, typeof require, typeof fetch, typeof WebAssembly, typeof Deno,
      (() => { try { return typeof this.constructor.constructor("return process")(); } catch { return "undefined"; } })()]
      .every((kind) => kind === "undefined")`,
      beaten: ({ status, value }) => status === "ok" && value === true,
    },
    {
      name: "modules",
      code: `(await Promise.allSettled(["fs", "node:fs", "/etc/passwd", "file:///etc/passwd"].map((name) => import(name))))
      .every(({ status }) => status === "rejected")`,
      beaten: ({ status, value }) => status === "ok" && value === true,
    },
    { name: "endless loop", code: "for (;;);", timeoutMs: 200, beaten: timesOut },
    {
      name: "memory",
      code: "const a = []; for (;;) a.push(new Array(1e5).fill(1));",
      beaten: ({ status }) => status === "oom",
    },
  ],
  shell: [
    {
      name: "files of the host",
      code: "cat /etc/passwd /proc/1/environ ../etc/passwd 2>/dev/null; echo end",
      beaten: says("end\n"),
    },
    {
      name: "programs",
      code: "for p in curl node python3 js-exec; do command -v $p; done; echo end",
      beaten: says("end\n"),
    },
    { name: "endless loop", code: "while true; do :; done", timeoutMs: 500, beaten: ({ status }) => status !== "ok" },
  ],
  python: [
    {
      name: "files of the host",
      code: "import os\nprint(os.path.exists('/etc/passwd'), os.path.exists('/workspace/../etc/passwd'))",
      beaten: says("False False\n"),
    },
    {
      name: "bridges",
      code: `
import importlib
def found(name):
    try:
        importlib.import_module(name)
        return True
    except ImportError:
        return False
print([name for name in ("js", "pyodide", "ctypes", "_ctypes", "cffi") if found(name)])`,
      beaten: says("[]\n"),
    },
    {
      name: "network",
      code: `
import socket
try:
    socket.create_connection(("127.0.0.1", 1), timeout=1)
    print("connected")
except OSError:
    print("refused")`,
      beaten: says("refused\n"),
    },
    { name: "endless loop", code: "while True: pass", timeoutMs: 500, beaten: timesOut },
  ],
};

export async function probeWasm(
  open: (workspace: Workspace, policy: Policy) => Session,
  asked: readonly Language[],
): Promise<Capabilities> {
  const root = await mkdtemp(join(tmpdir(), "pawl-probe-"));
  try {
    const session = open({ threadId: "probe", root }, defaultPolicy);
    const outcomes = await Promise.all(asked.map((language) => attackAll(session, language)));
    const languages = asked.filter((_, index) => outcomes[index] === undefined);
    const reasons = outcomes.filter((reason) => reason !== undefined);
    if (asked.length === 0) reasons.push("shell and python need the package just-bash, which is not installed");
    return { available: languages.length > 0, languages, ...(reasons.length > 0 && { reason: reasons.join("; ") }) };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** Undefined when every attack was beaten. */
async function attackAll(session: Session, language: Language): Promise<string | undefined> {
  for (const { name, code, timeoutMs = 5_000, beaten } of attacks[language]) {
    const result = await session.run({ language, code, timeoutMs });
    if (!beaten(result)) return `${language} did not beat the attack "${name}" (${result.status})`;
  }
  return undefined;
}
