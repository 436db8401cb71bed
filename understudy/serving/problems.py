"""Errors as OpenAI's API words them: whatever goes wrong, the body is {"error": {message, type, param, code}}."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from understudy.errors import QueueFullError, RefusedError, TooLongError, UserError

UNION_TAGS = ("str", "int", "float", "bool")
"""What pydantic puts into the place of an error where a field may have several types, beside such as `list[int]`."""


class Problem(BaseModel):
    """What went wrong: in words, by kind, and which field of the request is at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


BODY = {"type": "object", "properties": {"error": Problem.model_json_schema()}, "required": ["error"]}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": meaning, "content": {"application/json": {"schema": BODY}}}
    for status, meaning in {"4XX": "The request cannot be answered.", "5XX": "The server cannot answer."}.items()
}
"""How the description of the API says so."""


def problem(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Return the body of an error with this status."""
    kind = {429: "rate_limit_error"}.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": Problem(message=message, type=kind, param=param, code=code).model_dump()}


def error_response(error: Exception) -> JSONResponse:
    """Return the response that tells of an error."""
    status, param, code = 500, None, None
    headers: Mapping[str, str] | None = None
    message = "something went wrong in the server; its log says what"
    match error:
        case RefusedError():
            status, message, param, code, headers = error.status, str(error), error.param, error.code, error.headers
        case QueueFullError():
            status, message, code = 503, str(error), "overloaded"
            headers = {"Retry-After": str(error.retry_after)}
        case UserError():
            status, message = 400, str(error)
            code = "context_length_exceeded" if isinstance(error, TooLongError) else None
        case RequestValidationError():
            status, (message, param, code) = 400, _validation_problem(error.errors())
        case HTTPException():
            status, headers = error.status_code, error.headers
            message = str(error.detail)
            if message == HTTPStatus(status).phrase:
                message = {404: "there is nothing at this address", 405: "this address takes other methods"}.get(
                    status, message
                )
            elif message == "There was an error parsing the body":  # FastAPI's words
                message = "the body is not JSON in UTF-8; send it as such, not compressed"
    return JSONResponse(problem(status, message, param, code), status, headers)


def answer_errors(app: FastAPI) -> None:
    """Have an app answer every error in this shape."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        response = error_response(error)
        if response.status_code == 405 and (route := request.scope.get("route")):
            # The router names the methods of one route; a path has several.
            described = app.openapi()["paths"].get(route.path, {})
            response.headers["Allow"] = ", ".join(map(str.upper, described)) or response.headers["Allow"]
        return response

    for kind in (UserError, RefusedError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)


def _validation_problem(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str | None, str | None]:
    """Return message, param and code for what pydantic found."""
    # Where a field may have several types there is an error for each; the one of the type that was given tells most.
    error = max(errors, key=lambda error: (not error["type"].endswith("_type"), len(error["loc"])))
    kind, place = error["type"], error["loc"]
    if kind == "json_invalid":
        return f"the body is not JSON: {error['ctx']['error']} at character {place[-1]}", None, "invalid_json"
    param = ""
    for part in place[1:]:
        if isinstance(part, int):
            param += f"[{part}]"
        elif (part.isidentifier() and part not in UNION_TAGS) or kind == "extra_forbidden":
            param += f".{part}" if param else part
    if kind == "extra_forbidden":
        return f"{param!r} is not a field that this server knows; leave it out", param, "unknown_parameter"
    if kind == "unsupported":
        return f"{param!r} is not supported by this server; leave it out", param, "unsupported_parameter"
    if not param:
        return "expected a JSON object, with the header `Content-Type: application/json`", None, None
    if kind == "missing":
        return f"{param!r} is missing", param, "missing_required_parameter"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected", 1)
    if kind == "literal_error" and isinstance(error["input"], str):
        message += f", not {error['input'][:50]!r}"
    return f"{param}: {message}", param, None
