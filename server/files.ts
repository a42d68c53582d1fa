/**
 * HTTP for the files of a thread: bytes in, bytes out. What comes out was written by a model or by strangers, so it is
 * never a page: no type but bytes, no guessing of one, and a download rather than a view.
 */
import { type Context, Hono } from "hono";
import { z } from "zod";
import { PawlError } from "../lib/errors.ts";
import { hashOf } from "../lib/file-versions.ts";
import { ThreadId } from "../lib/ids.ts";
import type { ThreadFiles } from "../runs/threads/files.ts";
import { FileError, type FileErrorCode, guestRoot } from "../tools/sandbox/paths.ts";
import { defaultPolicy } from "../tools/sandbox/types.ts";
import { fileAt, withFile, without } from "../tools/sandbox/version-edits.ts";
import type { ServerEnv } from "./app.ts";
import { parse, parseParam } from "./parse.ts";
import { principalOf } from "./principal.ts";

const maxListed = 1_000;

export function fileRoutes(files: ThreadFiles): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();

  app.get("/threads/:thread_id/files", async (c) =>
    c.json(await files.list(principalOf(c), parseParam(ThreadId, c, "thread_id"), maxListed)),
  );

  app.get("/threads/:thread_id/files/*", (c) =>
    withPath(c, async (threadId, path) => {
      const bytes = await files.read(principalOf(c), threadId, (entries) => fileAt(entries, path).hash);
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
    withPath(c, async (threadId, path) => {
      const content = Buffer.from(await c.req.arrayBuffer());
      const added = { hash: hashOf(content), content };
      await files.edit(principalOf(c), threadId, (entries) => ({
        entries: withFile(entries, { path, hash: added.hash, size: content.length }, defaultPolicy),
        added,
      }));
      return c.body(null, 204);
    }),
  );

  app.delete("/threads/:thread_id/files/*", (c) =>
    withPath(c, async (threadId, path) => {
      await files.edit(principalOf(c), threadId, (entries) => ({ entries: without(entries, path) }));
      return c.body(null, 204);
    }),
  );

  return app;
}

async function withPath<T>(c: Context<ServerEnv>, work: (threadId: ThreadId, path: string) => Promise<T>): Promise<T> {
  try {
    return await work(parseParam(ThreadId, c, "thread_id"), pathOf(c));
  } catch (error) {
    throw error instanceof FileError ? new PawlError(codes[error.code], error.message) : error;
  }
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
