/** One POST that creates a run, by a stock client, until it is known which run came of it; and the way to the run's end. */
import { randomUUID } from "node:crypto";
import type { Client, StreamMode } from "@langchain/langgraph-sdk";
import type { GraphId } from "./fleet.ts";
import type { Accepted, Journal, Reading } from "./journal.ts";
import type { Following, Plan, Strategy } from "./plan.ts";
import { type Key, statusOf, type StubbornClient } from "./stubborn-client.ts";

export interface Post {
  readonly name: string;
  readonly plan: string;
  readonly threadId: string;
  readonly graph: GraphId;
  readonly following: Following;
  readonly key: Plan["key"];
  readonly body: {
    readonly input?: Record<string, unknown>;
    readonly command?: { readonly resume: unknown };
    readonly multitaskStrategy?: Strategy;
  };
  /** Whether the run may leave no trace: then one that is not found was there all the same. */
  readonly mayVanish: boolean;
}

export interface Clients {
  readonly http: StubbornClient;
  readonly journal: Journal;
}

const streamMode: StreamMode[] = ["values", "updates", "custom"];

/** Resolves when the run is over; undefined when the server refused it (409), or it vanished. */
export async function runPost(clients: Clients, post: Post): Promise<Accepted | undefined> {
  const { journal } = clients;
  const created = await create(clients, post).catch(async (error: unknown): Promise<Created> => {
    if (statusOf(error) !== 409) throw error;
    // Refused; or accepted before, by a POST whose answer got lost.
    return { runId: await findRun(clients, post), isOver: false };
  });
  const { runId } = created;
  if (runId === undefined) {
    journal.refused += 1;
    return undefined;
  }
  const { name, plan, threadId, key } = post;
  const accepted: Accepted = { runId, threadId, post: name, plan, isKeyed: key !== "none", status: "accepted" };
  journal.accepted.push(accepted);
  const isOver = created.isOver || (post.key !== "none" && (await follow(clients, accepted, post.following)));
  const status = await statusNow(clients, accepted);
  if (isOver && isAlive(status))
    journal.oddities.push(`${post.name}: its reader was told the end, and it is ${status}`);
  accepted.status = await settled(clients, accepted);
  return accepted;
}

interface Created {
  readonly runId: string | undefined;
  /** The server ended its answer, which it may only do after the run. */
  readonly isOver: boolean;
}

async function create(clients: Clients, post: Post): Promise<Created> {
  if (post.key !== "none") {
    return { runId: await createTwice(clients, post, { kind: post.key, value: randomUUID() }), isOver: false };
  }
  for (;;) {
    const created = await createOnce(clients, post);
    if (created.runId !== undefined) return created;
    const runId = await findRun(clients, post);
    if (runId !== undefined || post.mayVanish) return { runId, isOver: false };
  }
}

/** Two clients at once, with one key. */
async function createTwice({ http, journal }: Clients, post: Post, key: Key): Promise<string> {
  const send = () =>
    http.insist(
      (client, signal) => client.runs.create(post.threadId, post.graph, { ...payloadOf(post), streamMode, signal }),
      key,
    );
  const [one, other] = await Promise.all([send(), send()]);
  if (one.run_id !== other.run_id) journal.createdTwice.push(post.name);
  return one.run_id;
}

/** As users do it; without a run id when the client lost track of it. */
async function createOnce(clients: Clients, post: Post): Promise<Created> {
  const { http } = clients;
  let runId: string | undefined;
  const payload = { ...payloadOf(post), onRunCreated: (run: { run_id: string }) => void (runId = run.run_id) };
  if (post.following === "poll") {
    await http.once((client, signal) =>
      client.runs.create(post.threadId, post.graph, { ...payload, streamMode, signal }),
    );
    return { runId, isOver: false };
  }
  if (post.following === "wait") {
    const answer = await http.once((client, signal) =>
      client.runs.wait(post.threadId, post.graph, { ...payload, raiseError: false, signal }),
    );
    return { runId, isOver: answer !== undefined };
  }
  const ids: bigint[] = [];
  const isWhole = await http.once(async (client, signal) => {
    await read(client.runs.stream(post.threadId, post.graph, { ...payload, streamMode, signal }), ids);
    return true;
  });
  if (runId === undefined) return { runId, isOver: false };
  const reading = { runId, ids };
  clients.journal.readings.push(reading);
  if (isWhole !== true) await readOn(clients, post.threadId, reading);
  return { runId, isOver: true };
}

function payloadOf({ name, body }: Post) {
  return { ...body, metadata: { post: name } };
}

/** The run that this POST has made, by its name in the metadata. */
export async function findRun({ http }: Clients, { threadId, name }: Post): Promise<string | undefined> {
  const list = await http.insist((client) => client.runs.list(threadId, { limit: 100 })).catch(ignoreGone);
  const own = (list ?? []).filter(({ metadata }) => (metadata as { post?: string } | null)?.post === name);
  return own.at(-1)?.run_id;
}

type Event = Awaited<ReturnType<ReturnType<Client["runs"]["joinStream"]>["next"]>>["value"];

/** Events without an id are the server's word that it cannot go on now. */
async function read(stream: AsyncIterable<Event>, ids: bigint[]): Promise<void> {
  for await (const { id, event, data } of stream) {
    if (id !== undefined && id !== "") ids.push(BigInt(id));
    else if (event === "error") throw new Error(JSON.stringify(data));
  }
}

/** Joins again, from the last id on, until a stream comes to its end. */
async function readOn({ http }: Clients, threadId: string, { runId, ids }: Reading): Promise<void> {
  await http
    .insist((client, signal) =>
      read(client.runs.joinStream(threadId, runId, { lastEventId: String(ids.at(-1) ?? -1), signal }), ids),
    )
    .catch(ignoreGone);
}

/** Whether the server has said that the run is over. */
async function follow(clients: Clients, { threadId, runId }: Accepted, following: Following): Promise<boolean> {
  if (following === "poll") return false;
  if (following === "wait") {
    await clients.http.insist((client, signal) => client.runs.join(threadId, runId, { signal })).catch(ignoreGone);
    return true;
  }
  const reading: Reading = { runId, ids: [] };
  clients.journal.readings.push(reading);
  await readOn(clients, threadId, reading);
  return true;
}

const POLL_MS = 150;

const isAlive = (status: string): boolean => status === "pending" || status === "running";

async function settled(clients: Clients, run: Accepted): Promise<string> {
  for (;;) {
    const status = await statusNow(clients, run);
    if (!isAlive(status)) return status;
    await clients.http.pause(POLL_MS);
  }
}

async function statusNow({ http }: Clients, { threadId, runId }: Accepted): Promise<string> {
  const run = await http.insist((client, signal) => client.runs.get(threadId, runId, { signal })).catch(ignoreGone);
  return run?.status ?? "gone";
}

function ignoreGone(error: unknown): undefined {
  if (statusOf(error) !== 404) throw error;
  return undefined;
}
