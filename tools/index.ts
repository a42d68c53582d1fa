/**
 * All tools that graphs may offer to a model. The list is the same on every machine, whatever sandboxes it has: it is
 * the beginning of every prompt, and a model server reuses only a beginning that stays. A tool that has no sandbox
 * here answers DENIED.
 */
import { currentTime } from "./current-time.ts";
import { deleteFile } from "./delete-file.ts";
import { editFile } from "./edit-file.ts";
import { fetchUrl } from "./fetch-url.ts";
import { glob } from "./glob.ts";
import { grep } from "./grep.ts";
import { ls } from "./ls.ts";
import { readFile } from "./read-file.ts";
import { runJavascript } from "./run-javascript.ts";
import { runPython } from "./run-python.ts";
import { runShell } from "./run-shell.ts";
import { sendEmail } from "./send-email.ts";
import type { Tool } from "./tool.ts";
import { writeFile } from "./write-file.ts";

export const tools: readonly Tool[] = [
  currentTime,
  deleteFile,
  editFile,
  fetchUrl,
  glob,
  grep,
  ls,
  readFile,
  runJavascript,
  runPython,
  runShell,
  sendEmail,
  writeFile,
];

export { javascriptRepl } from "./javascript-repl.ts";
export { type McpServerSettings } from "./mcp/server.ts";
export { mcpTools } from "./mcp/tools.ts";
export { executeTool, type ExecuteContext } from "./execute.ts";
export { reported, type ToolOutcome } from "./result.ts";
export {
  defineTool,
  type EffectKind,
  type ReconcileToolContext,
  type Tool,
  type ToolContext,
  ToolFailure,
  toolSchemas,
} from "./tool.ts";
