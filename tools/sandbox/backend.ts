/**
 * What deepagents calls `SandboxBackendProtocolV2`, in our own words: an agent of that library takes a session as its
 * backend. Errors are results here too. The types are the library's by structure; test/sandbox/backend.test.ts holds
 * them against it.
 */
import type { FileErrorCode } from "./paths.ts";

export interface FileInfo {
  path: string;
  is_dir?: boolean;
  size?: number;
  /** ISO 8601. */
  modified_at?: string;
}

interface FileData {
  /** Text, or bytes of what is not UTF-8. */
  content: string | Uint8Array;
  mimeType: string;
  created_at: string;
  modified_at: string;
}

export interface GrepMatch {
  path: string;
  /** From 1. */
  line: number;
  text: string;
}

/** `truncated`: the search ended early, and what it found until then is valid. */
type LsResult = { error?: string; files?: FileInfo[] };
export type GlobResult = LsResult & { truncated?: boolean };
export type GrepResult = { error?: string; matches?: GrepMatch[]; truncated?: boolean };
type ReadRawResult = { error?: string; data?: FileData };
type WriteResult = { error?: string; path?: string };
export type EditResult = WriteResult & { occurrences?: number };

export interface ReadResult {
  error?: string;
  content?: string | Uint8Array;
  mimeType?: string;
  totalLines?: number;
  /** From 1, both ends included. */
  startLine?: number;
  endLine?: number;
  /** From 0; absent when `content` reaches the end. */
  nextOffset?: number;
}

interface ExecuteResponse {
  output: string;
  exitCode: number | null;
  truncated: boolean;
}

export interface FileBackend {
  /** Not recursive. */
  ls(path: string): Promise<LsResult>;
  /** `offset` and `limit` count lines. */
  read(path: string, offset?: number, limit?: number): Promise<ReadResult>;
  readRaw(path: string): Promise<ReadRawResult>;
  write(path: string, content: string): Promise<WriteResult>;
  edit(path: string, oldString: string, newString: string, replaceAll?: boolean): Promise<EditResult>;
  /** `pattern` is a literal text, not a regular expression. */
  grep(pattern: string, path?: string | null, glob?: string | null, maxCount?: number | null): Promise<GrepResult>;
  glob(pattern: string, path?: string): Promise<GlobResult>;
  /** Folders with all that is in them. */
  delete(path: string): Promise<WriteResult>;
  uploadFiles(files: [string, Uint8Array][]): Promise<{ path: string; error: FileErrorCode | null }[]>;
  downloadFiles(paths: string[]): Promise<{ path: string; content: Uint8Array | null; error: FileErrorCode | null }[]>;
}

export interface SandboxBackend extends FileBackend {
  readonly id: string;
  /** A shell command. `timeout` is in seconds and only shortens the policy's. */
  execute(command: string, options?: { timeout?: number }): Promise<ExecuteResponse>;
}
