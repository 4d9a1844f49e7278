// The OpenAI surface as the OpenAI SDK for TypeScript uses it, in both lanes.
//
// OUTCROP_URL and OUTCROP_KEY name the gateway; `stand.py` sets them. Without them the suite is skipped aloud, or fails
// where CI=true.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const connection = { baseURL: `${process.env.OUTCROP_URL}/v1`, apiKey: process.env.OUTCROP_KEY };
const skip = process.env.OUTCROP_URL ? false : 'SKIPPED: OUTCROP_URL names no gateway';
if (skip && process.env.CI === 'true') throw new Error(skip);
if (skip) console.log(skip);

const SONNET = 'claude-sonnet-4-6';
const LANES = [SONNET, 'qwen.qwen3-coder-480b-a35b-v1:0'];
const PARAMETERS = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};
const WEATHER = { name: 'get_weather', description: 'The weather in a city.', parameters: PARAMETERS, strict: true };
const CHAT_TOOLS = [{ type: 'function', function: WEATHER }];
const TOOLS = [{ type: 'function', ...WEATHER }];
const TWO_CALLS = 'call get_weather with {"city":"Oslo"} and call get_weather with {"city":"Zürich"}';
const City = z.object({ name: z.string(), inhabitants: z.number() });

// Retries would hide what the gateway answers first.
const client = skip ? undefined : new OpenAI({ ...connection, maxRetries: 0 });

const user = (content) => [{ role: 'user', content }];
const chat = (model, content, more = {}) => client.chat.completions.create({ model, messages: user(content), ...more });
const respond = (model, input, more = {}) => client.responses.create({ model, input, ...more });
const city = (text) => JSON.parse(text).city;

/** A test for each model. */
function lanes(name, models, body) {
  for (const model of models) test(`${name}: ${model}`, { skip }, () => body(model));
}

describe('chat completions', () => {
  lanes('a completion is answered', LANES, async (model) => {
    const made = await chat(model, 'Reply with exactly: pong');
    assert.equal(made.choices[0].message.content, 'pong');
    assert.equal(made.choices[0].finish_reason, 'stop');
    assert.equal(made.model, model);
    assert.ok(made.usage.prompt_tokens > 0 && made.usage.completion_tokens > 0);
    assert.match(made._request_id, /^req_/);
  });

  lanes('the stream helper collects the same completion', LANES, async (model) => {
    const stream = client.chat.completions.stream({
      model,
      messages: user('sim:words=60'),
      stream_options: { include_usage: true },
    });
    const pieces = [];
    stream.on('content', (piece) => pieces.push(piece));
    const made = await stream.finalChatCompletion();
    assert.equal(pieces.length, 60);
    assert.equal(pieces.join(''), made.choices[0].message.content);
    assert.ok(made.usage.completion_tokens > 10);
  });

  lanes('tools make the round trip, two at once', LANES, async (model) => {
    const first = await chat(model, TWO_CALLS, { tools: CHAT_TOOLS });
    const { message, finish_reason } = first.choices[0];
    assert.equal(finish_reason, 'tool_calls');
    assert.deepEqual(message.tool_calls.map((call) => city(call.function.arguments)), ['Oslo', 'Zürich']);
    const results = message.tool_calls.map((call) => ({
      role: 'tool',
      tool_call_id: call.id,
      content: `${city(call.function.arguments)}: 3`,
    }));
    const messages = [...user(TWO_CALLS), message, ...results];
    const second = await client.chat.completions.create({ model, messages, tools: CHAT_TOOLS });
    assert.match(second.choices[0].message.content, /Zürich: 3/);
  });

  lanes('the tool runner runs a tool', LANES, async (model) => {
    const seen = [];
    const runner = client.chat.completions.runTools({
      model,
      messages: user('call get_weather with {"city":"Oslo"}'),
      stream: true,
      tools: [
        {
          type: 'function',
          function: {
            ...WEATHER,
            parse: JSON.parse,
            function: (asked) => {
              seen.push(asked.city);
              return `${asked.city}: 3`;
            },
          },
        },
      ],
    });
    assert.match(await runner.finalContent(), /Oslo: 3/);
    assert.deepEqual(seen, ['Oslo']);
  });

  lanes('parse returns what the schema describes', [...LANES, 'claude-opus-5'], async (model) => {
    const response_format = zodResponseFormat(City, 'city');
    const made = await client.chat.completions.parse({ model, messages: user('Which city?'), response_format });
    assert.equal(typeof made.choices[0].message.parsed.name, 'string');
    assert.equal(typeof made.choices[0].message.parsed.inhabitants, 'number');
  });
});

describe('responses', () => {
  lanes('a plain string is answered', LANES, async (model) => {
    const made = await respond(model, 'Reply with exactly: pong', { instructions: 'You are terse.' });
    assert.equal(made.output_text, 'pong');
    assert.equal(made.status, 'completed');
    assert.equal(made.usage.output_tokens_details.reasoning_tokens, 0);
  });

  lanes('the stream helper collects the same response', LANES, async (model) => {
    const stream = client.responses.stream({ model, input: 'sim:words=40' });
    const numbers = [];
    const pieces = [];
    for await (const event of stream) {
      numbers.push(event.sequence_number);
      if (event.type === 'response.output_text.delta') pieces.push(event.delta);
    }
    const made = await stream.finalResponse();
    assert.deepEqual(numbers, numbers.map((_, index) => index));
    assert.equal(pieces.length, 40);
    assert.equal(pieces.join(''), made.output_text);
  });

  lanes('a tool makes the round trip by what is stored', LANES, async (model) => {
    const first = await respond(model, 'call get_weather with {"city":"Oslo"}', { tools: TOOLS });
    const call = first.output.find((item) => item.type === 'function_call');
    assert.equal(city(call.arguments), 'Oslo');
    const result = { type: 'function_call_output', call_id: call.call_id, output: 'Oslo: 3' };
    const second = await respond(model, [result], { tools: TOOLS, previous_response_id: first.id });
    assert.match(second.output_text, /Oslo: 3/);
    assert.equal((await client.responses.retrieve(second.id)).output_text, second.output_text);
    await client.responses.delete(second.id);
    await assert.rejects(client.responses.retrieve(second.id), OpenAI.NotFoundError);
  });

  lanes('parse returns what the schema describes', LANES, async (model) => {
    const text = { format: zodTextFormat(City, 'city') };
    const made = await client.responses.parse({ model, input: 'Which city?', text });
    assert.equal(typeof made.output_parsed.name, 'string');
  });
});

describe('embeddings and models', () => {
  test('vectors come in order, by base64 as the SDK asks', { skip }, async () => {
    const model = 'amazon.titan-embed-text-v2:0';
    const packed = await client.embeddings.create({ model, input: ['reef', 'ridge'] });
    assert.deepEqual(packed.data.map((item) => item.index), [0, 1]);
    const plain = await client.embeddings.create({ model, input: ['reef', 'ridge'], encoding_format: 'float' });
    assert.equal(packed.data[1].embedding.length, plain.data[1].embedding.length);
    for (const [index, number] of plain.data[1].embedding.entries()) {
      assert.ok(Math.abs(number - packed.data[1].embedding[index]) < 1e-6);
    }
  });

  test('models are listed and found', { skip }, async () => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.ok(LANES.every((model) => ids.includes(model)));
    assert.equal((await client.models.retrieve(SONNET)).object, 'model');
  });
});

describe('errors', () => {
  test('an unknown key', { skip }, async () => {
    const stranger = new OpenAI({ ...connection, apiKey: 'sk-nobody', maxRetries: 0 });
    const asked = stranger.chat.completions.create({ model: SONNET, messages: user('Hello') });
    await assert.rejects(asked, (error) => {
      assert.ok(error instanceof OpenAI.AuthenticationError);
      assert.equal(error.code, 'invalid_api_key');
      assert.equal(error.requestID, error.headers.get('x-request-id'));
      return true;
    });
  });

  test('an unknown model', { skip }, async () => {
    await assert.rejects(chat('no-such-model', 'Hello'), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, 'model_not_found');
      return true;
    });
  });

  lanes('throttling', LANES, async (model) => {
    await assert.rejects(chat(model, 'sim:throttle'), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      assert.equal(error.code, 'rate_limit_exceeded');
      return true;
    });
  });

  for (const fault of ['midstream=modelStreamErrorException@6', 'reset@6', 'truncate@6']) {
    lanes(`a stream that fails in the middle, ${fault}`, LANES, async (model) => {
      const stream = client.chat.completions.stream({ model, messages: user(`sim:words=20 sim:${fault}`) });
      await assert.rejects(stream.finalChatCompletion(), OpenAI.OpenAIError);
    });
  }

  lanes('a caller that leaves is forgotten', LANES, async (model) => {
    const stream = client.chat.completions.stream({ model, messages: user('sim:words=2000 sim:slow=20ms') });
    await new Promise((seen) => stream.once('content', seen));
    stream.abort();
    await assert.rejects(stream.finalChatCompletion(), OpenAI.APIUserAbortError);
    assert.equal((await chat(model, 'Reply with exactly: pong')).choices[0].message.content, 'pong');
  });
});
