import { z } from "zod";
import { listWorkspace } from "./sandbox/files.ts";
import { defineTool } from "./tool.ts";
import { inWorkspace, WorkspacePath } from "./workspace-path.ts";

const maxEntries = 500;

export const listFiles = defineTool({
  name: "list_files",
  description:
    "Lists the files and folders of this conversation's workspace with their sizes, at most 500. It does not show what is in them.",
  input: z.strictObject({ path: WorkspacePath.default("/workspace") }),
  effect: "none",
  run: ({ path }, context) => inWorkspace(context, (workspace) => listWorkspace(workspace, path, maxEntries)),
});
