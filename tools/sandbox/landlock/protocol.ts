/**
 * What travels between us and a launcher, over Node's IPC channel. No guest ever holds that channel. A launcher runs
 * one guest at a time, and what guests print goes straight to the launcher's own stdout and stderr: after a guest and
 * all its descendants are gone, the launcher writes `mark` to both, so that the end of the output is known without waiting.
 */

/** What a launcher is from then on; it cannot be undone. */
export interface Confinement {
  /** Real paths. Whatever is beneath them may be read and executed. */
  readonly readable: readonly string[];
  /** Real paths of folders for the guest's own files. */
  readonly writable: readonly string[];
  /** A folder that is made to appear at another place first, where a guest's account can reach it. */
  readonly bind?: { readonly from: string; readonly to: string };
  /** Single devices. */
  readonly devices: readonly string[];
  /** User and group of each guest, when we are root. */
  readonly account?: number;
  readonly openFiles: number;
  readonly fileMb: number;
  /** RLIMIT_NPROC: tasks of the guest's user on this machine. */
  readonly tasks: number;
}

export interface GuestCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly stdin: string;
  /** More input follows, by messages. */
  readonly isOpen: boolean;
  /** Latin-1 text of random bytes. */
  readonly mark: string;
}

export type ToLauncher =
  | { readonly do: "confine"; readonly confinement: Confinement }
  | { readonly do: "run"; readonly guest: GuestCommand }
  /** For the guest that runs; null ends its input. */
  | { readonly do: "input"; readonly text: string | null }
  | { readonly do: "kill" };

export type FromLauncher =
  | { readonly is: "confined"; readonly abi: number }
  | { readonly is: "unconfined"; readonly reason: string }
  | { readonly is: "ended"; readonly code: number | null; readonly signal: string | null; readonly error?: string };
