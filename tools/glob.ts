import { z } from "zod";
import { defineTool } from "./tool.ts";
import { FolderPath, withFiles } from "./workspace.ts";

export const glob = defineTool({
  name: "glob",
  description:
    "Finds files of this conversation's workspace by name: * and ? within a name, ** for any folders, [abc] for one of these characters. For example **/*.csv. At most 1000; it does not find folders and does not look inside files.",
  input: z.strictObject({ pattern: z.string().min(1).max(500), path: FolderPath }),
  effect: "none",
  usesFiles: true,
  async run({ pattern, path }, context) {
    const { files = [], truncated = false } = await withFiles(context, (backend) => backend.glob(pattern, path));
    return { files: files.map((file) => file.path), more: truncated };
  },
});
