/** A user's id: a non-empty string or a safe integer. It comes back as what it was: `1` and `'1'` are two users. */
export type UserId = string | number;
