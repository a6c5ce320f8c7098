/** The body of `POST /login`. Who the user is has been established: contenders are measured from there on. */
export interface Login {
  readonly userId: string;
  readonly claims: Record<string, unknown>;
}
