/** Attacks a native sandbox from inside, at start. An attack that is not beaten makes the executor unavailable. */
import { randomUUID } from "node:crypto";
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
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

type Open = (workspace: Workspace, policy: Policy) => Promise<Session>;

/** Few, so that the attack on their number is short. */
const policy: Policy = { ...defaultPolicy, procs: 16 };

interface Bait {
  readonly workspace: string;
  readonly secretFile: string;
  readonly port: number;
}

/** Each prints `beaten` when it failed, and only then. */
const attacks: readonly { readonly name: string; readonly code: (bait: Bait) => string }[] = [
  { name: "a file outside", code: ({ secretFile }) => `cat '${secretFile}' && exit; echo beaten` },
  { name: "a system file", code: () => "cat /etc/passwd && exit; echo beaten" },
  { name: "the server's environment", code: () => `cat /proc/${process.pid}/environ && exit; echo beaten` },
  { name: "a signal to the server", code: () => `kill -0 ${process.pid} && exit; echo beaten` },
  { name: "a raised limit", code: () => "(ulimit -t unlimited) && exit; echo beaten" },
  {
    name: "too many processes",
    // The shell ends with an error when it cannot fork; where the number is only looked at, that takes a moment.
    code: () =>
      "(i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; sleep 2) >/dev/null 2>&1 && exit; echo beaten",
  },
];
/** Each says hello; Python, which has sockets, also tries the server's. */
const greetings: Readonly<Record<Language, (bait: Bait) => string>> = {
  shell: () => "echo beaten",
  js: () => "console.log('beaten')",
  python: ({ port }) =>
    `import socket\ntry:\n socket.create_connection(("127.0.0.1", ${port}), 2)\nexcept OSError: print("beaten")`,
};

/**
 * `languages` are those that the machine may have; those that do not start are left out. `harmless` names attacks that
 * are none where the guest has a system of its own.
 */
export async function probeNative(
  open: Open,
  languages: readonly Language[],
  harmless: readonly string[] = [],
): Promise<Capabilities> {
  if (languages.length === 0) return { available: false, languages: [], reason: "This machine has no program for it" };
  await using bait = await layBait();
  try {
    // Its account, and so the number of its processes, is not that of a server that starts beside this one.
    const session = await open({ threadId: randomUUID(), root: bait.workspace }, policy);
    try {
      return await attackAll(session, bait, { languages, harmless });
    } finally {
      await session.close();
    }
  } catch (error) {
    return { available: false, languages: [], reason: error instanceof Error ? error.message : "It did not start" };
  }
}

async function attackAll(
  session: Session,
  bait: Bait,
  { languages, harmless }: { languages: readonly Language[]; harmless: readonly string[] },
): Promise<Capabilities> {
  for (const { name, code } of attacks) {
    if (harmless.includes(name)) continue;
    const result = await session.run({ language: "shell", code: code(bait), timeoutMs: 10_000 });
    if (!isBeaten(result)) return { available: false, languages: [], reason: lost(name, result) };
  }
  const working: Language[] = [];
  for (const language of languages) {
    const result = await session.run({ language, code: greetings[language](bait), timeoutMs: 10_000 });
    if (isBeaten(result)) working.push(language);
    else if (result.status === "ok") return { available: false, languages: [], reason: lost("a connection", result) };
  }
  if (working.length === 0)
    return { available: false, languages: [], reason: "The program for it does not start there" };
  return { available: true, languages: working };
}

/** Or it was stopped, as one that starts too many processes may be. */
const isBeaten = ({ status, stdout }: RunResult): boolean => stdout === "beaten\n" || status === "killed";

const lost = (name: string, { status, stderr }: RunResult): string =>
  `The sandbox did not beat the attack "${name}" (${status}) ${stderr.slice(0, 200)}`.trimEnd();

/** All of it is open to everybody on this machine, so that only the sandbox stands before it. */
async function layBait(): Promise<Bait & AsyncDisposable> {
  const folder = await makeScratch("probe");
  const [workspace, secretFile] = [join(folder, "workspace"), join(folder, "secret")];
  await mkdir(workspace, { mode: 0o700 });
  await writeFile(secretFile, "secret");
  await chmod(folder, 0o755);
  const listener = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  await new Promise((resolve) => void listener.once("listening", resolve));
  return {
    workspace,
    secretFile,
    port: (listener.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
