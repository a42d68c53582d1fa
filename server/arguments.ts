/** The command line: which command, with which options. Whatever it does not understand ends the process with the usage. */
import { parseArgs } from "node:util";
import { asError } from "../lib/errors.ts";

const HELP = `Usage: pawl <command> [options]

  serve     the HTTP API, and the execution of runs (default)
  worker    the execution of runs only
  migrate   brings the database of DATABASE_URL up to date
  migrate --restored   once, after the database was restored or failed over, with every process stopped
  migrate --check   lists the threads that the graphs here could not continue, and changes nothing
  export <thread>   writes a thread to standard output, as JSON lines
  import            reads one from standard input
  sandbox-server    runs code for servers on other machines (PAWL_SANDBOX_REMOTE_TOKEN)

  --config <file>   the project          (langgraph.json)
  --host <address>  where to listen      (127.0.0.1)
  --port <number>   0 for any free one   (2024, or the next that is free)
  --no-workers      serve: execute no runs here
  --workers-apart   serve: execute runs in a process beside this one, so that a node that computes holds up no request
  --insecure        serve: let everybody who reaches the address drive the server
  --stock           export, import: the tables are those of LangGraph's own saver
  --thread <id>     import: under this id
  --graph <id>      import: the graph of a thread that comes from LangGraph's own saver
  --help

The environment configures the rest: DATABASE_URL, MODEL_BASE_URL, MODEL_NAME, MODEL_API_KEY, PAWL_*.
`;

const COMMANDS = ["serve", "worker", "migrate", "export", "import", "sandbox-server"] as const;

export type Arguments = ReturnType<typeof readArguments>;

/** `threadId`: of `export`; else empty. Ends the process for `--help` (0) and for what makes no sense (2). */
export function readArguments(args: string[]) {
  const { values, positionals } = parseOrExit(args);
  const [command = "serve", ...rest] = positionals;
  if (values.help) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const known = COMMANDS.find((each) => each === command);
  const [threadId = "", ...surplus] = known === "export" ? rest : ["", ...rest];
  if (!known || surplus.length > 0) return exitWithUsage(`unknown command ${positionals.join(" ")}`);
  if (known === "export" && threadId === "") return exitWithUsage("export needs the id of a thread");
  if ((values.check || values.restored) && command !== "migrate") {
    exitWithUsage("--check and --restored are for migrate");
  }
  if (values["no-workers"] && values["workers-apart"]) exitWithUsage("--no-workers or --workers-apart");
  if (values.check && values.restored) exitWithUsage("--check changes nothing, and --restored does");
  const port = values.port === undefined ? undefined : Number(values.port);
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    exitWithUsage(`${values.port} is no port`);
  }
  return { command: known, threadId, options: { ...values, port } } as const;
}

function parseOrExit(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        config: { type: "string", default: "langgraph.json" },
        host: { type: "string", default: "127.0.0.1" },
        port: { type: "string" },
        "no-workers": { type: "boolean", default: false },
        "workers-apart": { type: "boolean", default: false },
        insecure: { type: "boolean", default: false },
        check: { type: "boolean", default: false },
        restored: { type: "boolean", default: false },
        stock: { type: "boolean", default: false },
        thread: { type: "string" },
        graph: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return exitWithUsage(asError(error).message);
  }
}

function exitWithUsage(reason: string): never {
  process.stderr.write(`pawl: ${reason}\n\n${HELP}`);
  process.exit(2);
}
