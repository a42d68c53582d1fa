/** Runs graphs the way a run does, and keeps what clients would be told. */
import { FakeStreamingChatModel } from "@langchain/core/utils/testing";
import { AIMessageChunk } from "@langchain/core/messages";
import type { RunKwargs, StreamMode } from "../../runs/run.ts";
import type { AnyGraph } from "../../runs/index.ts";
import { streamGraph, type WireEvent } from "../../runs/stream/stream-graph.ts";
import { gather, newThread, runOn } from "../checkpoints/support.ts";
import type { TestDatabase } from "../support/database.ts";

type Run<T> = (input: unknown, modes: StreamMode[], kwargs?: Partial<RunKwargs>) => T;

export interface Session {
  /** All that a run with these stream modes says. */
  readonly run: Run<Promise<WireEvent[]>>;
  /** The same while it happens. */
  readonly open: Run<AsyncIterable<WireEvent>>;
  readonly threadId: string;
}

export async function session(db: TestDatabase, graph: unknown): Promise<Session> {
  const owner = await newThread(db.pool);
  const open: Session["open"] = (input, modes, kwargs = {}) => {
    const { config, tracker } = runOn(db.pool, owner);
    return streamGraph({
      graph: graph as AnyGraph,
      input,
      config: { configurable: { ...config.configurable, __pawl_run: "secret" }, metadata: { mine: 1, __hidden: 1 } },
      kwargs: {
        config: { configurable: {} },
        stream_mode: modes,
        stream_subgraphs: false,
        durability: "sync",
        ...kwargs,
      },
      tracker,
      signal: AbortSignal.timeout(20_000),
    });
  };
  return { threadId: owner.thread_id, open, run: (...options) => gather(open(...options)) };
}

/** A model that says `words`, one chunk each. */
export function model(...words: string[]) {
  return new FakeStreamingChatModel({
    sleep: 0,
    chunks: words.map((content) => new AIMessageChunk({ content })),
  });
}
