/**
 * What travels between a server and a sandbox on another machine: HTTP with a bearer token, JSON both ways. A run brings
 * its files along and takes what it changed back, so the other side keeps nothing, and has nothing to clean up when we
 * are gone. docs/sandbox.md describes it for whoever writes another side.
 *
 * - `GET /v1/sandboxes`: which languages it runs.
 * - `PUT /v1/runs/:id`: runs code. The id is the caller's. The answer is a stream of lines, each one JSON.
 * - `DELETE /v1/runs/:id`: kills it. So does closing the connection.
 */
import { z } from "zod";
import { type Language, runStatuses } from "../types.ts";

export const runPath = (id: string): string => `/v1/runs/${id}`;
export const sandboxesPath = "/v1/sandboxes";

/** A line at least so often while code runs; a side that is silent for `silenceMs` is taken for dead. */
export const heartbeatMs = 2_000;
export const silenceMs = 10_000;

const languageNames = ["js", "python", "shell"] as const satisfies readonly Language[];
const LanguageName = z.enum(languageNames);

const Path = z.string().min(1).max(4_096);
const Text = z.string().max(1_000_000);
/** Base64: contents are bytes. */
const File = z.object({ path: Path, content: z.string() });
const Files = z.array(File).max(20_000);
const Paths = z.array(Path).max(20_000);
const Limit = z.int().min(0);

/** The amounts of a policy. */
export const Limits = z.object({
  wallMs: Limit,
  cpuMs: Limit,
  memMb: Limit,
  jsMemMb: Limit,
  procs: Limit,
  fileMb: Limit,
  workspaceMb: Limit,
  files: Limit,
  outputBytes: Limit,
  resultBytes: Limit,
  openFiles: Limit,
});
export type Limits = z.infer<typeof Limits>;

export const RunBody = z.strictObject({
  language: LanguageName,
  code: z.string(),
  stdin: z.string(),
  cwd: Path,
  timeout_ms: z.int().min(1),
  limits: Limits,
  /** Absent where there is none, so that a side which knows neither refuses only what it cannot hold. */
  env: z.record(z.string().max(1_000), Text).optional(),
  /** Hosts that the code may reach, as far as the other side's operator allows them too. */
  hosts: z.array(z.string().max(300)).max(1_000).optional(),
  folders: Paths,
  files: Files,
});
export type RunBody = z.infer<typeof RunBody>;

export const RunId = z.uuid();

export const Line = z.discriminatedUnion("type", [
  z.object({ type: z.literal("alive") }),
  z.object({ type: z.literal("output"), stream: z.enum(["stdout", "stderr"]), text: Text }),
  z.object({
    type: z.literal("end"),
    status: z.enum(runStatuses),
    exit_code: z.int().nullable(),
    /** JSON in JSON, so that its size and depth can be looked at first. */
    value: Text.optional(),
    /** What went wrong, where the guest did not print it. */
    note: Text.optional(),
    /** What the code changed. */
    folders: Paths,
    files: Files,
    deleted: Paths,
  }),
]);
export type Line = z.infer<typeof Line>;
export type End = Extract<Line, { type: "end" }>;

export const Sandboxes = z.object({
  sandboxes: z.partialRecord(LanguageName, z.object({ isolation: z.string().max(40) })),
});
export type Sandboxes = z.infer<typeof Sandboxes>;
