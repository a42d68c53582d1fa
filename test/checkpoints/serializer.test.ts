import { StringPromptValue } from "@langchain/core/prompt_values";
import { Serializable } from "@langchain/core/load/serializable";
import { HumanMessage } from "@langchain/core/messages";
import { MemorySaver } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import { expect, test } from "vitest";
import { dumpItem, loadItem, Serializer } from "../../checkpoints/serializer.ts";
import { allowStored } from "../../lib/stored-classes.ts";
import { message, states } from "./states.ts";

const stock = new MemorySaver().serde;
const ours = new Serializer();

test("what it writes is what the stock serializer writes, byte for byte", async () => {
  await fc.assert(
    fc.asyncProperty(states(), async (value) => {
      const [type, bytes] = await ours.dumpsTyped(value);
      const [stockType, stockBytes] = await stock.dumpsTyped(value);
      expect([type, Buffer.from(bytes).toString()]).toEqual([stockType, Buffer.from(stockBytes).toString()]);
    }),
    { numRuns: 1_000 },
  );
});

test("a list with a form of its own is written by the stock serializer, in the fields of a message too", async () => {
  const peculiar = Object.assign([1], { toJSON: () => "another form" });
  for (const value of [peculiar, [peculiar], new HumanMessage({ content: "c", additional_kwargs: { peculiar } })]) {
    const texts = await Promise.all([ours, stock].map(async (each) => (await each.dumpsTyped(value))[1]));
    expect(Buffer.from(texts[0] ?? []).toString()).toBe(Buffer.from(texts[1] ?? []).toString());
  }
});

/** The stock serializer loses an undefined that is inside a message: it passes messages through JSON twice. */
const plainJson = fc.jsonValue();
/** What is never brought back, so that no state is built on a prototype that was stored. */
const hasPrototype = (bytes: Uint8Array): boolean => Buffer.from(bytes).includes('"__proto__"');

test("it reads what the stock serializer wrote as that one reads it", async () => {
  await fc.assert(
    fc.asyncProperty(states(plainJson), async (value) => {
      const [type, bytes] = await stock.dumpsTyped(value);
      fc.pre(!hasPrototype(bytes));
      const read = await stock.loadsTyped(type, bytes).catch(() => fc.pre(false));
      expect(await ours.loadsTyped(type, bytes)).toEqual(read);
    }),
    { numRuns: 1_000 },
  );
});

test("the texts of an array's elements make the text of the array", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(states()), async (items) => {
      const texts = items.map(dumpItem);
      fc.pre(texts.every((item) => item !== undefined));
      const [, whole] = await stock.dumpsTyped(items);
      expect(`[${texts.join(",")}]`).toBe(Buffer.from(whole).toString());
      expect(texts.map((item) => loadItem(item ?? ""))).toEqual(await ours.loadsTyped("json", whole));
    }),
  );
});

test("what comes back is written as the same bytes again", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(message(plainJson)), async (items) => {
      const [type, once] = await ours.dumpsTyped(items);
      fc.pre(!hasPrototype(once));
      const [, again] = await ours.dumpsTyped(await ours.loadsTyped(type, once));
      expect(Buffer.from(again).toString()).toBe(Buffer.from(once).toString());
    }),
  );
});

const load = (json: string) => ours.loadsTyped("json", json);
const lc = (id: string[], kwargs: unknown) => ({ lc: 1, type: "constructor", id, kwargs });

test.each([
  ["a prompt template", lc(["langchain_core", "prompts", "chat", "ChatPromptTemplate"], { promptMessages: [] })],
  ["a model", lc(["langchain", "chat_models", "openai", "ChatOpenAI"], { openai_api_key: "x" })],
  ["an export that is no message", lc(["langchain_core", "messages", "trimMessages"], {})],
  ["a class named like an inherited property", lc(["langchain_core", "messages", "constructor"], {})],
  ["a namespace named like one", lc(["langchain_core", "__proto__", "toString"], {})],
  ["a message of somebody else", lc(["elsewhere", "messages", "AIMessage"], { content: "" })],
  ["a message without fields", lc(["langchain_core", "messages", "AIMessage"], null)],
  ["an id that is no list of texts", { lc: 1, type: "constructor", id: [{}, 1], kwargs: {} }],
  ["a secret", { lc: 1, type: "secret", id: ["PATH"] }],
  ["what has no serialized form", { lc: 1, type: "not_implemented", id: ["x"] }],
  [
    "a JavaScript type that is not of the closed set",
    { lc: 2, type: "constructor", id: ["Function"], args: ["return 1"] },
  ],
  [
    "a method that is not of the closed set",
    { lc: 2, type: "constructor", id: ["Map"], method: "groupBy", args: [[]] },
  ],
  ["an unfinished regular expression", { lc: 2, type: "constructor", id: ["RegExp"], args: ["(", ""] }],
])("%s in stored state stays the plain data that it is", async (_, record) => {
  expect(await load(JSON.stringify([record]))).toEqual([record]);
});

test("nothing inside an object that is not allowed is built either", async () => {
  const record = lc(["langchain_core", "prompts", "x"], { m: lc(["langchain_core", "messages", "AIMessage"], {}) });
  expect(await load(JSON.stringify(record))).toEqual(record);
});

test("a secret among the fields of a message is not looked up", async () => {
  const secret = { lc: 1, type: "secret", id: ["PATH"] };
  const stored = lc(["langchain_core", "messages", "HumanMessage"], { content: "c", additional_kwargs: { secret } });
  expect(await load(JSON.stringify(stored))).toMatchObject({ content: "c", additional_kwargs: { secret } });
});

test("a prototype key in stored state changes nothing, there or where the state is copied to", async () => {
  const stored = await load(
    `{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}},"m":${JSON.stringify(
      lc(["langchain_core", "messages", "HumanMessage"], { content: "c" }),
    ).replace('"content"', '"__proto__":{"admin":true},"constructor":1,"content"')}}`,
  );
  const copy = Object.assign({}, stored) as { admin?: true; m: HumanMessage & { admin?: true } };
  expect(copy.admin).toBeUndefined();
  expect(copy.m.admin).toBeUndefined();
  expect(copy.m).toBeInstanceOf(HumanMessage);
  expect(({} as { admin?: true }).admin).toBeUndefined();
  expect(dumpItem(copy.m)).toContain('"content":"c"');
});

test("a value with too many levels, and what is no JSON, is refused with a code", async () => {
  await expect(load("[".repeat(5_000) + "]".repeat(5_000))).rejects.toMatchObject({ code: "checkpoint_unreadable" });
  await expect(load("{")).rejects.toMatchObject({ code: "checkpoint_unreadable" });
  await expect(ours.loadsTyped("pickle", "x")).rejects.toMatchObject({ code: "checkpoint_unreadable" });
});

test("a class of a graph's own comes back once it is allowed", async () => {
  class Ticket extends Serializable {
    override lc_namespace = ["shop", "tickets"];
    override lc_serializable = true;
    readonly orderId: string;
    constructor(fields: { orderId: string }) {
      super(fields);
      this.orderId = fields.orderId;
    }
  }
  const [type, bytes] = await ours.dumpsTyped([new Ticket({ orderId: "7" })]);
  expect(await ours.loadsTyped(type, bytes)).toEqual([lc(["shop", "tickets", "Ticket"], { order_id: "7" })]);

  allowStored(["shop", "tickets", "Ticket"], (fields) => new Ticket(fields as { orderId: string }));

  const [ticket] = (await ours.loadsTyped(type, bytes)) as [Ticket];
  expect(ticket).toBeInstanceOf(Ticket);
  expect(ticket.orderId).toBe("7");
});

test("a prompt value of a text is the text again", async () => {
  const [type, bytes] = await ours.dumpsTyped(new StringPromptValue("hello"));
  expect(await ours.loadsTyped(type, bytes)).toEqual(new StringPromptValue("hello"));
});

test("a value of a type that nobody knows is refused with a code, whatever its bytes are", async () => {
  await expect(ours.loadsTyped("pickle", Buffer.from("{}"))).rejects.toMatchObject({ code: "checkpoint_unreadable" });
});
