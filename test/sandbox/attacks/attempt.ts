/**
 * One attempt to break out of a sandbox, and what tells that it worked. A matrix is a list of attempts; every executor
 * runs those of its languages. An attempt only ever touches what the ground below has made for it.
 */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Narrowing } from "../../../tools/sandbox/policy.ts";
import type { Language, RunResult, RunStatus, Session } from "../../../tools/sandbox/types.ts";

/** What an attempt prints when it got what it wanted. Put together at run time, so that an error which quotes it is none. */
export const loot = "ATTACK-WORKED";

export interface Attempt {
  readonly name: string;
  readonly language: Language;
  /** Prints `loot`, or the secret, when it worked. */
  readonly code: (ground: Ground) => string;
  /** How it may end; any way where absent. */
  readonly ends?: readonly RunStatus[];
  readonly timeoutMs?: number;
  readonly policy?: Narrowing;
  /** A further sign that it worked: in the result, or left on this machine. */
  readonly trace?: (result: RunResult, ground: Ground) => boolean;
}

/** Things worth attacking, each made by us and outside the workspace. */
export interface Ground extends AsyncDisposable {
  readonly folder: string;
  readonly workspace: string;
  readonly secret: string;
  readonly secretFile: string;
  /** An attempt that writes outside writes this. */
  readonly plantedFile: string;
  readonly tcpPort: number;
  readonly udpPort: number;
  readonly unixSocket: string;
  /** A process of this user's that only waits. */
  readonly victim: number;
  /** How many have reached one of the listeners. */
  readonly contacts: () => number;
  readonly isVictimAlive: () => boolean;
}

export const secretVariable = "PAWL_TEST_SECRET";

/** One for all grounds of a process, since the environment is one. */
const secret = `secret-${process.pid}-${Date.now().toString(36)}`;

export async function createGround(): Promise<Ground> {
  const folder = mkdtempSync(join(tmpdir(), "pawl-ground-"));
  const workspace = join(folder, "workspace");
  mkdirSync(workspace, { mode: 0o700 });
  const secretFile = join(folder, "secret.txt");
  writeFileSync(secretFile, secret);
  process.env[secretVariable] = secret;
  let contacts = 0;
  const count = (): void => void contacts++;
  const tcp = createServer((socket) => (count(), socket.destroy())).listen(0, "127.0.0.1");
  const unixSocket = join(folder, "socket");
  const unix = createServer((socket) => (count(), socket.destroy())).listen(unixSocket);
  const udp = createSocket("udp4", count).bind(0, "127.0.0.1");
  const victim = spawn(process.execPath, ["-e", "process.stdin.resume()"], { stdio: ["pipe", "ignore", "ignore"] });
  await Promise.all([tcp, unix, udp].map((listener) => once(listener, "listening")));
  return {
    folder,
    workspace,
    secret,
    secretFile,
    plantedFile: join(folder, "planted.txt"),
    tcpPort: (tcp.address() as AddressInfo).port,
    udpPort: udp.address().port,
    unixSocket,
    victim: victim.pid!,
    contacts: () => contacts,
    isVictimAlive: () => victim.exitCode === null && victim.signalCode === null,
    async [Symbol.asyncDispose]() {
      victim.kill("SIGKILL");
      udp.close();
      await Promise.all([tcp, unix].map((server: Server) => new Promise((done) => void server.close(done))));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface Outcome {
  readonly name: string;
  readonly status: RunStatus;
  /** Why it counts as a success of the attacker. */
  readonly worked?: string;
}

/** Makes the attempt, and looks at the result and at the ground. */
export async function attack(session: Session, attempt: Attempt, ground: Ground): Promise<Outcome> {
  const { name, language, timeoutMs = 10_000 } = attempt;
  const contacts = ground.contacts();
  const result = await session.run({ language, code: attempt.code(ground), timeoutMs });
  const signs = signsOf(attempt, result, ground);
  if (ground.contacts() > contacts) signs.push("it reached a listener of ours");
  return { name, status: result.status, ...(signs.length > 0 && { worked: signs.join("; ") }) };
}

function signsOf({ ends, trace }: Attempt, result: RunResult, ground: Ground): string[] {
  const said = JSON.stringify(result);
  const signs: [boolean, string][] = [
    [said.includes(ground.secret), "the secret is in the result"],
    [said.includes(loot), "it says so"],
    [existsSync(ground.plantedFile), "it wrote outside the workspace"],
    [readFileSync(ground.secretFile, "utf8") !== ground.secret, "it changed a file outside the workspace"],
    [!ground.isVictimAlive(), "it ended a process of ours"],
    [
      ends !== undefined && !ends.includes(result.status),
      `it ended with ${result.status}: ${result.stderr.slice(0, 200)}`,
    ],
    [trace?.(result, ground) ?? false, "it left its trace"],
  ];
  return signs.filter(([isTrue]) => isTrue).map(([, sign]) => sign);
}
