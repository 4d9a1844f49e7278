// The Messages API as the Anthropic SDK for TypeScript uses it, in both lanes.
//
// OUTCROP_URL and OUTCROP_KEY name the gateway; `stand.py` sets them. Without them the suite is skipped aloud, or fails
// where CI=true.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deflateSync, crc32 as nodeCrc32 } from 'node:zlib';

import AnthropicBedrock from '@anthropic-ai/bedrock-sdk';
import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';

const connection = { baseURL: process.env.OUTCROP_URL, apiKey: process.env.OUTCROP_KEY };
const skip = connection.baseURL ? false : 'SKIPPED: OUTCROP_URL names no gateway';
if (skip && process.env.CI === 'true') throw new Error(skip);
if (skip) console.log(skip);

const QWEN = 'qwen.qwen3-coder-480b-a35b-v1:0';
const LANES = ['claude-sonnet-4-6', 'claude-opus-4-5', QWEN];
// The coder model reads text only.
const SEEING = ['claude-sonnet-4-6', 'claude-opus-4-5', 'amazon.nova-pro-v1:0'];
const WEATHER = {
  name: 'get_weather',
  description: 'The weather in a city.',
  input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

// What the client for Bedrock calls them.
const BEDROCK = ['us.anthropic.claude-sonnet-4-6', QWEN];

// Retries would hide what the gateway answers first.
const client = new Anthropic({ ...connection, maxRetries: 0 });

const user = (content) => [{ role: 'user', content }];
const text = (message) => message.content.map((block) => block.text ?? '').join('');
const ask = (model, content, more = {}) =>
  client.messages.create({ model, max_tokens: 200, messages: user(content), ...more });

/** A test for each model. */
function lanes(name, models, body) {
  for (const model of models) test(`${name}: ${model}`, { skip }, () => body(model));
}

/** A picture of one red pixel, as base64. */
function png() {
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  const pixel = deflateSync(Buffer.from([0, 255, 0, 0]));
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', pixel), chunk('IEND', Buffer.alloc(0))]).toString('base64');
}

function crc32(bytes) {
  if (nodeCrc32) return nodeCrc32(bytes);
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}

describe('messages', () => {
  lanes('a message is answered', LANES, async (model) => {
    const message = await ask(model, 'Reply with exactly: pong');
    assert.equal(text(message), 'pong');
    assert.equal(message.model, model);
    assert.equal(message.stop_reason, 'end_turn');
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
    assert.match(message._request_id, /^req_/);
  });

  lanes('the stream helper collects the same message', LANES, async (model) => {
    const stream = client.messages.stream({ model, max_tokens: 400, messages: user('sim:words=60') });
    const pieces = [];
    stream.on('text', (piece) => pieces.push(piece));
    const message = await stream.finalMessage();
    assert.equal(pieces.length, 60);
    assert.equal(pieces.join(''), text(message));
    assert.equal(message.stop_reason, 'end_turn');
  });

  lanes('raw events come in the order of the protocol', LANES, async (model) => {
    const kinds = [];
    for await (const event of await ask(model, 'Reply with exactly: pong', { stream: true })) kinds.push(event.type);
    const frame = kinds.filter((kind) => kind !== 'ping' && kind !== 'content_block_delta');
    assert.deepEqual(frame, ['message_start', 'content_block_start', 'content_block_stop', 'message_delta', 'message_stop']);
  });

  lanes('tools make the round trip, two at once', LANES, async (model) => {
    const said = 'call get_weather with {"city":"Oslo"} and call get_weather with {"city":"Zürich"}';
    const first = await ask(model, said, { tools: [WEATHER] });
    assert.equal(first.stop_reason, 'tool_use');
    const calls = first.content.filter((block) => block.type === 'tool_use');
    assert.deepEqual(calls.map((call) => call.input.city), ['Oslo', 'Zürich']);
    const results = calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: `${call.input.city}: 3` }));
    const second = await client.messages.create({
      model,
      max_tokens: 200,
      tools: [WEATHER],
      messages: [...user(said), { role: 'assistant', content: first.content }, ...user(results)],
    });
    assert.match(text(second), /Zürich: 3/);
  });

  lanes('a streamed tool call is put together', LANES, async (model) => {
    const messages = user('call get_weather with {"city":"Zürich"}');
    const message = await client.messages.stream({ model, max_tokens: 200, tools: [WEATHER], messages }).finalMessage();
    assert.deepEqual(message.content.at(-1).input, { city: 'Zürich' });
  });

  lanes('a picture is taken', SEEING, async (model) => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png() } };
    const message = await ask(model, [image, { type: 'text', text: 'Reply with exactly: red' }]);
    assert.equal(text(message), 'red');
  });

  lanes('thinking is shown, signed and taken back', ['claude-sonnet-4-6', 'claude-opus-4-5'], async (model) => {
    const options = { max_tokens: 2000, thinking: { type: 'enabled', budget_tokens: 1024 } };
    const first = await ask(model, 'Hello', options);
    const [thought] = first.content;
    assert.ok(thought.type === 'thinking' && thought.thinking && thought.signature);
    const messages = [...user('Hello'), { role: 'assistant', content: first.content }, ...user('Reply with exactly: on')];
    assert.equal(text(await client.messages.create({ model, ...options, messages })), 'on');
  });

  lanes('parse returns what the schema describes', [...LANES, 'claude-opus-5'], async (model) => {
    const format = zodOutputFormat(z.object({ name: z.string(), inhabitants: z.number() }));
    const message = await client.messages.parse({
      model,
      max_tokens: 300,
      messages: user('Which city?'),
      output_config: { format },
    });
    assert.equal(typeof message.parsed_output.name, 'string');
    assert.equal(typeof message.parsed_output.inhabitants, 'number');
  });
});

describe('the client for Bedrock', () => {
  const bedrock = (more = {}) => new AnthropicBedrock({ ...connection, awsRegion: 'us-east-1', maxRetries: 0, ...more });

  lanes('a message is answered', BEDROCK, async (model) => {
    const message = await bedrock().messages.create({ model, max_tokens: 100, messages: user('Reply with exactly: pong') });
    assert.equal(text(message), 'pong');
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
  });

  lanes('a stream is collected, piece by piece', BEDROCK, async (model) => {
    const stream = bedrock().messages.stream({ model, max_tokens: 400, messages: user('sim:words=60') });
    const pieces = [];
    stream.on('text', (piece) => pieces.push(piece));
    assert.equal(text(await stream.finalMessage()), pieces.join(''));
    assert.equal(pieces.length, 60);
  });

  lanes('a tool makes the round trip', BEDROCK, async (model) => {
    const messages = user('call get_weather with {"city":"Zürich"}');
    const asked = { model, max_tokens: 200, tools: [WEATHER] };
    const first = await bedrock().messages.stream({ ...asked, messages }).finalMessage();
    const call = first.content.at(-1);
    assert.deepEqual(call.input, { city: 'Zürich' });
    const result = { type: 'tool_result', tool_use_id: call.id, content: '21 degrees' };
    messages.push({ role: 'assistant', content: first.content }, ...user([result]));
    assert.match(text(await bedrock().messages.create({ ...asked, messages })), /21 degrees/);
  });

  lanes('a stream that fails throws', BEDROCK, async (model) => {
    const said = user('sim:words=20 sim:midstream=throttlingException@6');
    await assert.rejects(bedrock().messages.stream({ model, max_tokens: 100, messages: said }).finalMessage(), (error) => {
      assert.ok(error instanceof Anthropic.APIError);
      assert.equal(error.error.error.type, 'throttlingException');
      return true;
    });
  });

  test('an unknown key', { skip }, async () => {
    const stranger = bedrock({ apiKey: 'sk-outcrop-nobody' });
    const asked = stranger.messages.create({ model: BEDROCK[0], max_tokens: 5, messages: user('Hello') });
    await assert.rejects(asked, Anthropic.AuthenticationError);
  });
});

describe('models', () => {
  test('the list is complete, page by page', { skip }, async () => {
    const whole = [];
    for await (const model of client.models.list({ limit: 1000 })) whole.push(model.id);
    assert.ok(whole.includes('claude-sonnet-4-6') && whole.some((id) => id.startsWith('qwen')));
    const paged = [];
    for await (const model of client.models.list({ limit: 7 })) paged.push(model.id);
    assert.deepEqual(paged, whole);
  });

  lanes('a model is found by its name', LANES, async (model) => {
    assert.equal((await client.models.retrieve(model)).id, model);
  });
});

describe('errors', () => {
  test('an unknown key', { skip }, async () => {
    const stranger = new Anthropic({ ...connection, apiKey: 'sk-outcrop-nobody', maxRetries: 0 });
    const asked = stranger.messages.create({ model: LANES[0], max_tokens: 5, messages: user('Hello') });
    await assert.rejects(asked, (error) => {
      assert.ok(error instanceof Anthropic.AuthenticationError);
      assert.equal(error.error.error.type, 'authentication_error');
      assert.equal(error.requestID, error.error.request_id);
      return true;
    });
  });

  test('an unknown model', { skip }, async () => {
    await assert.rejects(client.models.retrieve('no-such-model'), Anthropic.NotFoundError);
    await assert.rejects(ask('no-such-model', 'Hello'), (error) => [400, 404].includes(error.status));
  });

  lanes('max_tokens that does not fit', LANES, async (model) => {
    for (const max_tokens of [undefined, -1, 'many']) {
      await assert.rejects(client.post('/v1/messages', { body: { model, max_tokens, messages: user('Hello') } }), (error) => {
        assert.ok(error instanceof Anthropic.BadRequestError);
        assert.match(error.message, /max_tokens/);
        return true;
      });
    }
  });

  lanes('throttling', LANES, async (model) => {
    await assert.rejects(ask(model, 'sim:throttle'), (error) => {
      assert.ok(error instanceof Anthropic.RateLimitError);
      assert.ok(Number(error.headers.get('retry-after')) >= 1);
      return true;
    });
  });

  for (const fault of ['midstream=modelStreamErrorException@6', 'reset@6', 'truncate@6']) {
    lanes(`a stream that fails in the middle, ${fault}`, LANES, async (model) => {
      const stream = client.messages.stream({ model, max_tokens: 100, messages: user(`sim:words=20 sim:${fault}`) });
      await assert.rejects(stream.finalMessage(), (error) => {
        assert.ok(error instanceof Anthropic.APIError);
        assert.equal(error.error.type, 'error');
        return true;
      });
    });
  }

  lanes('a caller that leaves is forgotten', LANES, async (model) => {
    const stream = client.messages.stream({ model, max_tokens: 4000, messages: user('sim:words=2000 sim:slow=20ms') });
    await new Promise((seen) => stream.once('text', seen));
    stream.abort();
    await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
    assert.equal(text(await ask(model, 'Reply with exactly: pong')), 'pong');
  });
});
