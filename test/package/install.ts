/** Packs Pawl as it would be published and installs it where nothing of this tree is in reach. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import manifest from "../../package.json" with { type: "json" };
import { files } from "./project.ts";

const execute = promisify(execFile);

/** Commands of the project run on the Node that runs the tests. */
export const environment = {
  ...process.env,
  PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"]}`,
  LOG_LEVEL: "warn",
};

export interface Installed extends AsyncDisposable {
  /** Of the project; its data are in `.pawl`. */
  readonly folder: string;
  /** What the package is made of, from its root. */
  readonly packed: readonly string[];
}

const Packed = z.tuple([z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) })]);

export async function packAndInstall(): Promise<Installed> {
  const root = await mkdtemp(join(tmpdir(), "pawl-package-"));
  const dispose = () => rm(root, { recursive: true, force: true });
  try {
    const { stdout } = await npm(process.cwd(), ["pack", "--json", "--pack-destination", root]);
    const [{ filename, files: contents }] = Packed.parse(JSON.parse(stdout));
    const folder = join(root, "project");
    await mkdir(folder);
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    await npm(folder, ["install", ...installFlags, join(root, filename), ...peers]);
    return { folder, packed: contents.map(({ path }) => path), [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** What a project has of its own; the SDK comes as npm resolves it. */
const peers = (["@langchain/langgraph", "@langchain/core"] as const).map(
  (name) => `${name}@${manifest.devDependencies[name]}`,
);

/** Without scripts, as careful projects install: Pawl has to work without them. */
const installFlags = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"];

/** npm can take for ever to find out that versions do not fit together. */
const NPM_TIMEOUT_MS = 90_000;

function npm(cwd: string, args: readonly string[]) {
  return execute("npm", args, { cwd, env: environment, timeout: NPM_TIMEOUT_MS, maxBuffer: 16 * 1_024 * 1_024 });
}
