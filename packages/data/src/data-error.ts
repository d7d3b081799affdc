// The error of bad data: one line that names the file and row, what was expected and what to do.

/** "unreadable": no such file or damaged. "empty": no rows. "bad-row": a row that does not fit. "bad-sample": a sample that cannot be trained on. */
export type DataErrorCode = "unreadable" | "empty" | "bad-row" | "bad-sample";

export class DataError extends Error {
  override readonly name = "DataError";
  readonly code: DataErrorCode;

  constructor(code: DataErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
