// The npm package `openai`, asked by tests/dialects: one JSON object of arguments, one JSON object on stdout.

import OpenAI from "openai";

const { baseURL, apiKey, body } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

function told(error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  const { status, code, param, message } = error;
  return { error: { name: error.constructor.name, status, code, param, message } };
}

async function moderated() {
  return { answer: await client.moderations.create(body) };
}

console.log(JSON.stringify(await moderated().catch(told)));
