/**
 * A graph that makes the calls in its state, all at once, with tools that work on files. `append` tells the server at
 * EFFECT_URL, if there is one, when the file is on the disk and nothing is recorded yet, and when it is; `javascript_repl`
 * when its result is recorded.
 */
import { Annotation, interrupt, type LangGraphRunnableConfig, Send, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { readConfig } from "../../../lib/config.ts";
import { hostOf } from "../../../lib/host.ts";
import { defineTool, javascriptRepl, type Tool } from "../../../tools/index.ts";
import { executeTool } from "../../../tools/execute.ts";
import { readWorkspaceFile } from "../../../tools/sandbox/files.ts";
import { entriesBelow } from "../../../tools/sandbox/listing.ts";
import { openWorkspace } from "../../../tools/sandbox/workspace.ts";
import { deleteFile } from "../../../tools/delete-file.ts";
import { writeFile } from "../../../tools/write-file.ts";
import { withFiles } from "../../../tools/workspace.ts";
import type { AnyGraph } from "../../../runs/index.ts";
import { tell } from "./effect.ts";

export type Call =
  | { readonly name: "write_file"; readonly args: { file_path: string; content: string } }
  | { readonly name: "delete_file"; readonly args: { file_path: string } }
  | { readonly name: "append"; readonly args: { path: string; text: string } }
  | { readonly name: "javascript_repl"; readonly args: { code: string; reset?: boolean } }
  | { readonly name: "look" | "fill" | "ask"; readonly args: Record<string, never> };

const append = defineTool({
  name: "append",
  description: "Appends to a file, which it does twice if it is called twice.",
  input: z.strictObject({ path: z.string(), text: z.string() }),
  effect: "idempotent",
  usesFiles: true,
  timeoutMs: 60_000,
  async run({ path, text }, context) {
    const { root } = await openWorkspace(context.config.dataDir, context.threadId);
    const before = await readWorkspaceFile({ root, threadId: context.threadId }, path, 1_000).catch(() => "");
    await withFiles(context, (files) => files.write(path, `${String(before)}${text}`));
    if (process.env["EFFECT_URL"]) await tell("send", context.idempotencyKey, context.signal);
    return `${String(before)}${text}`;
  },
});

/** What is in the folder, by path. */
const look = defineTool({
  name: "look",
  description: "Reads all files.",
  input: z.strictObject({}),
  effect: "none",
  usesFiles: true,
  async run(_, { config, threadId }) {
    const workspace = await openWorkspace(config.dataDir, threadId);
    const entries = await Array.fromAsync(entriesBelow(workspace, "."));
    const files = entries.filter(({ type }) => type === "file");
    return Object.fromEntries(
      await Promise.all(
        files.map(async ({ path }) => [path, String(await readWorkspaceFile(workspace, path, 1_000))] as const),
      ),
    );
  },
});

/** Leaves more files than there may be, past the checks of the tools. */
const fill = defineTool({
  name: "fill",
  description: "Writes more than it may.",
  input: z.strictObject({}),
  effect: "idempotent",
  usesFiles: true,
  async run(_, context) {
    const past = { ...context, sandbox: { workspaceMb: 256 } };
    await withFiles(past, (files) => files.write("large", "x".repeat(2 * 1_024 * 1_024)));
    return "filled";
  },
});

const tools = [writeFile, deleteFile, append, look, fill, javascriptRepl] as readonly Tool[];

const State = Annotation.Root({
  calls: Annotation<(Call & { id?: string })[]>(),
  log: Annotation<unknown[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
});

/** `dataDir`: as if it ran on a machine of its own. */
export function filesGraph(dataDir: string): AnyGraph {
  const config = readConfig({ PAWL_DATA_DIR: dataDir });
  return new StateGraph(State)
    .addNode("call", async ({ name, args, id = name }: Call & { id?: string }, run: LangGraphRunnableConfig) => {
      if (name === "ask") return { log: [interrupt("go on?")] };
      const outcome = await executeTool(
        tools.find((tool) => tool.name === name)!,
        args,
        {
          threadId: run.executionInfo?.threadId ?? "",
          toolCallId: id,
          signal: run.signal ?? new AbortController().signal,
          host: hostOf(run),
          sandbox: { workspaceMb: 1 },
          config,
        },
      );
      if ((name === "append" || name === "javascript_repl") && process.env["EFFECT_URL"]) await tell("after", id);
      return { log: [outcome] };
    })
    .addConditionalEdges(START, ({ calls }) => calls.map((call) => new Send("call", call)))
    .compile();
}

export const graph = filesGraph(process.env["PAWL_DATA_DIR"] ?? "");
