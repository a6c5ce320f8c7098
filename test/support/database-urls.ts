/** Servers that the suites run on, beside SQLite: those whose URL is in the environment. */
export const { TEST_POSTGRES_URL, TEST_MYSQL_URL } = process.env;

/** Kinds of databases that the suites run on. */
export const databaseNames = [
  'sqlite',
  ...(TEST_POSTGRES_URL ? ['postgres'] : []),
  ...(TEST_MYSQL_URL ? ['mysql'] : []),
];
