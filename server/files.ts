/**
 * HTTP for the files of a thread: bytes in, bytes out. What comes out was written by a model or by strangers, so it is
 * never a page: no type but bytes, no guessing of one, and a download rather than a view.
 */
import { type Context, Hono } from "hono";
import { z } from "zod";
import { PawlError } from "../lib/errors.ts";
import { ThreadId } from "../lib/ids.ts";
import type { Principal } from "../lib/principal.ts";
import { deleteWorkspaceFile, listWorkspace, readWorkspaceFile, writeWorkspaceFile } from "../tools/sandbox/files.ts";
import { FileError, type FileErrorCode, guestRoot } from "../tools/sandbox/paths.ts";
import { defaultPolicy } from "../tools/sandbox/types.ts";
import { inTurn } from "../tools/sandbox/turns.ts";
import { openWorkspace, type Workspace } from "../tools/sandbox/workspace.ts";
import type { ServerEnv } from "./app.ts";
import { parse, parseParam } from "./parse.ts";
import { principalOf } from "./principal.ts";

const maxListed = 1_000;
const maxBytes = defaultPolicy.fileMb * 1_024 * 1_024;

export interface FileRoutesOptions {
  readonly dataDir: string;
  /** Throws `thread_not_found` for a thread that is not there, or another tenant's. */
  readonly requireThread: (principal: Principal, threadId: ThreadId) => Promise<unknown>;
}

export function fileRoutes({ dataDir, requireThread }: FileRoutesOptions): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();

  async function withFile<T>(c: Context<ServerEnv>, work: (workspace: Workspace, path: string) => Promise<T>) {
    const threadId = parseParam(ThreadId, c, "thread_id");
    await requireThread(principalOf(c), threadId);
    try {
      return await work(await openWorkspace(dataDir, threadId), pathOf(c));
    } catch (error) {
      throw error instanceof FileError ? new PawlError(codes[error.code], error.message) : error;
    }
  }

  app.get("/threads/:thread_id/files", (c) =>
    withFile(c, async (workspace) => {
      const { entries, more } = await listWorkspace(workspace, ".", maxListed);
      const files = entries.filter(({ type }) => type === "file");
      return c.json({
        files: files.map(({ path, size, modifiedAt }) => ({ path, size, modified_at: modifiedAt })),
        more,
      });
    }),
  );

  app.get("/threads/:thread_id/files/*", (c) =>
    withFile(c, async (workspace, path) => {
      const bytes = await readWorkspaceFile(workspace, path, maxBytes);
      return c.body(new Uint8Array(bytes), 200, {
        "content-type": "application/octet-stream",
        "content-disposition": `attachment; filename*=UTF-8''${encodeRfc5987(path.split("/").at(-1)!)}`,
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
      });
    }),
  );

  app.put("/threads/:thread_id/files/*", (c) =>
    withFile(c, async (workspace, path) => {
      const content = new Uint8Array(await c.req.arrayBuffer());
      await inTurn(workspace.root, () => writeWorkspaceFile(workspace, { path, content }, defaultPolicy));
      return c.body(null, 204);
    }),
  );

  app.delete("/threads/:thread_id/files/*", (c) =>
    withFile(c, async (workspace, path) => {
      await inTurn(workspace.root, () => deleteWorkspaceFile(workspace, path));
      return c.body(null, 204);
    }),
  );

  return app;
}

const codes = {
  file_not_found: "file_not_found",
  permission_denied: "file_refused",
  is_directory: "file_refused",
  invalid_path: "invalid_input",
} as const satisfies Record<FileErrorCode, string>;

const Path = z.string().max(4_000);

/** What follows `/files/`, decoded: an encoded slash or dot is one, and meets the same checks. */
function pathOf(c: Context<ServerEnv>): string {
  const encoded = c.req.path.split("/").slice(4).join("/");
  try {
    return `${guestRoot}/${parse(Path, decodeURIComponent(encoded))}`;
  } catch (error) {
    if (error instanceof URIError) throw new PawlError("invalid_input", "The path is not well encoded");
    throw error;
  }
}

function encodeRfc5987(text: string): string {
  return encodeURIComponent(text).replace(/['()*!]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
