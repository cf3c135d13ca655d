/**
 * A failed request, join or connection.
 *
 * Decide by {@link RoomcastError.code}: a code of the protocol, a code of your application, or one of this
 * client:
 *
 * | code | meaning |
 * |---|---|
 * | `closed` | there is no connection, and the request does not wait for one |
 * | `timeout` | no answer within the request's timeout |
 * | `aborted` | the request's signal was aborted |
 * | `buffer_full` | too many messages wait to be sent |
 * | `slow_reader` | an async iterator fell too far behind |
 * | `no_websocket` | no global `WebSocket`: give one in the options |
 * | `token_failed` | the `token` function threw; its error is the `cause` |
 */
export class RoomcastError extends Error {
  override readonly name = "RoomcastError";
  /** The cause as a code, for programs; the message is for people. */
  declare readonly code: string;
  /** True when the server may have received the request: it may have been carried out. */
  declare readonly sent: boolean;
  /** Further values that the server gives, such as `limit` or `after_ms`. */
  declare readonly details?: unknown;

  constructor(code: string, message: string, more?: { sent?: boolean; details?: unknown; cause?: unknown }) {
    super(message, more);
    Object.assign(this, { sent: false, ...more, code });
  }
}

/** The `error` member of a frame. */
export interface ErrorBody {
  code: string;
  message: string;
  details?: unknown;
}

/** The error that a server answered. */
export const answered = ({ code, message, details }: ErrorBody): RoomcastError =>
  new RoomcastError(code, message, { sent: true, details });

/** True for an error that passes by itself; the request was not carried out. */
export const isTemporary = ({ code }: RoomcastError): boolean =>
  /^(rate_limited|overloaded|unavailable|timeout)$/.test(code);
