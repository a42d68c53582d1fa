/**
 * The JavaScript that runs in a fresh VM before the guest's code: `console`, and the way a result gets out. It takes
 * its intrinsics before the guest can replace them, and it runs inside the VM, so that a getter that never returns
 * or an object of 60 MB is met under the VM's deadline and memory limit. The host sees strings, never objects.
 */
export const prelude = `((write, report) => {
  "use strict";
  const { stringify } = JSON;
  const { apply } = Reflect;
  const { slice } = String.prototype;
  const text = String;
  const cut = (value, limit) => apply(slice, text(value), [0, limit]);
  const replacer = (_, value) => (typeof value === "bigint" ? text(value) : value);
  const describe = (thrown) => {
    try {
      if (typeof thrown !== "object" || thrown === null) return "thrown: " + cut(thrown, 2000);
      const { name, message, stack } = thrown;
      return cut(name ?? "Error", 100) + ": " + cut(message ?? "", 2000) + (stack ? "\\n" + cut(stack, 1000) : "");
    } catch {
      return "an error that cannot be shown";
    }
  };
  const show = (value) => {
    if (typeof value === "string") return value;
    if (value instanceof Error) return describe(value);
    try {
      return stringify(value, replacer) ?? text(value);
    } catch {
      return cut(value, 2000);
    }
  };
  const print = (...values) => {
    let line = "";
    for (let i = 0; i < values.length; i++) line += (i > 0 ? " " : "") + show(values[i]);
    write(line + "\\n");
  };
  globalThis.console = { log: print, info: print, debug: print, warn: print, error: print };
  return async (evaluation, id) => {
    try {
      const json = stringify(await (await evaluation).value, replacer);
      report(id, "value", json ?? "");
    } catch (thrown) {
      report(id, "error", describe(thrown));
    }
  };
})`;
