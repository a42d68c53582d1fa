/** Ids that must not be mixed up: a run id is not a thread id, though both are UUIDs. */
import { createHash, randomBytes } from "node:crypto";
import { z } from "zod";

/** Any UUID, of any version or none: clients mint their own ids. Lower-cased, as Postgres prints them. */
const uuid = z.guid().transform((id) => id.toLowerCase());

export const ThreadId = uuid.brand<"ThreadId">();
export type ThreadId = z.infer<typeof ThreadId>;

export const RunId = uuid.brand<"RunId">();
export type RunId = z.infer<typeof RunId>;

export const AssistantId = uuid.brand<"AssistantId">();
export type AssistantId = z.infer<typeof AssistantId>;

/** A UUID of version 7 (RFC 9562 section 5.7): 48 bits of milliseconds, then random bits. */
export function uuidv7(now: number = Date.now()): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(now, 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return dashed(bytes);
}

/** The name space for the ids of system assistants; `6ba7b821-...` is the one LangGraph's servers use. */
const GRAPH_NAMESPACE = Buffer.from("6ba7b8219dad11d180b400c04fd430c8", "hex");

/** The id of a graph's system assistant: UUID v5 of the graph's name, the same on every LangGraph server. */
export function assistantIdOf(graphId: string): AssistantId {
  const bytes = createHash("sha1").update(GRAPH_NAMESPACE).update(graphId).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return AssistantId.parse(dashed(bytes));
}

function dashed(bytes: Buffer): string {
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
