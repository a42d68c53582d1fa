/** The files of somebody else's project that uses Pawl as a package. Text, for here they would be part of our own. */

const graph = `
import { Annotation, END, interrupt, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ text: Annotation<string>(), answer: Annotation<string>() });

export const graph = new StateGraph(State)
  .addNode("ask", ({ text }) => ({ answer: interrupt<string, string>(\`Send \${text}?\`) }))
  .addNode("send", ({ answer, text }) => ({ text: \`\${text}: \${answer}\` }))
  .addEdge(START, "ask")
  .addEdge("ask", "send")
  .addEdge("send", END)
  .compile();
`;

/** Under the compiler's own strictness, with the declarations of libraries checked too. */
const typed = `
import { callModel, type ModelCall } from "pawl/models";
import { executeToolCall, type ToolTask } from "pawl/nodes";
import { openDatabase, readConfig, type RunningServer, startServer } from "pawl/server";
import { defineTool, type Tool, tools } from "pawl/tools";
import { z } from "zod";

const count: Tool = defineTool({
  name: "count",
  description: "Counts letters",
  input: z.object({ text: z.string() }),
  effect: "none",
  run: async ({ text }) => text.length,
});
export const node: (task: ToolTask, config: object) => Promise<object> = executeToolCall([...tools, count]);
export const call: ModelCall = { maxTokens: 5 };
export const answer: Promise<{ content: unknown }> = callModel([], call);
export type Host = typeof startServer extends (options: infer O) => Promise<RunningServer> ? O : never;
export const host: Host["connection"] = (await openDatabase(readConfig({}), {} as Host["log"])).connection;
// @ts-expect-error the declarations are found: what is any takes this too
readConfig(7);
`;

/** Prints what it got from each entry; the tool starts a child process from the package's files, which must not keep it alive. */
const script = `
import { callModel } from "pawl/models";
import { executeToolCall } from "pawl/nodes";
import { readConfig, startServer } from "pawl/server";
import { executeTool, tools } from "pawl/tools";

const tool = tools.find(({ name }) => name === "run_javascript");
const context = { threadId: crypto.randomUUID(), toolCallId: "c", signal: new AbortController().signal, config: readConfig({}), host: { now: () => new Date() } };
const { result } = await executeTool(tool, { code: "6 * 7" }, context);
console.log(JSON.stringify({ result: result?.value, functions: [callModel, executeToolCall, startServer].map((f) => typeof f) }));
`;

const compilerOptions = { module: "nodenext", target: "es2024", strict: true, noEmit: true, types: ["node"] };

export const files: Readonly<Record<string, string>> = {
  "package.json": JSON.stringify({ name: "consumer", private: true, type: "module" }),
  "langgraph.json": JSON.stringify({ graphs: { asking: "./graph.ts:graph" } }),
  "tsconfig.json": JSON.stringify({ compilerOptions, files: ["graph.ts", "typed.ts"] }),
  "graph.ts": graph,
  "typed.ts": typed,
  "script.mjs": script,
};
