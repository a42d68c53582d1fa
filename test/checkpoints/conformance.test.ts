/** The conformance suite of LangGraph's checkpointers. It expects its test functions to be global. */
import { describe, expect, it, afterAll, afterEach, beforeAll, beforeEach, test } from "vitest";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { Saver } from "../../checkpoints/saver.ts";

Object.assign(globalThis, { describe, expect, it, test, afterAll, afterEach, beforeAll, beforeEach });
const { deltaChannelHistoryTests, validate } = await import("@langchain/langgraph-checkpoint-validation");

const databases = new WeakMap<Saver, TestDatabase>();

const initializer = {
  checkpointerName: "Saver",
  async createCheckpointer() {
    const database = await testDatabase();
    const saver = new Saver(database.pool);
    databases.set(saver, database);
    return saver;
  },
  async destroyCheckpointer(saver: Saver) {
    await databases.get(saver)?.[Symbol.asyncDispose]();
  },
};

validate(initializer);
deltaChannelHistoryTests(initializer);
