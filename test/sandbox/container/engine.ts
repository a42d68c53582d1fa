/**
 * A real engine for tests: this machine's Podman, with storage of the test's own, and an image made of this machine's
 * own programs, since a test has no registry.
 */
import { execFile, execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Engine } from "../../../tools/sandbox/container/engine.ts";
import { findProgram } from "../../../tools/sandbox/native/interpreters.ts";

const run = promisify(execFile);

/** What the attempts use, as far as it is there. */
const programs =
  "sh awk cat chmod cp dd echo env false find grep head id kill ln ls mkdir mktemp mount mv nproc ps python3 readlink rm sed seq setsid sleep sort tail tee touch tr true uname wc yes";

export const testImage = "localhost/pawl-test:1";

interface RealEngine extends Engine, AsyncDisposable {}

/** In words, why there is none. */
export async function startEngine(): Promise<RealEngine | string> {
  const podman = findProgram("podman");
  if (!podman) return "podman is not installed";
  const folder = mkdtempSync(join(tmpdir(), "pawl-engine-"));
  chmodSync(folder, 0o755);
  const program = join(folder, "podman");
  const storage = `--root '${folder}/root' --runroot '${folder}/run' --tmpdir '${folder}/tmp'`;
  // crun refuses machines that have both kinds of control groups.
  const runtime = findProgram("runc") ? "--runtime runc" : "";
  const settings = join(folder, "containers.conf");
  // Podman raises these by itself, which a machine may not let it do.
  writeFileSync(settings, '[containers]\ndefault_ulimits = ["nproc=1024:1024", "nofile=1024:1024"]\n');
  writeFileSync(program, `#!/bin/sh\nCONTAINERS_CONF='${settings}' exec '${podman}' ${storage} ${runtime} "$@"\n`);
  chmodSync(program, 0o755);
  const image = testImage;
  const remove = async (): Promise<void> => {
    await run(program, ["system", "reset", "--force"]).catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const archive = join(folder, "image.tar");
    await packSystem(archive, join(folder, "skeleton"));
    await run(program, ["import", archive, image]);
    rmSync(archive);
    await run(program, ["run", "--rm", "--network", "none", image, "/bin/true"]);
    return { program, image, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    return `podman does not run a container: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}`;
  }
}

/** Programs and what they load, at the paths that they have here; Node as /usr/bin/node. */
async function packSystem(archive: string, skeleton: string): Promise<void> {
  for (const name of ["tmp", "proc", "sys", "dev", "etc", "workspace", "usr/bin"]) {
    mkdirSync(join(skeleton, name), { recursive: true });
  }
  for (const name of ["bin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(skeleton, name));
  const node = realpathSync(process.execPath);
  const files = programs.split(" ").flatMap((name) => ["/usr/bin", "/bin"].map((folder) => join(folder, name)));
  const present = [...new Set(files.filter((file) => existsSync(file)).map((file) => realFolder(file)))];
  const python = present.some((file) => file.endsWith("/python3")) ? pythonLibrary() : [];
  const libraries = librariesOf([...present, node, ...python.filter((file) => file.endsWith(".so"))]);
  const listed = [...new Set([...present, ...libraries, ...python])].map((path) => path.slice(1));
  await run("tar", ["-cf", archive, "-C", skeleton, "."]);
  await run("tar", ["-rf", archive, "--dereference", "-C", "/", ...listed], { maxBuffer: 1e8 });
  await run("tar", ["-rf", archive, "-C", "/", `--transform=s,^${node.slice(1)}$,usr/bin/node,`, node.slice(1)]);
}

/** `/bin` is a link to `/usr/bin` on merged systems, and a path through it would be a second one. */
function realFolder(file: string): string {
  const name = file.slice(file.lastIndexOf("/") + 1);
  return join(realpathSync(file.slice(0, file.lastIndexOf("/"))), name);
}

function librariesOf(binaries: readonly string[]): string[] {
  const said = binaries.flatMap((file) => {
    try {
      return (
        execFileSync("ldd", [file], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).match(/\/\S+/g) ?? []
      );
    } catch {
      return []; // a script, or linked statically
    }
  });
  return [
    ...new Set(
      said
        .map((file) => file.replace(/:$/, ""))
        .filter((file) => existsSync(file))
        .map(realFolder),
    ),
  ];
}

function pythonLibrary(): string[] {
  const code = "import sysconfig; print(sysconfig.get_path('stdlib'))";
  const folder = execFileSync("/usr/bin/python3", ["-c", code], { encoding: "utf8" }).trim();
  const skipped = ["test", "idlelib", "tkinter", "__pycache__", "site-packages", "dist-packages", "ensurepip"];
  const prune = [
    "(",
    ...skipped.flatMap((name, at) => (at > 0 ? ["-o", "-name", name] : ["-name", name])),
    ")",
    "-prune",
  ];
  const found = execFileSync("find", ["-L", folder, ...prune, "-o", "-type", "f", "-print"], { encoding: "utf8" });
  return found.split("\n").filter(Boolean);
}
