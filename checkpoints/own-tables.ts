/** Threads in our tables, read out in the stock form and taken in from it. */
import type { Queryable } from "../db/pool.ts";
import { cleanJson } from "../lib/text.ts";
import { rowsOf } from "./checkpoint-rows.ts";
import { dumpValues } from "./dump-values.ts";
import type { Encryption } from "./encryption.ts";
import { FreshVersions } from "./fresh-versions.ts";
import { KnownVersions } from "./known-versions.ts";
import { wholeOf } from "./load-values.ts";
import { readTuples } from "./read-tuples.ts";
import { sealWrites } from "./sealed-rows.ts";
import { Serializer } from "./serializer.ts";
import { ownMetadata } from "./stock-tables.ts";
import { readNulls } from "./read-nulls.ts";
import { bytesOf, type CheckpointLine, type TransferredCheckpoint, type TransferTarget } from "./transfer-lines.ts";
import { putCheckpoint } from "./put-checkpoint.ts";
import { putWrites } from "./put-writes.ts";

/** Checkpoints with all their values in memory at once. */
const PAGE = 25;

interface OwnThread {
  readonly db: Queryable;
  readonly threadId: string;
  readonly encryption: Encryption | undefined;
}

/**
 * In the order in which they were stored. `db` is a transaction that sees one moment (repeatable read): rows are read at
 * the places that they had at its beginning.
 */
export async function* ownCheckpoints({ db, threadId, encryption }: OwnThread): AsyncGenerator<TransferredCheckpoint> {
  const { rows } = await db.query<{ place: string }>({
    name: "checkpoints-of-thread",
    text: "select ctid as place from checkpoints where thread_id = $1 order by seq",
    values: [threadId],
  });
  for (let at = 0; at < rows.length; at += PAGE) {
    const page = rows.slice(at, at + PAGE).map(({ place }) => place);
    const where = "ctid = any($1::tid[])";
    const tuples = await readTuples(db, { name: "checkpoints-by-place", where, values: [page], encryption });
    for (const { checkpoint_ns, checkpoint_id, parent_checkpoint_id, ...stored } of tuples.toReversed()) {
      const { checkpoint, metadata } = stored;
      const values = stored.values.map((value) => ({ channel: value.channel, ...wholeOf(value) }));
      const writes = stored.writes.map((write) => ({ ...write, ...wholeOf(write) }));
      const place = { ns: checkpoint_ns, id: checkpoint_id, parent: parent_checkpoint_id };
      yield { ...place, checkpoint: { ...checkpoint }, metadata, values, writes };
    }
  }
}

/** What it is given is stored as runs would have stored it: in pieces, under versions of its own, encrypted where values are. */
export function ownTarget({ db, threadId, encryption }: OwnThread): TransferTarget {
  const serializer = new Serializer();
  const fresh = new FreshVersions();
  const versions = new KnownVersions();
  /** What has come for the next checkpoint of each namespace. */
  const pending = new Map<string, { channel: string; version: string; value: unknown }[]>();
  return {
    async value(line) {
      const { ns, channel, version, type } = line;
      const value: unknown = await serializer.loadsTyped(type, bytesOf(line));
      pending.set(ns, [...(pending.get(ns) ?? []), { channel, version: String(fresh.of(version)), value }]);
    },
    async checkpoint({ ns, id, parent, metadata, ...line }) {
      const come = pending.get(ns) ?? [];
      pending.delete(ns);
      const at = { thread_id: threadId, checkpoint_ns: ns, checkpoint_id: id, parent, encryption };
      const checkpoint = renamed(line.checkpoint, fresh);
      const newVersions = Object.fromEntries(come.map(({ channel, version }) => [channel, version]));
      const values = await dumpValues(
        Object.fromEntries(come.map(({ channel, value }) => [channel, value])),
        newVersions,
        { serde: serializer, before: (channel) => versions.chunks(at, channel) },
      );
      const whole = { checkpoint: cleanJson(checkpoint), metadata: cleanJson(ownMetadata(metadata, threadId)) };
      const channelVersions = checkpoint.channel_versions;
      await versions.store(
        at,
        { values, newVersions, channelVersions },
        {
          readNulls: (unknown) => readNulls(db, at, unknown),
          put: (planned) =>
            putCheckpoint(db, { owner: null, row: [threadId, ns, id, parent], ...rowsOf(at, whole, planned) }),
        },
      );
    },
    async write(line) {
      const { ns, checkpoint_id, task_id, idx, channel, type } = line;
      const at = { thread_id: threadId, checkpoint_ns: ns, checkpoint_id, task_id };
      const writes = [{ idx, channel, type, blob: bytesOf(line) }];
      await putWrites(db, {
        owner: null,
        row: [threadId, ns, checkpoint_id, task_id],
        runId: null,
        ...sealWrites(encryption, at, { writes, items: [] }),
        replace: true,
        lazy: false,
      });
    },
  };
}

function renamed(
  checkpoint: CheckpointLine["checkpoint"],
  fresh: FreshVersions,
): Required<CheckpointLine["checkpoint"]> {
  const each = (versions: CheckpointLine["checkpoint"]["channel_versions"]) =>
    Object.fromEntries(Object.entries(versions).map(([channel, version]) => [channel, fresh.of(version)]));
  const seen = Object.entries(checkpoint.versions_seen ?? {});
  return {
    ...checkpoint,
    channel_versions: each(checkpoint.channel_versions),
    versions_seen: Object.fromEntries(seen.map(([node, versions]) => [node, each(versions)])),
  };
}
