/** Landlock cannot move files: paths are put into code as it starts, and taken out of what it prints. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { GuestStream, toHost } from "../../../tools/sandbox/landlock/guest-paths.ts";

const folders = { workspace: "/t/p/workspace", temporary: "/t/p/tmp" };

test.each([
  ["cat /workspace/a.txt", "cat /t/p/workspace/a.txt"],
  ["cd /workspace", "cd /t/p/workspace"],
  ['open("/workspace/a")', 'open("/t/p/workspace/a")'],
  ["X=/workspace:/tmp", "X=/t/p/workspace:/t/p/tmp"],
  ["f>/tmp/x", "f>/t/p/tmp/x"],
  ["curl https://host/tmp/x", "curl https://host/tmp/x"],
  ["ls ./tmp a/tmp $HOME/tmp ${X}/tmp ../workspace", "ls ./tmp a/tmp $HOME/tmp ${X}/tmp ../workspace"],
  ["/workspace2 /tmpfs /workspace.bak /tmp-1", "/workspace2 /tmpfs /workspace.bak /tmp-1"],
  ["/var/tmp", "/var/tmp"],
  ["node /tmp/readable/a.js /tmp/readable", "node /tmp/readable/a.js /tmp/readable"],
  ["/tmp/readable2 /tmp/read", "/t/p/tmp/readable2 /t/p/tmp/read"],
])("%j becomes %j", (code, expected) => {
  expect(toHost(code, folders, ["/tmp/readable"])).toBe(expected);
});

test("however a stream is cut, host paths are replaced, the mark ends it, and nothing is lost", () => {
  const mark = Buffer.from("\u0001MARK\u0002");
  const piece = fc.constantFrom("/t/p/workspace", "/t/p/tmp", "/t/p/", "/t", "\u0001MARK", "M", "x", "é", "\n");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), fc.array(fc.nat(12), { maxLength: 40 }), (pieces, cuts) => {
      const text = pieces.join("");
      const out: Buffer[] = [];
      const stream = new GuestStream(
        mark,
        [
          ["/t/p/workspace", "/workspace"],
          ["/t/p/tmp", "/tmp"],
        ],
        (chunk) => out.push(chunk),
      );
      let rest = Buffer.concat([Buffer.from(text), mark]);
      for (const cut of cuts) {
        stream.push(rest.subarray(0, cut));
        rest = rest.subarray(cut);
      }
      stream.push(rest);
      expect(stream.ended).toBe(true);
      const expected = text.replaceAll("/t/p/workspace", "/workspace").replaceAll("/t/p/tmp", "/tmp");
      expect(Buffer.concat(out).toString()).toBe(expected);
    }),
  );
});

test("without a mark, what was kept back is handed over in the end", () => {
  const out: string[] = [];
  const stream = new GuestStream(Buffer.from("MARK"), [["/host", "/guest"]], (chunk) => out.push(chunk.toString()));
  stream.push(Buffer.from("at /ho"));
  expect(out.join("")).toBe("at ");
  stream.flush();
  expect(out.join("")).toBe("at /ho");
});
