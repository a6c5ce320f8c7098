import { type Weight, weigh } from '../bytes/weigh.js';
import { spread } from '../run/statistics.js';
import { CONTENDERS, OURS, specOf } from '../servers/peers/comparison/contenders.js';
import type { Question, Table } from './question.js';

export const question: Question = {
  name: 'bytes',
  order: 4,
  title: 'How many bytes does a session cost?',

  async answer(bench) {
    const weights = new Map<string, Weight>();
    // The adapter changes nothing of what is sent.
    for (const contender of CONTENDERS.filter(({ adapter }) => adapter === 'express')) {
      bench.progress(contender.name);
      const server = await bench.start(await specOf(bench, contender));
      weights.set(contender.name, await weigh(server));
      await bench.cleanUp();
    }
    return [bytesTable(weights), tokensTable(weights.get(OURS)!)];
  },

  async quick(bench) {
    const ours = CONTENDERS.find(({ name }) => name === OURS)!;
    const { tokens } = await weigh(await bench.start(await specOf(bench, ours)));
    const bytes = (pattern: RegExp) => {
      const lengths = [...tokens].filter(([name]) => pattern.test(name)).map(([, length]) => length);
      return spread([lengths.reduce((total, length) => total + length, 0)]);
    };
    return [
      { name: 'bytes.both-tokens', value: bytes(/./) },
      { name: 'bytes.refresh-token', value: bytes(/refresh/) },
    ];
  },
};

function bytesTable(weights: ReadonlyMap<string, Weight>): Table {
  return {
    name: 'bytes',
    title: 'Bytes on the wire',
    text: 'A user signs in with claims of exactly 100 bytes of JSON, over HTTPS as the server sees it. Counted are the values of headers, with the cookies’ attributes, and a token in the body; cookies count as part of a request where their path covers it.',
    columns: [
      { key: 'setCookie', label: 'Set-Cookie per login', format: 'bytes' },
      { key: 'body', label: 'token in the body per login', format: 'bytes' },
      { key: 'other', label: 'other headers per login', format: 'bytes' },
      { key: 'request', label: 'Cookie and Authorization per request', format: 'bytes' },
      { key: 'remark', label: 'remark' },
    ],
    rows: [...weights].map(([name, { setCookie, body, other, otherNames, request }]) => ({
      name,
      values: { setCookie, body, other, request, remark: otherNames.join(', ') || undefined },
    })),
    chart: { column: 'request', title: 'Credentials per request, in bytes', highlight: [OURS] },
  };
}

function tokensTable({ tokens }: Weight): Table {
  const sum = [...tokens.values()].reduce((total, length) => total + length, 0);
  return {
    name: 'bytes-tokens',
    title: 'Tokens of nestjs-session-tokens',
    text: 'With the same claims, without the cookies’ names and attributes.',
    columns: [{ key: 'length', label: 'length', format: 'bytes' }],
    rows: [
      ...[...tokens].map(([name, length]) => ({ name, values: { length } })),
      { name: 'together', values: { length: sum } },
    ],
  };
}
