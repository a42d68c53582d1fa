/** send_email sends once for a call, to exactly who was named, and says so when it does not know. */
import { readdirSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { executeTool } from "../../tools/index.ts";
import { sendEmail } from "../../tools/send-email.ts";
import { createHarness, type Harness } from "./harness.ts";

const email = {
  to: ["ada@example.com", "bob@example.com"],
  subject: "Grüße",
  body: "Hello\n.\nBcc: eve@example.com\n",
};

const outbox = ({ dataDir }: Harness): string[] => readdirSync(join(dataDir, "outbox"));

describe("without a mail server", () => {
  test("an e-mail becomes one file, named by time and key, that any mail program opens", async () => {
    using harness = createHarness();
    const outcome = await executeTool(
      sendEmail,
      email,
      harness.context({ PAWL_EMAIL_FROM: "Pawl <agent@pawl.example>" }),
    );
    expect(outcome).toMatchObject({
      status: "ok",
      result: { delivered: "outbox", message_id: expect.stringMatching(/^<[0-9a-f]{32}@pawl\.example>$/) },
    });
    const [file = "", ...others] = outbox(harness);
    expect(others).toEqual([]);
    expect(file).toMatch(/^2026-03-29T00-59-59-000Z-[0-9a-f]{32}\.eml$/);
    const [head = "", body = ""] = readFileSync(join(harness.dataDir, "outbox", file), "utf8").split("\r\n\r\n");
    expect(head.split("\r\n")).toEqual(
      expect.arrayContaining([
        "From: Pawl <agent@pawl.example>",
        "To: ada@example.com, bob@example.com",
        "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=",
        "Date: Sun, 29 Mar 2026 00:59:59 +0000",
      ]),
    );
    expect(head).not.toContain("eve@");
    expect(body).toContain("Bcc: eve@example.com");
  });

  test("a repetition of the call sends nothing, with the ledger and without it", async () => {
    using harness = createHarness();
    const first = await executeTool(sendEmail, email, harness.context());
    expect(await executeTool(sendEmail, email, harness.context())).toEqual(first);
    expect(harness.host.dispatched).toEqual(["send_email"]);
    const forgetful = createHarness().host;
    forgetful.now = () => new Date("2027-01-01T00:00:00Z");
    expect(await executeTool(sendEmail, email, harness.context({}, { host: forgetful }))).toEqual(first);
    expect(outbox(harness)).toHaveLength(1);
    await executeTool(sendEmail, email, harness.context({}, { toolCallId: "call_2" }));
    expect(outbox(harness)).toHaveLength(2);
  });
});

test.each([
  ["a header in the subject", { subject: "Hi\r\nBcc: eve@example.com" }],
  ["a bare line feed", { subject: "Hi\nX: y" }],
  ["a line separator", { subject: "Hi\u2028X" }],
  ["a header in an address", { to: ["ada@example.com\r\nBcc: eve@example.com"] }],
  ["two addresses in one", { to: ["ada@example.com,eve@example.com"] }],
  ["a name with an address", { to: ["Eve <eve@example.com>"] }],
  ["no recipient", { to: [] }],
  ["an attachment", { attachments: [{ path: "/etc/passwd" }] }],
  ["a body that is a file", { body: { path: "/etc/passwd" } }],
])("%s is refused before anything is dispatched", async (_name, change) => {
  using harness = createHarness();
  const outcome = await executeTool(sendEmail, { ...email, ...change }, harness.context());
  expect(outcome).toMatchObject({ code: "INVALID_ARGS" });
  expect(harness.host.dispatched).toEqual([]);
});

test("it wants approval and declares itself irreversible", () => {
  expect(sendEmail).toMatchObject({ effect: "irreversible", needsApproval: true });
});

/** As much of RFC 5321 as a client needs; `onData` decides what follows the message. */
async function smtpServer(onData: (socket: Socket) => void) {
  const received: string[] = [];
  const server = createServer((socket) => {
    let data: string | undefined;
    socket.write("220 test\r\n");
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      if (data !== undefined) data += chunk;
      for (const line of data === undefined ? chunk.split("\r\n").slice(0, -1) : []) {
        received.push(line);
        if (line === "DATA") data = "";
        if (line.startsWith("RCPT TO:<nobody")) socket.write("550 no such user\r\n");
        else socket.write(line === "DATA" ? "354 go on\r\n" : line === "QUIT" ? "221 bye\r\n" : "250 ok\r\n");
      }
      if (data?.endsWith("\r\n.\r\n")) {
        received.push(data);
        data = undefined;
        onData(socket);
      }
    });
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const url = `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, received, [Symbol.dispose]: () => void server.close() };
}

describe("with a mail server", () => {
  test("the message is handed over once, to each recipient, with the key as its id", async () => {
    using harness = createHarness();
    using smtp = await smtpServer((socket) => socket.write("250 taken\r\n"));
    const context = harness.context({ PAWL_SMTP_URL: smtp.url });
    const outcome = await executeTool(sendEmail, email, context);
    expect(outcome).toMatchObject({ status: "ok", result: { delivered: "smtp" } });
    expect(await executeTool(sendEmail, email, context)).toEqual(outcome);
    expect(smtp.received.filter((line) => line.startsWith("RCPT"))).toEqual([
      "RCPT TO:<ada@example.com>",
      "RCPT TO:<bob@example.com>",
    ]);
    expect(smtp.received.filter((line) => line === "DATA")).toHaveLength(1);
    expect(smtp.received.find((line) => line.includes("Message-ID"))).toMatch(/Message-ID: <[0-9a-f]{32}@localhost>/);
  });

  test("a refusal of the server is a failure, and the message was not sent", async () => {
    using harness = createHarness();
    using smtp = await smtpServer((socket) => socket.write("554 no thanks\r\n"));
    const outcome = await executeTool(sendEmail, email, harness.context({ PAWL_SMTP_URL: smtp.url }));
    expect(outcome).toEqual({ status: "error", code: "FAILED", message: "The mail server did not take the message" });
  });

  test("a server that is not there is a failure too", async () => {
    using harness = createHarness();
    const smtp = await smtpServer(() => {});
    smtp[Symbol.dispose]();
    expect(await executeTool(sendEmail, email, harness.context({ PAWL_SMTP_URL: smtp.url }))).toEqual({
      status: "error",
      code: "FAILED",
      message: "The mail server cannot be reached",
    });
  });

  test("a connection that breaks after the message leaves its outcome unknown", async () => {
    using harness = createHarness();
    using smtp = await smtpServer((socket) => socket.destroy());
    const outcome = await executeTool(sendEmail, email, harness.context({ PAWL_SMTP_URL: smtp.url }));
    expect(outcome).toMatchObject({ code: "EFFECT_UNKNOWN" });
  });

  test("recipients of which the server takes some are told", async () => {
    using harness = createHarness();
    using smtp = await smtpServer((socket) => socket.write("250 taken\r\n"));
    const to = ["ada@example.com", "nobody@example.com"];
    const outcome = await executeTool(sendEmail, { ...email, to }, harness.context({ PAWL_SMTP_URL: smtp.url }));
    expect(outcome).toMatchObject({ status: "ok", result: { refused: ["nobody@example.com"] } });
  });
});
