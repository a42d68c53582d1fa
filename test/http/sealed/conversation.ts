/** One conversation with all that a server does with one, and all that clients are told of it. */
import { AIMessageChunk } from "@langchain/core/messages";
import { FakeStreamingChatModel } from "@langchain/core/utils/testing";
import {
  Annotation,
  interrupt,
  type LangGraphRunnableConfig,
  MessagesAnnotation,
  StateGraph,
} from "@langchain/langgraph";
import type { Client } from "@langchain/langgraph-sdk";
import { z } from "zod";
import { canonicalJson } from "../../../lib/digest.ts";
import { executeToolCall } from "../../../nodes/execute-tool.ts";
import { defineTool } from "../../../tools/index.ts";
import { gather } from "../../checkpoints/support.ts";
import type { TestServer } from "../../support/server.ts";

/** In everything that anybody says. */
export const WORD = "zebra";

const model = () =>
  new FakeStreamingChatModel({
    sleep: 0,
    chunks: ["a model's ", WORD, " for you"].map((content) => new AIMessageChunk({ content, id: "said" })),
  });

/** One tool that returns something, and one whose outcome nobody knows. */
const tools = [
  defineTool({
    name: "look",
    description: "Looks.",
    input: z.strictObject({ what: z.string() }),
    effect: "irreversible",
    run: () => Promise.resolve(`a tool's ${WORD} `.repeat(60)),
  }),
  defineTool({
    name: "send",
    description: "Sends.",
    input: z.strictObject({ what: z.string() }),
    effect: "irreversible",
    run: () => Promise.reject(new Error(`socket closed on the ${WORD}`)),
  }),
];
const calling = (name: "look" | "send") => async (_state: unknown, config: LangGraphRunnableConfig) => {
  const call = { id: `call-${name}`, name, args: { what: `a model's ${WORD}` } };
  return executeToolCall(tools)({ call, isRepeated: false }, config);
};

const State = Annotation.Root({ ...MessagesAnnotation.spec, note: Annotation<string>() });

const agent = new StateGraph(State)
  .addNode("say", async (_state, config) => {
    config.writer?.({ custom: `a node's ${WORD}` });
    return { messages: [await model().invoke("go", config)] };
  })
  .addNode("look", calling("look"))
  .addNode("ask", () => ({ note: String(interrupt({ question: `a question's ${WORD}` })) }))
  .addEdge("__start__", "say")
  .addEdge("say", "look")
  .addEdge("look", "ask")
  .compile();

const failing = new StateGraph(State)
  .addNode("fail", ({ messages }) => {
    throw new Error(`cannot read ${messages[0]?.text}`);
  })
  .addEdge("__start__", "fail")
  .compile();

const sending = new StateGraph(State).addNode("send", calling("send")).addEdge("__start__", "send").compile();

export const graphs = { agent, failing, sending };

export const said = (from: string) => ({
  messages: [{ type: "human", id: `of ${from}`, content: `a ${from}'s ${WORD}` }],
});

/** Where each thing was said. */
export interface Conversation {
  readonly threadId: string;
  readonly copyId: string;
  readonly failedId: string;
  readonly sentId: string;
  /** A copy that still waits for an answer. */
  readonly waitingId: string;
  readonly runId: string;
  /** All answers, in order. */
  readonly answers: unknown[];
}

/** `other`: another process on the same database, that has heard nothing. */
export async function converse(server: TestServer, other: Client): Promise<Conversation> {
  const { threads, runs } = server.client;
  const answers: unknown[] = [];
  const keep = async <T>(answer: Promise<T>): Promise<T> => {
    answers.push(await answer);
    return answer;
  };
  const { thread_id: threadId } = await threads.create();

  const modes = ["values", "updates", "messages-tuple", "custom", "debug"] as const;
  await keep(
    gather(runs.stream(threadId, "agent", { input: said("user"), streamMode: [...modes], streamResumable: true })),
  );
  const [{ run_id: runId } = { run_id: "" }] = await keep(runs.list(threadId));
  await keep(runs.get(threadId, runId));
  await keep(gather(other.runs.joinStream(threadId, runId, { lastEventId: "-1" })));
  await keep(other.runs.join(threadId, runId));
  await keep(threads.get(threadId));
  await keep(threads.search({ metadata: { graph_id: "agent" }, select: ["values", "status"] }));
  await keep(threads.search({ status: "interrupted" }));
  const { thread_id: copyId } = await keep(threads.copy(threadId));
  await keep(threads.getState(copyId));
  const { thread_id: waitingId } = await keep(threads.copy(threadId));
  await fetch(`${server.url}/threads/${threadId}/files/note.txt`, { method: "PUT", body: `a file's ${WORD}` });

  await keep(runs.wait(threadId, "agent", { command: { resume: `a person's ${WORD}` } }));
  await keep(threads.updateState(threadId, { values: said("editor"), asNode: "ask" }));
  await threads.patchState(threadId, { reviewed: true });
  await keep(threads.get(threadId));
  await keep(threads.getHistory(threadId));
  await keep(runs.wait(copyId, "agent", { command: { resume: `another person's ${WORD}` } }));

  const { thread_id: failedId } = await threads.create();
  await keep(runs.wait(failedId, "failing", { input: said("clumsy user"), raiseError: false }));
  await keep(threads.get(failedId));
  await keep(other.runs.join(failedId, (await runs.list(failedId))[0]!.run_id));
  // Of a run that goes with its thread, and of one that has not begun.
  await keep(runs.wait(null, "agent", { input: said("passer-by") }));
  await keep(runs.create(failedId, "agent", { input: said("patient user"), afterSeconds: 3_600 }));

  const { thread_id: sentId } = await threads.create();
  await keep(runs.wait(sentId, "sending", { input: said("sender") }));
  const effects = async () =>
    (await fetch(`${server.url}/effects`)).json() as Promise<{ effects: { interrupt_id: string }[] }>;
  const [{ interrupt_id } = { interrupt_id: "" }] = (await keep(effects())).effects;
  const resume = { [interrupt_id]: { type: "abandon", message: `a reviewer's ${WORD}` } };
  await keep(runs.wait(sentId, "sending", { command: { resume } }));
  const { thread_id: openId } = await threads.create();
  await keep(runs.wait(openId, "sending", { input: said("second sender") }));
  await keep(effects());
  return { threadId, copyId, failedId, sentId, waitingId, runId, answers };
}

/** Without what differs from one time to the next: ids by their order, no times, versions of channels without their chance. */
export function comparable(answers: unknown): unknown {
  const ids = new Map<string, string>();
  const text = canonicalJson(answers)
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)/g, "<time>")
    .replaceAll(/\b(\d+)\.\d{6,}/g, "$1")
    .replaceAll(/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b[0-9a-f]{32}\b/g, (id) => {
      const known = ids.get(id) ?? `<id ${ids.size}>`;
      ids.set(id, known);
      return known;
    });
  return JSON.parse(text);
}
