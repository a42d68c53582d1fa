/** Landlock: which files this thread, and all that it starts, can still reach. Loaded in a launcher only. */
import { closeSync, openSync, statSync } from "node:fs";
import { addPathRule, createRuleset, restrictSelf } from "./kernel.ts";
import type { Confinement } from "./protocol.ts";

/** LANDLOCK_ACCESS_FS_*, linux/landlock.h. */
const access = {
  execute: 1n << 0n,
  writeFile: 1n << 1n,
  readFile: 1n << 2n,
  readFolder: 1n << 3n,
  removeFolder: 1n << 4n,
  removeFile: 1n << 5n,
  makeFolder: 1n << 7n,
  makeFile: 1n << 8n,
  makeSymlink: 1n << 12n,
  refer: 1n << 13n,
  truncate: 1n << 14n,
};
const read = access.execute | access.readFile | access.readFolder;
/** No devices, no sockets, no FIFOs. */
const write =
  access.writeFile |
  access.removeFolder |
  access.removeFile |
  access.makeFolder |
  access.makeFile |
  access.makeSymlink |
  access.refer |
  access.truncate;
const onFiles = access.execute | access.readFile | access.writeFile | access.truncate;

/** All rights that an ABI knows, so that what is not granted is denied: devices, sockets, FIFOs among them. */
const fileRights = (abi: number): bigint => (abi >= 5 ? (1n << 16n) - 1n : (1n << 15n) - 1n);
/** LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP. */
const netRights = 3n;
/** LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and SIGNAL. */
const scopes = 3n;

const abis = { truncate: 3, network: 4, scopes: 6 };

/** Opens only a name: no right to the file is needed or gained. Not in Node's constants. */
const oPath = 0o10_000_000;

/**
 * The ABI of this kernel. Throws, with the reason, where it cannot keep the promise: without its truncate right other
 * files could be emptied, and without scopes a guest with our own user id could kill us.
 */
export function requireLandlock(sharesUser: boolean): number {
  let abi: number;
  try {
    abi = createRuleset(null);
  } catch {
    throw new Error("This kernel has no Landlock, or it is switched off");
  }
  if (abi < abis.truncate) throw new Error(`Landlock ABI ${abi} is too old; Linux 6.2 has 3`);
  if (sharesUser && abi < abis.scopes) {
    throw new Error(
      `Landlock ABI ${abi} does not keep signals inside, which takes Linux 6.12 (or a server run by root)`,
    );
  }
  return abi;
}

type Files = Pick<Confinement, "readable" | "writable" | "devices">;

export function restrictFiles(abi: number, { readable, writable, devices }: Files): void {
  const ruleset = createRuleset(attributes(abi));
  for (const path of readable) allow(ruleset, path, read);
  for (const path of writable) allow(ruleset, path, read | write);
  for (const path of devices) allow(ruleset, path, access.readFile | access.writeFile);
  restrictSelf(ruleset);
  closeSync(ruleset);
}

/** `struct landlock_ruleset_attr`, as long as this ABI knows it. */
function attributes(abi: number): Buffer {
  const bytes = Buffer.alloc(abi >= abis.scopes ? 24 : abi >= abis.network ? 16 : 8);
  bytes.writeBigUInt64LE(fileRights(abi), 0);
  if (bytes.length > 8) bytes.writeBigUInt64LE(netRights, 8);
  if (bytes.length > 16) bytes.writeBigUInt64LE(scopes, 16);
  return bytes;
}

function allow(ruleset: number, path: string, rights: bigint): void {
  const folder = openSync(path, oPath);
  try {
    const rule = Buffer.alloc(12);
    rule.writeBigUInt64LE(statSync(path).isDirectory() ? rights : rights & onFiles, 0);
    rule.writeInt32LE(folder, 8);
    addPathRule(ruleset, rule);
  } finally {
    closeSync(folder);
  }
}
