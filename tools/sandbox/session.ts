/** Makes a session of what an executor has to bring: the way it runs code. Files are reached from our side. */
import { randomUUID } from "node:crypto";
import { createFileBackend } from "./file-backend.ts";
import type { Isolation, Policy, RunRequest, RunResult, Session } from "./types.ts";
import type { Workspace } from "./workspace.ts";

interface SessionParts {
  readonly isolation: Isolation;
  readonly workspace: Workspace;
  readonly policy: Policy;
  run(request: RunRequest): Promise<RunResult>;
  snapshot?(): Promise<Uint8Array>;
  close?(): Promise<void>;
}

export function createSession(parts: SessionParts): Session {
  const { isolation, workspace, policy } = parts;
  return {
    ...createFileBackend(workspace, policy),
    id: randomUUID(),
    isolation,
    run: (request) => parts.run(request),
    async execute(command, options) {
      const seconds = options?.timeout;
      // 0 lifts the limit in deepagents' own backends; here the policy stands.
      const timeoutMs = seconds ? { timeoutMs: seconds * 1_000 } : {};
      const { output, exitCode, truncated } = await parts.run({ language: "shell", code: command, ...timeoutMs });
      return { output, exitCode, truncated };
    },
    ...(parts.snapshot && { snapshot: () => parts.snapshot!() }),
    close: () => parts.close?.() ?? Promise.resolve(),
  };
}
