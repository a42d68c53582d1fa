/** What the tools that work on a conversation's files share: how a file is named, and how a failure is reported. */
import { z } from "zod";
import type { FileBackend } from "./sandbox/backend.ts";
import { createFileBackend } from "./sandbox/file-backend.ts";
import { narrowed } from "./sandbox/policy.ts";
import { defaultPolicy, type Policy } from "./sandbox/types.ts";
import { openWorkspace } from "./sandbox/workspace.ts";
import { type ToolContext, ToolFailure } from "./tool.ts";

export const FilePath = z.string().min(1).max(1_000).describe("Path below /workspace, for example notes/plan.md");
export const FolderPath = z.string().min(1).max(1_000).default("/workspace").describe("Folder to look into");

/** What a tool may do: its own policy, within what the operator and this run allow. */
export function policyFor(context: Pick<ToolContext, "config" | "sandbox">, own: Policy = defaultPolicy): Policy {
  return narrowed(narrowed(own, { minimum: context.config.sandboxMin }), context.sandbox ?? {});
}

/** Gives `work` the conversation's files. What it returns an `error` for becomes a failure that a model can read. */
export async function withFiles<T extends { error?: string }>(
  context: Pick<ToolContext, "config" | "sandbox" | "threadId">,
  work: (files: FileBackend) => Promise<T>,
): Promise<Omit<T, "error">> {
  const workspace = await openWorkspace(context.config.dataDir, context.threadId);
  const { error, ...result } = await work(createFileBackend(workspace, policyFor(context)));
  if (error !== undefined) throw new ToolFailure("FAILED", error);
  return result;
}
