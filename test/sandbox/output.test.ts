import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Capture, headAndTail, LiveText, plainText } from "../../tools/sandbox/output.ts";

test("what was kept and what was dropped add up, however the output was cut into pieces", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 40 }),
      fc.integer({ min: 2, max: 200 }),
      (pieces, limit) => {
        const capture = new Capture(limit);
        for (const piece of pieces) capture.write(Buffer.from(piece));
        const all = Buffer.concat(pieces);
        expect(capture.total).toBe(all.length);
        expect(capture.bytesDropped).toBe(Math.max(0, all.length - limit));
        if (all.length <= limit) expect(capture.text()).toBe(all.toString());
      },
    ),
  );
});

test("the head gets 60 % and the tail 40 %", () => {
  const text = `${"a".repeat(500)}${"b".repeat(500)}`;
  expect(headAndTail(text, 100)).toBe(`${"a".repeat(60)}\n... [900 bytes dropped]\n${"b".repeat(40)}`);
  expect(headAndTail("short", 100)).toBe("short");
});

test("plain text stays as it is, and emoji with joiners survive", () => {
  const text = "Grüße\n\tfrom 東京 👩‍👩‍👧 [1] 50% \\x1b";
  expect(plainText(text)).toBe(text);
});

test("a text of nothing but introducers is read in linear time", () => {
  const started = performance.now();
  for (const opener of ["\u001b]", "\u009d", "\u001b[", "\u001b"])
    expect(plainText(opener.repeat(100_000))).not.toContain("\u001b");
  expect(performance.now() - started).toBeLessThan(1_000);
});

test("no control character survives", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(plainText(text)).not.toMatch(/[^\P{Cc}\t\n]|[\u202a-\u202e\u2066-\u2069]/u);
    }),
  );
});

test("output that is shown while it comes is stripped of the same, wherever it was cut", () => {
  const sequences = fc.constantFrom(
    "\u001b[31m",
    "\u001b]0;title\u0007",
    "\u001b",
    "\u009b2J",
    "é",
    "👩‍🔬",
    "\r\n",
    "a",
    "\u202e",
    "\n",
  );
  fc.assert(
    fc.property(fc.array(sequences, { maxLength: 20 }), fc.integer({ min: 1, max: 5 }), (parts, size) => {
      const bytes = Buffer.from(parts.join(""));
      let shown = "";
      const live = new LiveText((text) => (shown += text));
      for (let at = 0; at < bytes.length; at += size) live.write(bytes.subarray(at, at + size));
      live.end();
      expect(shown).toBe(plainText(parts.join("")));
    }),
  );
});
