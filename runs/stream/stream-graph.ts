/**
 * Runs a graph and yields what it does as the events of LangGraph's server: only the modes that were asked for, as plain
 * JSON, with public ids for questions and nothing internal in configs. Errors are thrown, not yielded.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { RunControl } from "@langchain/langgraph";
import type { QuestionTracker } from "../../checkpoints/question-tracker.ts";
import { uuidv7 } from "../../lib/ids.ts";
import { toWire } from "../../lib/wire.ts";
import type { AnyGraph } from "../index.ts";
import type { RunKwargs, StreamMode } from "../run.ts";
import { isRecord, withoutInternals } from "./checkpoint-ref.ts";
import { hasInterrupts, withPublicIds } from "./interrupts.ts";
import { LegacyMessages } from "./legacy-messages.ts";
import { type Asked, type Chunk, translate } from "./translate.ts";

export interface WireEvent {
  /** The mode, and `|`-separated segments of a subgraph's namespace behind it. */
  readonly event: string;
  /** Plain JSON. */
  readonly data: unknown;
}

interface StreamGraphOptions {
  readonly graph: AnyGraph;
  /** The run's input, a `Command`, or null to go on from the checkpoint. */
  readonly input: unknown;
  /** With the saver, at `configurable.__pregel_checkpointer`. */
  readonly config: RunnableConfig;
  readonly kwargs: RunKwargs;
  readonly tracker: QuestionTracker;
  readonly signal: AbortSignal;
  readonly control?: RunControl;
}

export async function* streamGraph(options: StreamGraphOptions): AsyncGenerator<WireEvent> {
  const { graph, input, kwargs, tracker } = options;
  const asked: Asked = { modes: new Set(kwargs.stream_mode), tracker, legacy: new LegacyMessages() };
  const settings = streamOptions(options);
  const chunks = asked.modes.has("events")
    ? runWithEvents(options, settings)
    : toChunks(await graph.stream(input, settings), kwargs.stream_subgraphs);
  const held: Chunk[] = [];
  for await (const chunk of chunks) {
    if ("event" in chunk) yield chunk;
    // What a question's public id depends on is written at the very end.
    else if (kwargs.durability === "exit" && hasInterrupts(chunk[2])) held.push(chunk);
    else yield* translate(chunk, asked);
  }
  for (const chunk of held) yield* translate(chunk, asked);
}

/** Only what is defined: an undefined option would take the place of the graph's own. */
function streamOptions({ config, kwargs, signal, control }: StreamGraphOptions) {
  const { tags, recursion_limit } = kwargs.config;
  return {
    ...config,
    ...(tags && { tags }),
    ...(recursion_limit !== undefined && { recursionLimit: recursion_limit }),
    ...(kwargs.context && { context: kwargs.context }),
    ...(kwargs.interrupt_before && { interruptBefore: kwargs.interrupt_before }),
    ...(kwargs.interrupt_after && { interruptAfter: kwargs.interrupt_after }),
    ...(control && { control }),
    durability: kwargs.durability,
    streamMode: pregelModes(kwargs.stream_mode),
    subgraphs: kwargs.stream_subgraphs,
    signal,
  };
}

type PregelMode = Exclude<StreamMode, "messages-tuple" | "events">;

function pregelModes(modes: readonly StreamMode[]): PregelMode[] {
  const needed = modes.flatMap((mode): PregelMode[] => {
    if (mode === "events") return [];
    if (mode === "messages-tuple") return ["messages"];
    if (mode === "messages") return ["messages", "values"];
    return [mode];
  });
  return needed.length > 0 ? [...new Set(needed)] : ["values"];
}

async function* toChunks(stream: AsyncIterable<unknown>, subgraphs: boolean): AsyncGenerator<Chunk> {
  for await (const chunk of stream) yield toChunk(chunk, subgraphs);
}

function toChunk(chunk: unknown, subgraphs: boolean): Chunk {
  const [namespace, mode, payload] = (subgraphs ? chunk : [[], ...(chunk as unknown[])]) as [
    string[] | null,
    string,
    unknown,
  ];
  return [namespace ?? [], mode, payload];
}

/** Mode `events`: what every step of the run says, and the stream of the graph itself for the other modes. */
async function* runWithEvents(
  { graph, input, config, kwargs, tracker }: StreamGraphOptions,
  settings: ReturnType<typeof streamOptions>,
): AsyncGenerator<Chunk | WireEvent> {
  const runId = config.runId ?? uuidv7();
  for await (const event of graph.streamEvents(input, { ...settings, runId, version: "v2" })) {
    if (event.tags?.includes("langsmith:hidden")) continue;
    if (event.event === "on_chain_stream" && event.run_id === runId) {
      yield toChunk((event.data as { chunk: unknown }).chunk, kwargs.stream_subgraphs);
    } else {
      const metadata = isRecord(event.metadata) ? withoutInternals(event.metadata) : {};
      yield { event: "events", data: withPublicIds(toWire({ ...event, metadata }), tracker) };
    }
  }
}
