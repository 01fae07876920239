// The npm package `openai`, asked by test_npm.py: one JSON object of arguments, one JSON object on stdout.

import OpenAI from "openai";

const { baseURL, method, body, headers } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL, apiKey: "mine", maxRetries: 0 });

async function whole() {
  return { answer: await client.chat.completions.create(body, { headers }) };
}

async function stream() {
  const chunks = [];
  try {
    for await (const chunk of await client.chat.completions.create({ ...body, stream: true }, { headers })) {
      chunks.push(chunk);
    }
  } catch (error) {
    return { chunks, ...told(error) };
  }
  return { chunks };
}

// The package's own helper, which puts a stream together.
async function together() {
  return { answer: await client.chat.completions.stream(body, { headers }).finalChatCompletion() };
}

async function models() {
  const found = [];
  for await (const model of client.models.list()) found.push(model.id);
  return { models: found };
}

function told(error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  const { status, code, message } = error;
  return { error: { name: error.constructor.name, status, code, message } };
}

const methods = { whole, stream, together, models };
console.log(JSON.stringify(await methods[method]().catch(told)));
