import { expect, it } from 'vitest';
import { type SessionErrorCode, STATUS } from '../errors/session.errors.js';
import { ANSWERS, TITLES } from './answers.js';

const codes = Object.keys(STATUS) as SessionErrorCode[];

it('knows all errors', () => {
  expect(Object.keys(ANSWERS).toSorted()).toEqual(codes.toSorted());
});

it.each(codes)('says what %s means, and its status, or never answers with it', (code) => {
  const { meaning, guard, routes } = ANSWERS[code];
  const isAnswer = guard !== undefined || routes !== undefined;
  expect(meaning !== '').toBe(isAnswer);
  expect(!isAnswer || STATUS[code] in TITLES).toBe(true);
});
