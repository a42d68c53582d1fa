/**
 * Which keys a database knows. A process that lost its keys, or has those of another installation, would go on in clear or
 * under a key that nobody else has; it must not start.
 */
import type { Queryable } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import type { Encryption } from "./encryption.ts";

/** Throws `bad_configuration` unless one of the keys is known here, or nothing is encrypted yet. */
export async function registerKeys(db: Queryable, encryption: Encryption | undefined): Promise<void> {
  const ids = encryption?.keyIds ?? [];
  const { rows } = await db.query<{ known: string[] | null }>({
    name: "register-encryption-keys",
    text: `
      with known as materialized (select key_id from encryption_keys),
      added as (
        insert into encryption_keys (key_id)
        select unnest($1::text[])
         where not exists (select from known) or exists (select from known where key_id = any($1))
            on conflict do nothing)
      select array_agg(key_id) as known from known`,
    values: [ids],
  });
  const known = rows[0]?.known ?? [];
  if (known.length === 0 || known.some((id) => ids.includes(id))) return;
  const what = ids.length > 0 ? "has none of them" : "is not set";
  throw new PawlError(
    "bad_configuration",
    `This database is encrypted under ${known.join(", ")}, and PAWL_ENCRYPTION_KEYS ${what} (docs/operations.md says how to go back to clear)`,
  );
}
