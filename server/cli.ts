#!/usr/bin/env node
/** `pawl serve | worker | migrate | export | import | sandbox-server`: arguments in, a running process out, and its orderly end. */
import { parseArgs } from "node:util";
import { DatabaseError } from "pg";
import { isConnectionError } from "../db/connection-error.ts";
import { createPool } from "../db/pool.ts";
import { addToEnvironment, config } from "../lib/config.ts";
import { asError, isPawlError, PawlError } from "../lib/errors.ts";
import { createLog, type Log } from "../lib/log.ts";
import { modelAddress } from "../models/endpoint.ts";
import { acceptRestoredDatabase } from "../runs/restored.ts";
import { checkParkedThreads } from "./check-parked.ts";
import { endOrderly, type Running } from "./end-orderly.ts";
import { isolateRuns } from "./isolate.ts";
import { loadGraphs } from "./load-graphs.ts";
import { startServer } from "./main.ts";
import { applySchema, labelOf, openDatabase, type OpenDatabase } from "./open-database.ts";
import { type Project, readProject } from "./project.ts";
import { exportTo, importFrom } from "./transfer.ts";
import { serveSandboxes } from "./sandbox-server.ts";
import { testSandboxes } from "./sandboxes.ts";
import { endWhenStuck } from "./watchdog.ts";
import { work } from "./work.ts";
import { keepWorkerApart } from "./worker-apart.ts";

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

const say = (text: string): void => void process.stdout.write(text);

await main().catch((thrown: unknown) => {
  const error = asError(thrown);
  // Our own errors say what to do, and the database's what it refused; anything else is a bug, and its stack helps.
  const isSaid = isPawlError(error) || error instanceof DatabaseError || isConnectionError(error);
  process.stderr.write(`${isSaid ? `pawl: ${error.message}` : error.stack}\n`);
  process.exit(1);
});

async function main(): Promise<void> {
  const { command, options, threadId } = readArguments(process.argv.slice(2));
  if (command === "migrate" && options.restored) return acceptRestored();
  if (command === "migrate" && !options.check) return updateSchema();
  if (command === "export" || command === "import") return transferThread(command, threadId, options);
  if (command === "sandbox-server") {
    const { url } = await serveSandboxes(options, config(), createLog(config().logLevel));
    return say(`Pawl runs code at ${url}\n`);
  }
  const project = readProject(options.config);
  addToEnvironment(project.env);
  if (command === "migrate") return check(project);
  const log = createLog(config().logLevel);
  if (project.missingEnvFile !== undefined)
    log.info({ file: project.missingEnvFile }, "the project's env file is missing");
  const database = await openDatabase(config(), log);
  try {
    const ground = { project, log, database };
    endOnSignal(await (command === "serve" ? serve(options, ground) : executeOnly(ground)), ground);
  } catch (error) {
    await database.stop();
    throw error;
  }
}

/** Of a database that others use; the embedded one is brought up to date by each start. */
function givenDatabase(): string {
  const { databaseUrl } = config();
  if (databaseUrl === undefined) throw new PawlError("bad_configuration", "migrate needs DATABASE_URL");
  return databaseUrl;
}

async function updateSchema(): Promise<void> {
  const databaseUrl = givenDatabase();
  await applySchema({ connectionString: databaseUrl }, createLog(config().logLevel));
  say(`${labelOf(databaseUrl)} is up to date\n`);
}

/** The embedded database too: its files may have been copied back. */
async function acceptRestored(): Promise<void> {
  const log = createLog(config().logLevel);
  const { databaseUrl } = config();
  if (databaseUrl !== undefined) await applySchema({ connectionString: databaseUrl }, log);
  const database = await openDatabase(config(), log);
  const pool = createPool({ ...database.connection, max: 1, name: "pawl restored", log });
  try {
    const { threads, requeued, unknown } = await acceptRestoredDatabase(pool);
    say(
      `${database.label} is accepted as restored: ${threads} threads fenced off, ${requeued} runs back in the queue, ` +
        `${unknown} effects of unknown outcome\n`,
    );
  } finally {
    await pool.end();
    await database.stop();
  }
}

/** Ends with 1 when there is a thread that could not go on. */
async function check(project: Project): Promise<void> {
  const databaseUrl = givenDatabase();
  const log = createLog(config().logLevel);
  const graphs = await loadGraphs(project.graphs);
  const count = await checkParkedThreads({
    connection: { connectionString: databaseUrl },
    encryptionKeys: config().encryptionKeys,
    graphs,
    log,
    say,
  });
  say(`${labelOf(databaseUrl)}: ${count === 0 ? "every thread can" : `${count} cannot`} go on with these graphs\n`);
  process.exitCode = count === 0 ? 0 : 1;
}

async function transferThread(command: "export" | "import", threadId: string, options: Options): Promise<void> {
  // Lines of the log would stand among those of the thread.
  const transferred = { config: config(), log: createLog("silent"), isStock: options.stock };
  if (command === "export") return exportTo(process.stdout, threadId, transferred);
  const into = { threadId: options.thread, graphId: options.graph };
  const { thread_id, checkpoints } = await importFrom(process.stdin, { ...transferred, ...into });
  say(`${thread_id}: ${checkpoints} checkpoints\n`);
}

function readArguments(args: string[]) {
  const { values, positionals } = parseOrExit(args);
  const [command = "serve", ...rest] = positionals;
  if (values.help) {
    say(HELP);
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

interface Ground {
  readonly project: Project;
  readonly log: Log;
  readonly database: OpenDatabase;
}

type Options = ReturnType<typeof readArguments>["options"];

async function serve(options: Options, { project, log, database }: Ground): Promise<Running> {
  const port = options.port ?? config().port;
  const { connection } = database;
  const works = !options["no-workers"] && !options["workers-apart"];
  const { graphs, threadRetention } = project;
  const order = { project: { graphs, threadRetention }, connection };
  const workers = options["workers-apart"] ? keepWorkerApart(order, log) : undefined;
  const started = startServer({
    config: config(),
    log,
    connection,
    graphs: await loadGraphs(graphs),
    threadRetention,
    host: options.host,
    works,
    startIsolated: isolateRuns({ sources: graphs, connection, log }),
    isInsecure: options.insecure,
    ...(port !== undefined && { port }),
    ...(workers && { workers }),
  });
  const server = await started.catch(async (error: unknown) => {
    await workers?.drain();
    throw error;
  });
  await workers?.ready;
  const { label } = await modelAddress();
  const name = config().model.name;
  const studio = `https://smith.langchain.com/studio/?baseUrl=${encodeURIComponent(server.url)}`;
  say(
    `Pawl listens on ${server.url}${server.moved ? " (the default port is taken)" : ""}\n` +
      `  database  ${database.label}\n` +
      `  model     ${name === undefined ? label : `${name} at ${label}`}\n` +
      `  graphs    ${graphs.map(({ graphId }) => graphId).join(", ")}\n` +
      `  Studio    ${studio}\n` +
      `Ready after ${(performance.now() / 1_000).toFixed(1)} s\n`,
  );
  if (works) void testSandboxes(config().sandboxMin, log);
  return server;
}

async function executeOnly({ project, log, database }: Ground): Promise<Running> {
  const running = await work({ project, connection: database.connection, log });
  say(`Pawl executes runs of ${database.label}\nReady after ${(performance.now() / 1_000).toFixed(1)} s\n`);
  return running;
}

/** First signal: everything in order, within the deadline. Second signal: at once. Postgres goes last. */
function endOnSignal(running: Running, { log, database }: Pick<Ground, "log" | "database">): void {
  endWhenStuck();
  const begin = endOrderly(running, { log, letGo: () => database.stop() });
  const end = (signal: NodeJS.Signals): void => {
    if (!begin(signal)) process.exit(1);
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  database.onExit((error) => {
    log.error({ error }, "the database is gone");
    process.exit(1);
  });
}
