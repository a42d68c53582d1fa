import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { migrate } from "../../db/migrate.ts";
import { testDatabase } from "../support/database.ts";

interface Release extends AsyncDisposable {
  readonly folder: URL;
}

/** What one release of the program brings: migration files by name. */
async function release(files: Record<string, string>): Promise<Release> {
  const path = await mkdtemp(join(tmpdir(), "pawl-migrations-"));
  for (const [name, sql] of Object.entries(files)) await writeFile(join(path, name), sql);
  return {
    folder: pathToFileURL(`${path}/`),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

const empty = { template: "template0" } as const;
const first = { "0001_first.sql": "create table first (id integer primary key);" };
const second = { "0002_second.sql": "create table second (id integer primary key);" };

test("the files of this release are applied to each test database", async () => {
  await using db = await testDatabase();
  await expect(migrate(db.connection, { mode: "check" })).resolves.toBeUndefined();
});

test("files are applied in the order of their numbers, once", async () => {
  await using db = await testDatabase(empty);
  await using one = await release(first);
  await using two = await release({ ...second, ...first });
  await migrate(db.connection, { mode: "apply", folder: one.folder });
  await migrate(db.connection, { mode: "apply", folder: two.folder });
  const { rows } = await db.pool.query("select number, name, breaking from pawl_migrations order by applied_at");
  expect(rows).toEqual([
    { number: 1, name: "0001_first.sql", breaking: false },
    { number: 2, name: "0002_second.sql", breaking: false },
  ]);
});

test("twenty processes may migrate at once", async () => {
  await using db = await testDatabase(empty);
  await using one = await release({ ...first, ...second });
  let setUps = 0;
  let inside = 0;
  const before = async (): Promise<void> => {
    expect(++inside, "alone under the lock").toBe(1);
    await db.pool.query("create table if not exists stock (id integer)");
    setUps += 1;
    inside -= 1;
  };
  const migrator = (): Promise<void> => migrate(db.connection, { mode: "apply", folder: one.folder, before });
  await Promise.all(Array.from({ length: 20 }, migrator));
  expect(setUps).toBe(20);
  const { rows } = await db.pool.query("select number from pawl_migrations order by number");
  expect(rows).toEqual([{ number: 1 }, { number: 2 }]);
});

test("a schema that is too old is refused with the command that helps", async () => {
  await using db = await testDatabase(empty);
  await using one = await release(first);
  await using two = await release({ ...first, ...second });
  const refusal = { code: "bad_configuration", message: expect.stringMatching(/0002_second\.sql.*pawl migrate/) };
  await expect(migrate(db.connection, { mode: "check", folder: two.folder }), "empty").rejects.toMatchObject(refusal);
  await migrate(db.connection, { mode: "apply", folder: one.folder });
  await expect(migrate(db.connection, { mode: "check", folder: two.folder }), "old").rejects.toMatchObject(refusal);
});

test("a newer schema is accepted", async () => {
  await using db = await testDatabase(empty);
  await using one = await release(first);
  await using two = await release({ ...first, ...second });
  await migrate(db.connection, { mode: "apply", folder: two.folder });
  await expect(migrate(db.connection, { mode: "check", folder: one.folder })).resolves.toBeUndefined();
  await expect(migrate(db.connection, { mode: "apply", folder: one.folder })).resolves.toBeUndefined();
});

test("a newer schema that breaks this release is refused before anything is touched", async () => {
  await using db = await testDatabase(empty);
  await using one = await release(first);
  await using two = await release({ ...first, "0002_breaking.sql": "--! breaking\ndrop table first;" });
  await migrate(db.connection, { mode: "apply", folder: two.folder });
  const refusal = { code: "bad_configuration", message: expect.stringContaining("0002_breaking.sql") };
  await expect(migrate(db.connection, { mode: "check", folder: one.folder })).rejects.toMatchObject(refusal);
  const before = (): Promise<void> => Promise.reject(new Error("touched"));
  await expect(migrate(db.connection, { mode: "apply", folder: one.folder, before })).rejects.toMatchObject(refusal);
});

test("a migration that fails leaves nothing behind, and those before it in place", async () => {
  await using db = await testDatabase(empty);
  await using one = await release({ ...first, "0002_bad.sql": "create table half (id integer); select 1 / 0;" });
  await expect(migrate(db.connection, { mode: "apply", folder: one.folder })).rejects.toMatchObject({
    message: expect.stringContaining("0002_bad.sql"),
    cause: expect.objectContaining({ code: "22012" }),
  });
  const { rows } = await db.pool.query(
    "select to_regclass('first')::text as first, to_regclass('half')::text as half, count(*) from pawl_migrations",
  );
  expect(rows).toEqual([{ first: "first", half: null, count: "1" }]);
});
