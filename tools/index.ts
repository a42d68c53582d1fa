/** All tools that graphs may offer to a model. */
import { currentTime } from "./current-time.ts";
import { fetchUrl } from "./fetch-url.ts";
import { listFiles } from "./list-files.ts";
import { readFile } from "./read-file.ts";
import { runJavascript } from "./run-javascript.ts";
import { sendEmail } from "./send-email.ts";
import type { Tool } from "./tool.ts";
import { writeFile } from "./write-file.ts";

export const tools: readonly Tool[] = [currentTime, fetchUrl, listFiles, readFile, runJavascript, sendEmail, writeFile];

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
