import { z } from "zod";
import { defineTool } from "./tool.ts";
import { FilePath, withFiles } from "./workspace.ts";

const text = z.string().max(100_000);

export const editFile = defineTool({
  name: "edit_file",
  description:
    "Replaces a text in a text file of this conversation's workspace. The old text must be there exactly as given, and only once unless replace_all is true; otherwise nothing is changed. It does not create files.",
  input: z.strictObject({
    file_path: FilePath,
    old_string: text.min(1),
    new_string: text,
    replace_all: z.boolean().default(false),
  }),
  // A crash between the edit and the record of it repeats the edit: at worst on this conversation's own file.
  effect: "idempotent",
  usesFiles: true,
  async run({ file_path, old_string, new_string, replace_all }, context) {
    const { occurrences } = await withFiles(context, (backend) =>
      backend.edit(file_path, old_string, new_string, replace_all),
    );
    return { file_path, occurrences };
  },
});
