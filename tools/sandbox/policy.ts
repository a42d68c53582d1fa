/** Limits only ever get narrower: what a tool needs, within what the operator and the run allow. */
import { satisfies } from "../../lib/isolation.ts";
import type { Policy } from "./types.ts";

/** What may be asked for below a policy. What is above it is ignored, so nobody can widen a limit. */
export type Narrowing = { readonly [Key in keyof Policy]?: Policy[Key] | undefined };

type Ceiling = { [Key in keyof Policy]: Policy[Key] extends number ? Key : never }[keyof Policy];

/** `policy` with each ceiling at the lower of the two, the stronger isolation, and only what both allow. */
export function narrowed(policy: Policy, wish: Narrowing): Policy {
  const lower = (key: Ceiling): number => Math.min(policy[key], wish[key] ?? policy[key]);
  const minimum = wish.minimum && satisfies(wish.minimum, policy.minimum) ? wish.minimum : policy.minimum;
  const { network = policy.network, env = policy.env, readable = policy.readable } = wish;
  return {
    minimum,
    wallMs: lower("wallMs"),
    cpuMs: lower("cpuMs"),
    memMb: lower("memMb"),
    jsMemMb: lower("jsMemMb"),
    procs: lower("procs"),
    fileMb: lower("fileMb"),
    workspaceMb: lower("workspaceMb"),
    files: lower("files"),
    outputBytes: lower("outputBytes"),
    resultBytes: lower("resultBytes"),
    openFiles: lower("openFiles"),
    globalsMb: lower("globalsMb"),
    network: { ...policy.network, allow: policy.network.allow.filter((host) => network.allow.includes(host)) },
    env: Object.fromEntries(Object.entries(policy.env).filter(([name, value]) => env[name] === value)),
    readable: policy.readable.filter((path) => readable.includes(path)),
  };
}

/** Whether a sandbox can keep it that has nothing but the workspace: no network, no environment, no files of this machine. */
export function needsNothing({ network, env, readable }: Policy): boolean {
  return network.allow.length === 0 && Object.keys(env).length === 0 && readable.length === 0;
}
