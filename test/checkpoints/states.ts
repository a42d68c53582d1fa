/** States that graphs may have, and some that they should not: for tests of what is stored of them. */
import { ChatPromptValue } from "@langchain/core/prompt_values";
import { Document } from "@langchain/core/documents";
import {
  AIMessage,
  AIMessageChunk,
  ChatMessage,
  FunctionMessage,
  HumanMessage,
  HumanMessageChunk,
  RemoveMessage,
  SystemMessage,
  ToolMessage,
} from "@langchain/core/messages";
import { Command, Overwrite, Send } from "@langchain/langgraph";
import { DeltaSnapshot } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";

export class Plain {
  readonly inner: unknown;
  constructor(inner: unknown) {
    this.inner = inner;
  }
}

export class WithJson {
  readonly #inner: unknown;
  constructor(inner: unknown) {
    this.#inner = inner;
  }
  toJSON(): unknown {
    return { shown: this.#inner };
  }
}

const text = fc.oneof(fc.string(), fc.string({ unit: "binary" }));
const key = fc.oneof(
  text,
  fc.constantFrom("lc", "type", "id", "lg_name", "__lc_escaped__", "constructor", "kwargs", "1"),
);
export const leaf = fc.oneof(
  text,
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constantFrom(null, undefined, new Date(0), new Date(NaN), /a+/gi, new Error("no"), 1, 2, "constructor", "Send"),
  fc.uint8Array({ maxLength: 4 }),
);
/** Few states have these; the stock serializer writes them all the same. */
export const odd = fc.constantFrom(
  1n,
  () => 1,
  Symbol("s"),
  Buffer.from("ab"),
  new Float32Array([1, 2]),
  new URL("http://a/b"),
  Object("boxed"),
);

const messageFields = (inner: fc.Arbitrary<unknown>) =>
  fc.record(
    {
      content: fc.oneof(text, fc.array(fc.record({ type: fc.constant("text"), text, extra: inner }))),
      id: fc.option(text, { nil: undefined }),
      name: text,
      additional_kwargs: fc.dictionary(key, inner, { noNullPrototype: true }),
      response_metadata: fc.dictionary(text, inner, { noNullPrototype: true }),
      camelCase: inner,
      snake_case: inner,
    },
    { requiredKeys: ["content"] },
  );

/** Their constructors change what they are given; each gets its own. */
export const message = (inner: fc.Arbitrary<unknown>) =>
  fc.oneof(
    messageFields(inner).map((given) => new HumanMessage(given as never)),
    messageFields(inner).map((given) => new SystemMessage(given as never)),
    messageFields(inner).map((given) => new HumanMessageChunk(given as never)),
    messageFields(inner).map((given) => new ChatMessage({ role: "r", ...given } as never)),
    messageFields(inner).map((given) => new FunctionMessage({ name: "f", ...given } as never)),
    messageFields(inner).map(
      (given) => new ToolMessage({ tool_call_id: "c", artifact: { a: undefined }, ...given } as never),
    ),
    messageFields(inner).map(
      (given) => new AIMessage({ tool_calls: [{ id: "c", name: "t", args: { x: 1 } }], ...given } as never),
    ),
    messageFields(inner).map((given) => new AIMessageChunk({ ...given, usage_metadata: undefined } as never)),
    text.map((id) => new RemoveMessage({ id })),
  );

/** `ofMessages`: what the fields of messages hold; the state itself, unless another one is given. */
export const states = (ofMessages?: fc.Arbitrary<unknown>) =>
  fc.letrec<{ state: unknown }>((tie) => {
    const inner = tie("state");
    return {
      state: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        { arbitrary: leaf, weight: 6 },
        { arbitrary: odd, weight: 1 },
        { arbitrary: fc.array(inner), weight: 3 },
        { arbitrary: fc.dictionary(key, inner, { noNullPrototype: true }), weight: 3 },
        { arbitrary: message(ofMessages ?? inner), weight: 4 },
        fc.array(fc.tuple(text, inner)).map((entries) => new Map(entries)),
        fc.array(inner).map((items) => new Set(items)),
        inner.map((value) => new Send("node", value)),
        inner.map((value) => ({ lg_name: "Send", node: "n", args: value, more: 1 })),
        inner.map((value) => new Command({ resume: value, goto: [new Send("n", value)] })),
        inner.map((value) => new Overwrite(value)),
        inner.map((value) => new DeltaSnapshot(value)),
        inner.map((value) => new Plain(value)),
        inner.map((value) => new WithJson(value)),
        inner.map((value) => new Document({ pageContent: "p", metadata: { value } })),
        (ofMessages ?? inner).map((value) => new ChatPromptValue([new HumanMessage({ content: "c" }), value as never])),
        inner.map((value) => {
          const cycle: { value: unknown; self?: unknown } = { value };
          cycle.self = [cycle];
          return cycle;
        }),
      ),
    };
  }).state;
