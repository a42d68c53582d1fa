import { z } from "zod";
import { defineTool } from "./tool.ts";
import { FilePath, withFiles } from "./workspace.ts";

export const deleteFile = defineTool({
  name: "delete_file",
  description:
    "Deletes a file of this conversation's workspace, or a folder with all that is in it. It cannot be undone, and it cannot delete anything else on the machine.",
  input: z.strictObject({ file_path: FilePath }),
  effect: "idempotent",
  usesFiles: true,
  async run({ file_path }, context) {
    await withFiles(context, (backend) => backend.delete(file_path));
    return { file_path, deleted: true };
  },
});
