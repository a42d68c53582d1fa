/**
 * The files of a thread in Postgres, by content. A checkpoint of the outermost graph names the version that it began
 * with (`checkpoints.files`, which `putCheckpoint` inherits); what its tasks did since are rows of `file_changes`. All
 * contents go in and out here.
 */
import { fence, leaseLost, type Owner } from "../db/fence.ts";
import type { Queryable } from "../db/pool.ts";
import { type FileVersions, noFiles, VersionEntry, versionOf } from "../lib/file-versions.ts";
import { byId } from "./by-id.ts";
import type { Encryption } from "./encryption.ts";
import { filePlace, held } from "./sealed-rows.ts";

interface FilesAt {
  readonly db: Queryable;
  readonly owner: Owner;
  /** Seals contents; they are stored in clear without. */
  readonly encryption: Encryption | undefined;
  readonly checkpointId: string;
  /** Where the run started: for a run that stores its checkpoints later, or not at all. */
  readonly startedAt?: string | undefined;
}

/**
 * For `select`: the version that the checkpoint `id` (SQL) of the thread in `thread` (SQL) has arrived at, and without
 * the changes of its tasks the one that it began with. Empty: no files. Null: nobody knows, since the checkpoint was
 * written by a process that kept no versions.
 */
export function versionAt(thread: string, id: string, { withChanges = "true" } = {}): string {
  return `coalesce(
    (select f.version from file_changes f
      where f.thread_id = ${thread} and f.checkpoint_id = coalesce(${id}, '') and (${withChanges} or ${id} is null)
      order by f.seq desc limit 1),
    (select c.files from checkpoints c
      where c.thread_id = ${thread} and c.checkpoint_ns = '' and ${byId("c", id)}),
    case when ${id} is null then ''::bytea end)`;
}

/** The id of a checkpoint, if it is stored. */
function storedId(id: string): string {
  return `(select checkpoint_id from checkpoints c
                        where thread_id = $1 and checkpoint_ns = '' and ${byId("c", id)})`;
}

export class FilesInPostgres implements FileVersions {
  readonly checkpointId: string;
  readonly #db: Queryable;
  readonly #owner: Owner;
  readonly #encryption: Encryption | undefined;
  readonly #startedAt: string | null;

  constructor({ db, owner, encryption, checkpointId, startedAt }: FilesAt) {
    this.checkpointId = checkpointId;
    this.#db = db;
    this.#owner = owner;
    this.#encryption = encryption;
    this.#startedAt = startedAt ?? null;
  }

  async newest(): Promise<string | null> {
    const { rows } = await this.#db.query<{ version: string | null }>({
      name: "newest-files",
      // A checkpoint that is not stored yet has the files of the one that the run goes on from; of one that was chosen,
      // those that it began with (see `FencedSaver`).
      text: `
        with known as (
               select ${storedId("$2")} as own, ${storedId("$3")} as started),
             stored as (
               select coalesce(own, started, (select checkpoint_id from checkpoints where thread_id = $1 and checkpoint_ns = ''
                                               order by seq desc limit 1)) as checkpoint_id,
                      own is not null or started is null as with_changes
                 from known)
        select encode(${versionAt("$1", "(select checkpoint_id from stored)", { withChanges: "(select with_changes from stored)" })}, 'hex') as version`,
      values: [this.#owner.thread_id, this.checkpointId, this.#startedAt],
    });
    return rows[0]!.version;
  }

  async entries(version: string): Promise<VersionEntry[]> {
    if (version === noFiles) return [];
    const { rows } = await this.#db.query<{ entries: unknown }>({
      name: "files-of-version",
      text: "select entries from file_versions where thread_id = $1 and hash = decode($2, 'hex')",
      values: [this.#owner.thread_id, version],
    });
    return VersionEntry.array().parse(rows[0]?.entries);
  }

  /** Throws `checkpoint_unreadable`. */
  async content(hash: string): Promise<Buffer> {
    const { thread_id } = this.#owner;
    const { rows } = await this.#db.query<{ content: Buffer | null; sealed: Buffer | null }>({
      name: "content-of-file",
      text: "select content, sealed from file_contents where thread_id = $1 and hash = decode($2, 'hex')",
      values: [thread_id, hash],
    });
    const { content = null, sealed = null } = rows[0] ?? {};
    if (sealed) return held(this.#encryption).open(sealed, filePlace({ thread_id, hash }));
    if (content) return content;
    throw new Error(`The content ${hash} of a file is not in the database`);
  }

  async missing(hashes: readonly string[]): Promise<string[]> {
    const { rows } = await this.#db.query<{ hash: string }>({
      name: "missing-contents",
      text: `
        select asked.hash from unnest($2::text[]) asked(hash)
         where not exists (select from file_contents f where f.thread_id = $1 and f.hash = decode(asked.hash, 'hex'))`,
      values: [this.#owner.thread_id, hashes],
    });
    return rows.map(({ hash }) => hash);
  }

  addContent(hash: string, content: Buffer): Promise<void> {
    const { thread_id } = this.#owner;
    const sealed = this.#encryption?.seal(content, filePlace({ thread_id, hash })) ?? null;
    const into = "file_contents (thread_id, hash, content, sealed)";
    return this.#insert(into, "decode($3, 'hex'), $4::bytea, $5::bytea", [hash, sealed ? null : content, sealed]);
  }

  async addVersion(entries: readonly VersionEntry[]): Promise<string> {
    const hash = versionOf(entries);
    const into = "file_versions (thread_id, hash, entries)";
    await this.#insert(into, "decode($3, 'hex'), $4::jsonb", [hash, JSON.stringify(entries)]);
    return hash;
  }

  /** What is there already is the same, since its hash is. */
  async #insert(into: string, values: string, parameters: readonly unknown[]): Promise<void> {
    const { rowCount } = await this.#db.query({
      name: `insert-${into.split(" ")[0]}`,
      text: `
        with ${fence},
             kept as (insert into ${into} select $1::text, ${values} from fence on conflict do nothing)
        select from fence`,
      values: [this.#owner.thread_id, this.#owner.epoch, ...parameters],
    });
    if (rowCount !== 1) throw leaseLost(this.#owner);
  }
}

/** Deletes all files of a thread. */
export async function deleteThreadFiles(tx: Queryable, threadId: string): Promise<void> {
  await tx.query({
    name: "delete-thread-files",
    text: `
      with changes_gone as (delete from file_changes where thread_id = $1),
           versions_gone as (delete from file_versions where thread_id = $1)
      delete from file_contents where thread_id = $1`,
    values: [threadId],
  });
}

/**
 * Deletes what a run did to the files of checkpoints that stay, and the results of the calls that did it: they are made
 * again when the thread goes on.
 */
export async function deleteRunFiles(tx: Queryable, threadId: string, runId: string): Promise<void> {
  await tx.query({
    name: "delete-run-files",
    text: `
      with gone as (
        delete from file_changes where thread_id = $1 and run_id = $2 returning effect_key)
      delete from effects e
       using gone
       where e.thread_id = $1::text::uuid and e.key = gone.effect_key and e.run_id::text = $2`,
    values: [threadId, runId],
  });
}

/** Deletes the changes, versions and contents of a thread that no checkpoint leads to. Expects that nobody else writes to it. */
export async function collectFiles(tx: Queryable, threadId: string): Promise<void> {
  await tx.query({
    name: "collect-file-changes",
    text: `
      delete from file_changes f
       where f.thread_id = $1 and f.checkpoint_id <> ''
         and not exists (select from checkpoints c
                          where c.thread_id = $1 and c.checkpoint_ns = '' and c.checkpoint_id = f.checkpoint_id)`,
    values: [threadId],
  });
  await tx.query({
    name: "collect-file-versions",
    text: `
      delete from file_versions v
       where v.thread_id = $1
         and not exists (select from file_changes f where f.thread_id = $1 and f.version = v.hash)
         and not exists (select from checkpoints c where c.thread_id = $1 and c.files = v.hash)`,
    values: [threadId],
  });
  await tx.query({
    name: "collect-file-contents",
    text: `
      with named as materialized (
        select distinct decode(e ->> 'hash', 'hex') as hash
          from file_versions cross join jsonb_array_elements(entries) e
         where thread_id = $1)
      delete from file_contents f
       where f.thread_id = $1 and not exists (select from named where named.hash = f.hash)`,
    values: [threadId],
  });
}

/** Copies all files to a copy of the thread, whose checkpoints name them. */
export async function copyThreadFiles(tx: Queryable, from: string, to: string): Promise<void> {
  await tx.query({
    name: "copy-thread-files",
    text: `
      with contents_copied as (
        insert into file_contents (thread_id, hash, content, sealed, created_at)
        select $2, hash, content, sealed, created_at from file_contents where thread_id = $1),
      versions_copied as (
        insert into file_versions (thread_id, hash, entries)
        select $2, hash, entries from file_versions where thread_id = $1)
      insert into file_changes (thread_id, checkpoint_id, version, run_id, effect_key)
      select $2, checkpoint_id, version, run_id, effect_key from file_changes where thread_id = $1 order by seq`,
    values: [from, to],
  });
}
