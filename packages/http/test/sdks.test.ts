/** Real users of dispatchers from npm, as their own documents tell to use one. */
import { ofetch } from "ofetch";
import OpenAI from "openai";
import { expect, it } from "vitest";
import { doorsOf } from "./support/doors.ts";
import { counted, serve } from "./wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

it("openai: { fetchOptions: { dispatcher } } with the built-in fetch, streaming included", async () => {
  const { address } = await serve((incoming, outgoing) => {
    let text = "";
    incoming.on("data", (chunk: Buffer) => (text += String(chunk)));
    incoming.on("end", () => {
      const { stream } = JSON.parse(text) as { stream?: boolean };
      if (stream === true) {
        outgoing.setHeader("content-type", "text/event-stream");
        for (const word of ["one ", "mesh"]) {
          const delta = { choices: [{ index: 0, delta: { content: word } }] };
          outgoing.write(`data: ${JSON.stringify(delta)}\n\n`);
        }
        outgoing.end("data: [DONE]\n\n");
      } else {
        outgoing.setHeader("content-type", "application/json");
        outgoing.end(JSON.stringify({ choices: [{ message: { content: "whole" } }] }));
      }
    });
  });
  // The first endpoint is dead: the SDK, whose own retries are off, never notices.
  const mesh = doorsOf([await freeAddress(), address]);
  const client = new OpenAI({
    apiKey: "none",
    baseURL: "http://orders/v1",
    maxRetries: 0,
    fetchOptions: { dispatcher: mesh.dispatcher },
  });
  const ask = { model: "any", messages: [{ role: "user", content: "hello" }] } as const;
  for (let i = 0; i < 5; i++) {
    const whole = await client.chat.completions.create({ ...ask, messages: [...ask.messages] });
    expect(whole.choices[0]!.message.content).toBe("whole");
  }
  const parts = await client.chat.completions.create({
    ...ask,
    messages: [...ask.messages],
    stream: true,
  });
  let streamed = "";
  for await (const part of parts) streamed += part.choices[0]!.delta.content ?? "";
  expect(streamed).toBe("one mesh");
  expect(counted(mesh, "inmesh.calls", { outcome: "success" })).toBe(6);

  const viaFetch = new OpenAI({
    apiKey: "none",
    baseURL: "http://orders/v1",
    maxRetries: 0,
    fetch: mesh.fetch,
  });
  const whole = await viaFetch.chat.completions.create({ ...ask, messages: [...ask.messages] });
  expect(whole.choices[0]!.message.content).toBe("whole");
});

it("ofetch: { dispatcher }", async () => {
  let asked = 0;
  const { address } = await serve((incoming, outgoing) => {
    outgoing.setHeader("content-type", "application/json");
    outgoing.statusCode = ++asked === 1 ? 503 : 200;
    incoming.pipe(outgoing);
  });
  const mesh = doorsOf([await freeAddress(), address]);
  const dispatcher = mesh.dispatcher;
  const options = { method: "PUT", body: { order: 1 }, dispatcher, retry: 1 } as const;
  expect(await ofetch("http://orders/x", options)).toEqual({ order: 1 });
  expect(await ofetch("http://orders/x", options)).toEqual({ order: 1 });
  expect(asked).toBe(3);
});
