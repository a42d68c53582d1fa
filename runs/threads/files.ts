/** The files of a thread between its runs: those that its newest checkpoint has arrived at. */
import type pg from "pg";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import { collectFiles, FilesInPostgres } from "../../checkpoints/files.ts";
import type { Owner } from "../../db/fence.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { globalsPath, type VersionEntry } from "../../lib/file-versions.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { requireThread } from "./get.ts";
import { holdIdleThread } from "./update-state.ts";

/** The files as they are to be, and the content that came in, if there is one. */
interface FilesEdit {
  readonly entries: readonly VersionEntry[];
  readonly added?: { readonly hash: string; readonly content: Buffer };
}

/** A file in a list. */
interface ListedFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** When the thread first had this content. */
  readonly modified_at: Date;
}

export interface ThreadFiles {
  /** Sorted by path; `limit` of them at most. Throws `thread_not_found`. */
  list(principal: Principal, threadId: ThreadId, limit: number): Promise<{ files: ListedFile[]; more: boolean }>;
  /** The content that `find` chooses. Throws `thread_not_found`, and what `find` throws. */
  read(principal: Principal, threadId: ThreadId, find: (entries: VersionEntry[]) => string): Promise<Buffer>;
  /** Throws `thread_not_found`, `thread_busy` while a run is alive, and what `edit` throws; then nothing has changed. */
  edit(principal: Principal, threadId: ThreadId, edit: (entries: VersionEntry[]) => FilesEdit): Promise<void>;
}

export function createThreadFiles(pool: pg.Pool): ThreadFiles {
  const filesOf = (db: Queryable, owner: Owner): FilesInPostgres =>
    new FilesInPostgres({ db, owner, encryption: encryptionOf(pool), checkpointId: "" });
  return {
    async list(principal, threadId, limit) {
      await requireThread(pool, principal, threadId);
      const version = await filesOf(pool, { thread_id: threadId, epoch: "0" }).newest();
      const { rows } = await pool.query<ListedFile & { size: string }>({
        name: "list-files",
        text: `
          select e ->> 'path' as path, (e ->> 'size')::float8 as size, f.created_at as modified_at
            from file_versions v
           cross join jsonb_array_elements(v.entries) e
            join file_contents f on f.thread_id = v.thread_id and f.hash = decode(e ->> 'hash', 'hex')
           where v.thread_id = $1 and v.hash = decode($2, 'hex') and e ->> 'path' <> $4
           order by e ->> 'path' collate "C"
           limit $3`,
        values: [threadId, version, limit + 1, globalsPath],
      });
      return { files: rows.slice(0, limit), more: rows.length > limit };
    },
    async read(principal, threadId, find) {
      await requireThread(pool, principal, threadId);
      const files = filesOf(pool, { thread_id: threadId, epoch: "0" });
      return files.content(find(await newestEntries(files)));
    },
    edit: (principal, threadId, edit) =>
      transaction(pool, async (tx) => {
        await requireThread(tx, principal, threadId);
        const files = filesOf(tx, await holdIdleThread(tx, threadId));
        const { entries, added } = edit(await newestEntries(files));
        if (added) await files.addContent(added.hash, added.content);
        await putAtNewest(tx, threadId, await files.addVersion(entries));
        await collectFiles(tx, threadId);
      }),
  };
}

async function newestEntries(files: FilesInPostgres): Promise<VersionEntry[]> {
  const version = await files.newest();
  return version === null ? [] : files.entries(version);
}

/**
 * What a person puts there is part of the newest checkpoint, so that a fork of it has it too; unless its tasks have
 * changed files already, which a fork does not have.
 */
async function putAtNewest(tx: Queryable, threadId: string, version: string): Promise<void> {
  await tx.query({
    name: "put-files-at-newest",
    text: `
      with newest as (
        select coalesce((select checkpoint_id from checkpoints
                          where thread_id = $1 and checkpoint_ns = '' order by seq desc limit 1), '') as checkpoint_id),
      last as (
        select f.seq, f.run_id from file_changes f join newest using (checkpoint_id)
         where f.thread_id = $1 order by f.seq desc limit 1),
      at_checkpoint as (
        update checkpoints c set files = decode($2, 'hex')
          from newest
         where c.thread_id = $1 and c.checkpoint_ns = '' and c.checkpoint_id = newest.checkpoint_id
           and not exists (select from last)
        returning 1),
      instead as (
        update file_changes f set version = decode($2, 'hex')
          from newest, last
         where f.thread_id = $1 and f.checkpoint_id = newest.checkpoint_id and f.seq = last.seq and last.run_id is null
        returning 1)
      insert into file_changes (thread_id, checkpoint_id, version)
      select $1, checkpoint_id, decode($2, 'hex') from newest
       where not exists (select from at_checkpoint) and not exists (select from instead)`,
    values: [threadId, version],
  });
}
