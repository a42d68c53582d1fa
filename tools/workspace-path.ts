/** What the tools that work on a thread's files share: how a path is given, and how a failure is told. */
import { z } from "zod";
import { FileError } from "./sandbox/paths.ts";
import { openWorkspace, type Workspace } from "./sandbox/workspace.ts";
import { type ToolContext, ToolFailure } from "./tool.ts";

export const WorkspacePath = z.string().min(1).max(1_000).describe("Path below /workspace, for example notes/plan.md");

/** Gives `work` the thread's workspace, and turns a `FileError` into a failure that a model can read. */
export async function inWorkspace<T>(context: ToolContext, work: (workspace: Workspace) => Promise<T>): Promise<T> {
  try {
    return await work(await openWorkspace(context.config.dataDir, context.threadId));
  } catch (error) {
    throw error instanceof FileError ? new ToolFailure("FAILED", `${error.code}: ${error.message}`) : error;
  }
}
