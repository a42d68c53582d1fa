import { z } from "zod";
import { writeWorkspaceFile } from "./sandbox/files.ts";
import { defaultPolicy } from "./sandbox/types.ts";
import { defineTool } from "./tool.ts";
import { inWorkspace, WorkspacePath } from "./workspace-path.ts";

export const writeFile = defineTool({
  name: "write_file",
  description:
    "Creates or replaces a text file in this conversation's workspace, with the folders above it. It does not append, and it cannot write anywhere else.",
  input: z.strictObject({ path: WorkspacePath, text: z.string().max(1_000_000) }),
  effect: "idempotent",
  run: ({ path, text }, context) =>
    inWorkspace(context, async (workspace) => {
      const content = Buffer.from(text);
      await writeWorkspaceFile(workspace, { path, content }, defaultPolicy);
      return { path, bytes: content.length };
    }),
});
