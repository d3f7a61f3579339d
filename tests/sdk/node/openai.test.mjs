// The official openai client for Node sees through the proxy what it sees at a model server.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, afterEach, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { startServers } from "./servers.mjs";

const TOOLS = [
  {
    type: "function",
    function: {
      name: "tell",
      description: "Tells a text.",
      parameters: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
    },
  },
];
const TOO_LARGE = 33 * 1024 * 1024;

let servers;
let client;

before(async () => {
  servers = await startServers();
  client = new OpenAI({
    baseURL: servers.baseUrl,
    apiKey: "sk-test",
    maxRetries: 0,
    timeout: 60_000,
    // A kept answer would have the numbers of an older generation.
    defaultHeaders: { "Cache-Control": "no-cache, no-store" },
  });
});

after(async () => {
  await servers?.stop();
  // A panic behind a finished answer is invisible to a client, and a fault all the same.
  assert.ok(!servers?.proxyOutput().includes("panicked at"), `the proxy panicked:\n${servers?.proxyOutput()}`);
});

let failed = false;
afterEach((context) => {
  if (context.passed === false && !failed) {
    failed = true;
    console.error(servers?.proxyOutput());
  }
});

/** Each test asks its own question, so that none is answered with another's flight. */
const unique = (text) => `${text} ${randomBytes(8).toString("hex")}`;
const chat = (text, more = {}) => ({ model: "sim", messages: [{ role: "user", content: unique(text) }], ...more });

/** Token i of generation n reads "n.i ": nothing lost, repeated, reordered or of another generation. */
function assertNumbered(text, tokens) {
  const number = text.split(".")[0];
  assert.match(number, /^\d+$/, `the text begins with no generation number: ${text.slice(0, 80)}`);
  const expected = Array.from({ length: tokens }, (_, index) => `${number}.${index} `).join("");
  assert.equal(text, expected, `not the ${tokens} numbered tokens of generation ${number}`);
  return Number(number);
}

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

const contentOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");

/** The SDK keeps the error object of the body in `error`. */
function assertFourKeys(error) {
  assert.equal(typeof error.error, "object", `no error object: ${error}`);
  for (const key of ["message", "type", "param", "code"]) assert.ok(key in error.error, `the error lacks ${key}`);
}

async function rejection(promise, kind) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${error?.constructor?.name} and not ${kind.name}: ${error}`);
    return error;
  }
  return assert.fail(`no ${kind.name}: it was answered`);
}

async function waitUntil(condition, what, ms = 60_000) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${ms} ms: ${what}`);
    await sleep(20);
  }
}

/** Waits, after a test that made the backend fail, until a plain question is answered again. */
async function recovered() {
  const answered = () => client.chat.completions.create(chat("well?")).then(() => true, () => sleep(500, false));
  await waitUntil(answered, "a plain question is answered");
}

describe("chat", () => {
  it("answers all tokens and their count", async () => {
    const answer = await client.chat.completions.create(chat("plain", { temperature: 0, sim: { tokens: 20 } }));
    assertNumbered(answer.choices[0].message.content, 20);
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.usage.completion_tokens, 20);
  });

  it("streams, and ends with the usage when asked for it", async () => {
    const more = { stream: true, stream_options: { include_usage: true }, sim: { tokens: 30, gap_ms: 2 } };
    const chunks = await collect(await client.chat.completions.create(chat("with usage", more)));
    assertNumbered(contentOf(chunks), 30);
    const usages = chunks.filter((chunk) => chunk.usage);
    assert.equal(usages.length, 1, "one usage");
    assert.equal(chunks.at(-1).usage.completion_tokens, 30, "it comes last");
    assert.deepEqual(chunks.at(-1).choices, [], "in a chunk of its own");
  });

  it("streams no usage when not asked for it", async () => {
    const chunks = await collect(
      await client.chat.completions.create(chat("without usage", { stream: true, sim: { tokens: 30 } })),
    );
    assertNumbered(contentOf(chunks), 30);
    assert.ok(chunks.every((chunk) => !chunk.usage && chunk.choices.length > 0), "a usage nobody asked for");
  });

  it("calls a tool", async () => {
    const more = { tools: TOOLS, tool_choice: "required", sim: { tokens: 8 } };
    const { message, finish_reason: reason } = (await client.chat.completions.create(chat("tool", more))).choices[0];
    assert.deepEqual(message.tool_calls.map((call) => call.function.name), ["tell"]);
    assert.equal(typeof JSON.parse(message.tool_calls[0].function.arguments), "object");
    assert.equal(reason, "tool_calls");
  });

  it("calls a tool in a stream", async () => {
    const more = { tools: TOOLS, tool_choice: "required", stream: true, sim: { tokens: 8 } };
    const chunks = await collect(await client.chat.completions.create(chat("tool, streamed", more)));
    const choices = chunks.flatMap((chunk) => chunk.choices);
    const calls = choices.flatMap((choice) => choice.delta.tool_calls ?? []);
    assert.equal(calls.map((call) => call.function?.name ?? "").join(""), "tell");
    const parameters = calls.map((call) => call.function?.arguments ?? "").join("");
    assert.equal(typeof JSON.parse(parameters), "object", parameters);
    assert.equal(choices.at(-1).finish_reason, "tool_calls");
  });

  it("keeps fifty streams at once apart", async () => {
    const one = async (_, number) => {
      const more = { stream: true, sim: { tokens: 50, gap_ms: 5 } };
      const chunks = await collect(await client.chat.completions.create(chat(`one of fifty, ${number}`, more)));
      return assertNumbered(contentOf(chunks), 50);
    };
    const generations = await Promise.all(Array.from({ length: 50 }, one));
    assert.equal(new Set(generations).size, 50, "fifty questions, fifty generations");
  });
});

describe("the other endpoints", () => {
  it("embeds the same in both encodings", async () => {
    const input = [unique("first"), unique("second")];
    const packed = await client.embeddings.create({ model: "sim", input });
    const plain = await client.embeddings.create({ model: "sim", input, encoding_format: "float" });
    assert.deepEqual(packed.data.map((item) => item.index), [0, 1]);
    for (const [place, item] of plain.data.entries()) {
      assert.ok(item.embedding.length > 1, "a vector");
      assert.equal(packed.data[place].embedding.length, item.embedding.length, "the same length");
      const apart = item.embedding.map((value, at) => Math.abs(value - packed.data[place].embedding[at]));
      assert.ok(Math.max(...apart) < 1e-6, "the same vector in base64, the SDK's default");
    }
  });

  it("makes a response", async () => {
    const answer = await client.responses.create({ model: "sim", input: unique("response"), sim: { tokens: 12 } });
    assertNumbered(answer.output_text, 12);
    assert.equal(answer.status, "completed");
    assert.equal(answer.usage.output_tokens, 12);
  });

  it("streams a response", async () => {
    const question = { model: "sim", input: unique("response, streamed"), stream: true, sim: { tokens: 12 } };
    const events = await collect(await client.responses.create(question));
    assert.equal(events[0].type, "response.created");
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    assertNumbered(deltas.map((event) => event.delta).join(""), 12);
    assert.equal(events.at(-1).type, "response.completed");
    assert.equal(events.at(-1).response.usage.output_tokens, 12);
  });

  it("completes", async () => {
    const question = { model: "sim", prompt: unique("completion"), sim: { tokens: 12 } };
    assertNumbered((await client.completions.create(question)).choices[0].text, 12);
  });

  it("completes in a stream", async () => {
    const question = { model: "sim", prompt: unique("completion, streamed"), stream: true, sim: { tokens: 12 } };
    const chunks = await collect(await client.completions.create(question));
    assertNumbered(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), 12);
  });

  it("lists and retrieves models", async () => {
    const names = (await collect(await client.models.list())).map((model) => model.id);
    assert.ok(names.includes("sim"), names.join());
    assert.equal((await client.models.retrieve("sim")).id, "sim");
  });
});

describe("errors", () => {
  it("429 is a RateLimitError with Retry-After", async () => {
    const sim = { status: 429, retry_after: "1" };
    const error = await rejection(client.chat.completions.create(chat("error", { sim })), OpenAI.RateLimitError);
    assertFourKeys(error);
    assert.ok(Number(error.headers.get("retry-after")) > 0, "the client is told when to come back");
    await recovered();
  });

  it("400 is a BadRequestError", async () => {
    assertFourKeys(
      await rejection(client.post("/chat/completions", { body: { model: "sim" } }), OpenAI.BadRequestError),
    );
  });

  it("an unknown route is a NotFoundError", async () => {
    assertFourKeys(await rejection(client.post("/no/such/route", { body: {} }), OpenAI.NotFoundError));
  });

  it("an unknown model is a NotFoundError", async () => {
    const error = await rejection(client.models.retrieve("no-such-model"), OpenAI.NotFoundError);
    assertFourKeys(error);
    assert.equal(error.code, "model_not_found");
  });

  it("500 is an InternalServerError", async () => {
    const question = chat("error", { sim: { status: 500 } });
    assertFourKeys(await rejection(client.chat.completions.create(question), OpenAI.InternalServerError));
    await recovered();
  });

  it("a body over 32 MiB is refused with 413", async (context) => {
    if (servers.direct) return context.skip("the limit is the proxy's");
    const question = { model: "sim", messages: [{ role: "user", content: "x".repeat(TOO_LARGE) }] };
    const error = await rejection(client.chat.completions.create(question), OpenAI.APIError);
    assert.equal(error.status, 413, String(error));
    assertFourKeys(error);
  });
});

describe("streams that break", () => {
  const cuts = {
    "right after the head": { fault: "cut_head" },
    "after the first token": { fault: "cut", at: 1 },
    "after five tokens": { fault: "cut", at: 5 },
    "within an event": { fault: "cut_mid_event", at: 5 },
    "before [DONE]": { fault: "cut_before_done" },
  };
  for (const [place, fault] of Object.entries(cuts)) {
    it(`raises when cut ${place}`, async (context) => {
      const events = [];
      let raised;
      try {
        const more = { stream: true, sim: { tokens: 20, gap_ms: 2, ...fault } };
        for await (const event of await client.chat.completions.create(chat("cut", more))) events.push(event);
      } catch (error) {
        raised = error;
      }
      await recovered();
      assert.ok(raised, `a cut stream ended cleanly after ${events.length} events: half an answer taken for a whole`);
      context.diagnostic(`raised ${raised.constructor.name} after ${events.length} events: ${raised.message}`);
    });
  }

  it("frees the backend when the client leaves in mid-stream", async () => {
    const idle = async () => (await servers.stats()).active === 0;
    await waitUntil(idle, "the simulator is idle before the test");
    const { cancelled } = await servers.stats();
    const more = { stream: true, sim: { tokens: 10_000, gap_ms: 20 } };
    const stream = await client.chat.completions.create(chat("left", more));
    let seen = 0;
    for await (const _chunk of stream) {
      seen += 1;
      if (seen === 5) {
        assert.equal((await servers.stats()).active, 1, "the generation runs while it is read");
        break;
      }
    }
    stream.controller.abort();
    await waitUntil(idle, "the simulator is idle again");
    assert.equal((await servers.stats()).cancelled, cancelled + 1, "the generation was cancelled, not finished");
  });
});
