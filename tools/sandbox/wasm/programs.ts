/** The three guest programs: what each is made of on this machine, and how Node is told to start it. */
import { realpathSync } from "node:fs";
import { createRequire, findPackageJSON } from "node:module";
import { dirname, extname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { ProcessLimits } from "../process.ts";
import type { Language, Policy } from "../types.ts";

export interface GuestProgram {
  readonly language: Language;
  /** Files and folders that it has to read. */
  readonly readable: readonly string[];
  /** After the path of Node. */
  readonly args: readonly string[];
  readonly limits: ProcessLimits;
  /** Whether a process that ran code may run more of the same owner: only where nothing is left of a call. */
  readonly isReusable: boolean;
  /** How many wait for work, at 60 MB (JavaScript), 100 MB (shell) and 120 MB (Python) each. */
  readonly idleTarget: number;
}

/** What Node 24 counts as data when a guest waits for its code: 585 MB, of which V8's code range is 512, unused. */
const idleDataMb = 640;
/** On top of it, in sizes of the VM: its memory, and our copies of a string that fills it. */
const vmsOfRoom = 4;
/** Node needs about 25 descriptors to start. */
const openFilesFloor = 64;
/** CPU time for Node's own start, on top of what the policy gives to the guest. */
const startCpuSeconds = 3;
/** And for the earlier calls of a process that may serve again; no less than child.ts lets them take. */
const reuseCpuSeconds = 5;

/** `guest-js.ts` beside `programs.ts`, `guest-js.js` beside `programs.js`. Real paths: the permission model compares those. */
const extension = extname(import.meta.url);
const here = dirname(realpathSync(fileURLToPath(import.meta.url)));
const { resolve: locate } = createRequire(join(here, "guest"));

/** The languages that can be run here. The shell and Python come with the optional package just-bash. */
export function installedLanguages(): Language[] {
  return (["js", "python", "shell"] as const).filter(isInstalled);
}

export function isInstalled(language: Language): boolean {
  return language === "js" || findJustBash() !== undefined;
}

/** The limits of a policy that a process has from its start: with others it is another program. */
type ProgramLimits = Pick<Policy, "jsMemMb" | "memMb" | "cpuMs" | "openFiles">;

/** Throws when the engine of `language` is not installed. */
export function programFor(language: Language, policy: ProgramLimits): GuestProgram {
  const engine = engines[language](policy);
  const isReusable = language === "js";
  const own = ["guest-io", "protocol", ...engine.own].map((name) => resolve(here, name + extension));
  // Node reads the nearest package.json to learn that our files are ES modules.
  const manifest = findPackageJSON(pathToFileURL(own[0]!));
  const readable = [...own, ...engine.readable, ...(manifest === undefined ? [] : [manifest])];
  return {
    language,
    readable,
    isReusable,
    args: [
      // A second line of defence: it is not a boundary (its own words). It names each file that the guest imports, so
      // it also notices when somebody adds an import.
      "--permission",
      ...readable.map((path) => `--allow-fs-read=${path}`),
      "--disallow-code-generation-from-strings",
      "--v8-pool-size=1",
      `--max-old-space-size=${engine.heapMb}`,
      resolve(here, engine.own[0]! + extension),
      ...engine.args,
    ],
    limits: {
      cpuSeconds: Math.ceil(policy.cpuMs / 1_000) + startCpuSeconds + (isReusable ? reuseCpuSeconds : 0),
      dataMb: idleDataMb + engine.roomMb,
      openFiles: Math.max(openFilesFloor, policy.openFiles),
      fileMb: 0,
    },
    idleTarget: engine.idleTarget,
  };
}

interface Engine {
  /** Our files: the main one first. */
  readonly own: readonly string[];
  readonly readable: readonly string[];
  readonly args: readonly string[];
  readonly heapMb: number;
  /** Above what Node needs. */
  readonly roomMb: number;
  readonly idleTarget: number;
}

const engines: Readonly<Record<Language, (policy: ProgramLimits) => Engine>> = {
  js: ({ jsMemMb }) => ({
    own: ["guest-js", "vm", "evaluator", "prelude", "globals", "random"],
    readable: [dirname(locate("quickjs-wasi/package.json"))],
    args: [String(jsMemMb), locate("quickjs-wasi"), locate("quickjs-wasi/quickjs.wasm")],
    heapMb: 64,
    roomMb: vmsOfRoom * jsMemMb,
    idleTarget: 2,
  }),
  shell: ({ memMb }) => {
    const main = requireJustBash();
    return {
      own: ["guest-shell"],
      // Its commands import packages of their own, which may stand beside it or above it: all installed packages.
      readable: [packagesAround(main)],
      args: [String(memMb), main],
      heapMb: memMb,
      roomMb: 2 * memMb,
      idleTarget: 1,
    };
  },
  python: ({ memMb }) => {
    const folder = resolve(dirname(requireJustBash()), "../../vendor/cpython-emscripten");
    return {
      own: ["guest-python", "lines"],
      readable: [folder],
      args: [String(memMb), ...["python.cjs", "python.wasm", "python313.zip"].map((name) => join(folder, name))],
      heapMb: memMb,
      roomMb: 2 * memMb,
      idleTarget: 1,
    };
  },
};

/** The main file of just-bash for `import`; its main file for `require` stands in the same folder. */
function findJustBash(): string | undefined {
  try {
    return realpathSync(join(dirname(locate("just-bash")), "index.js"));
  } catch {
    return undefined;
  }
}

function requireJustBash(): string {
  const main = findJustBash();
  if (!main) throw new Error("The package just-bash is not installed");
  return main;
}

/** The outermost `node_modules` that `file` is in. */
function packagesAround(file: string): string {
  const name = `${join("/", "node_modules")}/`;
  return file.slice(0, file.indexOf(name) + name.length);
}
