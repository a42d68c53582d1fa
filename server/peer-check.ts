/**
 * Whether this process has the Node and the LangGraph that our package.json asks for. Package managers only warn, and
 * what is thrown later ("does not provide an export named ...") tells nobody what to install.
 * Runs on the Node that is to be refused, so it imports nothing that an old one lacks.
 */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { PawlError } from "../lib/errors.ts";

interface Manifest {
  readonly version: string;
  readonly engines: { readonly node: string };
  readonly peerDependencies: Readonly<Record<string, string>>;
}

/** Not the SDK: it is a peer only so that npm settles its version before it looks at what LangGraph wants. */
const imported = ["@langchain/core", "@langchain/langgraph"];

const require = createRequire(import.meta.url);

/** Throws `bad_configuration` that names what is there, where, and what to install. */
export function refuseUnfittingInstall(): void {
  const { engines, peerDependencies } = require("pawl/package.json") as Manifest;
  if (!satisfies(process.versions.node, engines.node)) {
    throw new PawlError("bad_configuration", `Pawl needs Node ${engines.node}; this is ${process.versions.node}`);
  }
  for (const name of imported) refuseUnfittingPeer(name, peerDependencies[name]!);
}

function refuseUnfittingPeer(name: string, range: string): void {
  const file = locate(`${name}/package.json`);
  const version = file && (require(file) as Manifest).version;
  if (version !== undefined && satisfies(version, range)) return;
  const found = version === undefined ? "it is not installed" : `found ${version} in ${dirname(file!)}`;
  throw new PawlError("bad_configuration", `Pawl needs ${name} ${range}; ${found}: npm install "${name}@${range}"`);
}

function locate(specifier: string): string | undefined {
  try {
    return require.resolve(specifier);
  } catch {
    return undefined;
  }
}

/** For the ranges that our package.json uses: `>=`, `^` (of 1 and above) or `~`, and a version. */
export function satisfies(version: string, range: string): boolean {
  const [, operator = "", least = ""] = /^(>=|\^|~)(.+)$/.exec(range) ?? [];
  const fixedParts = { ">=": 0, "^": 1, "~": 2 }[operator];
  if (fixedParts === undefined) throw new Error(`Cannot read the version range ${range}`);
  const [has, needs] = [partsOf(version), partsOf(least)];
  if (needs.slice(0, fixedParts).some((part, i) => part !== has[i])) return false;
  const i = needs.findIndex((part, at) => part !== has[at]);
  return i < 0 || has[i]! > needs[i]!;
}

/** Major, minor, patch. What comes before a release (`1.5.0-rc.1`) counts as that release. */
function partsOf(version: string): number[] {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.+-]/, 3).map(Number);
  return [major, minor, patch];
}
