/** Attacks the wasm sandbox from inside, before its first use. A language whose attacks are not all beaten is not offered. */
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { makeScratch } from "../scratch.ts";
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
  /** `PORT` stands for one of this machine where we listen. */
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

/** As few processes as can be: every server that starts pays for them. */
const attacks: Readonly<Record<Language, readonly Attack[]>> = {
  js: [
    {
      name: "host objects and modules",
      code: `
      const thing = () => { try { return typeof this.constructor.constructor("return process")(); } catch { return "undefined"; } };
      const names = [typeof process, typeof require, typeof fetch, typeof WebAssembly, typeof Deno, thing()];
      const modules = await Promise.allSettled(["fs", "node:fs", "/etc/passwd", "file:///etc/passwd"].map((name) => import(name)));
      names.every((kind) => kind === "undefined") && modules.every(({ status }) => status === "rejected")`,
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
      name: "files and programs of the host",
      code: `cat /etc/passwd /proc/1/environ ../etc/passwd 2>/dev/null
      for p in curl node python3 js-exec; do command -v $p; done; echo end`,
      beaten: says("end\n"),
    },
    { name: "endless loop", code: "while true; do :; done", timeoutMs: 500, beaten: ({ status }) => status !== "ok" },
  ],
  python: [
    {
      name: "files of the host, bridges and network",
      code: `
import importlib, os, socket
def found(name):
    try:
        importlib.import_module(name)
        return True
    except ImportError:
        return False
def connects():
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=1)
        return True
    except OSError:
        return False
print(
    [path for path in ("/etc/passwd", "/workspace/../etc/passwd") if os.path.exists(path)],
    [name for name in ("js", "pyodide", "ctypes", "_ctypes", "cffi") if found(name)],
    connects(),
)`,
      beaten: says("[] [] False\n"),
    },
    { name: "endless loop", code: "while True: pass", timeoutMs: 500, beaten: timesOut },
  ],
};

export async function probeWasm(
  open: (workspace: Workspace, policy: Policy) => Session,
  asked: readonly Language[],
): Promise<Capabilities> {
  const root = await makeScratch("probe");
  const listener = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  try {
    await once(listener, "listening");
    const { port } = listener.address() as AddressInfo;
    const session = open({ threadId: "probe", root }, defaultPolicy);
    const outcomes = await Promise.all(asked.map((language) => attackAll(session, language, port)));
    const languages = asked.filter((_, index) => outcomes[index] === undefined);
    const reasons = outcomes.filter((reason) => reason !== undefined);
    if (asked.length === 0) reasons.push("shell and python need the package just-bash, which is not installed");
    return { available: languages.length > 0, languages, ...(reasons.length > 0 && { reason: reasons.join("; ") }) };
  } finally {
    listener.close();
    await rm(root, { recursive: true, force: true });
  }
}

/** Undefined when every attack was beaten. */
async function attackAll(session: Session, language: Language, port: number): Promise<string | undefined> {
  for (const { name, code, timeoutMs = 5_000, beaten } of attacks[language]) {
    const result = await session.run({ language, code: code.replace("PORT", String(port)), timeoutMs });
    if (!beaten(result)) return `${language} did not beat the attack "${name}" (${result.status})`;
  }
  return undefined;
}
