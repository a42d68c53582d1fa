import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Capture, headAndTail, plainText } from "../../tools/sandbox/output.ts";

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
