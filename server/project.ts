/** langgraph.json: which graphs a project has, and what they expect in the environment. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseEnv } from "node:util";
import { z } from "zod";
import { asError, PawlError } from "../lib/errors.ts";
import { Minutes, type ThreadTtl, TtlStrategy } from "../runs/threads/ttl.ts";

/** `./path/to/file.ts:exportName` */
const Target = z.string().regex(/^.+:[^:/\\]+$/, "must be path:export");

/** How long threads stay. */
export interface ThreadRetention {
  readonly sweepMinutes: number;
  /** Of new threads that are given none. */
  readonly defaultTtl?: ThreadTtl;
}

/** Where a project says nothing. */
export const defaultRetention: ThreadRetention = { sweepMinutes: 5 };

/** Keys that are of other servers, or for their builds, are ignored. */
const ProjectFile = z.object({
  graphs: z
    .record(z.string().min(1), z.union([Target, z.object({ path: Target, description: z.string().optional() })]))
    .refine((graphs) => Object.keys(graphs).length > 0, "must name a graph"),
  env: z.union([z.string(), z.record(z.string(), z.string())]).optional(),
  checkpointer: z
    .object({
      ttl: z
        .object({
          strategy: TtlStrategy.default("delete"),
          /** Minutes. */
          sweep_interval_minutes: z.number().positive().max(10_080).default(defaultRetention.sweepMinutes),
          /** Minutes; without it only threads that are given a time have one. */
          default_ttl: Minutes.optional(),
        })
        .optional(),
    })
    .optional(),
});

export interface GraphSource {
  readonly graphId: string;
  /** Absolute. */
  readonly file: string;
  readonly exportName: string;
  readonly description?: string;
}

export interface Project {
  readonly graphs: readonly GraphSource[];
  readonly env: Readonly<Record<string, string>>;
  readonly threadRetention: ThreadRetention;
  /** Named by the project and not there. */
  readonly missingEnvFile?: string;
}

/** Throws `bad_configuration` that names the file and what is wrong in it. */
export function readProject(path: string): Project {
  const file = resolve(path);
  const parsed = ProjectFile.safeParse(readJsonFile(file));
  if (!parsed.success) throw new PawlError("bad_configuration", `${file}\n${z.prettifyError(parsed.error)}`);
  const folder = dirname(file);
  const graphs = Object.entries(parsed.data.graphs).map(([graphId, target]): GraphSource => {
    const { path: place, description } = typeof target === "string" ? { path: target } : target;
    const colon = place.lastIndexOf(":");
    const source = { graphId, file: resolve(folder, place.slice(0, colon)), exportName: place.slice(colon + 1) };
    return description === undefined ? source : { ...source, description };
  });
  return { graphs, threadRetention: retentionOf(parsed.data), ...readEnv(folder, parsed.data.env) };
}

function retentionOf({ checkpointer }: z.infer<typeof ProjectFile>): ThreadRetention {
  if (!checkpointer?.ttl) return defaultRetention;
  const { strategy, sweep_interval_minutes: sweepMinutes, default_ttl } = checkpointer.ttl;
  return {
    sweepMinutes,
    ...(default_ttl !== undefined && { defaultTtl: { ttl: default_ttl, strategy } }),
  };
}

function readEnv(folder: string, given: string | Record<string, string> | undefined) {
  if (typeof given !== "string") return { env: given ?? {} };
  const file = resolve(folder, given);
  // A checkout has the example of it only, and many graphs run without.
  if (!existsSync(file)) return { env: {}, missingEnvFile: file };
  const entries = Object.entries(parseEnv(readFileSync(file, "utf8"))).filter(([, value]) => value !== undefined);
  return { env: Object.fromEntries(entries) as Record<string, string> };
}

function readJsonFile(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new PawlError("bad_configuration", `${file} cannot be read: ${asError(cause).message}`, { cause });
  }
}
