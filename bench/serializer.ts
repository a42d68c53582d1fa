/** `node bench/serializer.ts`: our serializer beside the stock one, for a channel of 1,000 messages of 250 characters. */
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { MemorySaver } from "@langchain/langgraph-checkpoint";
import { Serializer } from "../checkpoints/serializer.ts";

const MESSAGES = 1_000;
const ROUNDS = 25;

const messages = Array.from({ length: MESSAGES }, (_, index) =>
  index % 2 === 0
    ? new HumanMessage({ id: `human-${index}`, content: "h".repeat(250) })
    : new AIMessage({
        id: `ai-${index}`,
        content: "a".repeat(250),
        response_metadata: { model_name: "m", finish_reason: "stop" },
        additional_kwargs: { reasoning: "r".repeat(20) },
      }),
);

const stock = new MemorySaver().serde;
const ours = new Serializer();
const [, bytes] = await stock.dumpsTyped(messages);

await compare(
  "dump",
  () => ours.dumpsTyped(messages),
  () => stock.dumpsTyped(messages),
);
await compare(
  "load",
  () => ours.loadsTyped("json", bytes),
  () => stock.loadsTyped("json", bytes),
);

/** Medians of interleaved rounds, in milliseconds. */
async function compare(what: string, mine: () => Promise<unknown>, other: () => Promise<unknown>): Promise<void> {
  const times: { mine: number[]; other: number[] } = { mine: [], other: [] };
  for (let round = 0; round < ROUNDS; round++) {
    times.mine.push(await timed(mine));
    times.other.push(await timed(other));
  }
  const [a, b] = [median(times.mine), median(times.other)];
  const ratio = (b / a).toFixed(1);
  process.stdout.write(`${what} of ${MESSAGES} messages: ${a.toFixed(2)} ms, stock ${b.toFixed(2)} ms, ${ratio}x\n`);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
