#!/usr/bin/env node
/** `pawl serve | worker | migrate | export | import | sandbox-server`: arguments in, a running process out, and its orderly end. */
import { DatabaseError } from "pg";
import { isConnectionError } from "../db/connection-error.ts";
import { addToEnvironment, config } from "../lib/config.ts";
import { asError, isPawlError } from "../lib/errors.ts";
import { createLog, type Log } from "../lib/log.ts";
import { modelAddress } from "../models/endpoint.ts";
import { type Arguments, readArguments } from "./arguments.ts";
import { acceptRestored, checkThreads, transferThread, updateSchema } from "./database-commands.ts";
import { endOrderly, type Running } from "./end-orderly.ts";
import { isolateRuns } from "./isolate.ts";
import { loadGraphs } from "./load-graphs.ts";
import { startServer } from "./main.ts";
import { openDatabase, type OpenDatabase } from "./open-database.ts";
import { type Project, readProject } from "./project.ts";
import { serveSandboxes } from "./sandbox-server.ts";
import { testSandboxes } from "./sandboxes.ts";
import { endWhenStuck } from "./watchdog.ts";
import { work } from "./work.ts";
import { keepWorkerApart } from "./worker-apart.ts";

const say = (text: string): void => void process.stdout.write(text);

await main().catch((thrown: unknown) => {
  const error = asError(thrown);
  // Our own errors say what to do, and the database's what it refused; anything else is a bug, and its stack helps.
  const isSaid = isPawlError(error) || error instanceof DatabaseError || isConnectionError(error);
  process.stderr.write(`${isSaid ? `pawl: ${error.message}` : error.stack}\n`);
  process.exit(1);
});

async function main(): Promise<void> {
  const given = readArguments(process.argv.slice(2));
  const { command, options } = given;
  if (command === "migrate" && options.restored) return acceptRestored();
  if (command === "migrate" && !options.check) return updateSchema();
  if (command === "export" || command === "import") return transferThread(command, given);
  if (command === "sandbox-server") {
    const { url } = await serveSandboxes(options, config(), createLog(config().logLevel));
    return say(`Pawl runs code at ${url}\n`);
  }
  const project = readProject(options.config);
  addToEnvironment(project.env);
  if (command === "migrate") return checkThreads(project);
  const log = createLog(config().logLevel);
  if (project.missingEnvFile !== undefined)
    log.info({ file: project.missingEnvFile }, "the project's env file is missing");
  const database = await openDatabase(config(), log);
  try {
    const context = { project, log, database };
    endOnSignal(await (command === "serve" ? serve(options, context) : executeOnly(context)), context);
  } catch (error) {
    await database.stop();
    throw error;
  }
}

interface CommandContext {
  readonly project: Project;
  readonly log: Log;
  readonly database: OpenDatabase;
}

async function serve(options: Arguments["options"], { project, log, database }: CommandContext): Promise<Running> {
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

async function executeOnly({ project, log, database }: CommandContext): Promise<Running> {
  const running = await work({ project, connection: database.connection, log });
  say(`Pawl executes runs of ${database.label}\nReady after ${(performance.now() / 1_000).toFixed(1)} s\n`);
  return running;
}

/** First signal: everything in order, within the deadline. Second signal: at once. Postgres goes last. */
function endOnSignal(running: Running, { log, database }: Pick<CommandContext, "log" | "database">): void {
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
