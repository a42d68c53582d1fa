/** What to measure and for how long. */
import { parseArgs } from "node:util";
import { GRAPHS, type GraphId } from "./goals.ts";

export const USAGE = `Usage: node bench/runs.ts [options]

  --seconds <n>         of load for each figure                             (4)
  --runs <n>            for each figure at most                             (no limit)
  --quick               a second for each figure, half as many callers' levels, fewer runs for memory
  --memory              5,000 runs for the figure on memory                 (500)
  --peer-url <url>      another server of the same API, measured beside ours
  --peer-assistant <a,b>  its names for the graphs of bench/graphs.ts       (two,ten)
`;

export interface Options {
  readonly seconds: number;
  readonly runs: number;
  readonly concurrencies: readonly number[];
  /** Memory is read after so many runs, and so many again. */
  readonly memory: { readonly from: number; readonly to: number };
  readonly peer: Peer | undefined;
}

interface Peer {
  readonly url: string;
  /** Its assistant for each graph. */
  readonly assistants: Readonly<Record<GraphId, string>>;
}

/** Throws a `TypeError` for arguments that it does not know. */
export function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: "string" },
      runs: { type: "string" },
      quick: { type: "boolean", default: false },
      memory: { type: "boolean", default: false },
      "peer-url": { type: "string" },
      "peer-assistant": { type: "string", default: GRAPHS.join(",") },
    },
  });
  const [two = "two", ten = "ten"] = values["peer-assistant"].split(",");
  const url = values["peer-url"]?.replace(/\/+$/, "");
  return {
    seconds: positive("--seconds", values.seconds) ?? (values.quick ? 1 : 4),
    runs: positive("--runs", values.runs) ?? Infinity,
    concurrencies: values.quick ? [1, 32] : [1, 8, 32],
    memory: values.memory ? { from: 1_000, to: 5_000 } : { from: 100, to: values.quick ? 200 : 500 },
    peer: url === undefined ? undefined : { url, assistants: { two, ten } },
  };
}

function positive(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (value > 0) return value;
  throw new TypeError(`${name} wants a number above 0, not ${text}`);
}
