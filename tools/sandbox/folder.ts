/**
 * A folder of a workspace, held open. On Linux every further step goes through the descriptor, so that a guest which
 * swaps a folder for a symbolic link between our look and our step gains nothing: the kernel starts from the folder
 * that was opened, and refuses a last part that is a link. Elsewhere no guest runs beside us on the same files (the
 * wasm sandbox has none), and looking first is enough.
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, mkdir, open, opendir } from "node:fs/promises";
import { join } from "node:path";
import { absent, FileError, rethrowFor } from "./paths.ts";
import type { Workspace } from "./workspace.ts";

/** More entries than this in one folder were not made by a tool. */
const maxEntries = 20_000;

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class Folder implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #realPath: string;

  private constructor(handle: FileHandle, realPath: string) {
    this.#handle = handle;
    this.#realPath = realPath;
  }

  static async root(workspace: Workspace): Promise<Folder> {
    return new Folder(await open(workspace.root, folderFlags), workspace.root);
  }

  /** A path for the system's calls that names `name` in this very folder. Only for one part. */
  at(name: string): string {
    return process.platform === "linux" ? `/proc/self/fd/${this.#handle.fd}/${name}` : join(this.#realPath, name);
  }

  /** Throws for a symbolic link. `path` is the guest's, for the error. */
  async stat(name: string, path: string): Promise<Stats | undefined> {
    const stats = await lstat(this.at(name)).catch(absent(path));
    if (stats?.isSymbolicLink()) throw new FileError("permission_denied", `${path} is or goes through a symbolic link`);
    return stats;
  }

  /** The folder `name` in this one, created if `create`. */
  async enter(name: string, path: string, create: boolean): Promise<Folder> {
    const stats = await this.stat(name, path);
    if (!stats && !create) throw new FileError("file_not_found", `${path} does not exist`);
    if (!stats) await this.#makeFolder(name, path);
    else if (!stats.isDirectory())
      throw new FileError("invalid_path", `${path} goes through something that is not a directory`);
    const handle = await open(this.at(name), folderFlags).catch(rethrowFor(path));
    if (!stats) await this.giveToOwner(handle);
    return new Folder(handle, join(this.#realPath, name));
  }

  /**
   * Under root a workspace belongs to the user id of its guests (native/account.ts) from its first guest on. What we
   * put into it then has to as well, or the next guest could not change it.
   */
  async giveToOwner(made: FileHandle): Promise<void> {
    if (process.getuid?.() !== 0) return;
    const { uid, gid } = await this.#handle.stat();
    if (uid !== 0) await made.chown(uid, gid);
  }

  /** Sorted. Throws `permission_denied` for a folder that is too large to look at. */
  async names(path: string): Promise<string[]> {
    const names: string[] = [];
    for await (const { name } of await opendir(this.at("."))) {
      if (names.length === maxEntries)
        throw new FileError("permission_denied", `${path} has more than ${maxEntries} entries`);
      names.push(name);
    }
    return names.sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  async #makeFolder(name: string, path: string): Promise<void> {
    try {
      await mkdir(this.at(name), 0o700);
    } catch (error) {
      // Another call of the same step made it.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") rethrowFor(path)(error);
    }
  }
}

/** The folder that `parts` name, to be disposed of. Throws `FileError`. */
export async function openFolder(
  workspace: Workspace,
  parts: readonly string[],
  { path, create = false }: { path: string; create?: boolean },
): Promise<Folder> {
  let folder = await Folder.root(workspace);
  for (const part of parts) {
    const parent = folder;
    try {
      folder = await parent.enter(part, path, create);
    } finally {
      await parent[Symbol.asyncDispose]();
    }
  }
  return folder;
}
