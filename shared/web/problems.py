"""RFC 9457 problem details for all errors; the only place that maps errors to HTTP statuses."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from plainview import REQUEST_ID_HEADER, get_logger, mask_text, request_id, trace_id
from shared import errors
from shared.storage.redis import RedisError

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20  # listed in one reply; a body can have a hundred thousand

STATUS: Mapping[type[errors.DomainError], int] = {
    errors.BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Invalid: 422,
    errors.TooMany: 429,
    errors.BadGateway: 502,
    errors.Unavailable: 503,
    errors.Timeout: 504,
}
_CODES = {
    404: "not_found",
    408: "request_timeout",
    413: "body_too_large",
    422: "invalid_request",
    500: "internal_error",
}


def problem(
    status: int,
    code: str = "",
    detail: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """A problem document with the request's IDs and the `extra` members."""
    title = HTTPStatus(status).phrase
    document = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail or title,
        "code": code or _CODES.get(status) or re.sub(r"\W+", "_", title.lower()),
        "request_id": request_id(),
        "trace_id": trace_id(),
    }
    body = orjson.dumps({**(extra or {}), **document}, default=str)
    return Response(body, status, dict(headers or {}), MEDIA_TYPE)


def domain_problem(error: errors.DomainError) -> Response:
    """The reply to a domain error; a 500 without details for an unknown kind."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    if status == 500:
        return problem(500)
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if status == 401:
        known = error.code == "invalid_token"
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if known else "Bearer"
    return problem(status, error.code, error.detail, headers=headers, extra=error.extra)


def install_error_handlers(app: FastAPI) -> None:
    """Make the app answer every error with a problem document."""
    app.add_exception_handler(errors.DomainError, _domain)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RedisError, _redis)
    app.add_exception_handler(UnicodeEncodeError, _surrogates)
    app.add_exception_handler(Exception, _unhandled)


async def _domain(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.DomainError)  # noqa: S101 - Starlette types all as Exception
    response = domain_problem(error)
    if response.status_code >= 500:
        get_logger("http").warning("request.failed", code=error.code, kind=type(error).__name__)
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    """The places and kinds of the errors, but never the input, which can be a password."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found: Sequence[Mapping[str, Any]] = error.errors()
    shown = [
        {"loc": [_place(part) for part in item["loc"]], "msg": mask_text(str(item["msg"]))[:200]}
        for item in found[:MAX_ERRORS]
    ]
    detail = "The request is not acceptable"
    extra = {"errors": shown, "error_count": len(found)}
    return problem(422, "invalid_request", detail, extra=extra)


def _place(part: Any) -> str | int:
    # the name of an unknown field comes from the client, so it is masked and cut
    return part if isinstance(part, int) else mask_text(str(part))[:64]


async def _surrogates(request: Request, error: Exception) -> Response:
    """JSON can escape a lone surrogate ("\\ud800"), which cannot be encoded as UTF-8."""
    return problem(422, "invalid_request", "The request holds text that is not Unicode")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code in (204, 304):
        return Response(status_code=error.status_code, headers=error.headers)
    detail = str(error.detail)
    return problem(error.status_code, detail=mask_text(detail), headers=error.headers)


async def _redis(request: Request, error: Exception) -> Response:
    get_logger("cache").warning(
        "request.failed", code="cache_unavailable", kind=type(error).__name__
    )
    headers = {"Retry-After": "1"}
    return problem(503, "cache_unavailable", "A part that is needed is away", headers=headers)


async def _unhandled(request: Request, error: Exception) -> Response:
    """Reply 500; plainview's middleware sees the exception too and logs it.

    The server closes the connection after an exception. The header says so, so that the client
    does not send its next request on it.
    """
    return problem(500, headers={REQUEST_ID_HEADER: request_id() or "", "Connection": "close"})
