// A reward that a config or a user names and that cannot be had, said before anything is trained.

export class RewardError extends Error {
  override readonly name = "RewardError";
  readonly code = "bad-reward";
}
