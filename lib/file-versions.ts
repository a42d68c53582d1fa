/**
 * The files of a thread as its host keeps them: each content and each list of files under its own hash, so that every
 * step can name the files it had. A folder on a disk is only a copy of one version.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { jsonDigest } from "./digest.ts";

/** A file, or a folder (`hash: null`), of a version. */
export const VersionEntry = z.object({
  /** Relative to the workspace; or `globalsPath`, which is in no folder. */
  path: z.string(),
  /** SHA-256 of the content, in hex. */
  hash: z.string().nullable(),
  /** Bytes. */
  size: z.number(),
  executable: z.boolean(),
});
export type VersionEntry = z.infer<typeof VersionEntry>;

/** The version of a thread that never had files. */
export const noFiles = "";

/**
 * Where a version has the globals of the thread's JavaScript: no path of a file begins like this, so no guest and no
 * client can name it.
 */
export const globalsPath = "/globals";

/** What a call did to the files: recorded together with its result. */
export interface FileChange {
  readonly checkpointId: string;
  readonly version: string;
}

/** The versions of one thread's files, as a task of it sees them. Every write throws `lease_lost` when the thread is another's. */
export interface FileVersions {
  /** The checkpoint that the task belongs to. */
  readonly checkpointId: string;
  /** The version that the task starts from; `noFiles`, or null when nobody knows: then the folder is what there is. */
  newest(): Promise<string | null>;
  entries(version: string): Promise<VersionEntry[]>;
  content(hash: string): Promise<Buffer>;
  /** Which of these contents are not kept yet. */
  missing(hashes: readonly string[]): Promise<string[]>;
  addContent(hash: string, content: Buffer): Promise<void>;
  /** Keeps a list whose contents are all kept; returns its hash. It counts once a `FileChange` names it. */
  addVersion(entries: readonly VersionEntry[]): Promise<string>;
}

/** The version's name: equal for equal files, whatever their order here. */
export function versionOf(entries: readonly VersionEntry[]): string {
  return jsonDigest(entries.toSorted((a, b) => (a.path < b.path ? -1 : 1)));
}

/** The name of a content. */
export function hashOf(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
