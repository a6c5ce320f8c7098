/** Something that the person who starts the application can put right. The message says what. */
export class StartError extends Error {}
