import { z } from "zod";
import { defineTool } from "./tool.ts";
import { FolderPath, withFiles } from "./workspace.ts";

const maxEntries = 500;

export const ls = defineTool({
  name: "ls",
  description:
    "Lists what is in one folder of this conversation's workspace, at most 500 entries. It does not go into folders and does not show contents; glob finds files by name, grep by content.",
  input: z.strictObject({ path: FolderPath }),
  effect: "none",
  usesFiles: true,
  async run({ path }, context) {
    const { files = [] } = await withFiles(context, (backend) => backend.ls(path));
    return { files: files.slice(0, maxEntries), more: files.length > maxEntries };
  },
});
