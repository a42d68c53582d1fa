/**
 * One connection to an MCP server for one call, and the end of it: no state of a call is seen by the next one, nor by
 * another thread's. The package `@modelcontextprotocol/sdk` is optional, and loaded when a graph wants it.
 */
import type { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { PawlError } from "../../lib/errors.ts";
import { type Isolation, satisfies } from "../../lib/isolation.ts";
import { narrowed } from "../sandbox/policy.ts";
import { selectExecutor } from "../sandbox/select.ts";
import { defaultPolicy, type Policy } from "../sandbox/types.ts";
import type { Workspace } from "../sandbox/workspace.ts";
import { ToolFailure } from "../tool.ts";
import { boundedFetch } from "./http.ts";
import type { McpAddress, McpProgram, McpServer } from "./server.ts";

export interface Place {
  /** What the program sees as /workspace. */
  readonly workspace: Workspace;
  /** What the operator and the run allow. */
  readonly limits: (own: Policy) => Policy;
  readonly signal: AbortSignal;
}

/** Ten times this is the end of a server that does not stop talking. */
const outputBytes = 400_000;

/**
 * Throws `ToolFailure` when there is no connection: then nothing was asked of the server. Throws `sandbox_denied` where
 * no sandbox can run it: it never runs without. What `work` throws is told with how the server ended, if it did.
 */
export async function withServer<T>(
  server: McpServer,
  place: Place,
  work: (client: Client, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return "url" in server ? overHttp(server, place, work) : inSandbox(server, place, work);
}

type Work<T> = (client: Client, signal: AbortSignal) => Promise<T>;

async function inSandbox<T>(program: McpProgram, { workspace, limits, signal }: Place, work: Work<T>): Promise<T> {
  const { SandboxTransport } = await installed(() => import("./stdio.ts"));
  const { env, readable, network, memMb, timeoutMs } = program;
  const own = { ...defaultPolicy, env, readable, network, memMb, outputBytes, wallMs: timeoutMs } as Policy;
  const policy = limits({ ...own, minimum: stronger(program.minimum, "landlock") });
  const language = program.command === "node" ? "js" : "shell";
  const executor = await selectExecutor(language, policy.minimum, "own");
  signal.throwIfAborted();
  const session = await executor.open(workspace, policy);
  const transport = new SandboxTransport(session, program, signal);
  try {
    return await connected(transport, { signal, timeoutMs, ending: () => transport.ending }, work);
  } finally {
    await transport.close();
    await session.close();
  }
}

async function overHttp<T>(server: McpAddress, { signal: outer }: Place, work: Work<T>): Promise<T> {
  const { StreamableHTTPClientTransport } = await installed(
    () => import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
  );
  const stop = new AbortController();
  const signal = AbortSignal.any([outer, stop.signal]);
  const fetch = boundedFetch(server, signal, (because) => stop.abort(because));
  const transport = new StreamableHTTPClientTransport(new URL(server.url), { fetch });
  try {
    // Its `sessionId` is typed as optional in a way that exactOptionalPropertyTypes does not take.
    return await connected(
      transport as Parameters<Client["connect"]>[0],
      { signal, timeoutMs: server.timeoutMs },
      work,
    );
  } finally {
    await transport.close();
    stop.abort();
  }
}

interface Bounds {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly ending?: () => string | undefined;
}

async function connected<T>(
  transport: Parameters<Client["connect"]>[0],
  { signal, timeoutMs, ending }: Bounds,
  work: Work<T>,
): Promise<T> {
  const { Client: McpClient } = await installed(() => import("@modelcontextprotocol/sdk/client/index.js"));
  const client = new McpClient({ name: "pawl", version: "1" }, { capabilities: {} });
  try {
    await client.connect(transport, { signal, timeout: timeoutMs });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ToolFailure) throw error;
    // A program's last words come after its pipe is closed.
    await transport.close();
    throw new ToolFailure("FAILED", `The MCP server does not answer: ${ending?.() ?? messageOf(error)}`);
  }
  return work(client, signal);
}

function stronger(one: Isolation, other: Isolation): Isolation {
  return satisfies(one, other) ? one : other;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 500);

async function installed<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    const advice = "MCP tools need the package: npm install @modelcontextprotocol/sdk@1.32.2";
    throw new PawlError("bad_configuration", advice, { cause: error });
  }
}

/** The operator's minimum, before there is a run. */
export function operatorLimits(minimum: Isolation): (own: Policy) => Policy {
  return (own) => narrowed(own, { minimum });
}
