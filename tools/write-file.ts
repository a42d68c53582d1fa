import { z } from "zod";
import { defineTool } from "./tool.ts";
import { FilePath, withFiles } from "./workspace.ts";

export const writeFile = defineTool({
  name: "write_file",
  description:
    "Creates or replaces a text file in this conversation's workspace, with the folders above it. It does not append, and it cannot write anywhere else.",
  input: z.strictObject({ file_path: FilePath, content: z.string().max(1_000_000) }),
  effect: "idempotent",
  usesFiles: true,
  async run({ file_path, content }, context) {
    await withFiles(context, (backend) => backend.write(file_path, content));
    return { file_path, bytes: Buffer.byteLength(content) };
  },
});
