/** One field's complaint in an API server's Status. */
export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

/** Why there was no usable answer (`status` is 0 then). */
export type NoAnswer =
  | 'Unreachable'
  | 'CredentialsUnavailable'
  | 'Timeout'
  | 'ConnectionLost'
  | 'InvalidResponse'
  | 'Aborted';

/** A request to the API server that did not succeed. Carries no credential: neither headers nor bodies. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** The HTTP status, or 0 when there was no usable answer. */
  readonly status: number;
  /** The Status object's reason (`NotFound`, `Conflict`, `Invalid`, …), or a `NoAnswer`. */
  readonly reason: string;
  readonly causes: StatusCause[];
  readonly retryAfterSeconds?: number;

  /** `message` is the API server's own words where it said any. */
  constructor(
    message: string,
    details: { status: number; reason: string; causes?: StatusCause[]; retryAfterSeconds?: number; cause?: unknown },
  ) {
    super(message, { cause: details.cause });
    this.status = details.status;
    this.reason = details.reason;
    this.causes = details.causes ?? [];
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

/** True for a 404, be it a missing object or an unknown resource. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}

/** True for the failure of a change to one object, by uid: it is gone (404), or another of that name is there by now (409). */
export function isGone(error: unknown): boolean {
  return isNotFound(error) || (error instanceof ApiError && error.status === 409);
}

/** For `catch`: undefined for what does not exist; any other failure is thrown on. */
export function unlessNotFound(error: unknown): undefined {
  if (isNotFound(error)) return undefined;
  throw error;
}

/** The error of a request that got no usable answer. */
export function noAnswer(reason: NoAnswer, message: string, cause?: unknown): ApiError {
  return new ApiError(message, { status: 0, reason, cause });
}

interface Status {
  message?: string;
  reason?: string;
  code?: number;
  details?: { causes?: StatusCause[]; retryAfterSeconds?: number };
}

/**
 * The error that a `Status` object describes: the body of a refused request, or of a watch's ERROR event.
 * `fallback` serves where the body is none, such as a proxy's page.
 */
export function errorFromStatus(
  body: unknown,
  fallback: { status: number; message: string; retryAfterSeconds?: number },
): ApiError {
  const status: Status = typeof body === 'object' && body !== null ? body : {};
  return new ApiError(status.message || fallback.message, {
    status: status.code ?? fallback.status,
    reason: status.reason || 'Unknown',
    causes: status.details?.causes,
    retryAfterSeconds: status.details?.retryAfterSeconds ?? fallback.retryAfterSeconds,
  });
}
