import { readdir } from 'node:fs/promises';
import type { Question } from '../questions/question.js';

/** All questions, in the order of the report. */
export async function loadQuestions(): Promise<Question[]> {
  const folder = new URL('../questions/', import.meta.url);
  const files = (await readdir(folder)).filter((file) => file.endsWith('.js') && file !== 'question.js');
  const questions = await Promise.all(
    files.map(async (file) => {
      const module = (await import(new URL(file, folder).href)) as { question?: Question };
      if (!module.question) throw new Error(`questions/${file} exports no question.`);
      return module.question;
    }),
  );
  return questions.toSorted((a, b) => a.order - b.order);
}

/** The questions of these names, or all that do not take hours where no name is given. */
export function select(questions: readonly Question[], names: readonly string[]): Question[] {
  for (const name of names) {
    if (questions.some((question) => question.name === name)) continue;
    const known = questions.map((question) => question.name).join(', ');
    throw new Error(`There is no question "${name}". There are: ${known}.`);
  }
  return questions.filter(({ name, onlyByName = false }) =>
    names.length === 0 ? !onlyByName : names.includes(name),
  );
}
