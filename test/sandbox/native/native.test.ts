/** What both native sandboxes promise, on real guests. Where a machine has none of one, its self-test has to say why. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBwrapExecutor } from "../../../tools/sandbox/bwrap/executor.ts";
import { createLandlockExecutor } from "../../../tools/sandbox/landlock/executor.ts";
import { defaultPolicy, type OutputChunk, type Session } from "../../../tools/sandbox/types.ts";

const threadId = "0190b7e0-0000-7000-8000-00000000000a";

/** PIDs of processes with `text` on their command line. */
function running(text: string): number[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(text))
    .map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
}

/** Of this process: other tests have theirs. */
function shootLaunchers(): void {
  for (const pid of running("landlock/launcher.")) if (parentOf(pid) === process.pid) process.kill(pid, "SIGKILL");
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
}

const executors = { landlock: createLandlockExecutor, bwrap: createBwrapExecutor };
const capabilities = { landlock: await probe("landlock"), bwrap: await probe("bwrap") };

async function probe(kind: keyof typeof executors) {
  const executor = executors[kind]();
  try {
    return await executor.probe("shell");
  } finally {
    await executor.close();
  }
}

test.each(Object.entries(capabilities))("the self-test of %s passes or says why it does not", (_kind, found) => {
  if (found.available) expect(found.languages).toEqual(["shell"]);
  else expect(found.reason).toMatch(/\w+/);
});

const available = (["landlock", "bwrap"] as const).filter((kind) => capabilities[kind].available);

describe.each(available)("%s", (kind) => {
  const executor = executors[kind]();
  const root = mkdtempSync(join(tmpdir(), "pawl-native-"));
  let session: Session;

  beforeAll(async () => {
    session = await executor.open({ threadId, root }, { ...defaultPolicy, env: { GREETING: "hello" } });
  });

  afterAll(async () => {
    await session.close();
    await executor.close();
    rmSync(root, { recursive: true });
  });

  const shell = (code: string, more = {}) => session.run({ language: "shell", code, ...more });

  test.each([
    ["shell", 'echo "$GREETING from $(pwd)"; cat /workspace/in.txt; echo out > out.txt'],
    [
      "python",
      "import os\nprint(os.environ['GREETING'], 'from', os.getcwd())\nprint(open('/workspace/in.txt').read(), end='')\nopen('out.txt', 'w').write('out\\n')",
    ],
    [
      "js",
      "const fs = require('node:fs'); console.log(process.env.GREETING, 'from', process.cwd()); process.stdout.write(fs.readFileSync('/workspace/in.txt', 'utf8')); fs.writeFileSync('out.txt', 'out\\n')",
    ],
  ] as const)("%s works on the files of the thread, under their guest paths", async (language, code) => {
    await session.delete("out.txt");
    await session.delete("in.txt");
    expect(await session.write("in.txt", "in\n")).not.toHaveProperty("error");
    expect(await session.run({ language, code })).toMatchObject({
      status: "ok",
      exitCode: 0,
      stdout: "hello from /workspace\nin\n",
      stderr: "",
      isolation: kind,
    });
    expect(await session.read("out.txt")).toMatchObject({ content: "out\n" });
  });

  test("a folder, input, exit code and error output are the guest's", async () => {
    const result = await shell("pwd; cat; echo no >&2; exit 7", { cwd: "/workspace", stdin: "given" });
    expect(result).toMatchObject({ status: "error", exitCode: 7, stdout: "/workspace\ngiven", stderr: "no" });
    await shell("mkdir -p inner");
    expect(await shell("pwd", { cwd: "inner" })).toMatchObject({ stdout: "/workspace/inner\n" });
    expect(await shell("pwd", { cwd: "../.." })).toMatchObject({ status: "denied" });
  });

  test("an error names the line of the code that it is in", async () => {
    expect((await shell("true\ntrue\nno-such-program")).stderr).toMatch(/3: no-such-program/);
  });

  test("output comes while the code runs", async () => {
    const chunks: OutputChunk[] = [];
    const cancel = new AbortController();
    const onOutput = (chunk: OutputChunk): void => {
      chunks.push(chunk);
      cancel.abort();
    };
    expect(await shell("echo first; sleep 100", { onOutput, signal: cancel.signal })).toMatchObject({
      status: "killed",
    });
    expect(chunks).toEqual([{ stream: "stdout", text: "first\n" }]);
  });

  test("a cancelled run leaves nothing, however its processes had detached themselves", async () => {
    const marker = `7${process.pid}`;
    const cancel = new AbortController();
    const detached = `(setsid sh -c 'trap "" TERM HUP; sleep ${marker} & sleep ${marker}' &); sh -c 'sleep ${marker} &'`;
    const onOutput = (): void => cancel.abort();
    await shell(`${detached}; echo started; wait; sleep ${marker}`, { onOutput, signal: cancel.signal });
    expect(running(marker)).toEqual([]);
  });

  test("a run that has ended is cancelled before it starts", async () => {
    expect(await shell("echo ran", { signal: AbortSignal.abort() })).toMatchObject({ status: "killed", stdout: "" });
  });

  test("a workspace that was deleted and made again is as good as the first", async () => {
    const again = join(mkdtempSync(join(tmpdir(), "pawl-native-")), "workspace");
    for (const round of ["first", "second"]) {
      mkdirSync(again, { mode: 0o700 });
      const fresh = await executor.open({ threadId, root: again }, defaultPolicy);
      const code = `ls; echo ${round} > file; cat file`;
      expect(await fresh.run({ language: "shell", code })).toMatchObject({ status: "ok", stdout: `${round}\n` });
      rmSync(again, { recursive: true });
    }
    rmSync(join(again, ".."), { recursive: true });
  });

  test("what a tool writes between two calls is the guest's to change", async () => {
    await shell("true");
    expect(await session.write("between/file.txt", "tool\n")).not.toHaveProperty("error");
    const code = "echo guest >> between/file.txt; echo new > between/other.txt; cat between/*";
    expect(await shell(code)).toMatchObject({ status: "ok", stdout: "tool\nguest\nnew\n" });
  });

  test("nothing but files is carried from one call to the next", async () => {
    await shell("(setsid sleep 60 &) ; left=behind; export left; umask 0; ulimit -n 10; cd /; true");
    const code = 'echo "[$left]" "$(umask)" "$(ulimit -n)" "$(pwd)"; pgrep -x sleep';
    expect((await shell(code)).stdout).toBe("[] 0077 256 /workspace\n");
  });

  test("quotes, newlines and non-ASCII characters of a program arrive as they are", async () => {
    const text = `a'b"c\\d$e\`f\nü\u{1f600}`;
    const code = `print(${JSON.stringify(text)}, end="")`;
    expect((await session.run({ language: "python", code })).stdout).toBe(text);
    expect(await session.run({ language: "python", code: "a\0b" })).toMatchObject({ status: "denied" });
  });

  test("calls in parallel do not mix", async () => {
    const results = await Promise.all([1, 2, 3].map((n) => shell(`echo ${n}; sleep 0.05; echo ${n}`)));
    expect(results.map(({ stdout }) => stdout)).toEqual(["1\n1\n", "2\n2\n", "3\n3\n"]);
  });

  test("what an earlier run left too much of can be deleted by a later one", async () => {
    const small = await executor.open({ threadId, root }, { ...defaultPolicy, files: 20 });
    const many = { language: "shell", code: "i=0; while [ $i -lt 30 ]; do echo > many$i; i=$((i+1)); done" } as const;
    expect(await small.run(many)).toMatchObject({ status: "output_limit" });
    expect(await small.run({ language: "shell", code: "rm many*" })).toMatchObject({ status: "ok" });
  });

  test("the output that was cut is in a file that the guest can read", async () => {
    const { artifact, truncated } = await shell("yes | head -c 300000");
    expect(truncated).toBe(true);
    expect(await shell(`wc -c < ${artifact}`)).toMatchObject({ stdout: "300000\n" });
  });

  test("code that is too long is refused in words", async () => {
    expect(await shell(`# ${"x".repeat(140_000)}`)).toMatchObject({ status: "denied", stderr: /at most/ });
  });

  test("when the server is shot, its guests die with it", async () => {
    const marker = `8${process.pid}`;
    const code = `
      import { ${kind === "bwrap" ? "createBwrapExecutor" : "createLandlockExecutor"} as create } from ${JSON.stringify(fileURLToPath(new URL(`../../../tools/sandbox/${kind}/executor.ts`, import.meta.url)))};
      import { defaultPolicy } from ${JSON.stringify(fileURLToPath(new URL("../../../tools/sandbox/types.ts", import.meta.url)))};
      const session = await create().open({ threadId: "${threadId}", root: "${root}" }, defaultPolicy);
      await session.run({ language: "shell", code: "(setsid sleep ${marker} &); echo up; sleep ${marker}", onOutput: () => process.stdout.write("up") });`;
    const server = spawn(process.execPath, ["--input-type=module", "-e", code], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => void server.stdout.once("data", resolve));
    await expect.poll(() => running(`sleep\0${marker}`).length).toBe(2);
    server.kill("SIGKILL");
    await expect.poll(() => running(`sleep\0${marker}`), { timeout: 10_000 }).toEqual([]);
  });
});

describe.runIf(capabilities.landlock.available)("landlock alone", () => {
  test("a launcher that is shot takes its run with it, and the next run has another", async () => {
    const executor = createLandlockExecutor();
    const root = mkdtempSync(join(tmpdir(), "pawl-native-"));
    const session = await executor.open({ threadId, root }, defaultPolicy);
    const result = await session.run({
      language: "shell",
      code: "echo up; sleep 0.5; sleep 100",
      onOutput: shootLaunchers,
    });
    expect(result.status).toBe("killed");
    expect(await session.run({ language: "shell", code: "echo again" })).toMatchObject({ stdout: "again\n" });
    await executor.close();
    rmSync(root, { recursive: true });
  });

  test("a network is refused, since its rules know no addresses", async () => {
    const policy = { ...defaultPolicy, network: { allow: ["example.com"] } };
    const opening = createLandlockExecutor().open({ threadId, root: "/nowhere" }, policy);
    await expect(opening).rejects.toMatchObject({ code: "sandbox_denied" });
  });
});

describe.runIf(capabilities.bwrap.available)("bwrap alone", () => {
  test("a guest reaches the allowed host and no other, and does not see the secret that goes with its request", async () => {
    const { createServer } = await import("node:http");
    const web = createServer((request, response) => response.end(`key: ${String(request.headers["x-key"])}`)).listen(
      0,
      "127.0.0.1",
    );
    await new Promise((resolve) => void web.once("listening", resolve));
    const { port } = web.address() as { port: number };
    const executor = createBwrapExecutor();
    const root = mkdtempSync(join(tmpdir(), "pawl-native-"));
    writeFileSync(join(root, "own"), "");
    const network = { allow: [`127.0.0.1:${port}`], headers: { "127.0.0.1": { "x-key": "secret" } } };
    const session = await executor.open({ threadId, root }, { ...defaultPolicy, network });
    const code = `
import os, urllib.request, urllib.error, socket
print(urllib.request.urlopen("http://127.0.0.1:${port}/").read().decode())
for attempt in (lambda: urllib.request.urlopen("http://127.0.0.1:1/"), lambda: urllib.request.urlopen("http://localhost:${port}/"), lambda: urllib.request.urlopen("https://example.com/"), lambda: socket.create_connection(("127.0.0.1", ${port}))):
    try: attempt(); print("reached")
    except OSError as error: print("refused")
print("secret" in str(os.environ))`;
    expect(await session.run({ language: "python", code })).toMatchObject({
      status: "ok",
      stdout: `key: secret\n${"refused\n".repeat(4)}False\n`,
    });
    await session.close();
    await executor.close();
    web.close();
    rmSync(root, { recursive: true });
  });
});
