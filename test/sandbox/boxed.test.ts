/** The process around a wasm guest, as whoever broke out of the engine would find it. Linux with Landlock. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { boxed, canBox } from "../../tools/sandbox/wasm/boxed.ts";

const run = promisify(execFile);
const isBoxed = await canBox();

describe.runIf(isBoxed)("a boxed process", () => {
  const folder = mkdtempSync(join(tmpdir(), "pawl-boxed-"));
  const [given, secret, planted] = ["given", "secret", "planted"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  let contacts = 0;
  const listener = createServer((socket) => (contacts++, socket.destroy()));

  beforeAll(async () => {
    writeFileSync(given, "given");
    writeFileSync(secret, "secret");
    await once(listener.listen(0, "127.0.0.1"), "listening");
  });
  afterAll(() => {
    listener.close();
    rmSync(folder, { recursive: true });
  });

  const inBox = async (script: string): Promise<string> => {
    const { args } = boxed({ readable: [given], args: ["-e", script] });
    return (await run(process.execPath, args, { env: { TOKEN: "secret" }, cwd: "/" })).stdout;
  };
  const outcome = (expression: string): string =>
    `try { ${expression}; console.log("worked") } catch (error) { console.log(error.code) }`;

  test("reads what it is given, and has no environment", async () => {
    const script = `console.log(require("fs").readFileSync(${JSON.stringify(given)}, "utf8"), Object.keys(process.env))`;
    expect(await inBox(script)).toBe("given []\n");
  });

  test.each([
    ["read another file", () => `require("fs").readFileSync(${JSON.stringify(secret)})`, "EACCES"],
    ["read a system file", () => `require("fs").readFileSync("/etc/passwd")`, "EACCES"],
    ["read the server's environment", () => `require("fs").readFileSync("/proc/${process.pid}/environ")`, "EACCES"],
    ["write a file", () => `require("fs").writeFileSync(${JSON.stringify(planted)}, "")`, "EACCES"],
    ["write the file it may read", () => `require("fs").writeFileSync(${JSON.stringify(given)}, "")`, "EACCES"],
    [
      "start a shell",
      () => `const { error } = require("child_process").spawnSync("/bin/sh"); if (error) throw error`,
      "EACCES",
    ],
    ["signal the server", () => `process.kill(${process.pid}, 0)`, "EPERM"],
  ])("cannot %s", async (_what, expression, code) => {
    expect(await inBox(outcome(expression()))).toBe(`${code}\n`);
  });

  test("cannot connect to anything, though somebody listens", async () => {
    const { port } = listener.address() as AddressInfo;
    const script = `require("net").connect(${port}, "127.0.0.1").on("error", ({ code }) => console.log(code)).on("connect", () => console.log("worked"))`;
    expect(await inBox(script)).toBe("EPERM\n");
    expect(contacts).toBe(0);
  });
});
