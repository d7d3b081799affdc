// The one error type of this package: a bad config, told in one line.

/** A config, flag or preset that cannot be used. `message` is one line: the place, what was expected, the remedy. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code = "config";
}
