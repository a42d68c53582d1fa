/**
 * Main file of a process that takes rights away from itself and then becomes another program, which inherits that: no
 * socket, no file but those it is told, no signal to anybody else. It costs a start of Node once, and no process after
 * that. Arguments: the readable paths as JSON, then the program and its arguments. Exit code 126: it could not.
 */
import { seccompFilter } from "../seccomp/filter.ts";
import * as kernel from "./kernel.ts";
import { requireLandlock, restrictFiles } from "./ruleset.ts";

const [readable = "[]", program = "", ...args] = process.argv.slice(2);

try {
  kernel.requireKnownMachine();
  // Under root the guest becomes another user by itself; there may be no way back to rights for it either.
  const sharesUser = process.getuid?.() !== 0;
  const abi = requireLandlock(sharesUser);
  const filter = seccompFilter({ network: "none", sharesUser });
  if (!filter) throw new Error(`There is no system call filter for ${process.arch}`);
  kernel.prctl(kernel.prctlOptions.noNewPrivileges, 1);
  restrictFiles(abi, { readable: JSON.parse(readable) as string[], writable: [], devices: ["/dev/null"] });
  kernel.setSeccompFilter(filter);
  kernel.become(program, args);
} catch {
  process.exit(126);
}
