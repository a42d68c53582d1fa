/** Which engine of this machine to use: the first whose command line answers, and that has the image. */
import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { promisify } from "node:util";
import { config } from "../../../lib/config.ts";
import { PawlError } from "../../../lib/errors.ts";
import { findProgram } from "../native/interpreters.ts";

export interface Engine {
  /** Absolute path of `docker` or `podman`. */
  readonly program: string;
  readonly image: string;
}

const answerMs = 10_000;

/** Throws `sandbox_denied` with what each of them says. */
export async function findEngine(): Promise<Engine> {
  const image = config().sandboxImage;
  if (image === undefined) throw new PawlError("sandbox_denied", "PAWL_SANDBOX_CONTAINER_IMAGE is not set");
  const reasons: string[] = [];
  for (const name of ["docker", "podman"]) {
    const program = findProgram(name);
    if (!program) continue;
    try {
      // A command line without its daemon is often installed, and an image is in one store only.
      await ask({ program, image }, ["image", "inspect", "--format", "{{.Id}}", image]);
      return { program, image };
    } catch (error) {
      reasons.push(`${name}: ${firstLine((error as { stderr?: string }).stderr) || "no answer"}`);
    }
  }
  throw new PawlError("sandbox_denied", reasons.join("; ") || "Neither docker nor podman is installed");
}

/** For people: which engine, and the image. */
export async function versionOf(engine: Engine): Promise<string> {
  return `${firstLine(await ask(engine, ["--version"])).slice(0, 100)}, ${engine.image}`;
}

async function ask({ program }: Engine, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { env: engineEnvironment(), timeout: answerMs });
  return stdout;
}

function firstLine(said = ""): string {
  return said.trim().split("\n")[0]!.slice(0, 200);
}

/** Where rootless Podman, and Docker's contexts, look for what is theirs. Nothing of our own environment. */
export function engineEnvironment(): Record<string, string> {
  const uid = process.getuid?.() ?? 0;
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: homedir(),
    ...(uid !== 0 && { XDG_RUNTIME_DIR: `/run/user/${uid}` }),
  };
}
